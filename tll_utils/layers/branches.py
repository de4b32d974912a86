"""One network for all images of a pair, triplet or candidate set, and what compares its outputs."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tll_utils.layers.base import TINY, Float32Layer, Shape, Tensor


@keras.saving.register_keras_serializable(package="tll_utils")
class Branches(keras.layers.Wrapper):
    """Sends the k images of an example through one shared network, as one folded batch.

    Args:
        layer: The shared network, a layer or model with one input and one output.

    Call arguments:
        inputs: Shape `(batch, k, …)`, `…` being what the network takes.

    Returns:
        Shape `(batch, k, …)`, `…` being what the network gives, in its dtype.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        # The network casts for itself. Its first layer may be one that needs all of float32.
        self.autocast = False

    def build(self, input_shape: Shape) -> None:
        if not self.layer.built:
            self.layer.build((None, *input_shape[2:]))

    # The network finds `training` in the call around it, as every layer inside another does.
    def call(self, inputs: Tensor) -> Tensor:
        size = ops.shape(inputs)
        outputs = self.layer(ops.reshape(inputs, (-1, *size[2:])))
        return ops.reshape(outputs, (-1, size[1], *ops.shape(outputs)[1:]))

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        folded = keras.KerasTensor((None, *inputs.shape[2:]), inputs.dtype)
        outputs = self.layer.compute_output_spec(folded)
        return keras.KerasTensor((*inputs.shape[:2], *outputs.shape[1:]), outputs.dtype)


@keras.saving.register_keras_serializable(package="tll_utils")
class PairDistance(Float32Layer):
    """Euclidean distance of the two embeddings of a pair.

    Call arguments:
        embeddings: Shape `(batch, 2, d)`.

    Returns:
        Shape `(batch, 1)`, float32. Never below 1e-6, so that its slope stays finite.
    """

    def call(self, embeddings: Tensor) -> Tensor:
        embeddings = ops.cast(embeddings, "float32")
        squares = ops.square(embeddings[:, 0] - embeddings[:, 1])
        # At distance 0 the slope of the root is infinite.
        return ops.sqrt(ops.maximum(ops.sum(squares, axis=-1, keepdims=True), TINY))


@keras.saving.register_keras_serializable(package="tll_utils")
class PairDifference(Float32Layer):
    """Absolute difference of the two embeddings of a pair, entry by entry.

    Call arguments:
        embeddings: Shape `(batch, 2, d)`.

    Returns:
        Shape `(batch, d)`, float32.
    """

    def call(self, embeddings: Tensor) -> Tensor:
        embeddings = ops.cast(embeddings, "float32")
        return ops.abs(embeddings[:, 0] - embeddings[:, 1])


@keras.saving.register_keras_serializable(package="tll_utils")
class CandidateScores(Float32Layer):
    """Cosine of each query with its own m candidates, mapped from [-1, 1] to [0, 1].

    Call arguments:
        embeddings: Unit-norm `(batch, 1 + m, d)`: each query, then its candidates.

    Returns:
        Shape `(batch, m)`, float32: 0 = opposite, ½ = unrelated, 1 = same direction.
    """

    def call(self, embeddings: Tensor) -> Tensor:
        embeddings = ops.cast(embeddings, "float32")
        query, candidates = embeddings[:, :1], embeddings[:, 1:]
        return (1.0 + ops.sum(query * candidates, axis=-1)) / 2.0
