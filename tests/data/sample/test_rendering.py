"""The two manners of the sample pictures: masks, blending, light."""

import numpy as np
import pytest

from tll_utils.data.sample import parts, rendering

PALETTE = parts.rgb("d9bf94 2f8583 e8755a 2d3f5e")
DISC = parts.ellipse(0, 0, 0.5, 0.5)


def test_paint_covers_the_area_of_the_outline():
    disc, square = rendering._paint(DISC), rendering._paint(parts.box(0, 0, 0.4, 0.3))
    assert disc.shape == (245, 200) and disc.dtype == np.float32
    assert disc.sum() == pytest.approx(np.pi * 50**2, rel=0.02)
    assert square.sum() == pytest.approx(80 * 60, rel=0.03)
    assert 0 < np.sum((disc > 0.05) & (disc < 0.95)) < 400  # a soft rim, and a thin one


def test_paint_draws_strokes_at_their_width():
    stroke = rendering._paint(np.array([(-0.5, 0), (0.5, 0)]), width=0.2)
    assert (stroke[:, 100] > 0.5).sum() == pytest.approx(20, abs=1)


@pytest.mark.parametrize("width", [0.0, 0.15])
def test_area_holds_all_that_is_painted(width):
    for shift in ((0, 0), (0.9, -1.1), (5, 5)):
        mask = rendering._paint(DISC + shift, width=width)
        rows, columns = rendering._area(DISC + shift, width=width)
        assert mask.sum() == pytest.approx(mask[rows, columns].sum())


def test_light_falls_from_where_the_sun_is():
    light = rendering._light(rendering._paint(DISC), 1.0, np.float32([0, -1]))
    assert light[90, 100] > 1.1 > 0.95 > light[155, 100]
    np.testing.assert_allclose(light[122, 100], 1.02, atol=0.05)


def test_photograph_and_sketch_show_the_parts_color():
    blue = parts.rgb("2030e0")[0]
    scene = [parts.Part(DISC, blue)]
    for picture in (
        rendering.photograph(scene, PALETTE, np.random.default_rng(1)),
        rendering.sketch(scene, PALETTE, np.random.default_rng(1), kind="colour"),
    ):
        assert picture.shape == (245, 200, 3) and picture.dtype == np.uint8
        middle, corner = picture[110:130, 90:110].mean((0, 1)), picture[:20, :20].mean((0, 1))
        assert middle[2] > middle[0] + 60
        assert np.abs(middle - corner).max() > 60


def test_sketch_keeps_color_where_color_is_the_likeness():
    scene = [parts.Part(DISC, parts.rgb("e02020")[0])]
    for seed in range(12):
        picture = rendering.sketch(scene, PALETTE, np.random.default_rng(seed), kind="colour")
        assert np.ptp(picture[110:130, 90:110].mean((0, 1))) > 50


def test_pattern_shows_both_tones_within_the_part_only():
    pattern = parts.Pattern("checks", 0.4, 0.2, 0.0, parts.rgb("ffffff")[0])
    scene = [parts.Part(DISC, parts.rgb("000000")[0], relief=0, pattern=pattern)]
    picture = rendering.photograph(scene, PALETTE, np.random.default_rng(0)).astype(float)
    assert picture[100:145, 80:120].std() > 60
    assert picture[5:25, 5:25].std(axis=(0, 1)).max() < 10
