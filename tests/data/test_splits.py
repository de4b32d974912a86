"""Folds, held-out pairs and candidate lists keep near-duplicates on one side."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tll_utils import data


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60), st.integers(2, 5), st.integers(0, 9))
def test_assign_folds_keeps_groups_whole_and_folds_level(groups, num_folds, seed):
    groups = np.array(groups)
    if len(set(groups)) < num_folds:
        with pytest.raises(ValueError, match=f"Received: num_folds={num_folds}"):
            data.assign_folds(groups, num_folds=num_folds, seed=seed)
        return
    folds = data.assign_folds(groups, num_folds=num_folds, seed=seed)
    sizes = np.bincount(folds, minlength=num_folds)
    assert len(set(zip(groups, folds, strict=True))) == len(set(groups))
    assert len(sizes) == num_folds
    assert sizes.min() > 0
    assert np.ptp(sizes) <= np.bincount(groups).max()
    assert (folds == data.assign_folds(groups, num_folds=num_folds, seed=seed)).all()


def test_assign_folds_depends_on_the_seed():
    first, second = (data.assign_folds(np.arange(40), num_folds=4, seed=seed) for seed in (0, 1))
    assert (first != second).any()


@given(st.integers(2, 5), st.integers(0, 1000))
def test_draw_candidates_holds_the_match_once_and_stays_in_fold_and_out_of_group(m, seed):
    folds = np.repeat([0, 1], 8)
    groups = np.arange(16)
    groups[1] = groups[0]
    candidates, places = data.draw_candidates(folds, m=m, seed=seed, groups=groups)
    pairs = np.arange(16)
    np.testing.assert_array_equal(np.take_along_axis(candidates, places[:, None], 1)[:, 0], pairs)
    assert all(len(set(row)) == m for row in candidates)
    np.testing.assert_array_equal(folds[candidates], folds[:, None] * np.ones((1, m), int))
    assert 1 not in candidates[0] and 0 not in candidates[1]


def test_draw_candidates_is_drawn_once_from_its_seed():
    folds = np.zeros(30, int)
    first, again = (data.draw_candidates(folds, m=5, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != data.draw_candidates(folds, m=5, seed=5)[0]).any()


def test_draw_candidates_places_the_match_anywhere():
    _, places = data.draw_candidates(np.zeros(400, int), m=4, seed=0)
    assert (np.bincount(places, minlength=4) > 60).all()  # 100 expected, s.d. 8.7


def test_draw_candidates_refuses_a_fold_too_small():
    with pytest.raises(ValueError, match="offers 2 distractors, a list of m=4 needs 3"):
        data.draw_candidates(np.zeros(3, int), m=4, seed=0)


def test_hold_out_splits_no_group():
    groups = np.repeat(np.arange(10), 3)
    train, valid = data.hold_out(np.arange(0, 30, 2), groups, share=0.3, seed=0)
    assert not set(groups[train]) & set(groups[valid])
    np.testing.assert_array_equal(np.sort(np.r_[train, valid]), np.arange(0, 30, 2))
    assert 3 <= len(valid) <= 6


@given(st.lists(st.integers(0, 6), min_size=2, max_size=40), st.floats(0, 1), st.integers(0, 5))
def test_hold_out_leaves_both_sides_something(groups, share, seed):
    groups, indices = np.array(groups), np.arange(len(groups))
    if len(set(groups)) == 1:
        with pytest.raises(data.DataError, match="two near-duplicate groups"):
            data.hold_out(indices, groups, share=share, seed=seed)
        return
    train, validation = data.hold_out(indices, groups, share=share, seed=seed)
    assert len(train) and len(validation)
    assert not set(groups[train]) & set(groups[validation])
    assert sorted([*train, *validation]) == indices.tolist()


def test_draw_candidates_draws_what_it_always_drew():
    """Recorded results rest on these lists."""
    lists, places = data.draw_candidates(np.arange(12) % 2, m=3, seed=0, groups=np.arange(12) // 2)
    assert places.tolist() == [2, 1, 1, 0, 0, 0, 0, 0, 0, 2, 1, 2]
    assert lists.tolist() == [
        [6, 8, 0],
        [7, 1, 9],
        [10, 2, 6],
        [3, 11, 9],
        [4, 2, 10],
        [5, 1, 9],
        [6, 0, 8],
        [7, 9, 1],
        [8, 2, 0],
        [5, 3, 9],
        [8, 10, 0],
        [5, 9, 11],
    ]
