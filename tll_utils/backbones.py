"""Pretrained networks: one registry entry = constructor + its own preprocessing + layers to tap.

`build` returns a model that takes RGB images in [0, 255], whatever the network was trained on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import hashlib
import os
import random
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import applications, ops

from tll_utils.models import alexnet, inception_resnet_v1, resnet18

DOWNLOADS = "https://storage.googleapis.com/tensorflow/keras-applications"
ONLINE_CHECK_SECONDS = 2.0


class UnknownBackbone(ValueError):
    """A name that the registry doesn't hold."""


class WeightsNotFound(RuntimeError):
    """Weights can't be had; the message says which file to put where."""


class WeightsDamaged(WeightsNotFound):
    """A weight file is there and can't be read."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """What has to be known of a pretrained network.

    Attributes:
        name: Its name in the registry, in results and in file names.
        constructor: `constructor(include_top=False, weights=None | path, input_shape=…)` returns
            a `keras.Model` from preprocessed images to its last feature map.
        preprocess: Takes RGB in [0, 255] to what the network was trained on.
        taps: Layers worth looking at, shallow → deep. The last one names the model's output.
        middle: The tap whose cells are compared: two thirds of the way up, at 14 × 14, fine
            enough for a grid and deep enough for parts of things. Empty = the last tap but one.
        stages: The layer that ends each stage. Empty = the taps.
        last_stage: How the names of the last stage's layers begin. Empty = as its tap does.
        download: Where the ImageNet weights lie below `DOWNLOADS`; empty if they are not offered.
        size: `(height, width)` to resize images to.
    """

    name: str
    constructor: Callable[..., keras.Model]
    preprocess: Callable
    taps: tuple[str, ...]
    download: str = ""
    size: tuple[int, int] = (224, 224)
    middle: str = ""
    stages: tuple[str, ...] = ()
    last_stage: str = ""

    def __post_init__(self):
        defaults = {
            "middle": self.taps[-2:][0],
            "stages": self.taps,
            "last_stage": self.taps[-1].split("_")[0],
        }
        for field, value in defaults.items():
            if not getattr(self, field):
                object.__setattr__(self, field, value)

    @property
    def weight_files(self) -> tuple[str, ...]:
        """File names under which the weights are looked for, the project's own name first."""
        released = (self.download.rpartition("/")[2],) if self.download else ()
        return (f"{self.name}.weights.h5", *released)


def _has_its_own(images):
    """For networks whose first layer does the preprocessing."""
    return images


def _mobilenet_taps(blocks: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"conv_pw_{block}_relu" for block in blocks)


def _resnet_taps(*blocks_per_stage: int) -> tuple[str, ...]:
    return tuple(f"conv{i}_block{n}_out" for i, n in enumerate(blocks_per_stage, start=2))


_VGG_TAPS = tuple(f"block{i}_pool" for i in range(1, 6))
_DENSENET_TAPS = ("pool1", "pool2_relu", "pool3_relu", "pool4_relu", "relu")

