"""Inception-ResNet-v1, the network of FaceNet, with its ten inner taps.

Takmaz et al. (2019) start from FaceNet's public TensorFlow implementation with a d = 128 embedding
and read ten inner layers: seven of the stem, the two reductions and the last residual block.

Weights
-------
Keras ships none for this network, and this package downloads none. Put one of these into the Keras
cache (`~/.keras/models`) or into a folder named in TLL_WEIGHTS; arrays are found by layer name:

* `facenet_weights.h5` (d = 128) and `facenet512_weights.h5` (d = 512) among the release files of
  https://github.com/serengil/deepface_models;
* `facenet_keras.h5` (d = 128) of https://github.com/nyoki-mtl/keras-facenet, converted from
  davidsandberg/facenet's model 20170512-110547 (trained on MS-Celeb-1M).

The VGGFace2 model of davidsandberg/facenet (20180402-114759, the training set that the report
names) is a TensorFlow 1 checkpoint with d = 512. Its variable `InceptionResnetV1/A/B/weights` is
the kernel of the layer `A_B` here, and `…/BatchNorm/{beta,moving_mean,moving_variance}` are the
weights of `A_B_BatchNorm`; blocks lose `Repeat` and gain their number (`Repeat/block35_1` is
`Block35_1`, `Repeat_1/block17_1` is `Block17_1`, `Repeat_2/block8_1` is `Block8_1`, the lone
`Block8` is `Block8_6`). Copy them with `tf.train.load_checkpoint(prefix)` and `layer.set_weights`,
then keep the result with `model.save_weights("inception_resnet_v1_vggface2.weights.h5")`.

Preprocessing belongs to the weights, and the file name tells which: the releases of 2018 (a name
with `vggface2`, `20180402`, `20180408` or `facenet512`) take `(x − 127.5) / 128`, all others each
image with mean 0 and deviation 1.

References:
    Szegedy et al., 2016, Inception-v4, Inception-ResNet and the Impact of Residual Connections.
    Schroff et al., 2015, FaceNet. Takmaz et al., 2019, Learning Feature Representations for
    Look-Alike Images. Layout and figures after github.com/davidsandberg/facenet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import layers

# The output layer of each of the report's ten inner layers, shallow to deep.
TAPS = (
    "Conv2d_1a_3x3_Activation",
    "Conv2d_2a_3x3_Activation",
    "Conv2d_2b_3x3_Activation",
    "MaxPool_3a_3x3",
    "Conv2d_3b_1x1_Activation",
    "Conv2d_4a_3x3_Activation",
    "Conv2d_4b_3x3_Activation",
    "Mixed_6a",
    "Mixed_7a",
    "Block8_6",
)

# What the published d = 128 network holds, batch-normalization statistics included.
PUBLISHED_PARAMETERS = 22_808_144

# Files of weights that are read as they are.
RELEASES = (
    "inception_resnet_v1_vggface2.weights.h5",
    "facenet_weights.h5",
    "facenet_keras.h5",
    "facenet512_weights.h5",
)

FEATURES = 1792  # channels of the last feature map
MIN_SIZE = 75  # below it an unpadded convolution of the reductions has nothing left to see


def inception_resnet_v1(
    *,
    include_top: bool = True,
    weights: str | Path | None = None,
    input_shape: tuple[int | None, int | None, int] = (160, 160, 3),
    embedding_dim: int = 128,
    dropout: float = 0.2,
) -> keras.Model:
    """Builds Inception-ResNet-v1, up to its face embedding or without it.

    Args:
        include_top: Whether to end in average pooling and the bottleneck to `embedding_dim`.
        weights: Path of a Keras-format file (see `load_facenet_weights`), or None for random
            weights.
        input_shape: `(height, width, 3)`, at least 75 pixels a side. FaceNet's own is 160.
        embedding_dim: Int, d. The report and the 2017 releases have 128, the 2018 releases 512.
        dropout: Float in [0, 1), before the bottleneck, active in training only.

    Returns:
        A `keras.Model` on preprocessed images `(batch, height, width, 3)`, with the inner layers
        of `TAPS`. With the top it returns embeddings of L2 norm 1, `(batch, embedding_dim)`;
        without it the last feature map, `(batch, rows, columns, 1792)`.

    Raises:
        ValueError: If the input is too small, or the weights do not fit.
        FileNotFoundError: If there is no such weights file.
    """
    if any(side is not None and side < MIN_SIZE for side in input_shape[:2]):
        raise ValueError(
            f"Images must measure at least {MIN_SIZE} pixels a side. "
            f"Received: input_shape={input_shape}"
        )
    inputs = keras.Input(input_shape, name="image")
    x = _stem(inputs)
    for index in range(1, 6):
        x = _residual(x, f"Block35_{index}", branches=_BLOCK35, scale=0.17)
    x = _reduction(x, "Mixed_6a", branches=_MIXED_6A)
    for index in range(1, 11):
        x = _residual(x, f"Block17_{index}", branches=_BLOCK17, scale=0.10)
    x = _reduction(x, "Mixed_7a", branches=_MIXED_7A)
    for index in range(1, 6):
        x = _residual(x, f"Block8_{index}", branches=_BLOCK8, scale=0.20)
    x = _residual(x, "Block8_6", branches=_BLOCK8, scale=1.0, activation=None)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="AvgPool")(x)
        x = layers.Dropout(dropout, name="Dropout")(x)
        x = layers.Dense(embedding_dim, use_bias=False, name="Bottleneck")(x)
        x = layers.UnitNormalization(name="embedding")(_batch_norm(x, "Bottleneck"))
    model = keras.Model(inputs, x, name="inception_resnet_v1")
    if weights is not None:
        load_facenet_weights(model, weights)
    return model


def embedding_network(
    *,
    include_top: bool = False,
    weights: str | Path | None = None,
    input_shape: tuple[int | None, int | None, int] = (160, 160, 3),
) -> keras.Model:
    """Builds the network up to its embedding, which is what it was trained for.

    Args:
        include_top: Ignored: the embedding is no classifier.
        weights: As of `inception_resnet_v1`; a file of the wider network gives the wider one.
        input_shape: As of `inception_resnet_v1`.

    Returns:
        A `keras.Model` from preprocessed images to unit-norm embeddings, `(batch, 128)` or
        `(batch, 512)`.
    """
    dim = 128 if weights is None else _stored_embedding_dim(weights)
    return inception_resnet_v1(weights=weights, input_shape=input_shape, embedding_dim=dim)


def load_facenet_weights(model: keras.Model, path: str | Path) -> None:
    """Fills `model` from a Keras-format file and checks that every layer was filled.

    Args:
        model: From `inception_resnet_v1`.
        path: `*.weights.h5`, written by `model.save_weights`, or an `.h5` of the public Keras
            releases: weights alone or a whole model, of which only the arrays are read. Layers are
            found by name, so a file that lacks one is refused instead of half loaded.

    Raises:
        FileNotFoundError: If `path` does not exist.
        ValueError: If a layer is missing from the file or has other shapes.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such weights file. The documentation of {__name__} says where to get one."
        )
    if path.name.endswith(".weights.h5"):
        model.load_weights(path)
        return
    with h5py.File(path, "r") as file:
        stored = file.get("model_weights", file)  # a whole model keeps them one level down
        for layer in model.layers:
            if layer.weights:
                layer.set_weights(_stored_arrays(layer, stored, path))


