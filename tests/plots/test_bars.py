"""Figures of accuracies, counts and weights: lengths, order, intervals."""

import numpy as np
import pytest

from tll_utils import plots


def legend(picture):
    return [text.get_text() for text in picture.figure.legends[0].get_texts()]


def rows(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def test_top_2_bars_have_the_right_length_and_chance():
    hits = {"half": np.array([True, False] * 10), "none": np.zeros(20, bool)}
    picture = plots.top_2_bars(hits, num_candidates=20, title="Half")
    (ax,) = picture.axes
    assert [bar.get_width() for bar in ax.patches] == [0.5, 0.0]
    assert rows(ax) == ["half", "none"]
    assert legend(picture) == ["chance .10"]
    assert "half .50 (.30 to .70); none .00 (.00 to .16). Chance .10." in picture.description


def test_top_2_bars_show_the_reader_s_guess():
    hits = {"a": np.ones(4, bool), "b": np.ones(4, bool)}
    one = plots.top_2_bars(hits, num_candidates=20, title="All", guess=0.25)
    assert legend(one) == ["your guess .25", "chance .10"]
    each = plots.top_2_bars(hits, num_candidates=20, title="All", guess={"b": 0.5})
    (diamond,) = [line for line in each.axes[0].lines if line.get_marker() == "D"]
    assert (list(diamond.get_xdata()), list(diamond.get_ydata())) == ([0.5], [1])
    assert "your guess for b .50" in each.description


def test_top_2_by_group_splits_the_hits():
    groups = np.array(["pose"] * 4 + ["color"] * 4)
    hits = {"x": np.array([0, 0, 0, 1, 1, 1, 1, 1], bool)}
    (ax,) = plots.top_2_by_group(hits, groups, num_candidates=20, title="Color is easy").axes
    assert rows(ax) == ["color (4)", "pose (4)"]
    assert [bar.get_width() for bar in ax.patches] == [1.0, 0.25]


def test_top_2_by_group_draws_equal_groups_by_name():
    """Else they would change places from run to run."""
    groups = np.array(list("dacbed"))
    hits = {"color": np.ones(6, bool)}
    (ax,) = plots.top_2_by_group(hits, groups, num_candidates=20, title="All alike").axes
    names = [label.get_text()[0] for label in ax.get_yticklabels()]
    assert names in (list("abcde"), list("edcba"))


def test_top_2_by_group_tells_systems_apart_by_hatching():
    hits = {name: np.ones(4, bool) for name in "xyz"}
    (ax,) = plots.top_2_by_group(hits, np.array(["g"] * 4), num_candidates=4, title="All").axes
    assert len({bar.get_hatch() for bar in ax.patches}) == 3


def test_top_2_by_layer_draws_a_panel_per_backbone_and_a_line_per_way():
    half, none = np.array([True, False] * 10), np.zeros(20, bool)
    hits = {
        ("a", "low"): {"raw": none, "std": half},
        ("a", "high"): {"raw": half, "std": half},
        ("b", "only"): {"raw": none, "std": none},
    }
    picture = plots.top_2_by_layer(hits, num_candidates=20, title="Deep is better")
    left, right = picture.axes
    assert [ax.get_title(loc="left") for ax in (left, right)] == ["a", "b"]
    assert rows(left) == ["low", "high"]
    assert left.yaxis_inverted()  # the shallowest layer on top
    raw = next(line for line in left.lines if len(line.get_xdata()) == 2)
    assert list(raw.get_xdata()) == [0, 0.5]
    assert legend(picture) == ["raw", "std", "chance .10"]
    assert "a, high, raw .50" in picture.description


def test_histograms_count_every_value_on_shared_bins():
    values = {"a": np.arange(10), "b": np.arange(5)}
    picture = plots.histograms(values, xlabel="value", bins=5, title="Counts")
    assert picture.axes[0].get_xlabel() == "value"
    assert legend(picture) == ["a", "b"]
    assert "a: 10 images, median 4.50, from 0 to 9.00" in picture.description


def test_tap_shares_draws_the_mean_as_bar_and_every_fold_as_dot():
    picture = plots.tap_shares([{"low": 0.2, "high": 0.8}, {"low": 0.4, "high": 0.6}])
    (ax,) = picture.axes
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.3, 0.7])
    dots = {tuple(np.round(dot, 6)) for dot in ax.collections[0].get_offsets()}
    assert dots == {(0.2, 0), (0.4, 0), (0.8, 1), (0.6, 1)}
    assert rows(ax) == ["low", "high"]
    assert picture.figure.get_suptitle() == "high carries most: .70 of the likeness"


def test_weights_put_the_heaviest_member_first():
    picture = plots.weights({"light": [0.1, 0.3], "heavy": [0.7, 0.9]})
    (ax,) = picture.axes
    assert rows(ax) == ["heavy", "light"]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.8, 0.2])
    assert "heavy .80 (folds .70 to .90); light .20" in picture.description


def test_weights_take_one_number_per_member():
    picture = plots.weights({"a": [0.25], "b": [0.75]})
    assert "fold" not in picture.description
    assert picture.axes[0].get_xlim()[0] == pytest.approx(0)
