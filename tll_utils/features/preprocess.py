"""What each release of weights expects of its images, made from RGB in [0, 255].

Each function takes an array or, while a model is built, a symbolic tensor; what it adds to a model
is plain Keras, so that the model can be saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

# Of the ImageNet training set, R, G, B in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)  # of B, G, R in [0, 255]


def none(images: Any) -> Any:
    """For networks whose first layer does it."""
    return images


def to_unit_range(images: Any) -> Any:
    """[0, 255] to [−1, 1]: MobileNets, Inception."""
    return keras.layers.Rescaling(1 / 127.5, -1.0)(images)


def caffe(images: Any) -> Any:
    """BGR less the mean: ResNet and VGG of Keras, AlexNet."""
    offset = [-mean for mean in CAFFE_MEAN]
    return keras.layers.Rescaling([1.0, 1.0, 1.0], offset)(ops.flip(images, axis=-1))


def imagenet_statistics(images: Any) -> Any:
    """Mean 0 and deviation 1 over ImageNet: DenseNet and what was trained with PyTorch."""
    return _standardized(images, IMAGENET_MEAN, IMAGENET_DEVIATION)


def clip(images: Any) -> Any:
    """Mean 0 and deviation 1 over CLIP's own training images."""
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return _standardized(images, mean, deviation)


def _standardized(images: Any, mean: Sequence[float], deviation: Sequence[float]) -> Any:
    offset = [-m / d for m, d in zip(mean, deviation, strict=True)]
    return keras.layers.Rescaling([1 / (255 * d) for d in deviation], offset)(images)


def efficientnet_lite(images: Any) -> Any:
    """`(x − 127) / 128`, as EfficientNet-Lite was trained, so that it can be quantized."""
    return keras.layers.Rescaling(1 / 128, -127 / 128)(images)


def facenet_fixed(images: Any) -> Any:
    """`(x − 127.5) / 128`: FaceNet's releases of 2018."""
    return keras.layers.Rescaling(1 / 128, -127.5 / 128)(images)


def facenet_per_image(images: Any) -> Any:
    """Mean 0 and deviation 1 of each image alone: FaceNet's releases of 2017.

    The deviation is floored at `1 / sqrt(values)`, so that a flat image becomes zeros.

    Args:
        images: RGB in [0, 255], shape `(batch, height, width, 3)`, of known height and width.
    """
    images = ops.cast(images, "float32")
    height, width, channels = images.shape[1:]
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    deviation = ops.std(images, axis=(1, 2, 3), keepdims=True)
    return (images - mean) / ops.maximum(deviation, (height * width * channels) ** -0.5)
