"""Ranks candidate lists and measures how well (NumPy only).

Shapes used throughout: `scores` is `(queries, candidates)`, higher = more alike; `true_place` is
the column of the true match in each row, `(queries,)`; `candidates` holds positions in a gallery.
"""

from __future__ import annotations

import numpy as np
import scipy  # its parts are loaded when they are first used

# Rows computed at once, and the numbers that a block may hold: bounds memory at any gallery size.
_BLOCK_ROWS, _BLOCK_NUMBERS = 256, 2**24
_CACHED_NUMBERS = 2**18  # of a block that is copied and read again at once


def unit_norm(vectors: np.ndarray) -> np.ndarray:
    """Scales each row to length 1; a zero row stays zero. `(n, d)` float → `(n, d)` float32.

    Example:
        >>> unit_norm(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    vectors = np.asarray(vectors, np.float32)
    lengths = _lengths(vectors.reshape(-1, vectors.shape[-1]))
    return vectors / lengths.reshape(*vectors.shape[:-1], 1)


def best_pairs(cosines: np.ndarray, count: int) -> np.ndarray:
    """Pairs of a row and a column from the largest value down, each row and column used once.

    Args:
        cosines: Float `(…, n, n)`.
        count: How many; at most n.

    Returns:
        Int `(…, count, 2)`.
    """
    left = np.array(cosines, float)
    num_rows, num_columns = left.shape[-2:]
    places = np.arange(num_rows)
    pairs = []
    for _ in range(min(count, num_rows)):
        best = left.reshape(*left.shape[:-2], -1).argmax(axis=-1)
        row, column = np.divmod(best, num_columns)
        pairs.append(np.stack([row, column], axis=-1))
        left[places == row[..., None]] = -np.inf
        left.swapaxes(-1, -2)[places == column[..., None]] = -np.inf
    return np.stack(pairs, axis=-2)


def cosine_scores(queries: np.ndarray, gallery: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Cosine of each query with each of its candidates.

    Args:
        queries: Float `(n, d)`.
        gallery: Float `(g, d)`.
        candidates: Int `(n, m)`, positions in `gallery`.

    Returns:
        Float32 `(n, m)` in [-1, 1].
    """
    queries, gallery = np.asarray(queries, np.float32), np.asarray(gallery, np.float32)
    # Lengths divide the few scores: of wide embeddings, copies of length 1 would fill the memory.
    lengths = _lengths(queries)[:, None] * _lengths(gallery)[candidates]
    return _dot_with_candidates(queries, gallery, candidates) / lengths


def euclidean_scores(
    queries: np.ndarray, gallery: np.ndarray, candidates: np.ndarray
) -> np.ndarray:
    """Minus the Euclidean distance of each query to each of its candidates; see `cosine_scores`."""
    queries, gallery = np.asarray(queries, np.float32), np.asarray(gallery, np.float32)
    scores = np.empty(candidates.shape, np.float32)
    for rows in _blocks(len(queries), candidates.shape[1] * gallery.shape[1], _CACHED_NUMBERS):
        difference = queries[rows, None, :] - gallery[candidates[rows]]
        scores[rows] = -np.linalg.norm(difference, axis=-1)
    return scores


def _dot_with_candidates(
    queries: np.ndarray, gallery: np.ndarray, candidates: np.ndarray
) -> np.ndarray:
    """Inner products; one matrix product when lists cover much of the gallery, else a gather."""
    scores = np.empty(candidates.shape, np.float32)
    # A gather copies m·d numbers a row; the product takes each of all g·d numbers a row in a tenth
    # of the time.
    if len(gallery) <= 12 * candidates.shape[1]:
        for rows in _blocks(len(queries), len(gallery)):
            block = queries[rows] @ gallery.T
            scores[rows] = np.take_along_axis(block, candidates[rows], axis=1)
    else:
        for rows in _blocks(len(queries), candidates.shape[1] * gallery.shape[1], _CACHED_NUMBERS):
            scores[rows] = np.einsum("nd,nmd->nm", queries[rows], gallery[candidates[rows]])
    return scores


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """Of each row, float32 `(n,)`; that of a zero row is not 0."""
    blocks = [vectors[rows] for rows in _blocks(len(vectors), vectors.shape[1], _CACHED_NUMBERS)]
    lengths = [np.linalg.norm(block, axis=1) for block in blocks]
    return np.maximum(np.concatenate([np.empty(0, np.float32), *lengths]), 1e-12)


