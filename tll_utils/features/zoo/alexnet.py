"""AlexNet as published in 2012, local response normalization included."""

from __future__ import annotations

from pathlib import Path

import keras
from keras import layers

from tll_utils.layers import LocalResponseNormalization


def alexnet(
    *,
    include_top: bool = True,
    weights: str | Path | None = None,
    input_shape: tuple[int | None, int | None, int] = (227, 227, 3),
    classes: int = 1000,
) -> keras.Model:
    """Builds AlexNet: five convolutions, three of them in two groups, and three dense layers.

    The feature map of each stage is called `relu1` … `relu5`, and `pool5` is the last.

    Args:
        include_top: Whether to end in the dense layers and a softmax over `classes`.
        weights: Path of a `.weights.h5` file saved from this model, or None for random weights.
        input_shape: `(height, width, 3)`; the paper's 224 only works out as 227.
        classes: Number of classes of the top.

    Returns:
        A `keras.Model` on preprocessed images `(batch, height, width, 3)`. Without a top it
        returns `pool5`, `(batch, 6, 6, 256)` for the default shape.

    Reference:
        Krizhevsky et al., 2012, ImageNet Classification with Deep CNNs, figure 2.
    """
    inputs = keras.Input(input_shape, name="image")
    x = layers.Conv2D(96, 11, strides=4, activation="relu", name="relu1")(inputs)
    x = LocalResponseNormalization(name="norm1")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    # The two groups are the two GPUs of the paper.
    x = layers.Conv2D(256, 5, padding="same", groups=2, activation="relu", name="relu2")(x)
    x = LocalResponseNormalization(name="norm2")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool2")(x)
    x = layers.Conv2D(384, 3, padding="same", activation="relu", name="relu3")(x)
    x = layers.Conv2D(384, 3, padding="same", groups=2, activation="relu", name="relu4")(x)
    x = layers.Conv2D(256, 3, padding="same", groups=2, activation="relu", name="relu5")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool5")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        for name in ("fc6", "fc7"):
            x = layers.Dense(4096, activation="relu", name=name)(x)
            x = layers.Dropout(0.5, name=f"{name}_dropout")(x)
        x = layers.Dense(classes, activation="softmax", name="predictions")(x)
    model = keras.Model(inputs, x, name="alexnet")
    if weights is not None:
        model.load_weights(weights)
    return model
