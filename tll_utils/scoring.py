"""Ranks candidate lists and measures how well: top-k, intervals, paired comparison (NumPy only).

Shapes used throughout: `scores` is `(queries, candidates)`, higher = more alike; `true_place` is
the column of the true match in each row, `(queries,)`; `candidates` holds positions in a gallery.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

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


class Matching(NamedTuple):
    """Scores after one-to-one matching, or the plain ones where matching would mean nothing."""

    scores: np.ndarray  # float (n, m), higher = more alike
    applied: bool
    reason: str  # for the reader: what was matched, or why nothing was


def one_to_one(
    scores: np.ndarray,
    candidates: np.ndarray,
    *,
    method: str = "sinkhorn",
    temperature: float = 0.5,
    num_iterations: int = 50,
    min_queries: int = 10,
    min_sharing: float = 2.0,
) -> Matching:
    """Rescores all lists together, knowing that no right image is the match of two queries.

    A candidate that another query claims with more force loses ground wherever it was a guess
    among others. This looks at all queries at once, so its result belongs in a row of its own,
    never beside scores that see one query at a time.

    Each row is standardised first, so that any score will do. `"sinkhorn"` takes
    `exp(score / temperature)` and scales rows and columns in turn, until each row sums to 1 and
    each column to 1 (to at most 1 where there are more rights than queries, for some of them then
    belong to nobody here). `"assignment"` finds the single set of pairs with the highest total
    and puts each query's partner in front of its plain order.

    Args:
        scores: Float `(n, m)`, higher = more alike, finite wherever a candidate is listed.
        candidates: Int `(n, m)`, positions in a gallery; −1 marks an empty place in a list
            shorter than m. Lists of different folds share no right, so one call serves them all.
        method: `"sinkhorn"` or `"assignment"`.
        temperature: Float > 0, in standard deviations of a row; small = trust the scores.
        num_iterations: Rounds of row and column scaling.
        min_queries: With fewer queries the plain scores come back.
        min_sharing: So they do if a right image occurs in fewer lists than this on average.

    Returns:
        `Matching(scores, applied, reason)`; an empty place scores below the rest of its row.

    Raises:
        ValueError: If shapes disagree, a listed score is not finite, or an option is off.

    Reference:
        Sinkhorn and Knopp, 1967; Kuhn, 1955, The Hungarian method.
    """
    scores, candidates = np.asarray(scores, np.float64), np.asarray(candidates)
    if scores.shape != candidates.shape or scores.ndim != 2:
        raise ValueError(
            "Expected scores and candidates of one shape (queries, candidates). "
            f"Received: {scores.shape} and {candidates.shape}"
        )
    if method not in ("sinkhorn", "assignment"):
        raise ValueError(f"method is 'sinkhorn' or 'assignment'. Received: method={method!r}")
    if temperature <= 0:
        raise ValueError(f"temperature must be positive. Received: temperature={temperature}")
    listed = candidates >= 0
    if not np.isfinite(scores[listed]).all():
        raise ValueError("The score of every listed candidate must be a finite number.")

    logits = _standardised(scores, listed)
    num_rights = len(np.unique(candidates[listed]))
    sharing = listed.sum() / max(num_rights, 1)
    if len(scores) < min_queries:
        reason = f"plain scores: {len(scores)} queries, matching asks for {min_queries}"
    elif sharing < min_sharing:
        reason = (
            f"plain scores: a right image occurs in {sharing:.1f} lists on average, "
            f"matching asks for {min_sharing:g}"
        )
    else:
        if method == "sinkhorn":
            matched = _sinkhorn(logits / temperature, candidates, listed, num_iterations)
        else:
            matched = _assignment(logits, candidates, listed)
        return Matching(matched, True, f"{method}: {len(scores)} queries, {num_rights} rights")
    return Matching(logits, False, reason)


def _standardised(scores, listed):
    """Rows to mean 0 and standard deviation 1 over their listed places; empty ones lowest."""
    counts = np.maximum(listed.sum(axis=1, keepdims=True), 1)
    centred = scores - np.where(listed, scores, 0).sum(axis=1, keepdims=True) / counts
    spread = np.sqrt(np.where(listed, centred**2, 0).sum(axis=1, keepdims=True) / counts)
    rows = np.where(listed, centred / np.maximum(spread, 1e-12), 0)
    return np.where(listed, rows, rows.min(initial=0) - 1)


def _sinkhorn(logits, candidates, listed, num_iterations):
    """Row- and column-scaled `exp(logits)`: probabilities of being matched, empty places −1."""
    mass = np.where(listed, np.exp(logits - logits.max(axis=1, keepdims=True)), 0)
    rights, column = np.unique(np.where(listed, candidates, candidates.max()), return_inverse=True)
    column = column.reshape(candidates.shape)
    everyone_matched = len(rights) <= len(mass)
    for _ in range(num_iterations):
        claimed = np.bincount(column.ravel(), mass.ravel(), minlength=len(rights))
        if not everyone_matched:
            claimed = np.maximum(claimed, 1)
        mass = mass / np.maximum(claimed, 1e-12)[column]
        mass = mass / np.maximum(mass.sum(axis=1, keepdims=True), 1e-12)
    return np.where(listed, mass, -1)


def _assignment(logits, candidates, listed):
    """Plain order, but each query's partner in the best total assignment comes first."""
    span = np.ptp(logits[listed]) + 1
    # A pair that nobody listed costs more than any exchange of listed pairs could ever win.
    total = np.full((len(logits), candidates.max() + 1), -span * len(logits))
    rows, places = np.nonzero(listed)
    total[rows, candidates[rows, places]] = logits[rows, places]
    rows, partners = optimize.linear_sum_assignment(total, maximize=True)
    partner = np.full(len(logits), -2)
    partner[rows] = partners
    return logits + span * (candidates == partner[:, None])
