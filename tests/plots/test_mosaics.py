"""Figures that show images: what they put where."""

import numpy as np
import pytest

from tll_utils import plots


def images(count, shape=(24, 20, 3)):
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def titles(picture):
    return [ax.get_title() or ax.get_title(loc="left") for ax in picture.axes]


def labels(picture):
    return [ax.get_xlabel() for ax in picture.axes]


def test_candidate_row_sorts_by_score_and_marks_the_match():
    picture = plots.candidate_row(images(1)[0], images(3), np.array([0.1, 0.9, 0.5]), 2)
    assert titles(picture) == ["query", "1 · .90", "2 · .50", "3 · .10"]
    assert labels(picture) == ["", "", "match", ""]
    shown = picture.axes[2].images[0].get_array()
    np.testing.assert_array_equal(shown, images(3)[2])
    assert picture.figure.get_suptitle() == "1 of 1 matches rank first or second"
    assert "best candidate no. 2 with .90, match no. 3 at rank 2 with .50" in picture.description


def test_candidate_row_brings_a_low_match_into_view():
    scores = np.linspace(1, 0, 10)
    picture = plots.candidate_row(images(1)[0], images(10), scores, 9, num_shown=4)
    assert [title.split(" ")[0] for title in titles(picture)] == ["query", "1", "2", "3", "10"]
    assert labels(picture)[-1] == "match"


def test_candidate_row_ranks_the_match_last_among_equals():
    picture = plots.candidate_row(images(1)[0], images(3), np.ones(3), 0)
    assert labels(picture) == ["", "", "", "match"]


def test_candidate_row_marks_nothing_without_truth():
    picture = plots.candidate_row(images(1)[0], images(3), np.arange(3.0), None)
    assert "match" not in labels(picture) and "match" not in picture.description


def test_candidate_row_writes_as_many_decimals_as_tell_scores_apart():
    picture = plots.candidate_row(images(1)[0], images(3), np.array([0.991, 0.992, 0.993]), 0)
    assert titles(picture)[1:] == ["1 · .993", "2 · .992", "3 · .991"]


def test_candidate_row_numbers_candidates_by_their_place_in_the_list():
    picture = plots.candidate_row(images(1)[0], images(3), np.arange(3.0), 0, numbers=True)
    assert labels(picture) == ["", "no. 3", "no. 2", "match\nno. 1"]


def test_candidate_rows_draw_one_row_per_query():
    picture = plots.candidate_rows(
        images(2), [images(5), images(5)], np.random.default_rng(1).random((2, 5)), [0, 3],
        num_shown=3, labels=["one", "two"],
    )  # fmt: skip
    assert len(picture.axes) == 2 * 4
    assert [titles(picture)[i] for i in (0, 4)] == ["one", "two"]
    assert labels(picture).count("match") == 2
    assert "one: best candidate" in picture.description


@pytest.mark.parametrize("shape", [(24, 20, 3), (24, 20), (24, 20, 1)])
def test_grids_show_every_image(shape):
    pairs = plots.pair_grid(
        images(7, shape), images(7, shape), columns=3, titles="abcdefg", title="Pairs"
    )
    assert sum(len(ax.images) for ax in pairs.axes) == 14
    mosaic = plots.image_mosaic(images(7, shape), columns=4, title="Images")
    assert [len(ax.images) for ax in mosaic.axes] == [1] * 7 + [0]


def test_image_mosaic_frames_and_names_what_is_marked():
    picture = plots.image_mosaic(images(3), title="Which?", marked=[1], mark="answer")
    assert labels(picture) == ["", "answer", ""]
    assert "Answer: number 2." in picture.description


def test_images_keep_their_gray_whatever_its_range():
    dark, bright = np.full((4, 4), 10, np.uint8), np.full((4, 4), 240.4, np.float32)
    picture = plots.image_mosaic([dark, bright], title="Dark and bright")
    assert [ax.images[0].get_clim() for ax in picture.axes] == [(0, 255)] * 2
    assert picture.axes[1].images[0].get_array().max() == 240


def test_images_refuse_what_is_no_picture():
    with pytest.raises(ValueError, match="multiply pictures in \\[0, 1\\] by 255"):
        plots.image_mosaic([np.full((4, 4, 3), 0.5)], title="Too dark")
    with pytest.raises(ValueError, match=r"\(height, width, 3\). Received: \(4, 4, 2\)"):
        plots.image_mosaic([np.zeros((4, 4, 2), np.uint8)], title="Two channels")
    with pytest.raises(ValueError, match="one title per image: 2 expected. Received: 1"):
        plots.image_mosaic(images(2), title="Two", titles=["one"])
    with pytest.raises(ValueError, match="at least one image"):
        plots.image_mosaic([], title="None")


def test_swatches_show_the_colors_given():
    palette = np.array([[255, 0, 0], [0, 0, 255]])
    picture = plots.swatches([palette, palette], titles=["one", "two"], title="Red and blue")
    np.testing.assert_array_equal(picture.axes[0].images[0].get_array()[0], palette)
    assert "one: #FF0000 #0000FF" in picture.description


def test_filters_show_zero_as_middle_gray_and_the_largest_weight_as_an_end():
    kernels = np.zeros((2, 2, 3, 2))
    kernels[0, 0, :, 1] = (4, -4, 0)
    picture = plots.filters(kernels, title="Two filters")
    zero, other = (ax.images[0].get_array() for ax in picture.axes[:2])
    assert set(np.ravel(zero)) == {128}
    assert other[0, 0].tolist() == [255, 0, 128]
    assert "2 filters of 2 × 2 pixels, color" in picture.description


def test_filters_refuse_other_shapes():
    with pytest.raises(ValueError, match="as Conv2D keeps them"):
        plots.filters(np.zeros((3, 3, 8)), title="No")
