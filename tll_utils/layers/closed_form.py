"""Feature transforms without training; `features.transforms` fits them and sets their weights."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tll_utils.layers.base import Float32Layer, Shape, Tensor, whole_number


@keras.saving.register_keras_serializable(package="tll_utils")
class SignedRoot(Float32Layer):
    """Signed root of each feature, `sign(x) √|x|`: tames the few that would rule every cosine.

    Args:
        smooth: Bool, `sign(x) (√(|x| + ε) − √ε)` with ε = 1e-6 instead, whose slope is finite
            at 0, where a ReLU leaves many features. Needed if gradients flow through the layer.

    Call arguments:
        features: Any shape.

    Returns:
        Float32 of the same shape.
    """

    def __init__(self, *, smooth: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.smooth = bool(smooth)

    def call(self, features: Tensor) -> Tensor:
        features = ops.cast(features, "float32")
        offset = 1e-6 if self.smooth else 0.0
        return ops.sign(features) * (ops.sqrt(ops.abs(features) + offset) - offset**0.5)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smooth": self.smooth}


@keras.saving.register_keras_serializable(package="tll_utils")
class Standardise(Float32Layer):
    """`(x − mean) · scale` per feature: mean 0 and deviation 1, once its weights are set.

    Neither weight is trained. `layer.set_weights([mean, scale])` sets both, each `(d,)`; until
    then the layer changes nothing.

    Call arguments:
        features: Shape `(…, d)`.

    Returns:
        Float32 of the same shape.
    """

    def build(self, input_shape: Shape) -> None:
        shape = (input_shape[-1],)
        self.mean = _constant(self, "mean", shape, "zeros")
        self.scale = _constant(self, "scale", shape, "ones")

    def call(self, features: Tensor) -> Tensor:
        return (ops.cast(features, "float32") - self.mean) * self.scale


@keras.saving.register_keras_serializable(package="tll_utils")
class Whitening(Float32Layer):
    """Multiplies each direction of a basis by its gain, and all that is left by `rest`.

    With more features than pairs, the covariance knows only as many directions as there are
    pairs; storing those, instead of a (d, d) matrix, costs a tenth of the time and memory.

    No weight is trained. `layer.set_weights([mean, basis, gains, rest])` sets them: `mean` `(d,)`,
    subtracted first; `basis` `(d, rank)`, orthonormal columns; `gains` `(rank,)`; `rest` `()`.
    Until then the layer changes nothing.

    Args:
        rank: Int, number of directions in the basis.

    Call arguments:
        features: Shape `(…, d)`.

    Returns:
        Float32 of the same shape.

    Raises:
        ValueError: If `rank` is negative.
    """

    def __init__(self, rank: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rank = whole_number("rank", rank, least=0)

    def build(self, input_shape: Shape) -> None:
        length = input_shape[-1]
        self.mean = _constant(self, "mean", (length,), "zeros")
        self.basis = _constant(self, "basis", (length, self.rank), "zeros")
        self.gains = _constant(self, "gains", (self.rank,), "ones")
        self.rest = _constant(self, "rest", (), "ones")

    def call(self, features: Tensor) -> Tensor:
        centered = ops.cast(features, "float32") - self.mean
        known = ops.matmul(centered, self.basis) * (self.gains - self.rest)
        return centered * self.rest + ops.matmul(known, ops.transpose(self.basis))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rank": self.rank}


def _constant(layer: keras.layers.Layer, name: str, shape: Shape, initializer: str) -> Any:
    """A weight that training leaves alone."""
    return layer.add_weight(name=name, shape=shape, initializer=initializer, trainable=False)
