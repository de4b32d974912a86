"""Mined negatives on embeddings small enough to see, and when they are mined."""

import numpy as np
import pytest

from tll_utils import mining

# On a line: the match of 0.0 is 0.3; nearest others 1.0, 2.0, 5.0.
ANCHORS = np.array([[0.0], [1.2], [2.1], [5.5]])
POSITIVES = np.array([[0.3], [1.0], [2.0], [5.0]])
ALONE = np.arange(4)


def test_squared_distances_by_hand():
    distance = mining.squared_distances([[0.0, 0.0]], [[3.0, 4.0], [1.0, 0.0]])
    np.testing.assert_allclose(distance, [[25.0, 1.0]])


def test_hardest_of_all_is_the_nearest_that_is_not_the_match():
    hardest = mining.hardest_of_random(ANCHORS, POSITIVES, groups=ALONE, num_random=200)
    np.testing.assert_array_equal(hardest, [[1], [2], [1], [2]])


def test_hardest_respects_near_duplicates():
    hardest = mining.hardest_of_random(ANCHORS, POSITIVES, groups=[0, 0, 1, 2])
    np.testing.assert_array_equal(hardest[:, 0], [2, 2, 1, 2])


def test_hardest_of_one_random_right_is_a_random_right():
    options = {"groups": ALONE, "num_random": 1}
    drawn = {mining.hardest_of_random(ANCHORS, POSITIVES, seed=s, **options)[0, 0]
             for s in range(40)}  # fmt: skip
    assert drawn == {1, 2, 3}


def test_hardest_of_a_few_is_the_best_of_a_sample():
    rng = np.random.default_rng(0)
    anchors, positives = rng.normal(size=(2, 60, 4))
    distance = mining.squared_distances(anchors, positives)
    found = mining.hardest_of_random(anchors, positives, groups=np.arange(60), num_random=10)
    rank = (distance < np.take_along_axis(distance, found, axis=1)).sum(axis=1)
    # The best of 10 among 59 has expected rank 60 / 11 − 1, not 0 and not 30.
    assert 2 < rank.mean() < 9


def test_hardest_of_few_random_rights_are_never_the_own_group():
    groups = np.repeat(np.arange(4), 2)
    points = np.random.default_rng(0).normal(size=(8, 2))
    for seed in range(20):
        found = mining.hardest_of_random(points, points, groups=groups, num_random=1, seed=seed)
        assert (groups[found] != groups[:, None]).all()


def test_margin_violating_are_exactly_those_within_the_margin():
    # d²(0, ·) = .09 match, 1, 4, 25: margin 2 admits right 1 alone, margin 5 rights 1 and 2.
    def mined(margin, seed):
        return mining.margin_violating(ANCHORS, POSITIVES, margin=margin, groups=ALONE, seed=seed)

    assert {mined(2, seed)[0, 0] for seed in range(20)} == {1}
    assert {mined(5, seed)[0, 0] for seed in range(40)} == {1, 2}


def test_margin_violating_falls_back_on_the_nearest():
    mined = mining.margin_violating(ANCHORS, POSITIVES, margin=1e-3, groups=ALONE)
    np.testing.assert_array_equal(mined, [[1], [2], [1], [2]])


@pytest.mark.parametrize("mine", [
    mining.hardest_of_random,
    lambda *a, **k: mining.margin_violating(*a, margin=1.0, **k),
])  # fmt: skip
def test_mining_needs_somebody_outside_the_group(mine):
    with pytest.raises(ValueError, match="outside its own group"):
        mine(ANCHORS, POSITIVES, groups=[0, 0, 0, 0])


def test_mining_mines_at_the_start_of_the_epochs_asked_for():
    called = []
    mined = mining.Mining(lambda epoch: called.append(epoch) or [[epoch]], start=1, every=2)
    seen = []
    for epoch in range(6):
        mined.on_epoch_begin(epoch)
        seen.append(None if mined.negatives is None else int(mined.negatives[0, 0]))
    assert called == [1, 3, 5] and seen == [None, 1, 1, 3, 3, 5]


def test_mining_goes_on_with_its_state():
    mined = mining.Mining(lambda epoch: [[epoch]])
    assert mining.Mining(list).get_state() == {}
    mined.on_epoch_begin(4)
    again = mining.Mining(lambda epoch: pytest.fail("mined"), every=3)
    again.set_state(mined.get_state())
    again.on_epoch_begin(5)
    assert again.negatives.tolist() == [[4]]