def _stored_embedding_dim(path: str | Path) -> int:
    """Width of the bottleneck in a weight file, the one matrix that takes the last features."""
    widths = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 2 and item.shape[0] == FEATURES:
            widths.append(item.shape[1])

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return widths[0] if widths else 128


def _stored_arrays(layer: keras.Layer, stored: h5py.Group, path: Path) -> list[np.ndarray]:
    """The arrays of one layer in a by-name `.h5` file, in the order `set_weights` wants."""
    if layer.name not in stored:
        raise ValueError(f"{path}: no layer {layer.name}; expected a FaceNet Inception-ResNet-v1.")
    group = stored[layer.name]
    arrays = {str(_text(name)): group[_text(name)][()] for name in group.attrs["weight_names"]}
    by_suffix = {name.split("/")[-1].split(":")[0]: array for name, array in arrays.items()}
    expected = {weight.name: tuple(weight.shape) for weight in layer.weights}
    found = {name: array.shape for name, array in by_suffix.items()}
    if expected != found:
        raise ValueError(
            f"{path}, layer {layer.name}: expected {expected}, found {found}. "
            "Check embedding_dim (128 or 512) and the source of the file."
        )
    return [by_suffix[weight.name] for weight in layer.weights]


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


Tensor = Any
Branches = tuple[tuple[tuple[str, int, int | tuple[int, int], int], ...], ...]

