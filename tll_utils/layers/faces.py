"""Layers that find the face of an image and cut it out, so that a saved model can do it alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tll_utils import images as image_tools
from tll_utils.layers.base import Float32Layer, Tensor, whole_number


@keras.saving.register_keras_serializable(package="tll_utils")
class FindFaces(Float32Layer):
    """Finds the largest face of each image with `images.find_faces`.

    The detector is a cascade with as many steps as there are candidates, no fixed graph. So a
    model with this layer calls it in Python: it can be saved, loaded and served where this
    package is installed, but not exported to a format that runs without Python.

    Call arguments:
        images: RGB in [0, 255], shape `(batch, height, width, 3)`.

    Returns:
        Float32 `(batch, 15)`, as of `images.find_faces`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_jit = False

    def call(self, images: Tensor) -> Tensor:
        if keras.backend.backend() != "tensorflow":
            return ops.convert_to_tensor(_find(ops.convert_to_numpy(images)))
        import tensorflow as tf

        faces = tf.numpy_function(_find, [images], tf.float32)
        return tf.ensure_shape(faces, (None, image_tools.NUM_VALUES))

    def compute_output_spec(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor((images.shape[0], image_tools.NUM_VALUES), "float32")


def _find(images: np.ndarray) -> np.ndarray:
    return image_tools.find_faces([*np.rint(images).clip(0, 255).astype(np.uint8)])


@keras.saving.register_keras_serializable(package="tll_utils")
class AlignFaces(Float32Layer):
    """Cuts faces out as `images.align_face` does, or resizes the image where there is none.

    Args:
        size: `(height, width)` of the result.
        share: Float in (0, 1), from the eyes to the mouth as a share of the shorter side.

    Call arguments:
        inputs: Images `(batch, height, width, 3)` and faces `(batch, 15)` as of `FindFaces`.

    Returns:
        Float32 `(batch, *size, 3)`.
    """

    def __init__(self, size: tuple[int, int], *, share: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = (whole_number("height", size[0]), whole_number("width", size[1]))
        self.share = float(share)

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        images, faces = inputs
        eyes, mouth = (
            ops.mean(ops.reshape(faces[:, start : start + 4], (-1, 2, 2)), axis=1)
            for start in (5, 11)
        )
        distance = ops.norm(mouth - eyes, axis=-1)
        is_cut = ops.logical_and(faces[:, 0] > 0, distance >= 1)[:, None]
        step, middle = distance[:, None] / (self.share * min(self.size)), (eyes + mouth) / 2
        planes = ops.transpose(ops.cast(images, "float32"), (0, 3, 1, 2))
        weights = []
        for length, new, axis in zip(ops.shape(planes)[2:], self.size, (1, 0), strict=True):
            whole = ops.cast(length, "float32")
            steps = ops.where(is_cut, step, whole / new)
            middles = ops.where(is_cut, middle[:, axis, None], (whole - 1) / 2)
            weights.append(_sampling(length, new, steps, middles)[:, None])
        down, across = weights
        planes = ops.matmul(down, ops.matmul(planes, ops.transpose(across, (0, 1, 3, 2))))
        return ops.transpose(planes, (0, 2, 3, 1))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "share": self.share}


def _sampling(length: Any, new_length: int, step: Tensor, middle: Tensor) -> Tensor:
    """Weights of the old pixels in each new one, `(batch, new_length, length)`.

    New pixels lie `step` old ones apart, around `middle`; both are `(batch, 1)`. Beyond the rim
    the outermost pixel counts.
    """
    places = middle + (ops.arange(new_length, dtype="float32") - (new_length - 1) / 2) * step
    places = ops.clip(places, 0.0, ops.cast(length, "float32") - 1)
    old = ops.cast(ops.arange(length), "float32")
    return ops.maximum(1.0 - ops.abs(places[:, :, None] - old), 0.0)
