"""Resizing, cells and oriented gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tll_utils import layers


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


# -- Resize --------------------------------------------------------------------------------------


def test_resize_halves_two_pixels_into_their_mean():
    image = np.zeros((1, 2, 4, 3), np.uint8)
    image[:, :, 1], image[:, :, 2:] = 100, 60
    np.testing.assert_allclose(layers.Resize((1, 2))(image)[0, 0, :, 0], [50, 60], atol=1e-4)


def test_resize_smooths_over_twice_the_width_when_antialiased():
    # From 4 to 2, pixels ½, 1½, 2½, 3½ around the middle 1: weights ¾, ¾, ¼, of 1¾.
    row = np.array([70.0, 0.0, 0.0, 0.0], np.float32)
    image = np.broadcast_to(row[None, None, :, None], (1, 4, 4, 3))
    small = np.asarray(layers.Resize((4, 2), antialias=True)(image))
    np.testing.assert_allclose(small[0, 0, :, 0], [30, 0], atol=1e-4)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (40, 7), (1, 60)])
@pytest.mark.parametrize("old", [(49, 40), (16, 16), (5, 31), (1, 1)])
def test_resize_gives_the_numbers_of_tensorflow(old, size, antialias):
    images = pixels(2, *old, 3)
    expected = tf.image.resize(images, size, antialias=antialias)
    np.testing.assert_allclose(
        layers.Resize(size, antialias=antialias)(images), expected, atol=0.01
    )


@given(old=st.integers(1, 90), new=st.integers(1, 90), antialias=st.booleans())
@settings(max_examples=30, deadline=None)
def test_resize_keeps_a_plain_image_plain(old, new, antialias):
    plain = np.full((1, old, 3, 3), 200, np.uint8)
    resized = layers.Resize((new, 2), antialias=antialias)(plain)
    np.testing.assert_allclose(resized, np.full((1, new, 2, 3), 200), atol=1e-3)


def test_resize_leaves_an_image_of_its_size_exactly_as_it_is():
    images = pixels(2, 9, 7, 3)
    np.testing.assert_array_equal(layers.Resize((9, 7), antialias=True)(images), images)


def test_resize_rounds_like_bytes_before_and_after_gray():
    image = np.array([[[[0, 0, 0], [1, 2, 255]]]], np.uint8)
    # The mean is (½, 1, 127½), in whole levels (0, 1, 128), half to even; its luma 15.179.
    np.testing.assert_array_equal(layers.Resize((1, 1), rounded=True)(image)[0, 0, 0], [0, 1, 128])
    np.testing.assert_array_equal(layers.Resize((1, 1), rounded=True, gray=True)(image), [[[[15]]]])
    unrounded = layers.Resize((1, 1), gray=True)(image)
    np.testing.assert_allclose(unrounded, [[[[0.1495 + 0.587 + 14.535]]]], rtol=1e-5)


def test_resize_takes_any_size_within_one_model():
    images = keras.Input((None, None, 3))
    model = keras.Model(images, layers.Resize((6, 5), gray=True)(images))
    assert model.output_shape == (None, 6, 5, 1)
    graph = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))])
    for height, width in ((3, 9), (20, 4)):
        image = pixels(2, height, width, 3).astype(np.float32)
        np.testing.assert_allclose(graph(image), model(image), atol=1e-3)
        assert graph(image).shape == (2, 6, 5, 1)


@pytest.mark.parametrize("size", [7, (7,), (0, 5), (5, 2.5)])
def test_resize_refuses_a_size_that_is_none(size):
    with pytest.raises(ValueError, match="Received: "):
        layers.Resize(size)


@pytest.mark.parametrize("shape", [(2, 8, 8, 1), (8, 8, 3)])
def test_resize_refuses_what_is_not_rgb(shape):
    with pytest.raises(ValueError, match=r"batch, height, width, 3\).*Received: shape="):
        layers.Resize((4, 4))(pixels(*shape))


# -- CellPooling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_one_cell_is_global_pooling(mode):
    maps = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    expected = {"avg": maps.mean((1, 2)), "max": maps.max((1, 2))}[mode]
    np.testing.assert_allclose(layers.CellPooling(mode=mode)(maps), expected, atol=1e-6)


def test_cells_overlap_and_come_row_after_row():
    maps = np.arange(16.0, dtype=np.float32).reshape(1, 4, 4, 1)
    # A side of 4 in two cells: places 0–2 and 1–3. The means are those of the middle places.
    np.testing.assert_allclose(layers.CellPooling(2, 2)(maps), [[5, 6, 9, 10]])
    np.testing.assert_allclose(layers.CellPooling(2, 2, mode="max")(maps), [[10, 11, 14, 15]])
    # Upper and lower half; and in three cells of a side of 7, which start at 0, 1 and 3.
    np.testing.assert_allclose(layers.CellPooling(2, 1)(maps), [[5.5, 9.5]])
    column = np.arange(7.0, dtype=np.float32).reshape(1, 7, 1, 1)
    np.testing.assert_allclose(layers.CellPooling(3, 1)(column), [[1.5, 2.5, 4.5]])


def test_cells_of_maps_of_unknown_size_are_refused():
    with pytest.raises(
        ValueError, match=r"must be known. Received: maps of shape \(None, None, 4, 2"
    ):
        layers.CellPooling(3, 2)(keras.Input((None, 4, 2)))


@pytest.mark.parametrize("options", [{"rows": 0}, {"columns": 1.5}, {"mode": "sum"}])
def test_cell_pooling_refuses_bad_options(options):
    name, value = next(iter(options.items()))
    with pytest.raises(ValueError, match=f"Received: {name}={value!r}"):
        layers.CellPooling(**options)


# -- OrientedGradients ---------------------------------------------------------------------------


def test_gradients_put_an_edge_into_its_direction_and_cell():
    image = np.zeros((1, 16, 16, 3), np.uint8)
    image[0, :8, 4:] = 255  # cell 0: an upright edge inside, a flat one at its lower side
    layer = layers.OrientedGradients(cell=8, num_directions=4)
    edges = np.asarray(layer(image))[0, :16].reshape(2, 2, 4)
    assert edges[0, 0].argmax() == 0 and edges[0, 1].argmax() == 2
    assert edges[1, 1, 2] > 100 * edges[1, 1, 0]
    assert layer(keras.Input((16, 16, 3))).shape == (None, 2 * 2 * 7)


def test_gradients_tell_colors_apart():
    red, green = np.zeros((2, 1, 8, 8, 3), np.float32)
    red[..., 0], green[..., 1] = 255, 255
    layer = layers.OrientedGradients(cell=8, num_directions=4)
    np.testing.assert_allclose(layer(red)[0, 4:], [1 / 3, 1, -1 / 2], rtol=1e-5)
    np.testing.assert_allclose(layer(green)[0, 4:], [1 / 3, -1, -1 / 2], rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 16, 12, 3), (1, 16, 16, 1)])
def test_gradients_refuse_images_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"divisible by 8\. Received: shape="):
        layers.OrientedGradients(cell=8)(pixels(*shape))
