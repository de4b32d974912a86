"""Scoring: arithmetic by hand, and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tll_utils import scoring

SCORES = np.array([[0.9, 0.5, 0.1], [0.2, 0.4, 0.3], [0.5, 0.5, 0.5]])
PLACES = np.array([0, 2, 1])


@st.composite
def scored_lists(draw):
    n, m = draw(st.integers(1, 8)), draw(st.integers(2, 8))
    scores = draw(hnp.arrays(np.float64, (n, m), elements=st.floats(-5, 5)))
    return scores, draw(hnp.arrays(np.int64, n, elements=st.integers(0, m - 1)))


def test_ranks_counts_ties_against():
    np.testing.assert_array_equal(scoring.ranks(SCORES, PLACES), [1, 2, 3])


def test_top_k_accuracy_is_the_share_of_hits():
    assert scoring.top_k_accuracy(SCORES, PLACES, 1) == pytest.approx(1 / 3)
    assert scoring.top_k_accuracy(SCORES, PLACES, 2) == pytest.approx(2 / 3)


@given(st.integers(3, 9), st.integers(0, 2))
def test_constant_scorer_scores_zero(m, place):
    places = np.full(4, place)
    assert scoring.top_k_accuracy(np.full((4, m), 0.7), places, 2) == 0


@given(scored_lists())
def test_perfect_scorer_scores_one(lists):
    scores, places = lists
    scores[np.arange(len(scores)), places] = 6
    assert scoring.top_k_accuracy(scores, places, 1) == 1


@given(scored_lists(), st.integers(0, 2**16))
def test_permuted_candidates_keep_their_rank(lists, seed):
    scores, places = lists
    order = np.random.default_rng(seed).permutation(scores.shape[1])
    moved = np.argsort(order)[places]
    np.testing.assert_array_equal(
        scoring.ranks(scores[:, order], moved), scoring.ranks(scores, places)
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_ranks_refuses_what_is_not_finite(bad):
    scores = SCORES.copy()
    scores[1, 2] = bad
    with pytest.raises(ValueError, match="row 1, candidate 2"):
        scoring.ranks(scores, PLACES)


def test_ranks_refuses_a_place_out_of_range():
    with pytest.raises(ValueError, match=r"0…2.*Received: 0…3"):
        scoring.ranks(SCORES, np.array([0, 3, 1]))


def test_cosine_and_euclidean_by_hand():
    queries, gallery = np.array([[3.0, 0.0]]), np.array([[0.0, 2.0], [5.0, 0.0], [3.0, 4.0]])
    candidates = np.array([[2, 0, 1]])
    np.testing.assert_allclose(
        scoring.cosine_scores(queries, gallery, candidates), [[0.6, 0, 1]], atol=1e-6
    )
    np.testing.assert_allclose(
        scoring.euclidean_scores(queries, gallery, candidates), [[-4, -np.sqrt(13), -2]], rtol=1e-6
    )


def test_cosine_scores_agree_by_product_and_by_gather():
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(300, 5)), rng.normal(size=(900, 5))
    candidates = rng.integers(900, size=(300, 2))  # 900 > 200 · 2: gathered
    wide = np.concatenate([candidates, rng.integers(900, size=(300, 8))], axis=1)  # product
    np.testing.assert_allclose(
        scoring.cosine_scores(queries, gallery, wide)[:, :2],
        scoring.cosine_scores(queries, gallery, candidates),
        atol=1e-6,
    )


def test_cosine_scores_permute_with_their_candidates():
    rng = np.random.default_rng(1)
    queries, gallery = rng.normal(size=(4, 3)), rng.normal(size=(9, 3))
    candidates, order = rng.integers(9, size=(4, 6)), rng.permutation(6)
    np.testing.assert_array_equal(
        scoring.cosine_scores(queries, gallery, candidates[:, order]),
        scoring.cosine_scores(queries, gallery, candidates)[:, order],
    )


def test_unit_norm_keeps_a_zero_row_zero():
    np.testing.assert_array_equal(
        scoring.unit_norm(np.array([[0.0, 0.0], [0.0, 4.0]])), [[0, 0], [0, 1]]
    )


def test_wilson_interval_by_hand():
    # p = .5, n = 4, z = 1.96: centre .5, half-width z/(1+z²/n) · sqrt(p(1−p)/n + z²/4n²) = .34996
    low, high = scoring.wilson_interval(np.array([True, True, False, False]))
    assert (low, high) == (pytest.approx(0.15004, abs=1e-4), pytest.approx(0.84996, abs=1e-4))


def test_paired_comparison_by_hand():
    a = np.array([1, 1, 1, 1, 1, 0, 0, 1], bool)
    b = np.array([0, 0, 0, 0, 0, 0, 0, 1], bool)
    comparison = scoring.paired_comparison(a, b)
    assert comparison.difference == 5 / 8
    assert comparison.p_value == pytest.approx(2 / 2**5)  # five discordant, all for a
    assert comparison.low <= 5 / 8 <= comparison.high
    assert scoring.paired_comparison(a, a) == (0, 0, 0, 1)


def test_paired_comparison_is_antisymmetric():
    rng = np.random.default_rng(3)
    a, b = rng.random(100) < 0.6, rng.random(100) < 0.5
    there, back = scoring.paired_comparison(a, b), scoring.paired_comparison(b, a)
    assert there.difference == -back.difference
    assert there.p_value == back.p_value


@given(st.integers(2, 5), st.integers(0, 1000))
def test_draw_candidates_holds_the_match_once_and_stays_in_fold_and_out_of_group(m, seed):
    folds = np.repeat([0, 1], 8)
    groups = np.arange(16)
    groups[1] = groups[0]
    candidates, places = scoring.draw_candidates(folds, m=m, seed=seed, groups=groups)
    pairs = np.arange(16)
    np.testing.assert_array_equal(np.take_along_axis(candidates, places[:, None], 1)[:, 0], pairs)
    assert all(len(set(row)) == m for row in candidates)
    np.testing.assert_array_equal(folds[candidates], folds[:, None] * np.ones((1, m), int))
    assert 1 not in candidates[0] and 0 not in candidates[1]


def test_draw_candidates_is_drawn_once_from_its_seed():
    folds = np.zeros(30, int)
    first, again = (scoring.draw_candidates(folds, m=5, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != scoring.draw_candidates(folds, m=5, seed=5)[0]).any()


def test_draw_candidates_places_the_match_anywhere():
    _, places = scoring.draw_candidates(np.zeros(400, int), m=4, seed=0)
    assert (np.bincount(places, minlength=4) > 60).all()  # 100 expected, s.d. 8.7


def test_draw_candidates_refuses_a_fold_too_small():
    with pytest.raises(ValueError, match="offers 2 distractors, a list of m=4 needs 3"):
        scoring.draw_candidates(np.zeros(3, int), m=4, seed=0)


def test_recall_at_k_over_the_gallery():
    gallery = np.eye(3)
    queries = np.array([[1, 0.5, 0], [1, 0.5, 0]])
    assert scoring.recall_at_k(queries, gallery, [0, 1], 1) == 0.5
    assert scoring.recall_at_k(queries, gallery, [0, 1], 2) == 1.0


def test_surest_mistakes_come_by_the_score_of_the_wrong_candidate():
    scores = np.array([[0.9, 0.1], [0.2, 0.6], [0.3, 0.8], [0.5, 0.5]])
    # Row 0 is right; row 3 is a tie, which counts against.
    found = scoring.surest_mistakes(scores, np.array([0, 0, 0, 0]), count=5)
    assert found.tolist() == [2, 1, 3]
    assert scoring.surest_mistakes(scores, np.array([0, 0, 0, 0]), count=1).tolist() == [2]
