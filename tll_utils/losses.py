"""Losses for pairs, triplets and candidate sets, and the metric that they should raise.

Each loss is a pure function, one value per sample, and a thin class that Keras can save with a
model and reduce over replicas. Labels mean 1 = match everywhere. Two losses of this project are
Keras's own: `keras.losses.BinaryCrossentropy` on the probability of a match, and
`keras.losses.SparseCategoricalCrossentropy(from_logits=True)` on candidate scores.
"""

import keras
from keras import ops

# Keeps the slope of a square root finite where two embeddings coincide.
TINY = 1e-12


def contrastive(y_true, y_pred, *, margin):
    """`½ (y d² + (1 − y) max(margin − d, 0)²)` per pair; see `ContrastiveLoss`."""
    is_match, distance = _per_pair(y_true, y_pred)
    pull = ops.square(distance)
    push = ops.square(ops.maximum(margin - distance, 0.0))
    return 0.5 * (is_match * pull + (1.0 - is_match) * push)


def hinge_distance(y_true, y_pred, *, margin):
    """`max(0, margin − s d)` per pair, `s` = −1 for a match, else 1; see `HingeDistanceLoss`."""
    is_match, distance = _per_pair(y_true, y_pred)
    sign = 1.0 - 2.0 * is_match
    return ops.maximum(margin - sign * distance, 0.0)


def triplet(y_pred, *, margin, squared=True):
    """`max(D(a, p) − D(a, n) + margin, 0)` per triplet; see `TripletLoss`."""
    anchor, positive, negative = y_pred[:, 0], y_pred[:, 1], y_pred[:, 2]
    to_positive = ops.sum(ops.square(anchor - positive), axis=-1)
    to_negative = ops.sum(ops.square(anchor - negative), axis=-1)
    if not squared:
        to_positive = ops.sqrt(ops.maximum(to_positive, TINY))
        to_negative = ops.sqrt(ops.maximum(to_negative, TINY))
    return ops.maximum(to_positive - to_negative + margin, 0.0)


def in_batch_softmax(y_pred, *, temperature):
    """Cross-entropy of finding the match in the batch, mean of both ways; see the class."""
    left, right = y_pred[:, 0], y_pred[:, 1]
    logits = ops.matmul(left, ops.transpose(right)) / temperature
    match = ops.diagonal(logits)
    find_right = ops.logsumexp(logits, axis=1) - match
    find_left = ops.logsumexp(logits, axis=0) - match
    return 0.5 * (find_right + find_left)


def candidate_hinge(y_true, y_pred, *, margin):
    """`max(0, max(negatives) − positive + margin)` per query; see `CandidateHingeLoss`."""
    y_pred = ops.convert_to_tensor(y_pred)
    is_match = _one_hot(y_true, y_pred)
    positive = ops.sum(is_match * y_pred, axis=-1)
    # The match leaves the race by a handicap that no score in [0, 1] can make up.
    hardest_negative = ops.max(y_pred - 1e6 * is_match, axis=-1)
    return ops.maximum(hardest_negative - positive + margin, 0.0)


def candidate_softmax(y_true, y_pred, *, temperature):
    """Cross-entropy of finding the match among the candidates; see `CandidateSoftmaxLoss`."""
    logits = ops.convert_to_tensor(y_pred) / temperature
    match = ops.sum(_one_hot(y_true, logits) * logits, axis=-1)
    return ops.logsumexp(logits, axis=-1) - match


def candidate_top_k(y_true, y_pred, k=2):
    """1.0 where the match ranks among the best `k` candidates, else 0.0; ties count against."""
    y_pred = ops.convert_to_tensor(y_pred)
    is_match = _one_hot(y_true, y_pred)
    positive = ops.sum(is_match * y_pred, axis=-1, keepdims=True)
    rank = ops.sum(ops.cast(y_pred >= positive, "int32"), axis=-1)
    return ops.cast(rank <= k, "float32")


@keras.saving.register_keras_serializable(package="tll_utils")
class ContrastiveLoss(keras.losses.Loss):
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
        ValueError: If `margin` is not positive.

    Reference:
        Hadsell et al., 2006, Dimensionality reduction by learning an invariant mapping, eq. 4.
    """

    def __init__(self, *, margin=0.5, name="contrastive", **kwargs):
        super().__init__(name=name, **kwargs)
        self.margin = _positive("margin", margin)

    def call(self, y_true, y_pred):
        return contrastive(y_true, y_pred, margin=self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable(package="tll_utils")
class HingeDistanceLoss(keras.losses.Loss):
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
        ValueError: If `margin` is not positive.
    """

    def __init__(self, *, margin=1.0, name="hinge_distance", **kwargs):
        super().__init__(name=name, **kwargs)
        self.margin = _positive("margin", margin)

    def call(self, y_true, y_pred):
        return hinge_distance(y_true, y_pred, margin=self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable(package="tll_utils")
class TripletLoss(keras.losses.Loss):
    """Pushes each negative at least `margin` farther away than its positive.

    `max(D(a, p) − D(a, n) + margin, 0)` per triplet, D = squared L2 distance as in FaceNet, or
    the plain distance.

    Args:
        margin: Float > 0, in units of D. Defaults to `0.5`.
        squared: Bool, whether D is squared. Defaults to `True`.

    Call arguments:
        y_true: Ignored; Keras requires it. Shape `(batch,)`.
        y_pred: Unit-norm embeddings in the order anchor, positive, negative.
            Shape `(batch, 3, embedding_dim)`.

    Returns:
        Loss per triplet, shape `(batch,)`, before reduction.

    Raises:
        ValueError: If `margin` is not positive.

    Reference:
        Schroff et al., 2015, FaceNet, eq. 2.
    """

    def __init__(self, *, margin=0.5, squared=True, name="triplet", **kwargs):
        super().__init__(name=name, **kwargs)
        self.margin = _positive("margin", margin)
        self.squared = bool(squared)

    def call(self, y_true, y_pred):
        return triplet(y_pred, margin=self.margin, squared=self.squared)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "squared": self.squared}


