"""What has to be known of each pretrained network: constructor, preprocessing, layers to tap."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import applications

from tll_utils.errors import UnknownBackbone
from tll_utils.features import preprocess
from tll_utils.features.zoo import (
    alexnet,
    convnext,
    efficientnet_lite,
    hub,
    inception_resnet_v1,
    resnet18,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Backbone:
    """What has to be known of a pretrained network.

    Attributes:
        name: Its name in the registry, in results and in file names.
        constructor: `constructor(include_top=False, weights=None | path, input_shape=…)` returns
            a `keras.Model` from preprocessed images to its last feature map, or to an embedding.
        preprocess: Takes RGB in [0, 255] to what the network was trained on.
        taps: Layers worth looking at, shallow → deep. The last one names the model's output.
        frozen_until: The layer that ends the last stage but one: what comes after it is the last
            stage, which `build(trainable="last_stage")` trains.
        download: Where the ImageNet weights lie below `weights.DOWNLOADS`; empty if they are not
            offered.
        size: `(height, width)` to resize images to.
        min_size: Smallest height and width that the network can be built for.
        middle: The tap whose cells are compared: two thirds of the way up, at about 14 × 14, fine
            enough for a grid and deep enough for parts of things. Empty = the last tap but one.
        stages: The layer that ends each stage. Empty = the taps.
        embedding: The tap that is an embedding `(batch, d)` and no map, if there is one.
        files: Further names under which the weights are looked for.
        installed: Returns the weight file that an installed package holds, or `None`.
        package: Name of that package on the index.
        source: A sentence: where weights come from that are neither offered nor on the index.
        preprocess_by_file: Another preprocessing for weight files whose name contains the text.
    """

    name: str
    constructor: Callable[..., keras.Model]
    preprocess: Callable[[Any], Any]
    taps: tuple[str, ...]
    frozen_until: str
    download: str = ""
    size: tuple[int, int] = (224, 224)
    min_size: int = 32
    middle: str = ""
    stages: tuple[str, ...] = ()
    embedding: str = ""
    files: tuple[str, ...] = ()
    installed: Callable[[], Path | None] | None = None
    package: str = ""
    source: str = ""
    preprocess_by_file: tuple[tuple[str, Callable[[Any], Any]], ...] = ()

    def __post_init__(self) -> None:
        defaults = {"middle": self.taps[-2:][0], "stages": self.taps}
        for field, value in defaults.items():
            if not getattr(self, field):
                object.__setattr__(self, field, value)

    @property
    def weight_files(self) -> tuple[str, ...]:
        """File names under which the weights are looked for, the project's own name first."""
        released = (self.download.rpartition("/")[2],) if self.download else ()
        return (f"{self.name}.weights.h5", *released, *self.files)

    def preprocess_for(self, path: str | Path | None) -> Callable[[Any], Any]:
        """The preprocessing that belongs to a weight file; `None` stands for random weights."""
        file_name = Path(path).name.lower() if path else ""
        for part, preprocessing in self.preprocess_by_file:
            if part in file_name:
                return preprocessing
        return self.preprocess


def get(name: str) -> Backbone:
    """Looks a backbone up.

    Raises:
        UnknownBackbone: If the registry doesn't hold it; the message lists what it holds.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    close = difflib.get_close_matches(name, REGISTRY, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UnknownBackbone(
        f"Unknown backbone {name!r}.{hint} Expected one of: {', '.join(sorted(REGISTRY))}."
    )


def _resnet(depth: int, *blocks_per_stage: int) -> Backbone:
    """Its taps are the five stages of the paper's table 1, the 7 × 7 stem being the first."""
    ends = tuple(f"conv{i}_block{n}_out" for i, n in enumerate(blocks_per_stage, start=2))
    return Backbone(
        f"resnet{depth}",
        getattr(applications, f"ResNet{depth}"),
        preprocess.caffe,
        ("conv1_relu", *ends),
        frozen_until=ends[-2],
        download=f"resnet/resnet{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5",
    )


def _vgg(depth: int) -> Backbone:
    return Backbone(
        f"vgg{depth}",
        getattr(applications, f"VGG{depth}"),
        preprocess.caffe,
        tuple(f"block{i}_pool" for i in range(1, 6)),
        frozen_until="block4_pool",
        download=f"vgg{depth}/vgg{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5",
    )


