"""Classical descriptors: values by hand, invariances, refusals."""

import numpy as np
import pytest
from PIL import Image

from tll_utils.features import descriptors

RED, BLUE = (220, 30, 30), (30, 30, 220)


def plain(color, size=(49, 40)):
    return np.full((*size, 3), color, np.uint8)


def halves(left, right, size=(49, 40)):
    image = plain(left, size)
    image[:, size[1] // 2 :] = right
    return image


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (3, 49, 40, 3), dtype=np.uint8)


DESCRIPTORS = pytest.mark.parametrize(
    ("describe", "dimension"),
    [
        (descriptors.color_histogram, 64),
        (descriptors.hog, 9 * 7 * 4 * 9),  # blocks down × across × cells × orientations
        (descriptors.lbp, 4 * 10),
    ],
)


@DESCRIPTORS
def test_descriptors_give_one_float32_row_per_image(describe, dimension, noise):
    rows = describe(noise, progress=False)
    assert rows.shape == (3, dimension) and rows.dtype == np.float32
    assert np.isfinite(rows).all()
    # Order is kept and images do not touch each other.
    np.testing.assert_array_equal(describe(noise[1:2], progress=False)[0], rows[1])


@DESCRIPTORS
def test_descriptors_read_paths_as_they_read_arrays(describe, dimension, noise, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, noise, strict=True):
        Image.fromarray(image).save(path)
    np.testing.assert_array_equal(describe(paths, progress=False), describe(noise, progress=False))


@DESCRIPTORS
def test_descriptors_refuse_images_that_are_not_uint8_rgb(describe, dimension):
    with pytest.raises(ValueError, match="float64"):
        describe(np.zeros((1, 49, 40, 3)), progress=False)
    with pytest.raises(ValueError, match=r"\(49, 40\)"):
        describe(np.zeros((1, 49, 40), np.uint8), progress=False)
    with pytest.raises(ValueError, match="no images"):
        describe([], progress=False)


def test_color_histogram_of_halves_mixes_both_colors_equally():
    red, blue, mixed = descriptors.color_histogram(
        np.stack([plain(RED), plain(BLUE), halves(RED, BLUE)]), progress=False
    )
    np.testing.assert_allclose(np.linalg.norm([red, blue, mixed], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(mixed**2, (red**2 + blue**2) / 2, atol=1e-4)


def test_color_histogram_puts_black_and_white_into_the_outer_bins():
    black, white = descriptors.color_histogram(
        np.stack([plain((0, 0, 0)), plain((255, 255, 255))]), progress=False
    )
    # a = b = 0 falls between the two middle bins of four; L on the first and the last.
    for row, light in ((black, 0), (white, 3)):
        middle = row.reshape(4, 4, 4)[light, 1:3, 1:3]
        np.testing.assert_allclose(middle**2, 1 / 4, atol=1e-3)


def test_color_histogram_sees_places_only_with_a_grid():
    pair = np.stack([halves(RED, BLUE), halves(BLUE, RED)])
    whole = descriptors.color_histogram(pair, progress=False)
    cells = descriptors.color_histogram(pair, grid=2, progress=False)
    np.testing.assert_allclose(whole[0], whole[1], atol=1e-4)
    assert cells.shape == (2, 4 * 64)
    assert cells[0] @ cells[1] < 0.7 < whole[0] @ whole[1]


def test_color_histogram_moves_little_with_the_light():
    near, far = plain((200, 90, 60)), plain((60, 120, 200))
    brighter = plain((210, 100, 70))
    one, two, three = descriptors.color_histogram(np.stack([near, brighter, far]), progress=False)
    assert one @ two > 0.9 > one @ three


def test_hog_tells_the_direction_of_stripes():
    upright = np.zeros((120, 96, 3), np.uint8)
    upright[:, ::8] = upright[:, 1::8] = 255
    lying = np.zeros((120, 96, 3), np.uint8)
    lying[::8] = lying[1::8] = 255
    rows = descriptors.hog(np.stack([upright, lying]), progress=False).reshape(2, -1, 9)
    energy = rows.sum(axis=1)
    assert energy[0].argmax() != energy[1].argmax()
    assert energy[0] @ energy[1] < 0.2 * energy[0] @ energy[0]


def test_lbp_ignores_brightness_but_not_texture(noise):
    dark = noise[:1] // 2
    brighter = dark + 60
    smooth = np.full_like(dark, 90)
    one, two, three = descriptors.lbp(np.concatenate([dark, brighter, smooth]), progress=False)
    assert one @ two > 0.99
    assert one @ three < 0.6


def test_color_histogram_names_a_bad_grid():
    with pytest.raises(ValueError, match="grid=0"):
        descriptors.color_histogram(plain(RED)[None], grid=0, progress=False)


def test_dominant_colors_come_most_frequent_first():
    pair = np.stack([plain(RED), halves(RED, BLUE)])
    colors = descriptors.dominant_colors(pair, num_colors=2)
    assert colors.dtype == np.uint8
    np.testing.assert_array_equal(colors, [RED, BLUE])
