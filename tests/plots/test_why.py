"""Figures that explain a score."""

import numpy as np
import pytest

from tll_utils import plots

IMAGE = np.zeros((30, 24, 3), np.uint8)


def test_why_match_joins_the_cells_that_agree_most_each_once():
    cosines = np.zeros((9, 9))
    cosines[0, 8], cosines[0, 7], cosines[4, 4] = 0.9, 0.8, 0.5
    picture = plots.why_match(IMAGE, IMAGE, cosines, num_lines=2)
    assert "upper left with lower right, .90; center of both, .50." in picture.description
    assert [len(ax.patches) for ax in picture.axes] == [2, 2, 0]
    written = {text.get_position(): text.get_text() for text in picture.axes[2].texts}
    assert written[1, 1] == ".50" and written[0, 0] == ".00"


def test_why_match_wants_a_square_of_cells():
    with pytest.raises(ValueError, match=r"square number of cells. Received: shape \(9, 3\)"):
        plots.why_match(IMAGE, IMAGE, np.zeros((9, 3)))


def test_descriptor_pictures_draw_a_stroke_across_the_gradient():
    hog = np.zeros((3, 2, 9))
    hog[1, 0, 0] = 1.0  # brightness changes from left to right: an upright edge
    lbp = np.array([[0, 9], [3, 9]])
    picture = plots.descriptor_pictures(IMAGE, hog, lbp, title="Edges")
    (stroke,) = picture.axes[1].collections[0].get_segments()
    across, along = np.abs(stroke[1] - stroke[0])
    assert across < 0.2 < 0.9 < along
    assert stroke.mean(axis=0) == pytest.approx([0, 1])
    assert picture.axes[2].images[0].get_array().tolist() == [[0, 255], [85, 255]]
    assert "3 × 2 cells, 9 directions" in picture.description and "10 codes" in picture.description


def test_descriptor_pictures_take_hog_drawn_by_scikit_image():
    picture = plots.descriptor_pictures(IMAGE, np.eye(8) * 0.1, np.eye(8), title="Edges")
    assert picture.axes[1].images[0].get_array().max() == 255


def test_hubs_show_those_that_attract_most_first():
    counts = np.array([0, 5, 1, 0])
    picture = plots.hubs(counts, [IMAGE] * 4, num_shown=2)
    titles = [ax.get_title() for ax in picture.axes[:2]]
    assert titles == ["5 queries", "1 query"]
    assert [bar.get_height() for bar in picture.axes[2].patches] == [2, 1, 0, 0, 0, 1]
    assert picture.figure.get_suptitle() == "2 of 4 candidates win 1.00 of the queries"


def test_hubs_want_a_thumbnail_per_count():
    with pytest.raises(ValueError, match="one thumbnail per count: 4 expected. Received: 1"):
        plots.hubs(np.arange(4), [IMAGE])
