"""Figures that show images: what they put where."""

import numpy as np
import pytest

from tll_utils import plots


def images(count, shape=(24, 20, 3)):
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def titles(picture):
    return [ax.get_title() or ax.get_title(loc="left") for ax in picture.figure.axes]


def labels(picture):
    return [ax.get_xlabel() for ax in picture.figure.axes]


def candidate_row(scores, place, **options):
    return plots.candidate_rows(
        images(1), [images(len(scores))], [np.array(scores)], [place], title="One", **options
    )


def test_candidate_rows_sort_by_score_and_mark_the_match():
    picture = candidate_row([0.1, 0.9, 0.5], 2)
    assert titles(picture) == ["query", "1 · .90", "2 · .50", "3 · .10"]
    assert labels(picture) == ["", "", "match", ""]
    shown = picture.figure.axes[2].images[0].get_array()
    np.testing.assert_array_equal(shown, images(3)[2])
    assert "best candidate no. 2 with .90, match no. 3 at rank 2 with .50" in picture.description


def test_candidate_rows_bring_a_low_match_into_view():
    picture = candidate_row(np.linspace(1, 0, 10), 9, num_shown=4)
    assert [title.split(" ")[0] for title in titles(picture)] == ["query", "1", "2", "3", "10"]
    assert labels(picture)[-1] == "match"


def test_candidate_rows_rank_the_match_last_among_equals():
    assert labels(candidate_row(np.ones(3), 0)) == ["", "", "", "match"]


def test_candidate_rows_write_as_many_decimals_as_tell_scores_apart():
    picture = candidate_row([0.991, 0.992, 0.993], 0)
    assert titles(picture)[1:] == ["1 · .993", "2 · .992", "3 · .991"]


def test_candidate_rows_number_candidates_by_their_place_in_the_list():
    picture = candidate_row(np.arange(3.0), 0, numbers=True)
    assert labels(picture) == ["", "no. 3", "no. 2", "match\nno. 1"]


def test_candidate_rows_draw_one_row_per_query():
    picture = plots.candidate_rows(
        images(2), [images(5), images(5)], np.random.default_rng(1).random((2, 5)), [0, 3],
        num_shown=3, labels=["one", "two"], title="Two",
    )  # fmt: skip
    assert len(picture.figure.axes) == 2 * 4
    assert [titles(picture)[i] for i in (0, 4)] == ["one", "two"]
    assert labels(picture).count("match") == 2
    assert "one: best candidate" in picture.description


@pytest.mark.parametrize("shape", [(24, 20, 3), (24, 20), (24, 20, 1)])
def test_grids_show_every_image(shape):
    pairs = plots.pair_grid(
        images(7, shape), images(7, shape), columns=3, titles="abcdefg", title="Pairs"
    )
    assert sum(len(ax.images) for ax in pairs.figure.axes) == 14
    mosaic = plots.image_mosaic(images(7, shape), columns=4, title="Images")
    assert [len(ax.images) for ax in mosaic.figure.axes] == [1] * 7 + [0]


def test_images_keep_their_gray_whatever_its_range():
    dark, bright = np.full((4, 4), 10, np.uint8), np.full((4, 4), 240.4, np.float32)
    picture = plots.image_mosaic([dark, bright], title="Dark and bright")
    assert [ax.images[0].get_clim() for ax in picture.figure.axes] == [(0, 255)] * 2
    assert picture.figure.axes[1].images[0].get_array().max() == 240


def test_images_refuse_what_is_no_picture():
    with pytest.raises(ValueError, match="multiply pictures in \\[0, 1\\] by 255"):
        plots.image_mosaic([np.full((4, 4, 3), 0.5)], title="Too dark")
    with pytest.raises(ValueError, match=r"\(height, width, 3\). Received: \(4, 4, 2\)"):
        plots.image_mosaic([np.zeros((4, 4, 2), np.uint8)], title="Two channels")
    with pytest.raises(ValueError, match="one title per image: 2 expected. Received: 1"):
        plots.image_mosaic(images(2), title="Two", titles=["one"])
    with pytest.raises(ValueError, match="at least one image"):
        plots.image_mosaic([], title="None")


def test_image_mosaic_lets_a_wide_image_fill_the_page():
    strip = np.zeros((1, 12, 3), np.uint8)
    picture = plots.image_mosaic([strip], columns=1, title="Strip")
    assert picture.figure.get_figwidth() == pytest.approx(plots.style.WIDTH)
