"""Losses for pairs, triplets and candidate sets, and the metric that they should raise.

Each loss is a pure function, one value per sample, and a thin class that Keras can save with a
model and reduce over replicas. Labels mean 1 = match everywhere. Two losses of this project are
Keras's own: `keras.losses.BinaryCrossentropy` on the probability of a match, and
`keras.losses.SparseCategoricalCrossentropy(from_logits=True)` on candidate scores.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

Tensor = Any  # a tensor of whichever backend Keras runs on, or an array


def contrastive(y_true: Tensor, y_pred: Tensor, *, margin: float) -> Tensor:
    """`½ (y d² + (1 − y) max(margin − d, 0)²)` per pair; see `ContrastiveLoss`."""
    is_match, distance = _per_pair(y_true, y_pred)
    pull = ops.square(distance)
    push = ops.square(ops.maximum(margin - distance, 0.0))
    return 0.5 * (is_match * pull + (1.0 - is_match) * push)


def hinge_distance(y_true: Tensor, y_pred: Tensor, *, margin: float) -> Tensor:
    """`max(0, margin − s d)` per pair, `s` = −1 for a match, else 1; see `HingeDistanceLoss`."""
    is_match, distance = _per_pair(y_true, y_pred)
    sign = 1.0 - 2.0 * is_match
    return ops.maximum(margin - sign * distance, 0.0)


def triplet(y_pred: Tensor, *, margin: float) -> Tensor:
    """`max(D(a, p) − D(a, n) + margin, 0)` per triplet; see `TripletLoss`."""
    y_pred = ops.cast(y_pred, "float32")
    anchor, positive, negative = y_pred[:, 0], y_pred[:, 1], y_pred[:, 2]
    to_positive = ops.sum(ops.square(anchor - positive), axis=-1)
    to_negative = ops.sum(ops.square(anchor - negative), axis=-1)
    return ops.maximum(to_positive - to_negative + margin, 0.0)


def in_batch_softmax(y_pred: Tensor, *, temperature: float) -> Tensor:
    """Cross-entropy of finding the match in the batch, mean of both ways; see the class."""
    y_pred = ops.cast(y_pred, "float32")
    left, right = y_pred[:, 0], y_pred[:, 1]
    logits = ops.matmul(left, ops.transpose(right)) / temperature
    match = ops.diagonal(logits)
    find_right = ops.logsumexp(logits, axis=1) - match
    find_left = ops.logsumexp(logits, axis=0) - match
    return 0.5 * (find_right + find_left)


def candidate_hinge(y_true: Tensor, y_pred: Tensor, *, margin: float) -> Tensor:
    """`max(0, max(negatives) − positive + margin)` per query; see `CandidateHingeLoss`."""
    y_pred = ops.cast(y_pred, "float32")
    is_match = _one_hot(y_true, y_pred)
    positive = _of_match(is_match, y_pred)
    hardest_negative = ops.max(ops.where(is_match > 0, -math.inf, y_pred), axis=-1)
    return ops.maximum(hardest_negative - positive + margin, 0.0)


def candidate_softmax(y_true: Tensor, y_pred: Tensor, *, temperature: float) -> Tensor:
    """Cross-entropy of finding the match among the candidates; see `CandidateSoftmaxLoss`."""
    logits = ops.cast(y_pred, "float32") / temperature
    return ops.logsumexp(logits, axis=-1) - _of_match(_one_hot(y_true, logits), logits)


def candidate_top_k(y_true: Tensor, y_pred: Tensor, k: int = 2) -> Tensor:
    """1.0 where the match ranks among the best `k` candidates, else 0.0; ties count against."""
    y_pred = ops.cast(y_pred, "float32")
    positive = _of_match(_one_hot(y_true, y_pred), y_pred)
    # Counts what is not worse rather than what is better or equal: so NaN counts against as well.
    is_worse = ops.cast(y_pred < positive[:, None], "int32")
    rank = ops.sum(1 - is_worse, axis=-1)
    return ops.cast(rank <= k, "float32")


class _MarginLoss(keras.losses.Loss):
    """A loss with a positive `margin`, which is saved with it."""

    def __init__(self, margin: float, name: str, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.margin = _positive("margin", margin)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin}


class _TemperatureLoss(keras.losses.Loss):
    """A loss with a positive `temperature`, which is saved with it."""

    def __init__(self, temperature: float, name: str, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.temperature = _positive("temperature", temperature)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="tll_utils")
class ContrastiveLoss(_MarginLoss):
    """Draws matches together and pushes the others at least `margin` apart.

    `½ (y d² + (1 − y) max(margin − d, 0)²)` per pair, y = 1 for a match. Report 002 prints the
    formula with the two labels the other way round; its meaning is this one.

    Args:
        margin: Float > 0, in L2 distance. Defaults to `0.5`.

    Call arguments:
        y_true: 1 = match, 0 = no match. Shape `(batch,)` or `(batch, 1)`.
        y_pred: Distances >= 0. Shape `(batch,)` or `(batch, 1)`.

    Returns:
        Loss per pair, shape `(batch,)`, before reduction.

    Raises:
        ValueError: If `margin` is not positive and finite.

    Reference:
        Hadsell et al., 2006, Dimensionality reduction by learning an invariant mapping, eq. 4.

    Example:
        >>> loss = ContrastiveLoss(margin=1.0)
        >>> float(loss([1], [0.5])), float(loss([0], [0.5]))  # a match, and none, 0.5 apart
        (0.125, 0.125)
    """

    def __init__(self, *, margin: float = 0.5, name: str = "contrastive", **kwargs: Any) -> None:
        super().__init__(margin, name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return contrastive(y_true, y_pred, margin=self.margin)


@keras.saving.register_keras_serializable(package="tll_utils")
class HingeDistanceLoss(_MarginLoss):
    """Pushes non-matches at least `margin` apart and shortens every distance of a match.

    `max(0, margin − s d)` per pair, with s = −1 for a match and 1 otherwise: a match costs
    `margin + d`, so its slope never ends; a non-match is free beyond the margin. Report 001 takes
    the sign itself as the label; here, as everywhere, labels are 1 = match.

    Args:
        margin: Float > 0, in L2 distance. Defaults to `1.0`.

    Call arguments:
        y_true: 1 = match, 0 = no match. Shape `(batch,)` or `(batch, 1)`.
        y_pred: Distances >= 0. Shape `(batch,)` or `(batch, 1)`.

    Returns:
        Loss per pair, shape `(batch,)`, before reduction.

    Raises:
        ValueError: If `margin` is not positive and finite.

    Example:
        >>> loss = HingeDistanceLoss(margin=1.0)
        >>> float(loss([1], [0.25])), float(loss([0], [0.25]))  # a match, and none, 0.25 apart
        (1.25, 0.75)
    """

    def __init__(self, *, margin: float = 1.0, name: str = "hinge_distance", **kwargs: Any) -> None:
        super().__init__(margin, name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return hinge_distance(y_true, y_pred, margin=self.margin)


@keras.saving.register_keras_serializable(package="tll_utils")
class TripletLoss(_MarginLoss):
    """Pushes each negative at least `margin` farther away than its positive.

    `max(D(a, p) − D(a, n) + margin, 0)` per triplet, D = squared L2 distance as in FaceNet.

    Args:
        margin: Float > 0, in units of D. Defaults to `0.5`.

    Call arguments:
        y_true: Ignored; Keras requires it. Shape `(batch,)`.
        y_pred: Unit-norm embeddings in the order anchor, positive, negative.
            Shape `(batch, 3, embedding_dim)`.

    Returns:
        Loss per triplet, shape `(batch,)`, before reduction.

    Raises:
        ValueError: If `margin` is not positive and finite.

    Reference:
        Schroff et al., 2015, FaceNet, eq. 2.

    Example:
        >>> loss = TripletLoss(margin=0.5)
        >>> anchor, positive, negative = [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]
        >>> float(loss([0], [[anchor, positive, negative]]))
        2.5
    """

    def __init__(self, *, margin: float = 0.5, name: str = "triplet", **kwargs: Any) -> None:
        super().__init__(margin, name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return triplet(y_pred, margin=self.margin)


@keras.saving.register_keras_serializable(package="tll_utils")
class InBatchSoftmaxLoss(_TemperatureLoss):
    """Finds each match among all pairs of the batch, from left to right and from right to left.

    With `s = left · rightᵀ / temperature`, the mean of the cross-entropy over row i and over
    column i, the match being entry (i, i).

    Attributes:
        over_batch: Always `True`: the loss of a pair depends on the rest of the batch, so the parts
            of a batch on several replicas must be gathered first, as `training.Model` does.
            Elsewhere each replica sees its own part, and there are fewer negatives.

    Args:
        temperature: Float > 0; small = only the nearest negatives count. Defaults to `0.1`.

    Call arguments:
        y_true: Ignored; Keras requires it. Shape `(batch,)`.
        y_pred: Unit-norm embeddings, left then right. Shape `(batch, 2, embedding_dim)`.

    Returns:
        Loss per pair, shape `(batch,)`, before reduction. `log(batch)` when all look alike.

    Raises:
        ValueError: If `temperature` is not positive and finite.

    Reference:
        Sohn, 2016, N-pair loss; van den Oord et al., 2018, InfoNCE; Radford et al., 2021, CLIP.

    Example:
        >>> loss = InBatchSoftmaxLoss(temperature=1.0)
        >>> one = [[1.0, 0.0], [1.0, 0.0]]  # two equal pairs: a guess between two
        >>> round(float(loss([0, 0], [one, one])), 4)
        0.6931
    """

    over_batch = True

    def __init__(
        self, *, temperature: float = 0.1, name: str = "in_batch_softmax", **kwargs: Any
    ) -> None:
        super().__init__(temperature, name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return in_batch_softmax(y_pred, temperature=self.temperature)


@keras.saving.register_keras_serializable(package="tll_utils")
class CandidateHingeLoss(_MarginLoss):
    """Asks the match to beat the best other candidate by `margin`.

    `max(0, max(negatives) − positive + margin)` per query, wherever the match stands.

    Args:
        margin: Float > 0, in units of the scores. Defaults to `1.0`.

    Call arguments:
        y_true: Place of the match, integers of shape `(batch,)` or `(batch, 1)`.
        y_pred: Scores, higher = more alike. Shape `(batch, num_candidates)`.

    Returns:
        Loss per query, shape `(batch,)`, before reduction.

    Raises:
        ValueError: If `margin` is not positive and finite.

    Example:
        >>> loss = CandidateHingeLoss(margin=1.0)
        >>> round(float(loss([0], [[0.5, 0.25, 0.75]])), 4)
        1.25
    """

    def __init__(
        self, *, margin: float = 1.0, name: str = "candidate_hinge", **kwargs: Any
    ) -> None:
        super().__init__(margin, name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return candidate_hinge(y_true, y_pred, margin=self.margin)


@keras.saving.register_keras_serializable(package="tll_utils")
class CandidateSoftmaxLoss(_TemperatureLoss):
    """Asks for the match among all candidates at once: cross-entropy of `scores / temperature`.

    Every candidate pulls, the nearest most; the hinge of report 004 feels the best one only.

    Args:
        temperature: Float > 0, in units of the scores. Defaults to `0.05`.

    Call arguments:
        y_true: Place of the match, integers of shape `(batch,)` or `(batch, 1)`.
        y_pred: Scores, higher = more alike. Shape `(batch, num_candidates)`.

    Returns:
        Loss per query, shape `(batch,)`, before reduction; `log(num_candidates)` for equal scores.

    Raises:
        ValueError: If `temperature` is not positive and finite.

    Example:
        >>> loss = CandidateSoftmaxLoss(temperature=1.0)
        >>> round(float(loss([0], [[0.0, 0.0]])), 4)
        0.6931
    """

    def __init__(
        self, *, temperature: float = 0.05, name: str = "candidate_softmax", **kwargs: Any
    ) -> None:
        super().__init__(temperature, name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return candidate_softmax(y_true, y_pred, temperature=self.temperature)


@keras.saving.register_keras_serializable(package="tll_utils")
class CandidateTopK(keras.metrics.MeanMetricWrapper):
    """Share of queries whose match ranks among the best `k` candidates; ties count against.

    Keras's own `TopKCategoricalAccuracy` counts ties for the model: it gives a constant scorer
    full marks, this one gives it 0. A score that is not a number counts against as well.

    Args:
        k: Int >= 1. Defaults to `2`.

    Call arguments:
        y_true: Place of the match, integers of shape `(batch,)` or `(batch, 1)`.
        y_pred: Scores, higher = more alike. Shape `(batch, num_candidates)`.

    Raises:
        ValueError: If `k` is not a whole number of at least 1.
    """

    def __init__(self, k: int = 2, name: str | None = None, dtype: Any = None) -> None:
        if k != int(k) or k < 1:
            raise ValueError(f"`k` must be a whole number of at least 1. Received: k={k!r}")
        self.k = int(k)
        super().__init__(candidate_top_k, name=name or f"top_{self.k}", dtype=dtype, k=self.k)

    def get_config(self) -> dict[str, Any]:
        return {"k": self.k, "name": self.name, "dtype": self.dtype}


def _per_pair(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Labels and distances as float32 vectors of shape `(batch,)`."""
    is_match = ops.reshape(ops.cast(y_true, "float32"), (-1,))
    return is_match, ops.reshape(ops.cast(y_pred, "float32"), (-1,))


def _one_hot(places: Tensor, scores: Tensor) -> Tensor:
    """Places `(batch,)` or `(batch, 1)` as one-hot rows like `scores`."""
    places = ops.cast(ops.reshape(places, (-1,)), "int32")
    return ops.one_hot(places, scores.shape[-1], dtype=scores.dtype)


def _of_match(is_match: Tensor, scores: Tensor) -> Tensor:
    """Score of the match, shape `(batch,)`; the other scores may even be infinite."""
    return ops.sum(ops.where(is_match > 0, scores, 0.0), axis=-1)


def _positive(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"`{name}` must be positive and finite. Received: {name}={value!r}")
    return float(value)
