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
    candidates = rng.integers(900, size=(300, 2))  # 900 > 12 · 2: gathered
    wide = np.concatenate([candidates, rng.integers(900, size=(300, 98))], axis=1)  # product
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


@pytest.mark.parametrize("num_lists", [1, 40])  # gathered, and as a product
def test_cosine_scores_of_equal_images_tie_to_the_last_bit(num_lists):
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(3, 37)), rng.normal(size=(60, 37))
    gallery[1::2] = gallery[::2]
    candidates = np.tile([[4, 5, 58, 59]], (3, num_lists))
    scores = scoring.cosine_scores(queries, gallery, candidates)
    np.testing.assert_array_equal(scores[:, ::2], scores[:, 1::2])


def test_cosine_scores_of_a_zero_image_are_zero():
    queries, gallery = np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [2.0, 2.0]])
    scores = scoring.cosine_scores(queries, gallery, np.array([[0, 1], [1, 0]]))
    np.testing.assert_allclose(scores, [[0, 1], [0, 0]], atol=1e-6)


def test_unit_norm_keeps_a_zero_row_zero():
    np.testing.assert_array_equal(
        scoring.unit_norm(np.array([[0.0, 0.0], [0.0, 4.0]])), [[0, 0], [0, 1]]
    )


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


def test_expected_top_k_is_what_drawn_lists_reach_on_average():
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(60, 6))
    gallery = queries + rng.normal(size=(60, 6))
    drawn = []
    for _ in range(60):
        lists = [rng.permutation(np.delete(np.arange(60), i))[:9] for i in range(60)]
        candidates = np.column_stack([np.arange(60), lists])  # the match in column 0
        scores = scoring.cosine_scores(queries, gallery, candidates)
        drawn.append(scoring.top_k_accuracy(scores, np.zeros(60, int)))
    expected = scoring.expected_top_k(queries, gallery, m=10)
    assert abs(expected - np.mean(drawn)) < 0.02


def test_expected_top_k_of_a_constant_is_zero_and_of_a_perfect_scorer_one():
    assert scoring.expected_top_k(np.ones((30, 3)), np.ones((30, 3))) == 0
    assert scoring.expected_top_k(np.eye(30), np.eye(30)) == 1


def test_chance_by_hand():
    assert scoring.chance(2, 20) == 0.1
    assert scoring.chance(5, 3) == 1.0
