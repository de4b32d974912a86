"""Ranks candidate lists and measures how well: top-k, intervals, paired comparison (NumPy only).

Shapes used throughout: `scores` is `(queries, candidates)`, higher = more alike; `true_place` is
the column of the true match in each row, `(queries,)`; `candidates` holds positions in a gallery.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

# Rows of a similarity block computed at once: bounds memory at any gallery size.
_BLOCK_ROWS = 256


def unit_norm(vectors: np.ndarray) -> np.ndarray:
    """Scales each row to length 1; a zero row stays zero. `(n, d)` float → `(n, d)` float32."""
    vectors = np.asarray(vectors, np.float32)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)


def cosine_scores(queries: np.ndarray, gallery: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Cosine of each query with each of its candidates.

    Args:
        queries: Float `(n, d)`.
        gallery: Float `(g, d)`.
        candidates: Int `(n, m)`, positions in `gallery`.

    Returns:
        Float32 `(n, m)` in [-1, 1].
    """
    return _dot_with_candidates(unit_norm(queries), unit_norm(gallery), candidates)


def euclidean_scores(
    queries: np.ndarray, gallery: np.ndarray, candidates: np.ndarray
) -> np.ndarray:
    """Minus the Euclidean distance of each query to each of its candidates; see `cosine_scores`."""
    queries, gallery = np.asarray(queries, np.float32), np.asarray(gallery, np.float32)
    scores = np.empty(candidates.shape, np.float32)
    for rows in _blocks(len(queries)):
        difference = queries[rows, None, :] - gallery[candidates[rows]]
        scores[rows] = -np.linalg.norm(difference, axis=-1)
    return scores


def _dot_with_candidates(queries, gallery, candidates):
    """Inner products; one matrix product when lists cover much of the gallery, else a gather."""
    scores = np.empty(candidates.shape, np.float32)
    for rows in _blocks(len(queries)):
        # A gather copies m·d numbers a row, the product reads the gallery once a block and
        # multiplies at many times the speed: it wins unless the gallery is far longer than m.
        if len(gallery) <= 200 * candidates.shape[1]:
            block = queries[rows] @ gallery.T
            scores[rows] = np.take_along_axis(block, candidates[rows], axis=1)
        else:
            scores[rows] = np.einsum("nd,nmd->nm", queries[rows], gallery[candidates[rows]])
    return scores


def _blocks(count: int) -> list[slice]:
    return [slice(i, i + _BLOCK_ROWS) for i in range(0, count, _BLOCK_ROWS)]


