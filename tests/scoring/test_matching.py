"""One-to-one matching: small graphs solved by hand, and what must hold for any graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tll_utils import scoring
from tll_utils.scoring import matching

# Both queries like right 0; only the first has no good second choice.
RIVALS = np.array([[0.9, 0.1, 0.0], [0.9, 0.8, 0.0]])
LISTS = np.array([[0, 1, 2], [0, 1, 2]])
SMALL = {"min_queries": 2}


def noisy_lists(seed, *, n=120, m=20, noise=1.0):
    """Lists over n rights in which the match (right i of query i) stands out by 2 noise units."""
    rng = np.random.default_rng(seed)
    candidates = np.array([np.append(rng.choice(n - 1, m - 1, replace=False), 0)] * n)
    for query in range(n):
        others = np.delete(np.arange(n), query)
        candidates[query] = np.append(rng.choice(others, m - 1, replace=False), query)
    scores = rng.normal(size=(n, m)) * noise
    scores[:, -1] += 2
    return scores, candidates, np.full(n, m - 1)


def test_sinkhorn_by_hand():
    # Rows (4, 1) and (1, 1) as odds; the scaled 2×2 has a·d/(b·c) = 4 and equal margins, so its
    # diagonal p solves (p/(1−p))² = 4: p = 2/3.
    logits = np.log([[4.0, 1.0], [1.0, 1.0]])
    listed = np.ones((2, 2), bool)
    mass = matching._sinkhorn(logits, np.array([[0, 1], [0, 1]]), listed, 100)
    np.testing.assert_allclose(mass, [[2 / 3, 1 / 3], [1 / 3, 2 / 3]], rtol=1e-6)


@pytest.mark.parametrize("method", ["sinkhorn", "assignment"])
def test_a_contested_right_goes_to_the_query_that_has_nothing_else(method):
    result = scoring.one_to_one(RIVALS, LISTS, method=method, **SMALL)
    assert result.applied
    np.testing.assert_array_equal(result.scores.argmax(axis=1), [0, 1])


def test_assignment_keeps_the_plain_order_behind_the_partner():
    result = scoring.one_to_one(RIVALS, LISTS, method="assignment", **SMALL)
    np.testing.assert_array_equal(np.argsort(-result.scores, axis=1), [[0, 1, 2], [1, 0, 2]])


@given(st.integers(0, 2**16))
@settings(max_examples=15, deadline=None)
def test_sinkhorn_gives_doubly_stochastic_mass(seed):
    scores, candidates, _ = noisy_lists(seed, n=40, m=10)
    matched = scoring.one_to_one(scores, candidates, num_iterations=400).scores
    np.testing.assert_allclose(matched.sum(axis=1), 1)
    np.testing.assert_allclose(np.bincount(candidates.ravel(), matched.ravel()), 1, atol=0.02)


@pytest.mark.parametrize("method", ["sinkhorn", "assignment"])
def test_matching_raises_top_2_accuracy(method):
    scores, candidates, true_place = noisy_lists(0, n=400)
    plain = scoring.top_k_accuracy(scores, true_place)
    matched = scoring.one_to_one(scores, candidates, method=method)
    assert matched.reason == f"{method}: 400 queries, 400 rights"
    # About .78 and .9: far outside the .02 that another seed would move them.
    assert scoring.top_k_accuracy(matched.scores, true_place) > plain + 0.04


@given(st.integers(0, 2**16), st.sampled_from(["sinkhorn", "assignment"]))
@settings(max_examples=15, deadline=None)
def test_matching_ignores_the_order_of_queries_and_candidates(seed, method):
    scores, candidates, _ = noisy_lists(seed, n=30, m=6)
    rng = np.random.default_rng(seed)
    rows, places = rng.permutation(30), rng.permutation(6)
    one, other = (
        scoring.one_to_one(s, c, method=method).scores
        for s, c in [(scores, candidates), (scores[rows][:, places], candidates[rows][:, places])]
    )
    np.testing.assert_allclose(other, one[rows][:, places], atol=1e-9)


def test_matching_of_separate_folds_equals_matching_each_alone():
    first, second = noisy_lists(1, n=50), noisy_lists(2, n=50)
    together = scoring.one_to_one(
        np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1] + 50])
    )
    alone = [scoring.one_to_one(scores, candidates).scores for scores, candidates, _ in
             (first, second)]  # fmt: skip
    np.testing.assert_allclose(together.scores, np.concatenate(alone), rtol=1e-9)


def test_matching_standardises_so_that_the_scale_of_scores_is_free():
    scores, candidates, _ = noisy_lists(3)
    one = scoring.one_to_one(scores, candidates).scores
    other = scoring.one_to_one(scores * 100 - 7, candidates).scores
    np.testing.assert_allclose(other, one, rtol=1e-6)


@pytest.mark.parametrize("method", ["sinkhorn", "assignment"])
def test_empty_places_rank_last_and_take_no_part(method):
    scores, candidates, true_place = noisy_lists(4, n=200)
    scores[:, :5] = np.nan  # whatever stands in an empty place must not matter
    candidates[:, :5] = -1
    matched = scoring.one_to_one(scores, candidates, method=method)
    assert matched.applied and np.isfinite(matched.scores).all()
    assert (matched.scores[:, :5] < matched.scores[:, 5:].min(axis=1, keepdims=True)).all()
    short = scoring.one_to_one(scores[:, 5:], candidates[:, 5:], method=method)
    np.testing.assert_allclose(matched.scores[:, 5:], short.scores)
    assert scoring.top_k_accuracy(matched.scores, true_place) > 0.8


def test_missing_rights_and_queries_do_not_stop_the_matching():
    scores, candidates, true_place = noisy_lists(5, n=200)
    missing = np.isin(candidates, [3, 77])  # nobody lists these two rights, their queries included
    candidates = np.where(missing, -1, candidates)[:120]  # 80 queries fewer than rights
    kept = np.setdiff1d(np.arange(120), [3, 77])
    matched = scoring.one_to_one(scores[:120], candidates)
    assert matched.applied
    plain = scoring.top_k_accuracy(scores[kept], true_place[kept])
    assert scoring.top_k_accuracy(matched.scores[kept], true_place[kept]) > plain
    assigned = scoring.one_to_one(scores[:120], candidates, method="assignment").scores
    first = candidates[np.arange(120), assigned.argmax(axis=1)]
    assert len(set(first)) == 120


def test_too_few_queries_fall_back_to_plain_scores():
    result = scoring.one_to_one(RIVALS, LISTS)
    assert not result.applied
    assert result.reason == "plain scores: 2 queries, matching asks for 10"
    np.testing.assert_array_equal(np.argsort(-result.scores), np.argsort(-RIVALS))


def test_lists_that_share_nothing_fall_back_to_plain_scores():
    scores = np.random.default_rng(0).normal(size=(30, 4))
    result = scoring.one_to_one(scores, np.arange(120).reshape(30, 4))
    assert not result.applied
    assert "occurs in 1.0 lists on average" in result.reason
    np.testing.assert_array_equal(np.argsort(-result.scores), np.argsort(-scores))


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        (RIVALS[:, :2], {}, r"\(2, 2\) and \(2, 3\)"),
        (RIVALS, {"method": "greedy"}, "Received: method='greedy'"),
        (np.where(RIVALS == 0.8, np.nan, RIVALS), {}, "finite"),
    ],
)
def test_one_to_one_refuses_bad_arguments(scores, options, message):
    with pytest.raises(ValueError, match=message):
        scoring.one_to_one(scores, LISTS, **options)
