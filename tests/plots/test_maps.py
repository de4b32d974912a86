"""Tables in color, dots, and maps of an embedding."""

import numpy as np
import pytest

from tll_utils import plots


def written(ax):
    return {tuple(text.get_position()): text.get_text() for text in ax.texts}


def legend(picture):
    return [text.get_text() for text in picture.figure.legends[0].get_texts()]


def test_scatter_states_the_correlation():
    x = np.arange(10.0)
    picture = plots.scatter(x, 2 * x + 1, xlabel="left", ylabel="right")
    assert picture.figure.get_suptitle() == "The two sides correlate by 1.00"
    assert "10 pairs, correlation 1.00" in picture.description


def test_scatter_sets_groups_apart():
    x, chosen = np.arange(10.0), np.arange(10) < 3
    picture = plots.scatter(x, x, xlabel="", ylabel="", highlight={"few": chosen}, title="Few")
    others, few = picture.axes[0].collections
    assert (len(others.get_offsets()), len(few.get_offsets())) == (7, 3)
    assert legend(picture) == ["others", "few (3)", "both equal"]


def test_heat_map_writes_every_number_between_the_names():
    values = np.array([[1.0, 0.25], [0.5, 1.0]])
    picture = plots.heat_map(values, ["a", "b"], label="agreement", title="Half agree")
    ax = picture.axes[0]
    assert written(ax) == {(0, 0): "1.00", (1, 0): ".25", (0, 1): ".50", (1, 1): "1.00"}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a  1", "b  2"]
    assert "Agreement: b and a .50." in picture.description


def test_likeness_by_depth_frames_the_best_depth_of_each_kind():
    table = np.array([[0.5, 0.2, 0.1], [0.1, 0.2, 0.6]])
    picture = plots.likeness_by_depth(table, ["color", "shape"], ["low", "mid", "high"])
    ax = picture.axes[0]
    assert [round(patch.get_x() + 0.46) for patch in ax.patches] == [0, 2]
    assert picture.figure.get_suptitle() == "Best depth: low for color, high for shape"
    assert "color .50 at low, .20 at mid, .10 at high, best at low" in picture.description


def test_likeness_by_depth_names_the_shape_expected():
    with pytest.raises(ValueError, match=r"2 kinds × 1 depths. Received: shape \(1, 2\)"):
        plots.likeness_by_depth(np.zeros((1, 2)), ["a", "b"], ["low"])


def test_rank_changes_counts_matches_from_rank_to_rank():
    before, after = np.array([1, 5, 3, 8]), np.array([1, 1, 1, 2])
    picture = plots.rank_changes(before, after, num_candidates=8)
    (ax,) = picture.axes
    bins = [label.get_text() for label in ax.get_xticklabels()]
    assert bins == ["1", "2", "3–5", "6–8"]
    assert {place: text for place, text in written(ax).items() if text != "0"} == {
        (0, 0): "1", (2, 0): "2", (3, 1): "1",
    }  # fmt: skip
    assert picture.figure.get_suptitle() == "3 matches enter the top 2, 0 leave"
    assert "Of 4 matches 3 rise, 0 fall and 1 stay" in picture.description


def test_covariance_scatter_draws_ellipses_of_two_standard_deviations():
    square = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) / np.sqrt(4 / 3)
    picture = plots.covariance_scatter(square * [5, 1], square, title="Round")
    left, right = (ax.patches[0] for ax in picture.axes)
    assert (left.width, left.height) == pytest.approx((20, 4))
    assert (right.width, right.height) == pytest.approx((4, 4))
    assert "standard deviations 5.00 and 1.00" in picture.description


def test_embedding_map_measures_pairs_against_the_usual_distance():
    places = np.array([[0, 0], [0, 1], [4, 0], [4, 1.0]])
    thumbnails = np.zeros((4, 9, 8, 3), np.uint8)
    picture = plots.embedding_map({"before": places}, thumbnails, [[0, 1], [2, 3]])
    (ax,) = picture.axes
    assert (len(ax.images), len(ax.lines)) == (4, 2)
    assert "before .25" in picture.description


def test_embedding_map_wants_a_place_for_each_thumbnail():
    with pytest.raises(ValueError, match=r"must be \(2, 2\), one row per thumbnail"):
        plots.embedding_map({"a": np.zeros((3, 2))}, np.zeros((2, 4, 4), np.uint8), [[0, 1]])