def _densenet(depth: int) -> Backbone:
    return Backbone(
        f"densenet{depth}",
        getattr(applications, f"DenseNet{depth}"),
        preprocess.imagenet_statistics,
        ("pool1", "pool2_relu", "pool3_relu", "pool4_relu", "relu"),
        frozen_until="pool4_pool",
        download=f"densenet/densenet{depth}_weights_tf_dim_ordering_tf_kernels_notop.h5",
    )


def _mobilenet_v3(
    kind: str, shortcuts: tuple[int, ...], middle: int, last_but_one: int
) -> Backbone:
    return Backbone(
        f"mobilenet_v3_{kind}",
        getattr(applications, f"MobileNetV3{kind.title()}"),
        preprocess.none,
        (*(f"expanded_conv_{i}_add" for i in shortcuts), "final_activation"),
        frozen_until=f"expanded_conv_{last_but_one}_add",
        download=f"mobilenet_v3/weights_mobilenet_v3_{kind}_224_1.0_float_no_top_v2.h5",
        middle=f"expanded_conv_{middle}_add",
    )


def _efficientnet_v2(kind: str, ends: tuple[str, ...]) -> Backbone:
    """The middle is the last expansion at 14 × 14, as of the other mobile networks."""
    middle = "block6a_expand_activation"
    return Backbone(
        f"efficientnet_v2_{kind}",
        getattr(applications, f"EfficientNetV2{kind.upper()}"),
        preprocess.none,
        (*ends[:-1], middle, ends[-1], "top_activation"),
        frozen_until=ends[-2],
        download=f"efficientnet_v2/efficientnetv2-{kind}_notop.h5",
        middle=middle,
        stages=(*ends, "top_activation"),
    )


def _efficientnet_lite(
    version: int, expansions: tuple[int, ...], stages: tuple[int, ...]
) -> Backbone:
    """`stages` are the last expansions before the resolution halves; the third is at 14 × 14."""

    def names(blocks: tuple[int, ...]) -> tuple[str, ...]:
        return (*(f"block{i}_expand_relu" for i in blocks), "top_relu")

    return Backbone(
        f"efficientnet_lite{version}",
        functools.partial(efficientnet_lite.efficientnet_lite, version),
        preprocess.efficientnet_lite,
        names(expansions),
        frozen_until=f"block{stages[-1] - 1}_add",
        middle=f"block{stages[2]}_expand_relu",
        stages=names(stages),
        installed=functools.partial(efficientnet_lite.installed_weights, version),
        package=efficientnet_lite.distribution(version),
    )


def _convnext(kind: str) -> Backbone:
    constructor = getattr(applications, f"ConvNeXt{kind.title()}")
    return Backbone(
        f"convnext_{kind}",
        convnext.with_named_stages(constructor),
        preprocess.none,
        ("stage_0", "stage_1", "stage_2", "stage_3", "top_norm"),
        frozen_until="stage_2",
        download=f"convnext/convnext_{kind}_notop.h5",
        middle="stage_2",
    )


def _hub(name: str, preset: str, kind: str, patch: int, width: int = 768) -> Backbone:
    """A tower of 12 blocks, four of which are the last stage; `preset` is KerasHub's name."""
    statistics = {"CLIP": preprocess.clip, "SigLIP": preprocess.to_unit_range}
    return Backbone(
        name,
        functools.partial(hub.image_tower, kind, patch=patch, width=width),
        statistics.get(kind, preprocess.imagenet_statistics),
        hub.TAPS,
        frozen_until="block_7",
        size=hub.SIZE,
        min_size=hub.SIZE[0],
        middle="map_7",
        stages=("map_2", "map_5", "map_8", "map_11"),
        embedding="embedding",
        files=(f"{preset}/{hub.WEIGHTS}",),
        installed=functools.partial(hub.downloaded, preset),
        source=f"keras_hub.models.Backbone.from_preset({preset!r}) downloads them.",
    )


def _pointwise(*blocks: int) -> tuple[str, ...]:
    return tuple(f"conv_pw_{block}_relu" for block in blocks)


def _expansions(*blocks: int) -> tuple[str, ...]:
    return (*(f"block_{block}_expand_relu" for block in blocks), "out_relu")


_FACENET_2018 = ("vggface2", "20180402", "20180408", "facenet512")