def _blocks(count: int, numbers_per_row: int, numbers: int = _BLOCK_NUMBERS) -> list[slice]:
    size = max(1, min(_BLOCK_ROWS, numbers // max(numbers_per_row, 1)))
    return [slice(i, i + size) for i in range(0, count, size)]


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

    Example:
        >>> ranks(np.array([[0.2, 0.9, 0.5], [0.7, 0.7, 0.1]]), np.array([2, 0]))
        array([2, 2])
    """
    scores, true_place = checked(scores, true_place)
    true_score = np.take_along_axis(scores, true_place[:, None], axis=1)
    return (scores >= true_score).sum(axis=1)


def top_k_hits(scores: np.ndarray, true_place: np.ndarray, k: int = 2) -> np.ndarray:
    """Marks the queries whose true match ranks in the top `k`; ties count against. Bool.

    Example:
        >>> top_k_hits(np.array([[0.2, 0.9, 0.5], [0.7, 0.7, 0.7]]), np.array([2, 0]))
        array([ True, False])
    """
    return ranks(scores, true_place) <= k


def surest_mistakes(scores: np.ndarray, true_place: np.ndarray, count: int) -> np.ndarray:
    """Finds the queries with a wrong candidate first, by its score, the most convinced ahead.

    scores: float `(n, m)`. true_place: int `(n,)`. Returns int `(<= count,)`, rows of `scores`.
    """
    scores, true_place = checked(scores, true_place)
    wrong = np.flatnonzero(ranks(scores, true_place) > 1)
    order = np.argsort(-scores[wrong].max(axis=1), kind="stable")
    return wrong[order][:count]


def top_k_accuracy(scores: np.ndarray, true_place: np.ndarray, k: int = 2) -> float:
    """Share of queries whose true match ranks in the top `k`, in [0, 1]."""
    return float(np.mean(top_k_hits(scores, true_place, k)))


def chance(k: int, m: int) -> float:
    """Top-k accuracy of random scores over `m` candidates.

    Example:
        >>> chance(2, 20)
        0.1
    """
    return min(k / m, 1.0)


def gallery_ranks(queries: np.ndarray, gallery: np.ndarray, true_index: np.ndarray) -> np.ndarray:
    """Rank of each query's match among the whole gallery by cosine, 1 = best; ties against.

    Args:
        queries: Float `(n, d)`.
        gallery: Float `(g, d)`.
        true_index: Int `(n,)`, position of the match in `gallery`.

    Returns:
        Int `(n,)` in 1…g.
    """
    queries, gallery = np.asarray(queries, np.float32), np.asarray(gallery, np.float32)
    lengths = _lengths(gallery)  # those of the queries change no rank
    blocks = _blocks(len(queries), len(gallery))
    return np.concatenate([ranks(queries[r] @ gallery.T / lengths, true_index[r]) for r in blocks])


def recall_at_k(queries: np.ndarray, gallery: np.ndarray, true_index: np.ndarray, k: int) -> float:
    """Share of queries whose match is among the `k` nearest of the whole gallery, in [0, 1].

    Reference:
        Rosenfeld et al., 2018, Totally Looks Like.
    """
    return float(np.mean(gallery_ranks(queries, gallery, np.asarray(true_index)) <= k))


def expected_top_k(queries: np.ndarray, gallery: np.ndarray, *, m: int = 20, k: int = 2) -> float:
    """Top-k accuracy by cosine, averaged over all candidate lists of m that could be drawn.

    Query i matches gallery row i. A list of the match and m − 1 others holds at most k − 1 better
    ones with a hypergeometric probability, so no list needs to be drawn: less noise, for choosing.

    Args:
        queries, gallery: Float `(n, d)`.
        m: Candidates per list, fewer if the gallery is smaller.
        k: Int >= 1.

    Returns:
        Float in [0, 1].
    """
    places = gallery_ranks(queries, gallery, np.arange(len(queries)))
    m = min(m, len(gallery))
    return float(scipy.stats.hypergeom.cdf(k - 1, len(gallery) - 1, places - 1, m - 1).mean())
