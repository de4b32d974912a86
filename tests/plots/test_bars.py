"""Figures of accuracies, counts and weights: lengths, order, intervals."""

import numpy as np
import pandas as pd

from tll_utils import plots


def legend(picture):
    return [text.get_text() for text in picture.figure.legends[0].get_texts()]


def rows(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def test_top_2_bars_have_the_right_length_and_chance():
    hits = {"half": np.array([True, False] * 10), "none": np.zeros(20, bool)}
    picture = plots.top_2_bars(hits, num_candidates=20, title="Half")
    (ax,) = picture.figure.axes
    assert [bar.get_width() for bar in ax.patches] == [0.5, 0.0]
    assert rows(ax) == ["half", "none"]
    assert legend(picture) == ["chance .10"]
    assert "half .50 (.30 to .70); none .00 (.00 to .16). Chance .10." in picture.description


def test_top_2_bars_show_the_reader_s_guess():
    hits = {"a": np.ones(4, bool), "b": np.ones(4, bool)}
    one = plots.top_2_bars(hits, num_candidates=20, title="All", guess=0.25)
    assert legend(one) == ["your guess .25", "chance .10"]


def test_top_2_by_group_draws_a_row_per_group_and_a_marker_per_system():
    half, none = np.array([True, False] * 10), np.zeros(20, bool)
    hits = {"low": {"raw": none, "std": half}, "high": {"raw": half, "std": half}}
    picture = plots.top_2_by_group(hits, num_candidates=20, title="High is better")
    (ax,) = picture.figure.axes
    assert rows(ax) == ["low", "high"]
    assert ax.yaxis_inverted()  # the first group on top
    dots = [line for line in ax.lines if line.get_marker() in ("o", "s")]
    assert [list(line.get_xdata()) for line in dots] == [[0, 0.5], [0.5, 0.5]]
    assert legend(picture) == ["raw", "std", "chance .10"]
    assert "low, raw .00 (.00 to .16); high, raw .50 (.30 to .70)" in picture.description


def test_histograms_count_every_value_on_shared_bins():
    values = {"a": np.arange(10), "b": np.arange(5)}
    picture = plots.histograms(values, xlabel="value", title="Counts")
    assert picture.figure.axes[0].get_xlabel() == "value"
    assert legend(picture) == ["a", "b"]
    assert "a: 10 images, median 4.50, from 0 to 9.00" in picture.description


def test_fold_bars_draw_the_mean_as_bar_and_every_fold_as_dot():
    table = pd.DataFrame([[0.2, 0.4], [0.8, 0.6]], index=["low", "high"])
    picture = plots.fold_bars(table, xlabel="share", title="High carries most")
    (ax,) = picture.figure.axes
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.3, 0.7])
    dots = {tuple(np.round(dot, 6)) for dot in ax.collections[0].get_offsets()}
    assert dots == {(0.2, 0), (0.4, 0), (0.8, 1), (0.6, 1)}
    assert rows(ax) == ["low", "high"]
    assert "Share: low .30 (folds .20 to .40); high .70" in picture.description