REGISTRY: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            "mobilenet_v2",
            applications.MobileNetV2,
            preprocess.to_unit_range,
            _expansions(3, 6, 10, 13, 14, 15, 16),
            frozen_until="block_15_add",
            download="mobilenet_v2/"
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
            middle="block_13_expand_relu",
            stages=_expansions(3, 6, 13, 16),
        ),
        Backbone(
            "mobilenet",
            applications.MobileNet,
            preprocess.to_unit_range,
            _pointwise(3, 5, 7, 9, 11, 12, 13),
            frozen_until="conv_pw_12_relu",
            download="mobilenet/mobilenet_1_0_224_tf_no_top.h5",
            middle="conv_pw_11_relu",
            stages=_pointwise(3, 5, 9, 11, 13),
        ),
        _efficientnet_lite(0, (3, 5, 8, 11, 13, 15), (3, 5, 11, 15)),
        _efficientnet_lite(1, (4, 7, 11, 15, 18, 20), (4, 7, 15, 20)),
        _efficientnet_lite(2, (4, 7, 11, 15, 18, 20), (4, 7, 15, 20)),
        _resnet(50, 3, 4, 6, 3),
        _resnet(101, 3, 4, 23, 3),
        _resnet(152, 3, 8, 36, 3),
        _vgg(16),
        _vgg(19),
        _densenet(121),
        _densenet(169),
        _densenet(201),
        _mobilenet_v3("large", (2, 5, 9, 11, 14), middle=11, last_but_one=13),
        _mobilenet_v3("small", (2, 5, 7, 10), middle=7, last_but_one=9),
        _efficientnet_v2(
            "b0", ("block2b_add", "block3b_add", "block4c_add", "block5e_add", "block6h_add")
        ),
        _efficientnet_v2(
            "s", ("block2d_add", "block3d_add", "block4f_add", "block5i_add", "block6o_add")
        ),
        _convnext("tiny"),
        _convnext("small"),
        Backbone(
            "inception_v3",
            applications.InceptionV3,
            preprocess.to_unit_range,
            tuple(f"mixed{i}" for i in (0, 2, 4, 6, 7, 8, 9, 10)),
            frozen_until="mixed7",
            download="inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
            size=(299, 299),
            min_size=75,
            middle="mixed7",
        ),
        Backbone(
            "resnet18",
            resnet18.resnet18,
            preprocess.imagenet_statistics,
            ("conv1_relu", *(f"stack{i}_block1_out" for i in range(4))),
            frozen_until="stack2_block1_out",
            source="notebooks/REPORTS.md says how to make the file from KerasHub's.",
        ),
        Backbone(
            "alexnet",
            alexnet.alexnet,
            preprocess.caffe,
            ("relu1", "relu2", "relu3", "relu4", "relu5", "pool5"),
            frozen_until="relu4",
            size=(227, 227),
            min_size=67,
            source="notebooks/REPORTS.md says what the file must hold.",
        ),
        Backbone(
            "inception_resnet_v1",
            inception_resnet_v1.embedding_network,
            preprocess.facenet_per_image,
            (*inception_resnet_v1.TAPS, "embedding"),
            frozen_until="Mixed_7a",
            size=(160, 160),
            min_size=inception_resnet_v1.MIN_SIZE,
            middle="Mixed_6a",
            stages=inception_resnet_v1.TAPS,
            embedding="embedding",
            files=inception_resnet_v1.RELEASES,
            source="https://github.com/serengil/deepface_models/releases offers "
            "facenet_weights.h5; notebooks/REPORTS.md says more.",
            preprocess_by_file=tuple((part, preprocess.facenet_fixed) for part in _FACENET_2018),
        ),
        _hub("clip_vit_b32", "clip_vit_base_patch32", "CLIP", 32),
        _hub("clip_vit_b16", "clip_vit_base_patch16", "CLIP", 16),
        _hub("siglip2_base", "siglip2_base_patch16_224", "SigLIP", 16),
        _hub("dinov2_small", "dinov2_small", "DINOV2", 14, 384),
        _hub("dinov2_base", "dinov2_base", "DINOV2", 14),
        _hub("dinov3_small", "dinov3_vit_small_lvd1689m", "DINOV3", 16, 384),
        _hub("dinov3_base", "dinov3_vit_base_lvd1689m", "DINOV3", 16),
    )
}
