"""Local response normalization, which AlexNet has and Keras lacks."""

from __future__ import annotations

import keras
from keras import ops

from tll_utils.layers.base import Float32Layer, Tensor


@keras.saving.register_keras_serializable(package="tll_utils")
class LocalResponseNormalization(Float32Layer):
    """Divides each channel by the strength of its neighbors, so that the loudest one stands out.

    `b_i = a_i / (2 + 1e-4 · Σ a_j²) ** 0.75`, over the 5 channels `j` around `i`, as in the paper.
    Channels beyond the first and the last count as zero.

    Call arguments:
        inputs: `(…, channels)`.

    Returns:
        Float32 of the same shape; half precision would overflow in the squares.

    Reference:
        Krizhevsky et al., 2012, ImageNet Classification with Deep CNNs, section 3.3.
    """

    def call(self, inputs: Tensor) -> Tensor:
        channels = inputs.shape[-1]
        padding = [(0, 0)] * (len(inputs.shape) - 1) + [(2, 2)]
        squares = ops.pad(ops.square(inputs), padding)
        energy = sum(squares[..., shift : shift + channels] for shift in range(5))
        return inputs / (2.0 + 1e-4 * energy) ** 0.75