def checked(scores: np.ndarray, true_place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as arrays once shapes and values hold.

    Raises:
        ValueError: If a score is NaN or infinite, shapes disagree, or a place is out of range.
    """
    scores, true_place = np.asarray(scores), np.asarray(true_place)
    if scores.ndim != 2 or true_place.shape != scores.shape[:1]:
        raise ValueError(
            "Expected scores (queries, candidates) and true_place (queries,). "
            f"Received: {scores.shape} and {true_place.shape}"
        )
    if not np.isfinite(scores).all():
        row, column = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(
            "Scores must be finite numbers. "
            f"Received: {scores[row, column]} at row {row}, candidate {column}"
        )
    if len(true_place) and not (0 <= true_place.min() <= true_place.max() < scores.shape[1]):
        raise ValueError(
            f"true_place must lie in 0…{scores.shape[1] - 1}. "
            f"Received: {true_place.min()}…{true_place.max()}"
        )
    return scores, true_place


def ranks(scores: np.ndarray, true_place: np.ndarray) -> np.ndarray:
    """Rank of the true match among its candidates, 1 = best; ties count against the model.

    Returns:
        Int `(queries,)` in 1…candidates.
    """
    scores, true_place = checked(scores, true_place)
    true_score = np.take_along_axis(scores, true_place[:, None], axis=1)
    return (scores >= true_score).sum(axis=1)


def top_k_hits(scores: np.ndarray, true_place: np.ndarray, k: int = 2) -> np.ndarray:
    """Marks the queries whose true match ranks in the top `k`; ties count against. Bool."""
    return ranks(scores, true_place) <= k


def top_k_accuracy(scores: np.ndarray, true_place: np.ndarray, k: int = 2) -> float:
    """Share of queries whose true match ranks in the top `k`, in [0, 1]."""
    return float(np.mean(top_k_hits(scores, true_place, k)))


def chance(k: int, m: int) -> float:
    """Top-k accuracy of random scores over `m` candidates."""
    return min(k / m, 1.0)


def wilson_interval(hits: np.ndarray, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share.

    Args:
        hits: Bool `(n,)`, n >= 1.
        confidence: Coverage in (0, 1).

    Returns:
        `(low, high)` in [0, 1].

    Reference:
        Wilson, 1927, Probable inference, the law of succession, and statistical inference.
    """
    hits = np.asarray(hits, bool)
    if not hits.size:
        raise ValueError("An interval needs at least one query. Received: 0")
    interval = stats.binomtest(int(hits.sum()), hits.size).proportion_ci(confidence, "wilson")
    return float(interval.low), float(interval.high)


class Comparison(NamedTuple):
    """System a against system b on the same queries."""

    difference: float  # share of hits of a minus that of b
    low: float  # 95 % bootstrap interval of the difference
    high: float
    p_value: float  # exact McNemar test, two-sided


def paired_comparison(
    hits_a: np.ndarray, hits_b: np.ndarray, *, seed: int = 0, num_resamples: int = 10_000
) -> Comparison:
    """Compares two systems query by query.

    Args:
        hits_a: Bool `(n,)`, whether system a put the match in its top k.
        hits_b: Bool `(n,)`, the same queries in the same order.
        seed: Seed of the bootstrap.
        num_resamples: Number of bootstrap resamples.

    Returns:
        The difference a − b with its interval, and the exact p-value.

    Reference:
        McNemar, 1947; Efron, 1979.
    """
    a, b = np.asarray(hits_a, bool), np.asarray(hits_b, bool)
    if a.shape != b.shape or not a.size:
        raise ValueError(f"Expected two equal, non-empty lists. Received: {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    # Resampling n paired differences in {−1, 0, 1} is a multinomial draw: no (resamples, n) array.
    shares = np.array([only_a, only_b, a.size - only_a - only_b]) / a.size
    drawn = np.random.default_rng(seed).multinomial(a.size, shares, size=num_resamples)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / a.size, [0.025, 0.975])
    discordant = only_a + only_b
    p_value = stats.binomtest(only_a, discordant).pvalue if discordant else 1.0
    return Comparison((only_a - only_b) / a.size, float(low), float(high), float(p_value))


def draw_candidates(
    folds: np.ndarray, *, m: int, seed: int, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one candidate list per pair: its own right among `m − 1` others of the same fold.

    Args:
        folds: Int `(pairs,)`, the fold of each pair.
        m: Candidates per list, at least 2.
        seed: The same seed gives the same lists.
        groups: Int `(pairs,)`; a distractor never comes from the query's own near-duplicate
            group, where it would be the same image as the match. Defaults to one group per pair.

    Returns:
        candidates: Int `(pairs, m)`; entry j stands for the right image of pair j.
        true_place: Int `(pairs,)`, uniform over the m places.

    Raises:
        ValueError: If a fold holds too few other pairs for a list of m.
    """
    folds = np.asarray(folds)
    groups = np.arange(len(folds)) if groups is None else np.asarray(groups)
    if m < 2:
        raise ValueError(f"A candidate list needs m of at least 2. Received: m={m}")
    rng = np.random.default_rng(seed)
    candidates = np.empty((len(folds), m), np.int64)
    true_place = rng.integers(m, size=len(folds))
    for pair, place in enumerate(true_place):
        others = np.flatnonzero((folds == folds[pair]) & (groups != groups[pair]))
        if len(others) < m - 1:
            raise ValueError(
                f"Fold {folds[pair]} offers {len(others)} distractors, a list of m={m} needs "
                f"{m - 1}. Use fewer folds or a smaller m."
            )
        candidates[pair] = np.insert(rng.choice(others, m - 1, replace=False), place, pair)
    return candidates, true_place


def gallery_ranks(queries: np.ndarray, gallery: np.ndarray, true_index: np.ndarray) -> np.ndarray:
    """Rank of each query's match among the whole gallery by cosine, 1 = best; ties against.

    Args:
        queries: Float `(n, d)`.
        gallery: Float `(g, d)`.
        true_index: Int `(n,)`, position of the match in `gallery`.

    Returns:
        Int `(n,)` in 1…g.
    """
    queries, gallery = unit_norm(queries), unit_norm(gallery)
    return np.concatenate(
        [ranks(queries[rows] @ gallery.T, true_index[rows]) for rows in _blocks(len(queries))]
    )


def recall_at_k(queries: np.ndarray, gallery: np.ndarray, true_index: np.ndarray, k: int) -> float:
    """Share of queries whose match is among the `k` nearest of the whole gallery, in [0, 1].

    Reference:
        Rosenfeld et al., 2018, Totally Looks Like.
    """
    return float(np.mean(gallery_ranks(queries, gallery, np.asarray(true_index)) <= k))
