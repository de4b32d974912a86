"""Blending: arithmetic by hand, and what must hold for any members."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tll_utils import scoring
from tll_utils.protocol import Scores
from tll_utils.scoring import ensemble

ROW = np.array([[0.0, 4.0, 1.0, 4.0]])


def noisy_members(noises, *, n=400, m=10, seed=0):
    """Members whose score of the match stands out by 1, each with noise of its own."""
    rng = np.random.default_rng(seed)
    true_place = rng.integers(m, size=n)
    signal = np.eye(m)[true_place]
    return [signal + noise * rng.normal(size=(n, m)) for noise in noises], true_place


def test_rank_scores_by_hand():
    np.testing.assert_allclose(ensemble.rank_scores(ROW), [[0, 2.5 / 3, 1 / 3, 2.5 / 3]])


def test_z_scores_by_hand():
    # Mean 2.25, squared deviations 5.0625, 3.0625, 1.5625, 3.0625: variance 3.1875.
    expected = np.array([[-2.25, 1.75, -1.25, 1.75]]) / np.sqrt(3.1875)
    np.testing.assert_allclose(ensemble.z_scores(ROW), expected)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_constant_row_says_nothing_on_any_scale(value):
    row = np.full((1, 3), value)
    np.testing.assert_array_equal(ensemble.z_scores(row), [[0, 0, 0]])
    np.testing.assert_allclose(ensemble.rank_scores(row), [[0.5, 0.5, 0.5]])
    np.testing.assert_allclose(ensemble.probabilities(row), [[1 / 3, 1 / 3, 1 / 3]])


def test_probabilities_by_hand():
    # z-scores of two values are −1 and 1: the odds are 1 : e².
    shares = ensemble.probabilities(np.array([[5.0, 9.0]]))
    np.testing.assert_allclose(shares, [[1 / (1 + np.e**2), 1 / (1 + np.e**-2)]])


@given(st.integers(0, 2**16), st.sampled_from(["rank_scores", "z_scores", "probabilities"]))
@settings(max_examples=30, deadline=None)
def test_scales_keep_the_order_and_ignore_unit_and_offset(seed, name):
    scores = np.random.default_rng(seed).normal(size=(3, 7))
    scaled = getattr(ensemble, name)(scores)
    np.testing.assert_array_equal(np.argsort(scaled), np.argsort(scores))
    np.testing.assert_allclose(getattr(ensemble, name)(scores * 40 - 7), scaled, atol=1e-9)


def test_majority_vote_by_hand():
    members = [np.array([[9.0, 8, 1, 0]]), np.array([[9.0, 1, 8, 0]]), np.array([[0.0, 8, 9, 1]])]
    votes = ensemble.majority_vote(members)
    np.testing.assert_array_equal(np.floor(votes), [[2, 2, 2, 0]])
    # Mean ranks: (3 + 3 + 0)/9, (2 + 1 + 2)/9, (1 + 2 + 3)/9, (0 + 0 + 1)/9.
    np.testing.assert_allclose(votes % 1, np.array([[6, 5, 6, 1]]) / 9 * 0.999)


def test_majority_vote_never_trades_a_vote_for_ranks():
    # The first candidate has two votes; the second one, and is just behind twice.
    members = [np.array([[9.0, 5, 0]]), np.array([[9.0, 5, 0]]), np.array([[0.0, 9, 5]])]
    assert ensemble.majority_vote(members, num_choices=1).argmax() == 0


def test_weighted_sum_is_accuracy_times_probability():
    members = [np.array([[1.0, 2.0]]), np.array([[7.0, 3.0]])]
    share = 1 / (1 + np.exp(-2))  # softmax of the z-scores 1 and −1
    expected = 0.6 * np.array([[1 - share, share]]) + 0.5 * np.array([[share, 1 - share]])
    voted = ensemble.weighted_sum(members, np.array([0.6, 0.5]), scale=ensemble.probabilities)
    np.testing.assert_allclose(voted, expected)


def test_weighted_sum_takes_weights_per_row():
    members = [np.array([[1.0, 2.0], [1.0, 2.0]]), np.array([[2.0, 1.0], [2.0, 1.0]])]
    summed = ensemble.weighted_sum(members, np.array([[1.0, 0.0], [0.0, 3.0]]))
    np.testing.assert_allclose(summed, [[-1, 1], [3, -3]])


def test_blend_is_a_weighted_sum_of_equal_weights():
    members, _ = noisy_members([1, 2, 3], n=5)
    np.testing.assert_allclose(
        ensemble.blend(members), ensemble.weighted_sum(members, np.full(3, 1 / 3))
    )


def test_top_2_accuracies_by_hand():
    members = [np.array([[3.0, 2, 1], [3, 2, 1]]), np.array([[3.0, 2, 1], [1, 2, 3]])]
    np.testing.assert_allclose(ensemble.top_2_accuracies(members, np.array([0, 2])), [0.5, 1.0])


def test_fit_weights_trusts_the_better_member_and_drops_the_contrary_one():
    (good, poor), true_place = noisy_members([0.5, 2.0])
    weights = ensemble.fit_weights([good, poor, -good], true_place)
    assert weights[0] > 2 * weights[1] > 0
    assert weights[2] == 0


def test_fit_weights_lets_equal_members_count_alike():
    members, true_place = noisy_members([0.7, 0.7], n=2000)
    first, second = ensemble.fit_weights(members, true_place)
    assert first == pytest.approx(second, rel=0.15)  # their evidence differs by chance


def test_fit_weights_makes_logits():
    # Scores that are the log-odds themselves need the weight that undoes the z-score.
    rng = np.random.default_rng(5)
    logits = 2 * ensemble.z_scores(rng.normal(size=(4000, 6)))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true_place = (rng.random((4000, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    assert ensemble.fit_weights([logits], true_place) == pytest.approx([2], rel=0.1)


def test_nested_weights_never_see_their_own_fold():
    members, true_place = noisy_members([0.7, 1.5], n=90)
    folds = np.arange(90) % 3
    before = ensemble.nested_weights(members, true_place, folds)
    shuffled = [member.copy() for member in members]
    shuffled[0][folds == 1] = np.random.default_rng(9).normal(size=(30, 10))
    after = ensemble.nested_weights(shuffled, true_place, folds)
    np.testing.assert_array_equal(after[1], before[1])
    assert (after[[0, 2]] != before[[0, 2]]).any(axis=1).all()


def test_blending_independent_members_beats_each():
    members, true_place = noisy_members([0.8, 0.8, 0.8])
    alone = ensemble.top_2_accuracies(members, true_place)
    for blended in (
        ensemble.blend(members),
        ensemble.blend(members, scale=ensemble.rank_scores),
        ensemble.majority_vote(members),
        ensemble.weighted_sum(members, alone, scale=ensemble.probabilities),
    ):
        assert scoring.top_k_accuracy(blended, true_place) > alone.max()


def test_agreement_by_hand():
    hit, miss = [1.0, 0.0, 0.0], [0.0, 0.5, 1.0]
    first = np.array([hit, hit, miss, miss])
    second = np.array([hit, miss, hit, miss])
    places = np.zeros(4, int)
    np.testing.assert_allclose(
        ensemble.agreement([first, second, -first], places, k=1),
        [[1, 0, -1], [0, 1, 0], [-1, 0, 1]],
        atol=1e-12,
    )
    always = np.array([hit] * 4)
    np.testing.assert_array_equal(ensemble.agreement([first, always], places), np.eye(2))


def test_leave_one_out_leaves_out_each_in_turn():
    members = [np.full((1, 2), value) for value in (1.0, 2.0, 4.0)]
    left = ensemble.leave_one_out(members, lambda rest: sum(rest))
    assert [scores[0, 0] for scores in left] == [6, 5, 3]
    with pytest.raises(ValueError, match="at least 2 members"):
        ensemble.leave_one_out(members[:1], sum)


def system(oof, test):
    return Scores(oof, lambda: test, np.arange(2), 1.5, ("scorer",), "front")


def test_combine_treats_test_scores_as_out_of_fold_scores():
    systems = [system(ROW, 2 * ROW), system(ROW + 1, ROW)]
    combined = ensemble.combine(systems, sum)
    np.testing.assert_array_equal(combined.oof, 2 * ROW + 1)
    np.testing.assert_array_equal(combined.test, 3 * ROW)
    np.testing.assert_array_equal(combined.rows, [0, 1])
    assert combined.seconds == 3.0
    assert combined.scorers == () and combined.front is None  # a sum of scores is no network


def test_combine_nested_scores_each_fold_with_its_own_weights():
    up, down = np.array([[1.0, 2.0]] * 2), np.array([[2.0, 1.0]] * 2)
    weights = np.array([[1.0, 0.0], [0.0, 3.0]])  # fold 0 trusts the first, fold 1 the second
    systems = [system(up, up), system(down, up)]
    combined = ensemble.combine_nested(systems, weights, np.array([1, 0]))
    np.testing.assert_allclose(combined.oof, [[3, -3], [-1, 1]])
    np.testing.assert_allclose(combined.test, [[-2, 2]] * 2)  # mean weights 0.5 and 1.5


def test_ablation_compares_each_step_with_the_one_before():
    hits = {"one": [0, 0, 0, 1], "two": [1, 1, 0, 1], "three": [1, 1, 0, 0]}
    table = ensemble.ablation({name: np.array(hit, bool) for name, hit in hits.items()})
    assert list(table["top-2"]) == ["0.250", "0.750", "0.500"]
    assert list(table["gain"]) == ["", "+0.500", "-0.250"]
    assert list(table["p (Holm)"]) == ["", "1.0000", "1.0000"]  # .5 · 2 steps, and 1


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "at least one member"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], "the same lists"),
        ([np.zeros((2, 3)), np.full((2, 3), np.nan)], "Member 1 holds others"),
    ],
)
def test_blend_refuses_members_that_do_not_fit(members, message):
    with pytest.raises(ValueError, match=message):
        ensemble.blend(members)
