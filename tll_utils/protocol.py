"""One evaluation for all systems: folds, candidate lists, and the scores measured on them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tll_utils import data


@dataclasses.dataclass(frozen=True, eq=False)
class Protocol:
    """The evaluation that all systems share.

    Attributes:
        folds: Int `(pairs,)`; near-duplicate images lie in one fold.
        groups: Int `(pairs,)`; pairs that share a near-duplicate image share a group.
        candidates: Int `(pairs, m)`; the candidate rights of each left, as pair indices.
        true_place: Int `(pairs,)`; the column of the match.
    """

    folds: np.ndarray
    groups: np.ndarray
    candidates: np.ndarray
    true_place: np.ndarray

    @classmethod
    def draw(cls, groups: np.ndarray, *, num_folds: int, m: int, seed: int) -> Protocol:
        """Assigns folds and draws one candidate list per pair, of at most `m`."""
        folds = data.assign_folds(groups, num_folds=num_folds, seed=seed)
        # A small data set offers fewer distractors: the lists shrink, and every row says so.
        largest_group = np.bincount(groups).max()
        m = max(2, min(m, np.bincount(folds).min() - largest_group + 1))
        candidates, true_place = data.draw_candidates(folds, m=m, seed=seed, groups=groups)
        return cls(folds, groups, candidates, true_place)

    @property
    def m(self) -> int:
        return self.candidates.shape[1]

    @property
    def num_folds(self) -> int:
        return int(self.folds.max()) + 1

    def splits(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields `(train, valid)` pair indices, fold by fold."""
        for fold in range(self.num_folds):
            yield np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """What a system says of the training pairs and of the test queries.

    Attributes:
        oof: Float `(pairs, m)`: out of fold, each pair scored by a model that never saw it.
        score_test: Computes `test`, the larger part of the work, once somebody asks: most of what
            is tried is never recorded.
        rows: Int; the pairs whose `oof` row counts. The others hold NaN.
        seconds: What fitting and scoring the pairs took, from stored features or loaded images.
        scorers: What was fitted, one per fold; empty for frozen features and combinations.
        front: How an image becomes what the scorers take; see `features.fronts`.
        views: What was scored, so that `record` can note which cells agreed.
    """

    oof: np.ndarray
    score_test: Callable[[], np.ndarray]
    rows: np.ndarray
    seconds: float = 0.0
    scorers: tuple[Any, ...] = ()
    front: Any = None
    views: Any = None

    @functools.cached_property
    def test(self) -> np.ndarray:
        """Float `(queries, m_test)`, the mean over the folds' models; computed once."""
        return self.score_test()