# A branch is a chain of convolutions: (name, filters, kernel, stride); stride 2 is unpadded.
_BLOCK35 = (
    (("Conv2d_1x1", 32, 1, 1),),
    (("Conv2d_0a_1x1", 32, 1, 1), ("Conv2d_0b_3x3", 32, 3, 1)),
    (("Conv2d_0a_1x1", 32, 1, 1), ("Conv2d_0b_3x3", 32, 3, 1), ("Conv2d_0c_3x3", 32, 3, 1)),
)
_BLOCK17 = (
    (("Conv2d_1x1", 128, 1, 1),),
    (
        ("Conv2d_0a_1x1", 128, 1, 1),
        ("Conv2d_0b_1x7", 128, (1, 7), 1),
        ("Conv2d_0c_7x1", 128, (7, 1), 1),
    ),
)
_BLOCK8 = (
    (("Conv2d_1x1", 192, 1, 1),),
    (
        ("Conv2d_0a_1x1", 192, 1, 1),
        ("Conv2d_0b_1x3", 192, (1, 3), 1),
        ("Conv2d_0c_3x1", 192, (3, 1), 1),
    ),
)
_MIXED_6A = (
    (("Conv2d_1a_3x3", 384, 3, 2),),
    (("Conv2d_0a_1x1", 192, 1, 1), ("Conv2d_0b_3x3", 192, 3, 1), ("Conv2d_1a_3x3", 256, 3, 2)),
)
_MIXED_7A = (
    (("Conv2d_0a_1x1", 256, 1, 1), ("Conv2d_1a_3x3", 384, 3, 2)),
    (("Conv2d_0a_1x1", 256, 1, 1), ("Conv2d_1a_3x3", 256, 3, 2)),
    (("Conv2d_0a_1x1", 256, 1, 1), ("Conv2d_0b_3x3", 256, 3, 1), ("Conv2d_1a_3x3", 256, 3, 2)),
)


def _stem(x: Tensor) -> Tensor:
    x = _conv(x, "Conv2d_1a_3x3", 32, 3, stride=2, padding="valid")
    x = _conv(x, "Conv2d_2a_3x3", 32, 3, padding="valid")
    x = _conv(x, "Conv2d_2b_3x3", 64, 3)
    x = layers.MaxPooling2D(3, strides=2, name="MaxPool_3a_3x3")(x)
    x = _conv(x, "Conv2d_3b_1x1", 80, 1, padding="valid")
    x = _conv(x, "Conv2d_4a_3x3", 192, 3, padding="valid")
    return _conv(x, "Conv2d_4b_3x3", 256, 3, stride=2, padding="valid")


def _residual(
    x: Tensor, name: str, *, branches: Branches, scale: float, activation: str | None = "relu"
) -> Tensor:
    """`x + scale · conv1×1(branches)`: an Inception-ResNet block; the last one stays linear."""
    mixed = layers.Concatenate(name=f"{name}_Concatenate")(_branches(x, name, branches))
    up = layers.Conv2D(x.shape[-1], 1, name=f"{name}_Conv2d_1x1")(mixed)
    up = layers.Rescaling(scale, name=f"{name}_Scale")(up)
    if activation is None:
        return layers.Add(name=name)([x, up])
    x = layers.Add(name=f"{name}_Add")([x, up])
    return layers.Activation(activation, name=f"{name}_Activation")(x)


def _reduction(x: Tensor, name: str, *, branches: Branches) -> Tensor:
    """Halves the feature map: strided convolutions beside a max pool, joined."""
    pooled = layers.MaxPooling2D(3, strides=2, name=f"{name}_MaxPool_1a_3x3")(x)
    return layers.Concatenate(name=name)([*_branches(x, name, branches), pooled])


def _branches(x: Tensor, name: str, branches: Branches) -> list[Tensor]:
    outputs = []
    for index, chain in enumerate(branches):
        y = x
        for conv_name, filters, kernel, stride in chain:
            padding = "valid" if stride == 2 else "same"
            full_name = f"{name}_Branch_{index}_{conv_name}"
            y = _conv(y, full_name, filters, kernel, stride=stride, padding=padding)
        outputs.append(y)
    return outputs


def _conv(
    x: Tensor,
    name: str,
    filters: int,
    kernel: int | tuple[int, int],
    *,
    stride: int = 1,
    padding: str = "same",
) -> Tensor:
    x = layers.Conv2D(filters, kernel, strides=stride, padding=padding, use_bias=False, name=name)(
        x
    )
    return layers.Activation("relu", name=f"{name}_Activation")(_batch_norm(x, name))


def _batch_norm(x: Tensor, name: str) -> Tensor:
    return layers.BatchNormalization(
        momentum=0.995, epsilon=0.001, scale=False, name=f"{name}_BatchNorm"
    )(x)
