"""Mined negatives on embeddings small enough to see."""

import numpy as np
import pytest

from tll_utils import mining

# On a line: the match of 0.0 is 0.3; nearest others 1.0, 2.0, 5.0.
ANCHORS = np.array([[0.0], [1.2], [2.1], [5.5]])
POSITIVES = np.array([[0.3], [1.0], [2.0], [5.0]])


def test_squared_distances_by_hand():
    distance = mining.squared_distances([[0.0, 0.0]], [[3.0, 4.0], [1.0, 0.0]])
    np.testing.assert_allclose(distance, [[25.0, 1.0]])


def test_hardest_of_all_is_the_nearest_that_is_not_the_match():
    hardest = mining.hardest_of_random(ANCHORS, POSITIVES, num_random=200)
    np.testing.assert_array_equal(hardest, [[1], [2], [1], [2]])


def test_hardest_respects_near_duplicates():
    hardest = mining.hardest_of_random(ANCHORS, POSITIVES, groups=[0, 0, 1, 2])
    np.testing.assert_array_equal(hardest[:, 0], [2, 2, 1, 2])


def test_hardest_of_one_random_right_is_a_random_right():
    drawn = {mining.hardest_of_random(ANCHORS, POSITIVES, num_random=1, seed=s)[0, 0]
             for s in range(40)}  # fmt: skip
    assert drawn == {1, 2, 3}


def test_hardest_of_a_few_is_the_best_of_a_sample():
    rng = np.random.default_rng(0)
    anchors, positives = rng.normal(size=(2, 60, 4))
    distance = mining.squared_distances(anchors, positives)
    rank = (distance < np.take_along_axis(
        distance, mining.hardest_of_random(anchors, positives, num_random=10), axis=1
    )).sum(axis=1)  # fmt: skip
    # The best of 10 among 59 has expected rank 60 / 11 − 1, not 0 and not 30.
    assert 2 < rank.mean() < 9


def test_margin_violating_are_exactly_those_within_the_margin():
    # d²(0, ·) = .09 match, 1, 4, 25: margin 2 admits right 1 alone, margin 5 rights 1 and 2.
    one = [mining.margin_violating(ANCHORS, POSITIVES, margin=2, seed=s)[0, 0] for s in range(20)]
    assert set(one) == {1}
    two = [mining.margin_violating(ANCHORS, POSITIVES, margin=5, seed=s)[0, 0] for s in range(40)]
    assert set(two) == {1, 2}


def test_margin_violating_falls_back_on_the_nearest():
    mined = mining.margin_violating(ANCHORS, POSITIVES, margin=1e-3, num_negatives=2)
    np.testing.assert_array_equal(mined, [[1, 1], [2, 2], [1, 1], [2, 2]])


@pytest.mark.parametrize("mine", [
    mining.hardest_of_random,
    lambda *a, **k: mining.margin_violating(*a, margin=1.0, **k),
])  # fmt: skip
def test_mining_needs_somebody_outside_the_group(mine):
    with pytest.raises(ValueError, match="outside its own group"):
        mine(ANCHORS, POSITIVES, groups=[0, 0, 0, 0])