REGISTRY: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            "mobilenet_v2",
            applications.MobileNetV2,
            applications.mobilenet_v2.preprocess_input,
            (
                "block_3_expand_relu",
                "block_6_expand_relu",
                "block_10_expand_relu",
                "block_13_expand_relu",
                "block_14_expand_relu",
                "block_15_expand_relu",
                "block_16_expand_relu",
                "out_relu",
            ),
            "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
            middle="block_13_expand_relu",
            stages=(
                *(f"block_{i}_expand_relu" for i in (3, 6, 13, 16)),
                "out_relu",
            ),
            last_stage="block_16",
        ),
        Backbone(
            "mobilenet",
            applications.MobileNet,
            applications.mobilenet.preprocess_input,
            _mobilenet_taps((3, 5, 7, 9, 11, 12, 13)),
            "mobilenet/mobilenet_1_0_224_tf_no_top.h5",
            middle="conv_pw_11_relu",
            stages=_mobilenet_taps((3, 5, 9, 11, 13)),
            last_stage="conv_dw_13",
        ),
        Backbone(
            "resnet50",
            applications.ResNet50,
            applications.resnet.preprocess_input,
            _resnet_taps(3, 4, 6, 3),
            "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Backbone(
            "resnet101",
            applications.ResNet101,
            applications.resnet.preprocess_input,
            _resnet_taps(3, 4, 23, 3),
            "resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Backbone(
            "resnet152",
            applications.ResNet152,
            applications.resnet.preprocess_input,
            _resnet_taps(3, 8, 36, 3),
            "resnet/resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Backbone(
            "vgg16",
            applications.VGG16,
            applications.vgg16.preprocess_input,
            _VGG_TAPS,
            "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Backbone(
            "vgg19",
            applications.VGG19,
            applications.vgg19.preprocess_input,
            _VGG_TAPS,
            "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Backbone(
            "densenet121",
            applications.DenseNet121,
            applications.densenet.preprocess_input,
            _DENSENET_TAPS,
            "densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Backbone(
            "densenet169",
            applications.DenseNet169,
            applications.densenet.preprocess_input,
            _DENSENET_TAPS,
            "densenet/densenet169_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Backbone(
            "densenet201",
            applications.DenseNet201,
            applications.densenet.preprocess_input,
            _DENSENET_TAPS,
            "densenet/densenet201_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        Backbone(
            "mobilenet_v3_large",
            applications.MobileNetV3Large,
            _has_its_own,
            (*(f"expanded_conv_{i}_add" for i in (2, 5, 9, 11, 14)), "final_activation"),
            "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        ),
        Backbone(
            "mobilenet_v3_small",
            applications.MobileNetV3Small,
            _has_its_own,
            (*(f"expanded_conv_{i}_add" for i in (2, 5, 7, 10)), "final_activation"),
            "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        ),
        Backbone(
            "efficientnet_v2_s",
            applications.EfficientNetV2S,
            _has_its_own,
            ("block2d_add", "block3d_add", "block4f_add", "block5i_add", "block6o_add")
            + ("top_activation",),
            "efficientnet_v2/efficientnetv2-s_notop.h5",
        ),
        Backbone(
            "inception_v3",
            applications.InceptionV3,
            applications.inception_v3.preprocess_input,
            tuple(f"mixed{i}" for i in (0, 2, 4, 6, 7, 8, 9, 10)),
            "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
            (299, 299),
        ),
        Backbone(
            "resnet18",
            resnet18.resnet18,
            resnet18.preprocess_input,
            tuple(f"stack{i}_block1_out" for i in range(4)),
        ),
        Backbone(
            "alexnet",
            alexnet.alexnet,
            alexnet.preprocess_input,
            ("relu1", "relu2", "relu3", "relu4", "relu5", "pool5"),
            size=(227, 227),
        ),
        Backbone(
            "inception_resnet_v1",
            inception_resnet_v1.inception_resnet_v1,
            inception_resnet_v1.preprocess_input,
            inception_resnet_v1.TAPS,
            size=(160, 160),
        ),
    )
}


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


