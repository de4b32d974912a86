"""Tables in color, dots, and maps of an embedding."""

import numpy as np
import pandas as pd
import pytest

from tll_utils import plots


def written(ax):
    return {tuple(text.get_position()): text.get_text() for text in ax.texts}


def test_scatter_states_the_correlation():
    x = np.arange(10.0)
    picture = plots.scatter(x, 2 * x + 1, xlabel="left", ylabel="right")
    assert picture.figure.get_suptitle() == "The two sides correlate by 1.00"
    assert "10 pairs, correlation 1.00" in picture.description


def test_heat_map_writes_every_number_between_the_names_and_frames_the_best():
    table = pd.DataFrame([[0.5, 0.25], [0.1, 1.0]], index=["color", "shape"], columns=["low", "up"])
    picture = plots.heat_map(table, label="agreement", title="Half agree", frame_best=True)
    ax = picture.figure.axes[0]
    assert written(ax) == {(0, 0): ".50", (1, 0): ".25", (0, 1): ".10", (1, 1): "1.00"}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["color", "shape"]
    assert [round(patch.get_x() + 0.46) for patch in ax.patches] == [0, 1]
    assert "Agreement: color: .50 at low, .25 at up; shape: .10 at low" in picture.description


def test_heat_map_writes_counts_as_whole_numbers_and_names_the_axes():
    table = pd.crosstab(pd.Series([1, 1, 2], name="after"), pd.Series([1, 2, 2], name="before"))
    ax = plots.heat_map(table, label="matches", title="From rank to rank").figure.axes[0]
    assert written(ax) == {(0, 0): "1", (1, 0): "1", (0, 1): "0", (1, 1): "1"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("before", "after")


def test_covariance_scatter_draws_ellipses_of_two_standard_deviations():
    square = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) / np.sqrt(4 / 3)
    picture = plots.covariance_scatter(
        square * [5, 1], square, labels=("before", "after"), title="Round"
    )
    left, right = (ax.patches[0] for ax in picture.figure.axes)
    assert (left.width, left.height) == pytest.approx((20, 4))
    assert (right.width, right.height) == pytest.approx((4, 4))
    assert "standard deviations 5.00 and 1.00" in picture.description


def test_embedding_map_measures_pairs_against_the_usual_distance():
    places = np.array([[0, 0], [0, 1], [4, 0], [4, 1.0]])
    thumbnails = np.zeros((4, 9, 8, 3), np.uint8)
    picture = plots.embedding_map({"before": places}, thumbnails, [[0, 1], [2, 3]])
    (ax,) = picture.figure.axes
    assert (len(ax.images), len(ax.lines)) == (4, 2)
    assert "before .25" in picture.description


def test_embedding_map_wants_a_place_for_each_thumbnail():
    with pytest.raises(ValueError, match=r"must be \(2, 2\), one row per thumbnail"):
        plots.embedding_map({"a": np.zeros((3, 2))}, np.zeros((2, 4, 4), np.uint8), [[0, 1]])
