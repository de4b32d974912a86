"""Learns look-alike features: from stored taps in seconds, or end to end from images.

Stored taps come as views, `(n, views, channels of all taps)`: the image and its mirror image. One
view, drawn anew each time, is what training sees; the mean over the views is what is compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from tll_utils import adaption, losses, mining, scoring
from tll_utils.features import Views
from tll_utils.models import look_alike, siamese


@dataclasses.dataclass(frozen=True)
class Training:
    """How look-alike features are trained.

    Attributes:
        loss: `"triplet"`, the report's, or `"softmax"`, every other pair of the batch a negative.
        margin: Of the triplet loss, in squared L2 distance.
        temperature: Of the softmax; small = only the nearest negatives count.
        epochs: Passes over the training pairs.
        learning_rate: Of AdamW; falls to 0 along a cosine.
        batch_size: Pairs per step.
        weight_decay: Of AdamW.
    """

    loss: str = "triplet"
    margin: float = 0.5
    temperature: float = 0.1
    epochs: int = 10
    learning_rate: float = 1e-3
    batch_size: int = 128
    weight_decay: float = 0.0

    def __post_init__(self):
        if self.loss not in ("triplet", "softmax"):
            raise ValueError(f"loss must be 'triplet' or 'softmax'. Received: loss={self.loss!r}")


@dataclasses.dataclass(frozen=True, eq=False)
class LookAlike:
    """A trained model on stored taps. Called on views `(n, views, channels)` it returns `(n, d)`.

    Attributes:
        scaling: Standardises the channels; fitted on the training side.
        model: From `look_alike.integration_model`.
        history: Mean loss of each epoch.
    """

    scaling: adaption.Affine
    model: keras.Model
    history: tuple[float, ...] = ()

    def __call__(self, views: np.ndarray) -> np.ndarray:
        embeddings = (
            siamese.embed(self.model, self.scaling(views[:, index]))
            for index in range(views.shape[1])
        )
        return sum(embeddings) / views.shape[1]


def join_taps(versions: Sequence[Mapping[str, Views]], *, pooling: str = "avg"):
    """Lays the taps of a backbone side by side, the versions of each image in an axis of their own.

    Args:
        versions: Results of `Experiment.embed` with the same taps, as of the images and of their
            mirror images.

    Returns:
        `Views` of float32 `(n, versions, channels of all taps)`, and a dict tap → channels.
    """
    keys = [key for key in versions[0] if key.endswith(f"/{pooling}")]
    joined = [
        Views(*(np.concatenate(role, 1) for role in zip(*(v[k] for k in keys), strict=True)))
        for v in versions
    ]
    tap_dims = {key.rpartition("/")[0]: versions[0][key].left.shape[1] for key in keys}
    return Views(*(np.stack(role, 1) for role in zip(*joined, strict=True))), tap_dims


def only_taps(views: Views, tap_dims: Mapping[str, int], taps: Sequence[str]):
    """Keeps some taps of `join_taps`; returns the same two things."""
    kept = np.repeat([tap in taps for tap in tap_dims], list(tap_dims.values()))
    return views.map(lambda v: v[..., kept]), {
        tap: tap_dims[tap] for tap in tap_dims if tap in taps
    }


def equal_taps(left: np.ndarray, right: np.ndarray, tap_dims: Mapping[str, int]) -> adaption.Affine:
    """Standardises every channel, and divides each tap by the square root of its channels.

    Without the second step a tap would count by its width: 1280 channels against 144.

    left, right: training views `(pairs, views, channels)`.
    """
    scaling = adaption.standardiser(*(v.reshape(-1, v.shape[-1]) for v in (left, right)))
    widths = np.repeat(list(tap_dims.values()), list(tap_dims.values()))
    return adaption.Affine(scaling.mean, (scaling.scale / np.sqrt(widths)).astype(np.float32))


def whitened_start(left, right, *, dim: int, shrinkage: float = 0.9) -> np.ndarray:
    """Finds the linear map from which training starts, in closed form.

    Within-pair whitening of all taps together, then the directions in which images differ most.

    Args:
        left, right: Float `(pairs, channels)`, scaled, mean 0.
        dim: Length of the embedding.
        shrinkage: See `adaption.within_pair_whitening`.

    Returns:
        Float32 `(channels, dim)`; zero columns where there are fewer directions than `dim`.
    """
    whiten = adaption.within_pair_whitening(left, right, shrinkage=shrinkage)
    components = adaption.principal_components(whiten(left), whiten(right), dim).scale
    # The whitening is symmetric, so its matrix times the components is what it makes of them.
    known = whiten.basis @ ((whiten.gains - whiten.rest)[:, None] * (whiten.basis.T @ components))
    projection = whiten.rest * components + known
    return np.pad(projection, ((0, 0), (0, dim - projection.shape[1]))).astype(np.float32)


def learn(
    left: np.ndarray,
    right: np.ndarray,
    tap_dims: Mapping[str, int],
    training: Training,
    *,
    embedding_dim: int = 128,
    dropout: float = 0.5,
    shrinkage: float = 0.9,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> LookAlike:
    """Trains feature integration on stored taps; with one tap, a fine-tuned embedding.

    Args:
        left, right: Training views `(pairs, views, channels)`, row i matching row i.
        tap_dims: Channels of each tap, as from `join_taps`.
        training: Loss and its settings; 0 epochs leave the closed-form start as it is.
        embedding_dim: Int, d.
        dropout: Share of the channels that are silenced in training.
        shrinkage: Of the start; see `whitened_start`.
        groups: Int `(pairs,)`; near-duplicates of the match are no negatives.
        seed: Of initial weights, dropout, order, views and negatives.
    """
    scaling = equal_taps(left, right, tap_dims)
    left, right = (scaling(v) for v in (left, right))
    model = look_alike.integration_model(
        tap_dims, embedding_dim=embedding_dim, dropout=dropout, seed=seed
    )
    start = whitened_start(left.mean(1), right.mean(1), dim=embedding_dim, shrinkage=shrinkage)
    look_alike.set_projection(model, start)
    history = fit(model, left, right, training, augment=random_view, groups=groups, seed=seed)
    return LookAlike(scaling, model, tuple(history))


def fit(
    embedding_model: keras.Model,
    left: np.ndarray,
    right: np.ndarray,
    training: Training,
    *,
    augment: Callable | None = None,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> list[float]:
    """Trains an embedding in place; triplets get margin-violating negatives anew each epoch.

    Args:
        embedding_model: Model, one input → embedding of norm 1.
        left, right: Arrays `(pairs, …)` of what `augment` takes, row i matching row i.
        training: Loss and its settings.
        augment: `augment(rows, rng)` returns what the model takes, drawn anew at each use.
            Defaults to the rows themselves.
        groups: Int `(pairs,)`; near-duplicates of the match are no negatives.
        seed: Of order, augmentation and negatives.

    Returns:
        Mean loss of each epoch.
    """
    rng = np.random.default_rng(seed)
    augment = augment or (lambda rows, rng: rows)
    is_triplet = training.loss == "triplet"
    network = siamese.branches(embedding_model, 3 if is_triplet else 2)
    steps = max(1, training.epochs * -(-len(left) // training.batch_size))
    schedule = keras.optimizers.schedules.CosineDecay(training.learning_rate, steps)
    network.compile(
        keras.optimizers.AdamW(schedule, weight_decay=training.weight_decay),
        losses.TripletLoss(margin=training.margin)
        if is_triplet
        else losses.InBatchSoftmaxLoss(temperature=training.temperature),
    )
    history = []
    for _ in range(training.epochs):
        if is_triplet:
            size = training.batch_size
            now = [
                siamese.embed(embedding_model, augment(side, rng), batch_size=size)
                for side in (left, right)
            ]
            negatives = mining.margin_violating(
                *now, margin=training.margin, groups=groups, seed=int(rng.integers(2**31))
            )[:, 0]
        order, total = rng.permutation(len(left)), 0.0
        for start in range(0, len(order), training.batch_size):
            rows = order[start : start + training.batch_size]
            branches = [left[rows], right[rows], *([right[negatives[rows]]] if is_triplet else [])]
            batch = np.stack([augment(branch, rng) for branch in branches], axis=1)
            # Keras averages what train_on_batch returns over all steps since the last reset.
            network.reset_metrics()
            total += len(rows) * float(network.train_on_batch(batch, np.zeros(len(rows))))
        history.append(total / len(order))
    return history


def random_view(views, rng):
    """Picks one of the stored views of each row: `(batch, views, d)` → `(batch, d)`."""
    return views[np.arange(len(views)), rng.integers(views.shape[1], size=len(views))]


def random_flip(axis: int) -> Callable:
    """Makes an `augment` that mirrors half of the images: axis 2 left–right, axis 1 upside down."""

    def augment(images, rng):
        mirrored = rng.random(len(images)) < 0.5
        return np.where(mirrored[:, None, None, None], np.flip(images, axis), images)

    return augment


def accuracy_by_list_length(
    similarity: np.ndarray,
    folds: np.ndarray,
    *,
    lengths: Sequence[int] = (10, 20, 60),
    ks: Sequence[int] = (1, 2, 5),
    groups: np.ndarray | None = None,
    seeds: Sequence[int] = range(10),
) -> dict[tuple[int, int], float]:
    """Top-k accuracy at several numbers of candidates, the mean over lists drawn from `seeds`.

    Args:
        similarity: Float `(n, n)`, entry (i, j) of left i and right j, higher = more alike. Only
            entries within a fold are used.
        folds: Int `(n,)`.
        lengths: Candidates per list, m.
        ks: The k of top-k.
        groups: Int `(n,)`; distractors are never near-duplicates of the match.
        seeds: One draw of all lists each.

    Returns:
        Dict (m, k) → accuracy; NaN where a fold is too small for m candidates.
    """
    accuracy = {}
    for m in lengths:
        ranks = []
        for seed in seeds:
            try:
                lists, place = scoring.draw_candidates(folds, m=m, seed=seed, groups=groups)
            except ValueError:  # too few distractors
                break
            ranks.append(scoring.ranks(np.take_along_axis(similarity, lists, axis=1), place))
        for k in ks:
            accuracy[m, k] = float(np.mean(np.array(ranks) <= k)) if ranks else float("nan")
    return accuracy
