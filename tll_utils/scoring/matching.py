"""One-to-one matching: in a test set, no right image is the match of two queries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy  # its parts are loaded when they are first used

TEMPERATURE = 0.5  # in standard deviations of a row; small = trust the scores
MIN_SHARING = 2  # lists in which a right image has to occur on average


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
    num_iterations: int = 50,
    min_queries: int = 10,
) -> Matching:
    """Rescores all lists together, knowing that no right image is the match of two queries.

    A candidate that another query claims with more force loses ground wherever it was a guess
    among others. This looks at all queries at once, so its result belongs in a row of its own,
    never beside scores that see one query at a time.

    Each row is standardized first, so that any score will do. `"sinkhorn"` takes
    `exp(score / TEMPERATURE)` and scales rows and columns in turn, until each row sums to 1 and
    each column to 1 (to at most 1 where there are more rights than queries, for some of them then
    belong to nobody here). `"assignment"` finds the single set of pairs with the highest total
    and puts each query's partner in front of its plain order.

    Args:
        scores: Float `(n, m)`, higher = more alike, finite wherever a candidate is listed.
        candidates: Int `(n, m)`, positions in a gallery; −1 marks an empty place in a list
            shorter than m. Lists of different folds share no right, so one call serves them all.
        method: `"sinkhorn"` or `"assignment"`.
        num_iterations: Rounds of row and column scaling.
        min_queries: With fewer queries the plain scores come back. So they do if a right image
            occurs in fewer than `MIN_SHARING` lists on average.

    Returns:
        `Matching(scores, applied, reason)`; an empty place scores below the rest of its row.

    Raises:
        ValueError: If shapes disagree, a listed score is not finite, or an option is off.

    Reference:
        Sinkhorn and Knopp, 1967; Kuhn, 1955, The Hungarian method.

    Example:
        >>> scores = np.array([[0.9, 0.8, 0.0], [0.9, 0.1, 0.0]])  # the second has no other
        >>> lists = np.array([[0, 1, 2], [0, 1, 2]])
        >>> one_to_one(scores, lists, min_queries=2).scores.argmax(axis=1)
        array([1, 0])
    """
    scores, candidates = np.asarray(scores, np.float64), np.asarray(candidates)
    if scores.shape != candidates.shape or scores.ndim != 2:
        raise ValueError(
            "Expected scores and candidates of one shape (queries, candidates). "
            f"Received: {scores.shape} and {candidates.shape}"
        )
    if method not in ("sinkhorn", "assignment"):
        raise ValueError(f"method is 'sinkhorn' or 'assignment'. Received: method={method!r}")
    listed = candidates >= 0
    if not np.isfinite(scores[listed]).all():
        raise ValueError("The score of every listed candidate must be a finite number.")

    logits = _standardized(scores, listed)
    num_rights = len(np.unique(candidates[listed]))
    sharing = listed.sum() / max(num_rights, 1)
    if len(scores) < min_queries:
        reason = f"plain scores: {len(scores)} queries, matching asks for {min_queries}"
    elif sharing < MIN_SHARING:
        reason = (
            f"plain scores: a right image occurs in {sharing:.1f} lists on average, "
            f"matching asks for {MIN_SHARING}"
        )
    else:
        if method == "sinkhorn":
            matched = _sinkhorn(logits / TEMPERATURE, candidates, listed, num_iterations)
        else:
            matched = _assignment(logits, candidates, listed)
        return Matching(matched, True, f"{method}: {len(scores)} queries, {num_rights} rights")
    return Matching(logits, False, reason)


def _standardized(scores: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """Rows to mean 0 and standard deviation 1 over their listed places; empty ones lowest."""
    counts = np.maximum(listed.sum(axis=1, keepdims=True), 1)
    centered = scores - np.where(listed, scores, 0).sum(axis=1, keepdims=True) / counts
    spread = np.sqrt(np.where(listed, centered**2, 0).sum(axis=1, keepdims=True) / counts)
    rows = np.where(listed, centered / np.maximum(spread, 1e-12), 0)
    return np.where(listed, rows, rows.min(initial=0) - 1)


def _sinkhorn(
    logits: np.ndarray, candidates: np.ndarray, listed: np.ndarray, num_iterations: int
) -> np.ndarray:
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


def _assignment(logits: np.ndarray, candidates: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """Plain order, but each query's partner in the best total assignment comes first."""
    span = np.ptp(logits[listed]) + 1
    # A pair that nobody listed costs more than any exchange of listed pairs could ever win.
    total = np.full((len(logits), candidates.max() + 1), -span * len(logits))
    rows, places = np.nonzero(listed)
    total[rows, candidates[rows, places]] = logits[rows, places]
    rows, partners = scipy.optimize.linear_sum_assignment(total, maximize=True)
    partner = np.full(len(logits), -2)
    partner[rows] = partners
    return logits + span * (candidates == partner[:, None])
