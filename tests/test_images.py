"""Decoding agrees with the strict reader; augmentation is seeded, varied and stays in range."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tll_utils import data, images


@pytest.fixture
def files(tmp_path):
    """One picture as JPEG, gray JPEG, CMYK JPEG, PNG with alpha and 16-bit PNG."""
    smooth = np.linspace(0, 255, 24 * 20 * 3).reshape(24, 20, 3).astype(np.uint8)
    picture = Image.fromarray(smooth)
    paths = [tmp_path / f"{i}{suffix}" for i, suffix in enumerate([".jpg"] * 3 + [".png"] * 2)]
    picture.save(paths[0], quality=95)
    picture.convert("L").save(paths[1], quality=95)
    picture.convert("CMYK").save(paths[2], quality=95)
    picture.convert("RGBA").save(paths[3])
    Image.fromarray(smooth[..., 0].astype(np.uint16) * 257).save(paths[4])
    return paths


def test_load_all_agrees_with_the_strict_reader(files):
    loaded = images.load_all(files, size=(24, 20), progress=False)
    assert loaded.shape == (5, 24, 20, 3) and loaded.dtype == np.uint8
    for path, image in zip(files, loaded, strict=True):
        expected = data.read_image(path).astype(int)
        assert np.abs(image - expected).max() <= 2, path.name


def test_load_all_names_the_file_that_is_broken(files):
    files[1].write_bytes(files[1].read_bytes()[:150])
    with pytest.raises(data.DataError, match=r"1\.jpg"):
        images.load_all(files, size=(24, 20), progress=False)


def test_decode_resizes_and_stays_in_range(files):
    image = images.decode(tf.constant(str(files[0])), size=(6, 5)).numpy()
    assert image.shape == (6, 5, 3) and image.dtype == np.float32
    assert image.min() >= 0 and image.max() <= 255


def test_grayscale_is_the_luma_of_pil():
    rgb = np.random.default_rng(0).integers(0, 256, (3, 8, 7, 3), np.uint8)
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in rgb])
    gray = images.grayscale(rgb)
    assert gray.shape == (3, 8, 7, 1) and gray.dtype == np.uint8
    assert np.abs(gray[..., 0].astype(int) - expected).max() <= 1


def test_grayscale_keeps_floats():
    assert images.grayscale(np.float32([[255.0, 0.0, 0.0]]))[0] == pytest.approx(76.245)


def test_flips_are_drawn_apart_for_each_image_and_axis():
    image = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    ways = [image, image[::-1], image[:, ::-1], image[::-1, ::-1]]
    result = images.augmenter()(np.stack([image] * 64), np.random.default_rng(3))
    seen = [next(i for i, way in enumerate(ways) if np.array_equal(r, way)) for r in result]
    assert set(seen) == {0, 1, 2, 3}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_quarter_turn_turns_a_square_image(channels, dtype):
    batch = np.random.default_rng(0).integers(0, 256, (2, 7, 7, channels)).astype(dtype)
    largest = SimpleNamespace(uniform=lambda low, high, size: np.full(size, high))
    turned = images.augmenter(flip=False, rotation=0.25)(batch, largest)
    assert turned.dtype == dtype
    np.testing.assert_allclose(turned, np.rot90(batch, axes=(1, 2)), atol=1)


def test_a_shift_moves_by_a_share_of_the_side_and_repeats_the_rim():
    batch = np.random.default_rng(0).integers(0, 256, (1, 8, 4, 3), np.uint8)
    largest = SimpleNamespace(uniform=lambda low, high, size: np.full(size, high))
    moved = images.augmenter(flip=False, shift=0.25)(batch, largest)
    np.testing.assert_array_equal(moved[:, :6, :3], batch[:, 2:, 1:])
    np.testing.assert_array_equal(moved[:, :6, 3], batch[:, 2:, 3])
    np.testing.assert_array_equal(moved[:, 6], moved[:, 7])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    "options",
    [{"flip": "horizontal"}, {"rotation": 0.1, "shift": 0.2, "shear": 0.2}, {"rand_augment": 0.4}],
    ids=lambda options: next(iter(options)),
)
def test_augmenter_repeats_itself_from_the_generator_alone(options, dtype):
    batch = np.random.default_rng(0).uniform(0, 255, (4, 12, 10, 3)).astype(dtype)
    augment = images.augmenter(**{"flip": False, **options})
    first, second, again = (augment(batch, np.random.default_rng(seed)) for seed in (7, 8, 7))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(float) - second).max() > 1
    assert first.min() >= 0 and first.max() <= 255
    assert first.shape == batch.shape and first.dtype == dtype


def test_augmenter_with_everything_off_changes_nothing():
    batch = np.random.default_rng(0).uniform(0, 255, (2, 6, 5, 1)).astype(np.float32)
    result = images.augmenter(flip=False)(batch, np.random.default_rng(0))
    np.testing.assert_array_equal(result, batch)


# -- background ----------------------------------------------------------------------------------


def disc_on(color):
    """A red disc in the middle of a textured ground."""
    rows, columns = np.mgrid[:98, :80]
    ground = np.full((98, 80, 3), color) + np.random.default_rng(0).integers(0, 20, (98, 80, 1))
    inside = (rows - 49) ** 2 + (columns - 40) ** 2 < 22**2
    return np.where(inside[..., None], (200, 30, 30), ground).astype(np.uint8), inside


def test_remove_background_keeps_the_subject_and_whitens_the_rest():
    image, inside = disc_on((30, 90, 60))
    cut = images.remove_background(image)
    white = (cut == 255).all(axis=-1)
    assert cut.shape == image.shape and cut.dtype == np.uint8
    assert white[~inside].mean() > 0.9
    assert (cut[inside] == image[inside]).all(axis=-1).mean() > 0.9


def test_remove_background_returns_an_image_without_a_subject_as_it_is():
    flat = np.full((40, 30, 3), 90, np.uint8)
    assert (images.remove_background(flat) == flat).mean() > 0.5


def test_without_background_cuts_each_picture_once(tmp_path, monkeypatch):
    image, _ = disc_on((30, 90, 60))
    for name in ("a.png", "b.png"):
        Image.fromarray(image).save(tmp_path / name)
    paths = [tmp_path / "a.png", tmp_path / "b.png"] * 8  # more than one thread on each file
    first = images.without_background(paths, tmp_path / "cut", method="grabcut", progress=False)
    assert len(set(first)) == 1  # equal bytes, one result
    assert np.array_equal(data.read_image(first[0]), images.remove_background(image))
    monkeypatch.setattr(images, "remove_background", lambda *a, **k: pytest.fail("not cached"))
    again = images.without_background(paths, tmp_path / "cut", method="grabcut", progress=False)
    assert again == first


def test_background_remover_needs_the_model_of_rembg(tmp_path, monkeypatch):
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    assert images.background_remover() == "grabcut"


def test_shrink_onto_white_keeps_the_picture_in_the_middle():
    black = np.zeros((2, 8, 6, 3), np.uint8)
    small = images.shrink_onto_white(black, 0.5)
    assert (small[:, 2:6, 1:4] == 0).all() and (small == 0).sum() == 2 * 4 * 3 * 3
    assert small[0, 0, 0, 0] == 255
    np.testing.assert_array_equal(images.shrink_onto_white(black, 1.0), black)