def build(
    name: str,
    *,
    weights: str | Path = "imagenet",
    size: tuple[int, int] | None = None,
    taps: Sequence[str] | None = None,
    trainable: bool | str = False,
    seed: int = 0,
) -> keras.Model:
    """Builds a backbone that takes RGB images in [0, 255].

    Batch normalisation stays in inference mode, also while other layers are trained: batches are
    too small to estimate statistics, and some releases have them folded into the convolutions.
    Setting `model.trainable = True` afterwards would undo that; use the argument.

    Args:
        name: A key of `REGISTRY`.
        weights: `"imagenet"`, `"random"` or the path of a weight file.
        size: `(height, width)` of the images. Defaults to the backbone's own.
        taps: Layer names. Defaults to the last feature map alone.
        trainable: Bool; or the start of a layer's name, from which on layers are trained
            (`"conv5"` of a ResNet). Defaults to `False`: frozen.
        seed: Int, for `weights="random"`.

    Returns:
        A `keras.Model` from images `(batch, height, width, 3)` to the last feature map
        `(batch, h, w, channels)`, or to a dict of one map per tap if `taps` is given.
        `model.get_layer(name)` is the network inside, whose layers have their original names.

    Raises:
        ValueError: If the backbone, a tap or the layer in `trainable` is unknown.
        WeightsNotFound: If the weights can't be had, or the file is damaged or of another net.
    """
    backbone = get(name)
    size = tuple(size or backbone.size)
    path = None if weights == "random" else find_weights(name, weights)
    base = _construct(backbone, path, size, seed)
    _set_trainable(base, trainable)
    network = keras.Model(base.input, _outputs(base, backbone, taps), name=name)
    images = keras.Input((*size, 3), name="images")
    maps = network(backbone.preprocess(images))
    return keras.Model(images, maps, name=f"{name}_on_rgb")


def architecture(name: str) -> keras.Model:
    """Builds a backbone to count its parameters or to time it: with initial weights.

    Its features mean nothing; those of `build(weights="random")` at least tell images apart.

    Returns:
        A model from preprocessed images of the backbone's size to its last feature map.

    Raises:
        UnknownBackbone: If the registry doesn't hold it.
    """
    backbone = get(name)
    return backbone.constructor(include_top=False, weights=None, input_shape=(*backbone.size, 3))


def resolve_weights(name: str, *, weights: str, profile: str) -> str:
    """Decides which weights a run will use, before anything long starts.

    Args:
        name: A key of `REGISTRY`.
        weights: `"imagenet"`, `"random"`, a weight file, or a folder that holds one.
        profile: `"quick"` falls back to random weights, with a warning; the others raise.

    Returns:
        `"imagenet"`, `"random"` or a path; each is what `build` takes.
    """
    if weights == "random":
        get(name)
        return weights
    try:
        path = find_weights(name, weights)
    except WeightsNotFound as error:
        # A folder the user named is not replaced by chance, nor is a damaged file.
        if profile != "quick" or weights != "imagenet" or isinstance(error, WeightsDamaged):
            raise
        warnings.warn(
            f"{error} This quick run goes on with RANDOM weights: everything works, but the "
            f"scores of {name} mean nothing.",
            stacklevel=2,
        )
        return "random"
    return weights if weights == "imagenet" else str(path)


def find_weights(name: str, weights: str | Path = "imagenet") -> Path:
    """Returns the weight file of a backbone; looks in the Keras cache, then downloads.

    Args:
        name: A key of `REGISTRY`.
        weights: `"imagenet"`, a weight file, or a folder that holds one.

    Raises:
        WeightsNotFound: If there is none; says which file to put where.
        WeightsDamaged: If the file is truncated or not HDF5.
    """
    backbone = get(name)
    folder = _keras_cache() if weights == "imagenet" else Path(weights).expanduser()
    candidates = [folder] if folder.is_file() else [folder / f for f in backbone.weight_files]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None and weights == "imagenet" and backbone.download:
        found = _download(backbone)
    if found is None:
        tried = " and could not be downloaded" if weights == "imagenet" else ""
        source = f" (from {DOWNLOADS}/{backbone.download})" if backbone.download else ""
        raise WeightsNotFound(
            f"The weights of {name} are not in {folder}{tried}. Put "
            f"{' or '.join(backbone.weight_files)}{source} there, or name a folder that holds it "
            "in TLL_WEIGHTS."
        )
    try:
        with h5py.File(found):
            return found
    except OSError as error:
        raise WeightsDamaged(_damaged(name, found, error)) from error


