"""Blends the scores of several systems: votes, ranks, z-scores, probabilities, fitted weights.

`members` is a list of score arrays `(n, m)` over the same candidate lists, higher = more alike.
Systems count in units of their own (a cosine, minus a distance, a probability), so each is first
brought to a common scale, row by row: a query's blend never looks at another query.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy  # its parts are loaded when they are first used

from tll_utils.protocol import Scores
from tll_utils.scoring.comparison import comparison_table, paired_comparison
from tll_utils.scoring.ranking import checked, top_k_accuracy, top_k_hits

Members = Sequence[np.ndarray]
Scale = Callable[[np.ndarray], np.ndarray]


def rank_scores(scores: np.ndarray) -> np.ndarray:
    """Replaces each score by its place in the row: worst 0, best 1, ties share their mean.

    Example:
        >>> rank_scores(np.array([[0.1, 0.7, 0.3], [0.5, 0.5, 0.9]])).tolist()
        [[0.0, 1.0, 0.5], [0.25, 0.25, 1.0]]
    """
    num_candidates = scores.shape[1]
    return (scipy.stats.rankdata(scores, axis=1) - 1) / max(num_candidates - 1, 1)


def z_scores(scores: np.ndarray) -> np.ndarray:
    """Brings each row to mean 0 and standard deviation 1; a constant row becomes 0.

    Example:
        >>> z_scores(np.array([[1.0, 3.0], [2.0, 2.0]])).tolist()
        [[-1.0, 1.0], [0.0, 0.0]]
    """
    scores = np.asarray(scores, np.float64)
    centered = scores - scores.mean(axis=1, keepdims=True)
    spread = centered.std(axis=1, keepdims=True)
    varies = spread > 1e-9 * np.abs(scores).max(axis=1, keepdims=True, initial=0)
    return np.where(varies, centered / np.where(varies, spread, 1), 0.0)


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Softmax of the z-scores of each row; rows sum to 1."""
    return scipy.special.softmax(z_scores(scores), axis=1)


def majority_vote(members: Members, *, num_choices: int = 2) -> np.ndarray:
    """Counts for each candidate the members that have it among their first `num_choices`.

    Votes tie often; among equal votes the higher mean rank wins, which can never make up for a
    vote.

    Args:
        num_choices: Votes of each member, best candidates first; 2, as top-2 is what counts.

    Returns:
        Float `(n, m)`: votes, plus a mean rank below 1.
    """
    places = [rank_scores(member) for member in _checked(members)]
    num_candidates = places[0].shape[1]
    elected = (num_candidates - num_choices) / max(num_candidates - 1, 1)
    votes = sum(place >= elected - 1e-9 for place in places)
    return votes + np.mean(places, axis=0) * 0.999


def blend(members: Members, *, scale: Scale = z_scores) -> np.ndarray:
    """Mean of the members on a common scale, all counting alike. `(n, m)`."""
    return np.mean([scale(member) for member in _checked(members)], axis=0)


def fit_weights(members: Members, true_place: np.ndarray) -> np.ndarray:
    """Fits non-negative weights of the z-scores, so that a softmax over each list finds the match.

    Minimizes the mean of `−log softmax(Σ wᵢ zᵢ)[match] + 0.01 · Σ (wᵢ − mean w)²`: without
    evidence to the contrary, members count alike.

    Args:
        true_place: Int `(n,)`, the column of the match.

    Returns:
        Float `(len(members),)`, all >= 0. With these weights the sum of the z-scores is a logit.

    Reference:
        McFadden, 1974, Conditional logit analysis of qualitative choice behavior.
    """
    stack = np.stack([z_scores(member) for member in _checked(members)], axis=-1)
    checked(stack[..., 0], true_place)
    rows = np.arange(len(stack))
    matches = stack[rows, true_place]

    def objective(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = stack @ weights
        shares = scipy.special.softmax(logits, axis=1)
        apart = weights - weights.mean()
        value = np.mean(scipy.special.logsumexp(logits, axis=1) - matches @ weights)
        slope = (np.einsum("nm,nmk->nk", shares, stack) - matches).mean(axis=0)
        return value + 0.01 * (apart @ apart), slope + 2 * 0.01 * apart

    start = np.full(stack.shape[-1], 1 / stack.shape[-1])
    bounds = [(0, None)] * len(start)
    return scipy.optimize.minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B").x


def nested_weights(
    members: Members,
    true_place: np.ndarray,
    folds: np.ndarray,
    *,
    fit: Callable[[Members, np.ndarray], np.ndarray] = fit_weights,
) -> np.ndarray:
    """Fits the weights of each fold on the other folds, so that none scores what it has seen.

    The weights of a fold never see its matches. The members behind them do: their scores on the
    other folds come from networks that trained on this one, as in all stacking on one set of
    folds. That may flatter the blend; the few weights leave it little room.

    Args:
        folds: Int `(n,)`, 0…folds − 1.
        fit: `fit(members, true_place)` returns one weight per member.

    Returns:
        Float `(num_folds, len(members))`; row f holds the weights for the queries of fold f.
    """
    folds = np.asarray(folds)
    weights = []
    for fold in range(folds.max() + 1):
        others = folds != fold
        weights.append(fit([member[others] for member in members], true_place[others]))
    return np.array(weights)


def top_2_accuracies(members: Members, true_place: np.ndarray) -> np.ndarray:
    """Top-2 accuracy of each member, float `(len(members),)`: the report's voting weights."""
    return np.array([top_k_accuracy(member, true_place) for member in members])


def weighted_sum(members: Members, weights: np.ndarray, *, scale: Scale = z_scores) -> np.ndarray:
    """Adds the members on a common scale, each times its weight.

    With `top_2_accuracies` as weights and `scale=probabilities` this is the voting of the report:
    each model's probabilities times its validation accuracy, summed.

    weights: float `(len(members),)`, or `(n, len(members))` for a weight per row. Returns `(n, m)`.
    """
    stack = np.stack([scale(member) for member in _checked(members)], axis=-1)
    weights = np.broadcast_to(weights, (len(stack), stack.shape[-1]))
    return np.einsum("nmk,nk->nm", stack, weights)


def agreement(members: Members, true_place: np.ndarray, *, k: int = 2) -> np.ndarray:
    """Correlation of the members' hits, float `(members, members)`; 1 = they fail together.

    A member that hits always or never has nothing to correlate and gets 0 with the others.
    """
    hits = np.array([top_k_hits(member, true_place, k) for member in members], float)
    centered = hits - hits.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centered, axis=1)
    unit = centered / np.where(norms > 0, norms, 1)[:, None]
    correlation = unit @ unit.T
    np.fill_diagonal(correlation, 1)
    return correlation


