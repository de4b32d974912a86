"""Random changes of training batches; each follows from the generator that it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def augmenter(
    *,
    flip: bool | str = True,
    rotation: float = 0.0,
    shift: float = 0.0,
    shear: float = 0.0,
) -> Augment:
    """Builds a random change of a batch of images, for training data only.

    Each image is changed on its own. Flips, rotation, shift and shear are one affine map of the
    image about its middle, so that pixels are interpolated once; the rim is repeated outwards.

    Args:
        flip: `True`, left-right and up-down flips, drawn apart, each with probability ½;
            "horizontal" or "vertical", one of them alone; `False`, none.
        rotation: Largest turn as a share of a full circle.
        shift: Largest translation as a share of the side.
        shear: Largest shear, in pixels per pixel.

    Returns:
        `augment(images, rng)`: takes uint8 or float32 `(batch, height, width, channels)` in
        [0, 255] and a `np.random.Generator`, and gives images of the same shape, dtype and range.
    """

    def augment(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if not (flip or rotation or shift or shear):
            return images
        linear = _linear_maps(len(images), rng, flip=flip, rotation=rotation, shear=shear)
        maps = _about_the_middle(linear, images.shape[1:3], rng, shift=shift)
        return np.stack([_warp(*pair) for pair in zip(images, maps, strict=True)])

    return augment


def rand_augment(magnitude: float) -> Augment:
    """Builds RandAugment from layers of keras-cv: up to two changes of color or place per image.

    Which changes, and how strong, is drawn here and handed to each layer as a constant together
    with a seed: keras-cv's own `RandAugment` draws part of it from TensorFlow's global state, so
    that no seed repeats it. A layer takes all images that drew the same change at the same of ten
    levels: the more images in a call, the faster.

    Args:
        magnitude: In [0, 1]; single changes scatter about it with a deviation of 0.15.

    Returns:
        `augment(images, rng)` as of `augmenter`, RGB only. It follows from `rng` alone.

    Raises:
        ValueError: If `magnitude` is not in [0, 1].
        ModuleNotFoundError: If keras-cv is not installed.

    Reference:
        Cubuk et al., 2020, RandAugment, https://arxiv.org/abs/1909.13719.
    """
    if not 0 <= magnitude <= 1:
        raise ValueError(f"magnitude must be in [0, 1]. Received: magnitude={magnitude}")
    changes = _changes()

    def augment(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        changed = np.array(images, np.float32)
        for _ in range(2):
            for change, level, places in _drawn(len(changed), len(changes), magnitude, rng):
                changed[places] = changes[change](level)(changed[places])
        changed = changed.clip(0, 255)
        return np.rint(changed).astype(np.uint8) if images.dtype == np.uint8 else changed

    return augment


def _drawn(
    count: int, num_kinds: int, magnitude: float, rng: np.random.Generator
) -> Iterator[tuple[int, float, np.ndarray]]:
    """Draws a change for each image: `(kind, strength in [-1, 1], places of its images)`."""
    kinds = rng.integers(num_kinds, size=count)
    strengths = np.clip(rng.normal(magnitude, 0.15, count), 0, 1) * rng.choice([-1, 1], count)
    levels = np.rint(10 * strengths) / 10
    wanted = rng.random(count) < 10 / 11  # as in the paper
    for kind, level in sorted(set(zip(kinds[wanted], levels[wanted], strict=True))):
        yield int(kind), float(level), np.flatnonzero(wanted & (kinds == kind) & (levels == level))


def _changes() -> Sequence[Callable[[float], Any]]:
    """The ten changes of RandAugment: from a strength in [-1, 1] to a layer of keras-cv."""
    import keras_cv
    import tensorflow as tf

    try:  # keras-cv asks for it, without using it here; deterministic TensorFlow makes none unasked
        tf.random.get_global_generator()
    except RuntimeError:
        tf.random.set_global_generator(tf.random.Generator.from_seed(1))
    layers, always = keras_cv.layers, keras_cv.core.ConstantFactorSampler
    # RandomShear draws a sign of its own: always the same one. It takes 0 for no seed.
    seed = {"seed": 1}
    levels = {"value_range": (0, 255), **seed}

    def equalize(strength: float) -> Any:
        layer = layers.Equalization(**levels)
        # It warns that it cannot take histograms of all images at once.
        return lambda images: np.stack([layer(image) for image in images])

    def solarize(strength: float) -> Any:
        # Adding more than 110 leaves hardly anything of the picture.
        added, threshold = 110 * abs(strength), 255 - 255 * abs(strength)
        return layers.Solarization(
            addition_factor=always(added), threshold_factor=always(threshold), **levels
        )

    return (
        lambda strength: layers.AutoContrast(**levels),
        equalize,
        solarize,
        lambda strength: layers.RandomColorDegeneration(factor=always(abs(strength)), **seed),
        # The range of the factor goes from 1 − the first to 1 + the second: a single value.
        lambda strength: layers.RandomContrast(factor=(-strength, strength), **levels),
        lambda strength: layers.RandomBrightness(factor=(strength, strength), **levels),
        lambda strength: layers.RandomShear(x_factor=always(strength), **seed),
        lambda strength: layers.RandomShear(y_factor=always(strength), **seed),
        lambda strength: layers.RandomTranslation((0, 0), (strength, strength), **seed),
        lambda strength: layers.RandomTranslation((strength, strength), (0, 0), **seed),
    )


def _linear_maps(
    count: int, rng: np.random.Generator, *, flip: bool | str, rotation: float, shear: float
) -> np.ndarray:
    """Flips, turns and slants, float `(count, 2, 2)`, for points `(x, y)`."""
    flips = np.ones((count, 2))
    for axis, name in enumerate(("horizontal", "vertical")):
        if flip in (True, name):
            flips[:, axis] = rng.choice([-1, 1], count)
    angle = 2 * np.pi * rng.uniform(-rotation, rotation, count)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    slant = np.tile(np.eye(2), (count, 1, 1))
    slant[:, [0, 1], [1, 0]] = rng.uniform(-shear, shear, (count, 2))
    return np.moveaxis(turn, -1, 0) @ slant * flips[:, None]


def _about_the_middle(
    linear: np.ndarray, size: tuple[int, int], rng: np.random.Generator, *, shift: float
) -> np.ndarray:
    """Maps from a place in the result to its place in the image, float `(count, 2, 3)`."""
    sides = np.array(size[::-1])
    middle = (sides - 1) / 2
    offset = middle + rng.uniform(-shift, shift, (len(linear), 2)) * sides - linear @ middle
    return np.concatenate([linear, offset[..., None]], axis=2)


def _warp(image: np.ndarray, affine_map: np.ndarray) -> np.ndarray:
    warped = cv2.warpAffine(
        image,
        affine_map,
        image.shape[1::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return warped.reshape(image.shape)