def weights_fingerprint(name: str, weights: str, *, seed: int = 0) -> str:
    """Identifies the weights by content: of the file, or seed and Keras version if random."""
    if weights == "random":
        return f"random-{seed}-keras-{keras.__version__}"
    with open(find_weights(name, weights), "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _construct(backbone, path, size, seed) -> keras.Model:
    arguments = {"include_top": False, "input_shape": (*size, 3)}
    if path is None:
        with _seeded(seed):
            base = backbone.constructor(weights=None, **arguments)
        _calibrate(base, backbone, seed)
        return base
    try:
        with warnings.catch_warnings():
            # Keras warns that weights of 224 are used for other sizes, which is what is wanted.
            warnings.filterwarnings("ignore", message=".*input_shape. is undefined or non-square")
            return backbone.constructor(weights=str(path), **arguments)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsDamaged(_damaged(backbone.name, path, error)) from error


def _calibrate(base, backbone, seed) -> None:
    """Gives the batch normalisation of a random network the statistics of noise, fine and coarse.

    With the initial ones, each layer weakens the signal until the last features underflow.
    """
    normalisations = [x for x in base.layers if isinstance(x, keras.layers.BatchNormalization)]
    if not normalisations:
        return
    rng = np.random.default_rng(seed)
    scales = [rng.uniform(0, 127.5, (4, cells, cells, 3)).astype("float32") for cells in (4, 32)]
    noise = sum(ops.image.resize(scale, base.input_shape[1:3]) for scale in scales)
    momenta = [layer.momentum for layer in normalisations]
    for layer in normalisations:
        layer.momentum = 0.0  # one batch decides
    base(backbone.preprocess(noise), training=True)
    for layer, momentum in zip(normalisations, momenta, strict=True):
        layer.momentum = momentum


def _damaged(name, path, error) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"{path} is damaged or does not hold the weights of {name} ({reason}). "
        "Delete it, and fetch or copy it again."
    )


def _outputs(base, backbone, taps):
    if taps is None:
        return base.output
    names = {layer.name for layer in base.layers} | {backbone.taps[-1]}
    unknown = sorted(set(taps) - names)
    if unknown:
        close = difflib.get_close_matches(unknown[0], names, n=3)
        raise ValueError(
            f"{backbone.name} has no layer {unknown[0]!r}. Its default taps are "
            f"{', '.join(backbone.taps)}" + (f"; close: {', '.join(close)}." if close else ".")
        )
    return {
        tap: base.output if tap == backbone.taps[-1] else base.get_layer(tap).output for tap in taps
    }


def _set_trainable(base, trainable: bool | str) -> None:
    prefix = trainable if isinstance(trainable, str) else ""
    matches = [i for i, layer in enumerate(base.layers) if layer.name.startswith(prefix)]
    if not matches:
        raise ValueError(f"{base.name} has no layer whose name starts with {prefix!r}.")
    for i, layer in enumerate(base.layers):
        # A batch normalisation that is not trainable uses its stored statistics.
        frozen = isinstance(layer, keras.layers.BatchNormalization) or not trainable
        layer.trainable = not frozen and i >= matches[0]


@contextlib.contextmanager
def _seeded(seed: int):
    """Keras draws the seeds of its initialisers from Python's generator; lend it one."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _keras_cache() -> Path:
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"


def _download(backbone: Backbone) -> Path | None:
    url = f"{DOWNLOADS}/{backbone.download}"
    if not _is_online(DOWNLOADS):
        return None
    try:
        return Path(keras.utils.get_file(origin=url, cache_subdir="models"))
    except Exception:  # Keras raises bare exceptions for whatever goes wrong
        return None


@functools.lru_cache
def _is_online(url: str) -> bool:
    """Asks once per process; in a thread, because looking a name up has no time limit."""
    answered, done = threading.Event(), threading.Event()

    def ask():
        request = urllib.request.Request(url, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=ONLINE_CHECK_SECONDS).close()
            answered.set()
        except urllib.error.HTTPError:  # an answer all the same
            answered.set()
        except OSError:
            pass
        finally:
            done.set()

    threading.Thread(target=ask, daemon=True).start()
    done.wait(ONLINE_CHECK_SECONDS)
    return answered.is_set()