@keras.saving.register_keras_serializable(package="tll_utils")
class InBatchSoftmaxLoss(keras.losses.Loss):
    """Finds each match among all pairs of the batch, from left to right and from right to left.

    With `s = left · rightᵀ / temperature`, the mean of the cross-entropy over row i and over
    column i, the match being entry (i, i). On several replicas each one sees its own part of
    the batch, so that there are fewer negatives.

    Args:
        temperature: Float > 0; small = only the nearest negatives count. Defaults to `0.1`.

    Call arguments:
        y_true: Ignored; Keras requires it. Shape `(batch,)`.
        y_pred: Unit-norm embeddings, left then right. Shape `(batch, 2, embedding_dim)`.

    Returns:
        Loss per pair, shape `(batch,)`, before reduction. `log(batch)` when all look alike.

    Raises:
        ValueError: If `temperature` is not positive.

    Reference:
        Sohn, 2016, N-pair loss; van den Oord et al., 2018, InfoNCE; Radford et al., 2021, CLIP.
    """

    def __init__(self, *, temperature=0.1, name="in_batch_softmax", **kwargs):
        super().__init__(name=name, **kwargs)
        self.temperature = _positive("temperature", temperature)

    def call(self, y_true, y_pred):
        return in_batch_softmax(y_pred, temperature=self.temperature)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="tll_utils")
class CandidateHingeLoss(keras.losses.Loss):
    """Asks the match to beat the best other candidate by `margin`.

    `max(0, max(negatives) − positive + margin)` per query, wherever the match stands.

    Args:
        margin: Float > 0, in units of the scores. Defaults to `1.0`.

    Call arguments:
        y_true: Place of the match, integers of shape `(batch,)` or `(batch, 1)`, or one-hot of
            shape `(batch, num_candidates)`.
        y_pred: Scores in [0, 1], higher = more alike. Shape `(batch, num_candidates)`.

    Returns:
        Loss per query, shape `(batch,)`, before reduction.

    Raises:
        ValueError: If `margin` is not positive.
    """

    def __init__(self, *, margin=1.0, name="candidate_hinge", **kwargs):
        super().__init__(name=name, **kwargs)
        self.margin = _positive("margin", margin)

    def call(self, y_true, y_pred):
        return candidate_hinge(y_true, y_pred, margin=self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable(package="tll_utils")
class CandidateSoftmaxLoss(keras.losses.Loss):
    """Asks for the match among all candidates at once: cross-entropy of `scores / temperature`.

    Every candidate pulls, the nearest most; the hinge of report 004 hears the best one alone.

    Args:
        temperature: Float > 0, in units of the scores. Defaults to `0.05`.

    Call arguments:
        y_true: Place of the match, integers of shape `(batch,)` or `(batch, 1)`, or one-hot of
            shape `(batch, num_candidates)`.
        y_pred: Scores, higher = more alike. Shape `(batch, num_candidates)`.

    Returns:
        Loss per query, shape `(batch,)`, before reduction; `log(num_candidates)` for equal scores.

    Raises:
        ValueError: If `temperature` is not positive.
    """

    def __init__(self, *, temperature=0.05, name="candidate_softmax", **kwargs):
        super().__init__(name=name, **kwargs)
        self.temperature = _positive("temperature", temperature)

    def call(self, y_true, y_pred):
        return candidate_softmax(y_true, y_pred, temperature=self.temperature)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="tll_utils")
class CandidateTopK(keras.metrics.MeanMetricWrapper):
    """Share of queries whose match ranks among the best `k` candidates; ties count against.

    Keras's own `TopKCategoricalAccuracy` counts ties for the model: it gives a constant scorer
    full marks, this one gives it 0.

    Args:
        k: Int >= 1. Defaults to `2`.

    Call arguments:
        y_true: Place of the match, integers of shape `(batch,)` or `(batch, 1)`, or one-hot of
            shape `(batch, num_candidates)`.
        y_pred: Scores, higher = more alike. Shape `(batch, num_candidates)`.

    Raises:
        ValueError: If `k` is below 1.
    """

    def __init__(self, k=2, name=None, dtype=None):
        self.k = int(_positive("k", k))
        super().__init__(candidate_top_k, name=name or f"top_{self.k}", dtype=dtype, k=self.k)

    def get_config(self):
        return {"k": self.k, "name": self.name, "dtype": self.dtype}


def _per_pair(y_true, y_pred):
    """Labels and distances as float vectors of shape `(batch,)`."""
    distance = ops.reshape(ops.convert_to_tensor(y_pred), (-1,))
    return ops.cast(ops.reshape(y_true, (-1,)), distance.dtype), distance


def _one_hot(y_true, y_pred):
    """Places `(batch,)` or `(batch, 1)`, or one-hot rows, as one-hot rows like `y_pred`."""
    y_true = ops.convert_to_tensor(y_true)
    num_candidates = y_pred.shape[-1]
    if len(y_true.shape) == 2 and y_true.shape[-1] == num_candidates:
        return ops.cast(y_true, y_pred.dtype)
    places = ops.cast(ops.reshape(y_true, (-1,)), "int32")
    return ops.one_hot(places, num_candidates, dtype=y_pred.dtype)


def _positive(name, value):
    if not value > 0:
        raise ValueError(f"`{name}` must be positive. Received: {name}={value!r}")
    return value
