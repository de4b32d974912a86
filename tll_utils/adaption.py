"""Adapts stored features to the human idea of likeness: in closed form, or with a trained head.

All of it is fitted on training pairs and applied to anything: `left` and `right` are features
`(pairs, d)`, row i of one being the match of row i of the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from scipy import linalg, stats
from sklearn.utils import extmath

from tll_utils import losses, scoring
from tll_utils.models import heads, siamese

Transform = Callable[[np.ndarray], np.ndarray]


def power(features: np.ndarray, exponent: float = 0.5) -> np.ndarray:
    """Signed power of each feature: 0.5 tames the few units that would rule every cosine."""
    return np.sign(features) * np.abs(features) ** np.float32(exponent)


def join(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Joins blocks of features, each scaled to length 1 so that all count alike.

    blocks: arrays `(n, d_i)`. Returns float32 `(n, sum of d_i)`.
    """
    return np.concatenate([scoring.unit_norm(block) for block in blocks], axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Affine:
    """The map `(x − mean) · scale`, or `(x − mean) @ scale` for a matrix.

    Attributes:
        mean: Float32 `(d,)`.
        scale: Float32 `(d,)` or `(d, k)`.
    """

    mean: np.ndarray
    scale: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        centred = np.asarray(features, np.float32) - self.mean
        return centred * self.scale if self.scale.ndim == 1 else centred @ self.scale


def standardiser(left: np.ndarray, right: np.ndarray) -> Affine:
    """Gives each feature mean 0 and deviation 1 over both sides; constant ones become 0."""
    images = np.concatenate([left, right])
    deviation = images.std(axis=0)
    varies = deviation > 1e-6 * max(deviation.max(), 1e-12)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    return Affine(images.mean(axis=0).astype(np.float32), scale.astype(np.float32))


def principal_components(left: np.ndarray, right: np.ndarray, dim: int, *, seed: int = 0) -> Affine:
    """Keeps the `dim` directions in which the images differ most, fewer if there are fewer."""
    images = np.concatenate([left, right]).astype(np.float32)
    mean = images.mean(axis=0)
    dim = min(dim, *images.shape)
    _, _, directions = extmath.randomized_svd(images - mean, dim, random_state=seed)
    return Affine(mean, directions.T)


@dataclasses.dataclass(frozen=True, eq=False)
class Whitening:
    """Multiplies each direction of `basis` by its gain, and all that is left by `rest`.

    With more features than pairs, the covariance knows only as many directions as there are
    pairs; storing those, instead of a (d, d) matrix, costs a tenth of the time and memory.

    Attributes:
        mean: Float32 `(d,)`, subtracted first.
        basis: Float32 `(d, r)`, orthonormal columns.
        gains: Float32 `(r,)`.
        rest: Float, gain of everything orthogonal to the basis.
    """

    mean: np.ndarray
    basis: np.ndarray
    gains: np.ndarray
    rest: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        centred = np.asarray(features, np.float32) - self.mean
        known = (centred @ self.basis) * (self.gains - self.rest)
        return centred * self.rest + known @ self.basis.T


def within_pair_whitening(
    left: np.ndarray, right: np.ndarray, *, shrinkage: float = 0.9
) -> Whitening:
    """Shrinks the directions in which the two images of a pair differ, in closed form.

    With the differences `d = left − right` of the training pairs, features are centred and
    multiplied by `((1 − shrinkage) · cov(d) + shrinkage · tr(cov(d)) / dim)^(−½)`; cosine
    follows. What differs within pairs cannot be what makes them look alike.

    Args:
        left, right: Float `(pairs, d)`.
        shrinkage: Float in (0, 1], the weight of the identity; 1 leaves the cosines as they are,
            small values trust the covariance, which takes many pairs.

    Raises:
        ValueError: If `shrinkage` is outside (0, 1].

    Reference:
        Mikolajczyk and Matas, 2007, Improving descriptors by optimal linear projection; the
        shrinkage is Ledoit and Wolf's, 2004.
    """
    if not 0 < shrinkage <= 1:
        raise ValueError(f"`shrinkage` must be in (0, 1]. Received: shrinkage={shrinkage}")
    left, right = np.asarray(left, np.float32), np.asarray(right, np.float32)
    difference = (left - right) / np.float32(np.sqrt(len(left)))
    variances, basis = _spectrum(difference)
    floor = shrinkage * max(float((difference**2).sum()) / left.shape[1], 1e-12)
    gains = ((1 - shrinkage) * variances + floor) ** -0.5
    mean = (left.mean(axis=0) + right.mean(axis=0)) / 2
    return Whitening(mean, basis, gains.astype(np.float32), floor**-0.5)


@dataclasses.dataclass(frozen=True)
class HeadSettings:
    """How an adaption head is built and trained; hashable, so that `choose` can compare some.

    Attributes:
        embedding_dim: Length of the embedding.
        hidden_dim: Units of a hidden ReLU layer, or None for a linear map.
        dropout: Share of the features that are silenced in training.
        temperature: Of the in-batch softmax; small = only the nearest negatives count.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        epochs: Passes over the training pairs.
        batch_size: Pairs per step; each sees `batch_size − 1` negatives both ways.
    """

    embedding_dim: int = 256
    hidden_dim: int | None = None
    dropout: float = 0.3
    temperature: float = 0.2
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    epochs: int = 40
    batch_size: int = 256


def train_head(
    left: np.ndarray,
    right: np.ndarray,
    settings: HeadSettings | None = None,
    *,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> tuple[keras.Model, keras.callbacks.History]:
    """Trains an adaption head to find each match among all others of its batch.

    Seeds Keras, so that the same call gives the same head.

    Args:
        left, right: Stored features `(pairs, d)` of the training side.
        settings: Defaults to `HeadSettings()`.
        validation: `(left, right)` of other pairs, for the loss curve only.
        seed: Int.

    Returns:
        The head, a model features → unit-norm embeddings, and the history of the loss.
    """
    settings = settings or HeadSettings()
    keras.utils.set_random_seed(seed)
    head = heads.adaption_head(
        left.shape[1],
        embedding_dim=settings.embedding_dim,
        hidden_dim=settings.hidden_dim,
        dropout=settings.dropout,
        seed=seed,
    )
    model = siamese.branches(head, 2)
    model.compile(
        keras.optimizers.AdamW(settings.learning_rate, weight_decay=settings.weight_decay),
        losses.InBatchSoftmaxLoss(temperature=settings.temperature),
    )
    history = model.fit(
        _Batches(left, right, settings.batch_size, seed=seed),
        validation_data=_Batches(*validation, len(validation[0])) if validation else None,
        epochs=settings.epochs,
        shuffle=False,  # the batches shuffle themselves
        verbose=0,
    )
    return head, history


def closed_form(left: np.ndarray, right: np.ndarray, shrinkage: float = 0.9) -> Transform:
    """Fits standardising and within-pair whitening; returns both as one transform."""
    standardise = standardiser(left, right)
    left, right = standardise(left), standardise(right)
    return chain(standardise, within_pair_whitening(left, right, shrinkage=shrinkage))


def trained_head(
    left: np.ndarray,
    right: np.ndarray,
    settings: HeadSettings | None = None,
    *,
    shrinkage: float = 0.9,
    dim: int = 256,
    seed: int = 0,
) -> Transform:
    """Fits an adaption head on the principal components of features whitened in closed form.

    Args:
        left, right: Features `(pairs, d)`.
        settings: Of the head.
        shrinkage: Of `closed_form`, which comes first; 1 means standardising alone.
        dim: Number of principal components, the inputs of the head.
        seed: Int.

    Returns:
        The whole way from features to unit-norm embeddings.
    """
    prepare = closed_form(left, right, shrinkage)
    left, right = prepare(left), prepare(right)
    components = principal_components(left, right, dim, seed=seed)
    head, _ = train_head(components(left), components(right), settings, seed=seed)
    return chain(prepare, components, lambda features: siamese.embed(head, features))


def cosine_of(transform: Transform):
    """Scores candidate lists by the cosine of transformed features, as experiments take it."""
    return lambda queries, gallery, candidates: scoring.cosine_scores(
        transform(queries), transform(gallery), candidates
    )


def chain(*transforms: Transform) -> Transform:
    """Applies transforms from first to last."""

    def apply(features):
        for transform in transforms:
            features = transform(features)
        return features

    return apply


def expected_top_k(queries: np.ndarray, gallery: np.ndarray, *, m: int = 20, k: int = 2) -> float:
    """Top-k accuracy by cosine, averaged over all candidate lists of m that could be drawn.

    Query i matches gallery row i. A list of the match and m − 1 others holds at most k − 1 better
    ones with a hypergeometric probability, so no list needs to be drawn: less noise, for choosing.
    """
    places = scoring.gallery_ranks(queries, gallery, np.arange(len(queries)))
    others = len(gallery) - 1
    m = min(m, len(gallery))
    return float(stats.hypergeom.cdf(k - 1, others, places - 1, m - 1).mean())


def choose(
    options: Sequence[Any],
    fit: Callable[..., Transform],
    left: np.ndarray,
    right: np.ndarray,
    *,
    num_folds: int = 3,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[Any, dict[Any, float]]:
    """Chooses a setting by cross-validation among the training pairs alone.

    Args:
        options: Values to try, hashable.
        fit: `fit(left, right, option)` returns a transform of features.
        left, right: Features of the training pairs.
        num_folds: Number of inner folds.
        groups: Int `(pairs,)`; pairs of a group stay together. Defaults to no groups.
        seed: Seed of the inner folds.

    Returns:
        The option with the best expected top-2, and the figure of every option.
    """
    rng = np.random.default_rng(seed)
    _, groups = np.unique(np.arange(len(left)) if groups is None else groups, return_inverse=True)
    folds = rng.permutation(np.arange(groups.max() + 1) % num_folds)[groups]
    figures = dict.fromkeys(options, 0.0)
    for fold in range(num_folds):
        inside, outside = folds != fold, folds == fold
        for option in options:
            transform = fit(left[inside], right[inside], option)
            figure = expected_top_k(transform(left[outside]), transform(right[outside]))
            figures[option] += figure / num_folds
    return max(figures, key=figures.get), figures


def per_fold(
    views: Any,
    fit: Callable[..., Transform],
    *,
    options: Sequence[Any] = (),
    groups: np.ndarray | None = None,
    num_folds: int = 2,
    seed: int = 0,
    chosen: list | None = None,
):
    """Makes what `Experiment.cross_validate` fits in each fold: a transform, then the cosine.

    Args:
        views: Features with `left` and `right`, `(pairs, d)` each.
        fit: `fit(left, right)`, or `fit(left, right, option)` if there are options, returns a
            transform.
        options: Values for `choose`, which sees the training side of the fold alone.
        groups: Int `(pairs,)`, for `choose`.
        num_folds: Inner folds of `choose`.
        seed: Of the inner folds.
        chosen: List to which the option of each fold is appended, for the reader.
    """

    def fit_fold(train, fold):
        pairs = views.left[train], views.right[train]
        if not options:
            return cosine_of(fit(*pairs))
        best = options[0]
        if len(options) > 1:
            inside = None if groups is None else groups[train]
            best, _ = choose(options, fit, *pairs, groups=inside, num_folds=num_folds, seed=seed)
        if chosen is not None:
            chosen.append(best)
        return cosine_of(fit(*pairs, best))

    return fit_fold


class _Batches(keras.utils.PyDataset):
    """Views `(batch, 2, d)` in a new order each epoch, and targets that the loss won't look at.

    The order follows from the seed alone, not from what drew from Keras's generators before.
    """

    def __init__(self, left, right, batch_size, *, seed=None):
        super().__init__()
        self.views = np.stack([left, right], axis=1).astype(np.float32)
        self.batch_size = min(batch_size, len(left))
        self.rng = None if seed is None else np.random.default_rng(seed)
        self.order = np.arange(len(left))
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index):
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.views[rows], np.zeros(len(rows), np.float32)

    def on_epoch_end(self):
        if self.rng is not None:
            self.rng.shuffle(self.order)


def _spectrum(rows):
    """Non-zero eigenvalues of `rowsᵀ rows`, largest first, and their vectors as columns.

    The smaller of the two Gram matrices has the same eigenvalues.
    """
    is_wide = rows.shape[1] > len(rows)
    values, vectors = linalg.eigh(rows @ rows.T if is_wide else rows.T @ rows)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > 1e-6 * max(values[0], 1e-12)
    values, vectors = values[kept], vectors[:, kept]
    return values, rows.T @ vectors / np.sqrt(values) if is_wide else vectors
