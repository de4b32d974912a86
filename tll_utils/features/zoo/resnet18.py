"""ResNet-18, which keras.applications leaves out, with the calling convention of its siblings."""

from __future__ import annotations

from pathlib import Path

import keras
from keras import layers

STAGE_FILTERS = (64, 128, 256, 512)
BLOCKS_PER_STAGE = 2


def resnet18(
    *,
    include_top: bool = True,
    weights: str | Path | None = None,
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
) -> keras.Model:
    """Builds ResNet-18: a 7×7 stem and four stages of two basic blocks.

    Layers carry the names of KerasHub's ResNet backbone, so its weights fit by name
    (`load_kerashub_weights`). The stages end in `stack0_block1_out` … `stack3_block1_out`.

    Args:
        include_top: Whether to end in average pooling and a softmax over `classes`.
        weights: Path of a `.weights.h5` file saved from this model, or None for random weights.
        input_shape: `(height, width, 3)`; height and width may be None.
        classes: Number of classes of the top.

    Returns:
        A `keras.Model` on preprocessed images `(batch, height, width, 3)`. Without a top it
        returns the last feature map, `(batch, height / 32, width / 32, 512)`.

    Reference:
        He et al., 2016, Deep Residual Learning for Image Recognition, table 1.
    """
    inputs = keras.Input(input_shape, name="image")
    x = layers.ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = layers.Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = _norm(x, "conv1_bn")
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, filters in enumerate(STAGE_FILTERS):
        for block in range(BLOCKS_PER_STAGE):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _basic_block(x, filters, stride=stride, name=f"stack{stage}_block{block}")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(classes, activation="softmax", name="predictions")(x)
    model = keras.Model(inputs, x, name="resnet18")
    if weights is not None:
        model.load_weights(weights)
    return model


def load_kerashub_weights(model: keras.Model, preset: str = "resnet_18_imagenet") -> None:
    """Copies the weights of a KerasHub ResNet-18 into `model`, layer by layer, by name.

    Args:
        model: A model of `resnet18`, with or without its top (the top keeps its own weights).
        preset: Name of a preset, or a local directory that holds one.

    Raises:
        ImportError: If the optional package keras-hub is not installed.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError(
            "ResNet-18 weights come from KerasHub: `pip install keras-hub`, or pass a "
            ".weights.h5 file as `weights`."
        ) from error
    copy_weights_by_name(keras_hub.models.ResNetBackbone.from_preset(preset), model)


def copy_weights_by_name(source: keras.Model, target: keras.Model) -> None:
    """Copies every layer's weights from `source` to the layer of `target` with the same name.

    Raises:
        ValueError: If a layer of `source` with weights has no counterpart in `target`.
    """
    for layer in source.layers:
        if not layer.weights:
            continue
        try:
            target.get_layer(layer.name).set_weights(layer.get_weights())
        except ValueError as error:
            raise ValueError(f"{target.name} can't take layer {layer.name!r}: {error}") from error


def _basic_block(
    x: keras.KerasTensor, filters: int, *, stride: int, name: str
) -> keras.KerasTensor:
    """Two 3×3 convolutions and a shortcut, which is a 1×1 convolution where the shape changes."""
    shortcut = x
    if stride > 1:
        shortcut = layers.Conv2D(filters, 1, strides=stride, use_bias=False, name=f"{name}_0_conv")(
            x
        )
        shortcut = _norm(shortcut, f"{name}_0_bn")
    # Explicit padding: PyTorch pads both sides, Keras "same" would pad only the far side here.
    x = layers.ZeroPadding2D(1, name=f"{name}_1_pad")(x)
    x = layers.Conv2D(filters, 3, strides=stride, use_bias=False, name=f"{name}_1_conv")(x)
    x = _norm(x, f"{name}_1_bn")
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_2_conv")(x)
    x = _norm(x, f"{name}_2_bn")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=name)(x)
