"""Local response normalization, which AlexNet has and Keras lacks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tll_utils.layers.base import Float32Layer, Shape, Tensor


@keras.saving.register_keras_serializable(package="tll_utils")
class LocalResponseNormalization(Float32Layer):
    """Divides each channel by the strength of its neighbors, so that the loudest one stands out.

    `b_i = a_i / (bias + alpha · Σ a_j²) ** beta`, over the `depth` channels `j` around `i`.
    Channels beyond the first and the last count as zero.

    Args:
        depth: Odd int, number of neighboring channels `n`, channel `i` included.
        bias: Float > 0, the `k` of the paper.
        alpha: Float, weight of the summed squares.
        beta: Float, exponent.

    Call arguments:
        inputs: `(…, channels)`.

    Returns:
        Float32 of the same shape; half precision would overflow in the squares.

    Raises:
        ValueError: If `depth` is not a positive odd number.

    Reference:
        Krizhevsky et al., 2012, ImageNet Classification with Deep CNNs, section 3.3.
    """

    def __init__(
        self,
        depth: int = 5,
        *,
        bias: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if depth < 1 or depth % 2 == 0:
            raise ValueError(f"`depth` must be a positive odd number. Received: depth={depth}")
        self.depth = depth
        self.bias = bias
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs: Tensor) -> Tensor:
        channels = inputs.shape[-1]
        reach = self.depth // 2
        padding = [(0, 0)] * (len(inputs.shape) - 1) + [(reach, reach)]
        squares = ops.pad(ops.square(inputs), padding)
        energy = sum(squares[..., shift : shift + channels] for shift in range(self.depth))
        return inputs / (self.bias + self.alpha * energy) ** self.beta

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        own = {"depth": self.depth, "bias": self.bias, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **own}
