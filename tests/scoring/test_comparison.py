"""Intervals and paired tests: by hand, and against simulated truth."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tll_utils import scoring
from tll_utils.scoring import comparison


def test_wilson_interval_by_hand():
    # p = .5, n = 4, z = 1.96: center .5, half-width z/(1+z²/n) · sqrt(p(1−p)/n + z²/4n²) = .34996
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


def test_holm_by_hand():
    # Sorted .01, .03, .04: times 3, 2, 1 is .03, .06, .04, and none ends below a smaller one.
    np.testing.assert_allclose(scoring.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    assert scoring.holm([0.7, 0.6]) == [1.0, 1.0]
    assert scoring.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values):
    corrected = scoring.holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, corrected, strict=True))
    order = np.argsort(p_values)
    assert (np.diff(np.array(corrected)[order]) >= 0).all()
    assert min(corrected) == min(1, len(p_values) * min(p_values))


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.5])
def test_holm_refuses_what_is_no_p_value(bad):
    with pytest.raises(ValueError, match="lie in 0…1"):
        scoring.holm([0.5, bad])


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(0.0, "< .0001"), (9e-5, "< .0001"), (1e-4, "0.0001"), (0.25, "0.2500"), (1, "1.0000")],
)
def test_format_p_never_prints_zero(p_value, text):
    assert scoring.format_p(p_value) == text


def test_comparison_table_corrects_for_the_number_of_rows():
    one, other = np.array([1, 1, 1, 1, 1, 0], bool), np.zeros(6, bool)
    better, same = scoring.paired_comparison(one, other), scoring.paired_comparison(one, one)
    alone = scoring.comparison_table({"a": better})
    both = scoring.comparison_table({"a": better, "b": same})
    assert alone.loc["a"].tolist()[::2] == ["+0.833", "0.0625"]  # 2 / 2⁵
    assert both["p (Holm)"].tolist() == ["0.1250", "1.0000"]
    assert scoring.comparison_table({}).empty


@pytest.mark.parametrize(("wins", "sure"), [(5, False), (6, True), (30, True)])
def test_a_row_is_sure_below_five_percent(wins, sure):
    hits = np.ones(wins, bool)  # against none: p = 2 / 2ⁿ, that is .0625, .03125 and 2e-9
    table = scoring.comparison_table({"a": scoring.paired_comparison(hits, ~hits)})
    assert scoring.is_sure(table, "a") is sure
    assert scoring.in_words(table, "a").endswith(", a gain") is sure


def whole_set(rng, *, n, m=10):
    """A test set with as many rights as queries: lists, and scores that favor the match."""
    candidates = np.array(
        [np.append(rng.permutation(np.delete(np.arange(n), i))[: m - 1], i) for i in range(n)]
    )
    scores = rng.normal(size=(n, m))
    scores[:, -1] += 1.5
    return scores, candidates, np.full(n, m - 1)


def test_whole_set_interval_is_as_wide_as_test_sets_differ():
    rng = np.random.default_rng(0)
    sets = [whole_set(rng, n=150) for _ in range(60)]
    reached = [
        scoring.top_k_accuracy(scoring.one_to_one(scores, candidates).scores, place)
        for scores, candidates, place in sets
    ]
    intervals = [
        scoring.whole_set_interval(*one, np.zeros(150), num_resamples=30) for one in sets[:8]
    ]
    widths = [(high - low) / (2 * 1.96) for low, high in intervals]
    assert np.mean(widths) == pytest.approx(np.std(reached), rel=0.35)
    # Most cover what such sets reach on average.
    assert sum(low <= np.mean(reached) <= high for low, high in intervals) >= 6


def test_whole_set_interval_matches_every_fold_on_its_own(monkeypatch):
    rng = np.random.default_rng(1)
    first, second = whole_set(rng, n=60), whole_set(rng, n=60)
    scores, candidates, place = (np.concatenate(part) for part in zip(first, second, strict=True))
    candidates[60:] += 60
    folds, sizes = np.repeat([0, 1], 60), []

    def match(scores, candidates, original=comparison.one_to_one):
        sizes.append(tuple(np.bincount(candidates[:, -1] // 60)))  # the match is the last
        return original(scores, candidates)

    monkeypatch.setattr(comparison, "one_to_one", match)
    run = functools.partial(scoring.whole_set_interval, scores, candidates, place, folds)
    low, high = run(num_resamples=5)
    assert 0 <= low < high <= 1
    assert sorted(set(sizes)) == [(30, 30), (60, 60)]
    assert run(seed=3, num_resamples=5) == run(seed=3, num_resamples=5)


def test_whole_set_interval_of_a_perfect_scorer_has_no_width():
    scores, candidates, place = whole_set(np.random.default_rng(2), n=40)
    scores[:, -1] += 100
    assert scoring.whole_set_interval(scores, candidates, place, np.zeros(40), num_resamples=5) == (
        1,
        1,
    )
