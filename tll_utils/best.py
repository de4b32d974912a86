"""The best single system: what two light backbones see in each part of a picture, compared there.

Each `Part` is a middle layer of a backbone, averaged over the overlapping cells of a 3 × 3 grid.
One small matrix, fitted in closed form on the differences within training pairs, whitens every
cell. The cosine of all cells together is the similarity. Parts are blended as z-scores with equal
weights. A linear head on the whitened cells of all parts, trained with an in-batch softmax, counts
as much as they do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tll_utils import adaption, backbones
from tll_utils.features import Views
from tll_utils.models import siamese

SHRINKAGE = 0.23  # of the cell whitening: adds 0.3 mean variances to the covariance
GRIDS = {"avg": 1, "grid2": 2, "grid3": 3}  # cells per side of a pooling
Scorer = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Part(NamedTuple):
    """One layer of one backbone, pooled over the cells of a grid."""

    backbone: str
    tap: str
    pooling: str = "grid3"

    @property
    def grid(self) -> int:
        return GRIDS[self.pooling]

    @property
    def key(self) -> str:
        """Under which `run.embed` returns the features."""
        return f"{self.tap}/{self.pooling}"


HEAD = adaption.HeadSettings(embedding_dim=512, temperature=0.1, dropout=0.5, epochs=40)


def parts_of(names: Sequence[str]) -> tuple[Part, ...]:
    """One part per backbone: the cells of its middle layer."""
    return tuple(Part(name, backbones.get(name).middle) for name in names)


def whiten_cells(
    left: np.ndarray, right: np.ndarray, *, grid: int, shrinkage: float = SHRINKAGE
) -> adaption.Transform:
    """Fits one within-pair whitening for all cells of a grid.

    Every cell of every pair is an example, nine times as many as there are pairs, for a matrix
    of a ninth of the width: enough to trust the covariance almost as it is.

    Args:
        left, right: Float `(pairs, grid · grid · channels)`, training pairs.
        grid: Cells per side.
        shrinkage: As in `adaption.within_pair_whitening`.

    Returns:
        A transform of features, same shape in and out.
    """
    left, right = adaption.power(left), adaption.power(right)
    standardise = adaption.standardiser(left, right)
    channels = left.shape[1] // grid**2
    by_cell = [standardise(side).reshape(-1, channels) for side in (left, right)]
    whiten = adaption.within_pair_whitening(*by_cell, shrinkage=shrinkage)

    def transform(features):
        standardised = standardise(adaption.power(features))
        return whiten(standardised.reshape(-1, channels)).reshape(features.shape)

    return transform


def fit_part(
    views: Views, part: Part, *, shrinkage: float = SHRINKAGE
) -> Callable[[np.ndarray, int], Scorer]:
    """Makes what `run.cross_validate` calls on each fold to fit a part on its training pairs."""

    def fit(train, fold):
        left, right = views.left[train], views.right[train]
        whiten = whiten_cells(left, right, grid=part.grid, shrinkage=shrinkage)
        return adaption.cosine_of(whiten)

    return fit


def join_parts(views: Sequence[Views]) -> Views:
    """Puts the features of several parts side by side, `(n, sum of their widths)`."""
    return Views(*(np.concatenate(sides, axis=1) for sides in zip(*views, strict=True)))


def fit_head(
    views: Sequence[Views],
    parts: Sequence[Part],
    *,
    settings: adaption.HeadSettings = HEAD,
    seed: int = 0,
) -> Callable[[np.ndarray, int], Scorer]:
    """Makes what `run.cross_validate` calls to fit one head on the joined parts of a fold.

    The whitened parts, each of length 1, are reduced to as many principal components as the
    embedding has dimensions; the head starts as a rotation of those, so it begins at the closed
    form and learns what else tells a match from the other images of a batch.

    Args:
        views: Features of each part, as from `run.embed`; score `join_parts(views)` with it.
        parts: Their parts.
        settings: Of the head.
        seed: Of the components and the head.
    """
    bounds = np.cumsum([side.left.shape[1] for side in views])[:-1]

    def fit(train, fold):
        whiten = [
            whiten_cells(side.left[train], side.right[train], grid=part.grid)
            for side, part in zip(views, parts, strict=True)
        ]

        def prepare(features):
            blocks = np.split(features, bounds, axis=1)
            return adaption.join([f(block) for f, block in zip(whiten, blocks, strict=True)])

        left, right = (
            np.concatenate([getattr(part, side)[train] for part in views], axis=1)
            for side in ("left", "right")
        )
        left, right = prepare(left), prepare(right)
        components = adaption.principal_components(left, right, settings.embedding_dim, seed=seed)
        left, right = components(left), components(right)
        head, _ = adaption.train_head(left, right, settings, seed=seed)
        embed = functools.partial(siamese.embed, head)
        return adaption.cosine_of(adaption.chain(prepare, components, embed))

    return fit
