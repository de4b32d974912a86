"""Augmentation is seeded, varied and stays in range."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tll_utils import images


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
    [{"flip": "horizontal"}, {"rotation": 0.1, "shift": 0.2, "shear": 0.2}],
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


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_rand_augment_repeats_itself_from_the_generator_alone(dtype):
    pytest.importorskip("keras_cv")
    batch = np.random.default_rng(0).uniform(0, 255, (6, 12, 10, 3)).astype(dtype)
    augment = images.rand_augment(0.4)
    first, second, again = (augment(batch, np.random.default_rng(seed)) for seed in (7, 8, 7))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(float) - second).max() > 1
    assert first.min() >= 0 and first.max() <= 255
    assert first.shape == batch.shape and first.dtype == dtype


def test_rand_augment_works_where_tensorflow_is_deterministic():
    pytest.importorskip("keras_cv")
    code = (
        "import numpy as np, tensorflow as tf; from tll_utils import images\n"
        "tf.config.experimental.enable_op_determinism()\n"
        "augment = images.rand_augment(0.4)\n"
        "augment(np.zeros((4, 8, 8, 3), np.float32), np.random.default_rng(0))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_rand_augment_of_each_change_repeats_itself():
    pytest.importorskip("keras_cv")
    image = np.random.default_rng(0).uniform(0, 255, (1, 12, 10, 3)).astype(np.float32)
    augment = images.rand_augment(0.5)
    results = {}
    for seed in range(40):
        first, again = (augment(image, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        results[np.round(first).tobytes()] = seed
    assert len(results) > 20


def test_rand_augment_refuses_a_magnitude_out_of_range():
    with pytest.raises(ValueError, match="Received: magnitude=1.5"):
        images.rand_augment(1.5)