def leave_one_out(members: Members, combine: Callable[[Members], np.ndarray]) -> list[np.ndarray]:
    """The blend without each member in turn: what a member adds is what is lost without it."""
    members = _checked(members)
    if len(members) < 2:
        raise ValueError("Leaving one out takes at least 2 members. Received: 1")
    return [combine([*members[:left], *members[left + 1 :]]) for left in range(len(members))]


def combine(systems: Sequence[Scores], how: Callable[[Members], np.ndarray]) -> Scores:
    """Applies `how` to the out-of-fold and to the test scores of several systems.

    Args:
        systems: The systems, with all pairs scored.
        how: For example `blend`; it sees the members in the order of `systems`.

    Returns:
        The combination, without the scorers of any one system.
    """
    return _combined(
        systems,
        oof=how([system.oof for system in systems]),
        score_test=lambda: how([system.test for system in systems]),
    )


def combine_nested(
    systems: Sequence[Scores], weights: np.ndarray, folds: np.ndarray, *, scale: Scale = z_scores
) -> Scores:
    """Weighted sum of systems with the weights of `nested_weights`.

    A pair is scored with the weights of its own fold, which that fold did not help to fit; a test
    query with the mean of all folds' weights.

    Args:
        systems: The systems, with all pairs scored.
        weights: Float `(num_folds, len(systems))`.
        folds: Int `(pairs,)`.
        scale: Of each member, before it is weighted.

    Returns:
        The combination, without the scorers of any one system.
    """
    return _combined(
        systems,
        oof=weighted_sum([system.oof for system in systems], weights[folds], scale=scale),
        score_test=lambda: weighted_sum(
            [system.test for system in systems], weights.mean(axis=0), scale=scale
        ),
    )


def _combined(
    systems: Sequence[Scores], *, oof: np.ndarray, score_test: Callable[[], np.ndarray]
) -> Scores:
    # A blend of scores is no network: what could be saved of one system is not the combination.
    return dataclasses.replace(
        systems[0],
        oof=oof,
        score_test=score_test,
        seconds=sum(system.seconds for system in systems),
        scorers=(),
        front=None,
    )


def ablation(hits: Mapping[str, np.ndarray], *, seed: int = 0) -> pd.DataFrame:
    """Compares each step with the one before it, on the same queries.

    Args:
        hits: For each step, in order, bool `(n,)`: did the match rank in the top 2?
        seed: Of the bootstrap.

    Returns:
        One row per step: `top-2`, and its gain with 95 % interval and exact McNemar p-value,
        corrected for the number of steps; see `comparison_table`.
    """
    steps = list(hits)
    gains = {
        step: paired_comparison(hits[step], hits[before], seed=seed)
        for before, step in itertools.pairwise(steps)
    }
    table = pd.DataFrame({"top-2": [f"{np.mean(hits[step]):.3f}" for step in steps]}, index=steps)
    table = table.join(comparison_table(gains).rename(columns={"difference": "gain"}))
    return table.rename_axis("step").fillna("")


def _checked(members: Members) -> list[np.ndarray]:
    members = [np.asarray(member) for member in members]
    if not members:
        raise ValueError("Expected at least one member. Received: none")
    shapes = {member.shape for member in members}
    if len(shapes) > 1 or len(members[0].shape) != 2:
        raise ValueError(
            f"Members must score the same lists, shape (queries, candidates). Received: {shapes}"
        )
    for place, member in enumerate(members):
        if not np.isfinite(member).all():
            raise ValueError(f"Scores must be finite numbers. Member {place} holds others.")
    return members
