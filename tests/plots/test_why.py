"""Figures that explain a score."""

import numpy as np
import pytest

from tll_utils import plots

IMAGE = np.zeros((30, 24, 3), np.uint8)


def test_why_match_joins_the_cells_that_agree_most_each_once():
    cosines = np.zeros((9, 9))
    cosines[0, 8], cosines[0, 7], cosines[4, 4] = 0.9, 0.8, 0.5
    picture = plots.why_match(IMAGE, IMAGE, cosines)
    assert "upper left with lower right, .90; center of both, .50;" in picture.description
    assert [len(ax.patches) for ax in picture.figure.axes] == [4, 4, 0]
    written = {text.get_position(): text.get_text() for text in picture.figure.axes[2].texts}
    assert written[1, 1] == ".50" and written[0, 0] == ".00"


def test_why_match_wants_three_by_three_cells():
    with pytest.raises(ValueError, match=r"3 × 3 cells. Received: shape \(9, 3\)"):
        plots.why_match(IMAGE, IMAGE, np.zeros((9, 3)))
