"""The best single system: what two light backbones see in each part of a picture, compared there.

Each `Part` is a middle layer of a backbone, averaged over the cells of a 3 × 3 grid. One small
matrix, fitted in closed form on the differences within training pairs, whitens every cell. The
cosine of all cells together is the similarity; mirroring the query swaps its columns of cells and
costs no second look at the image. Parts are blended as z-scores with equal weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tll_utils import adaption, backbones, scoring
from tll_utils.features import Views

SHRINKAGE = 0.23  # of the cell whitening: adds 0.3 mean variances to the covariance
MIRROR_WEIGHT = 0.4  # of the mirrored query's cosine
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


# The deepest layers at 14 × 14: fine enough for a grid, deep enough for parts of things.
PARTS = (
    Part("mobilenet_v2", "block_13_expand_relu"),
    Part("mobilenet", "conv_pw_11_relu"),
)


def parts_of(names: Sequence[str]) -> tuple[Part, ...]:
    """One part per backbone: that of `PARTS`, else the last tap but one (14 × 14 in most nets)."""
    chosen = {part.backbone: part for part in PARTS}
    return tuple(chosen.get(name) or Part(name, backbones.get(name).taps[-2]) for name in names)


def last_tap(name: str) -> str:
    """The output layer of a backbone."""
    return backbones.get(name).taps[-1]


def mirror_cells(features: np.ndarray, grid: int) -> np.ndarray:
    """Swaps the columns of cells: nearly the features of the mirrored image, for no extra pass.

    features: `(n, grid · grid · channels)`, cells row by row. Returns the same shape.
    """
    cells = features.reshape(len(features), grid, grid, -1)
    return cells[:, :, ::-1].reshape(features.shape)


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


def mirror_tolerant_cosine(
    transform: adaption.Transform, *, grid: int, mirror_weight: float = MIRROR_WEIGHT
) -> Scorer:
    """Cosine of a query with each candidate, plus a share of the mirrored query's.

    Args:
        transform: Of features, fitted on training pairs.
        grid: Cells per side.
        mirror_weight: Float >= 0; 0 leaves mirrored look-alikes out.

    Returns:
        A scorer `(queries, gallery, candidates) → (n, m)`.
    """

    def scorer(queries, gallery, candidates):
        gallery = transform(gallery)
        scores = scoring.cosine_scores(transform(queries), gallery, candidates)
        if mirror_weight:
            mirrored = transform(mirror_cells(queries, grid))
            scores = scores + mirror_weight * scoring.cosine_scores(mirrored, gallery, candidates)
        return scores

    return scorer


def fit_part(
    views: Views, part: Part, *, shrinkage: float = SHRINKAGE, mirror_weight: float = MIRROR_WEIGHT
) -> Callable[[np.ndarray, int], Scorer]:
    """Makes what `run.cross_validate` calls on each fold to fit a part on its training pairs."""

    def fit(train, fold):
        left, right = views.left[train], views.right[train]
        transform = whiten_cells(left, right, grid=part.grid, shrinkage=shrinkage)
        return mirror_tolerant_cosine(transform, grid=part.grid, mirror_weight=mirror_weight)

    return fit
