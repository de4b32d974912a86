"""Who learns and who is asked: folds, held-out pairs and candidate lists.

Near-duplicate groups stay on one side of every split.
"""

from __future__ import annotations

import numpy as np

from tll_utils.errors import DataError


def assign_folds(groups: np.ndarray, *, num_folds: int, seed: int) -> np.ndarray:
    """Deals the pairs into folds of equal size, near-duplicate groups kept whole.

    Args:
        groups: int `(num_pairs,)`.
        num_folds: At least 2, at most the number of groups.
        seed: Shuffles the groups before they are dealt.

    Returns:
        int `(num_pairs,)` in [0, num_folds). The sizes of two folds differ at most by the size of
        the largest group.

    Raises:
        DataError: If there are fewer groups than folds, or fewer than two folds.

    Example:
        >>> folds = assign_folds(np.array([0, 0, 1, 2]), num_folds=2, seed=0)
        >>> bool(folds[0] == folds[1]), np.bincount(folds)
        (True, array([2, 2]))
    """
    labels, sizes = np.unique(groups, return_counts=True)
    if not 2 <= num_folds <= len(labels):
        raise DataError(
            f"num_folds must be between 2 and the number of groups, {len(labels)}. "
            f"Received: num_folds={num_folds}"
        )
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(-sizes[order], kind="stable")]  # large ones first, small ones level
    fold_sizes = np.zeros(num_folds, dtype=int)
    fold_of_label = np.empty(len(labels), dtype=int)
    for label in order:
        fold_of_label[label] = fold_sizes.argmin()
        fold_sizes[fold_of_label[label]] += sizes[label]
    return fold_of_label[np.searchsorted(labels, groups)]


def hold_out(
    indices: np.ndarray, groups: np.ndarray, *, share: float = 0.15, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits pairs in two, for early stopping; near-duplicate groups stay on one side.

    Args:
        indices: The pairs to split, int `(n,)`.
        groups: int `(num_pairs,)`, of all pairs.
        share: Of the groups that are held out, at least one. Defaults to 0.15.
        seed: Draws them.

    Returns:
        `(train, validation)`: both sorted, together `indices`.

    Raises:
        DataError: If nothing would be left to train on.
    """
    indices = np.asarray(indices)
    labels, place = np.unique(np.asarray(groups)[indices], return_inverse=True)
    if len(labels) < 2:
        raise DataError(
            f"hold_out needs two near-duplicate groups at least. Received: {len(labels)} among "
            f"{len(indices)} pairs"
        )
    order = np.random.default_rng(seed).permutation(len(labels))
    num_held = min(max(1, round(share * len(labels))), len(labels) - 1)
    held = np.isin(place, order[:num_held])
    return np.sort(indices[~held]), np.sort(indices[held])


def draw_candidates(
    folds: np.ndarray, *, m: int, seed: int, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one candidate list per pair: its own right among `m − 1` others of the same fold.

    Args:
        folds: Int `(num_pairs,)`, the fold of each pair.
        m: Candidates per list, at least 2.
        seed: The same seed gives the same lists.
        groups: Int `(num_pairs,)`; a distractor never comes from the query's own near-duplicate
            group, where it would be the same image as the match. Defaults to one group per pair.

    Returns:
        candidates: Int `(num_pairs, m)`; entry j stands for the right image of pair j.
        true_place: Int `(num_pairs,)`, uniform over the m places.

    Raises:
        DataError: If a fold holds too few other pairs for a list of m.

    Example:
        >>> candidates, true_place = draw_candidates(np.zeros(5, int), m=3, seed=0)
        >>> candidates[np.arange(5), true_place]
        array([0, 1, 2, 3, 4])
    """
    folds = np.asarray(folds)
    groups = np.arange(len(folds)) if groups is None else np.asarray(groups)
    if m < 2:
        raise DataError(f"A candidate list needs m of at least 2. Received: m={m}")
    rng = np.random.default_rng(seed)
    candidates = np.empty((len(folds), m), np.int64)
    true_place = rng.integers(m, size=len(folds))
    for pair, place in enumerate(true_place):
        others = np.flatnonzero((folds == folds[pair]) & (groups != groups[pair]))
        if len(others) < m - 1:
            raise DataError(
                f"Fold {folds[pair]} offers {len(others)} distractors, a list of m={m} needs "
                f"{m - 1}. Use fewer folds or a smaller m."
            )
        candidates[pair] = np.insert(rng.choice(others, m - 1, replace=False), place, pair)
    return candidates, true_place
