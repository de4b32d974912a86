"""Image files to pixels, grayscale, and the augmentation of training batches.

Images are RGB in [0, 255] wherever they pass from one function to another.
"""

import functools
import importlib.util
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import keras_cv
import numpy as np
import tensorflow as tf
from PIL import Image

from tll_utils import data, pipeline
from tll_utils import progress as progress_bars

# Weights of R, G and B in the luma of ITU-R BT.601, which PIL and TensorFlow use as well.
LUMA = np.array([0.299, 0.587, 0.114], "float32")


def decode(path, *, size, antialias=False):
    """Reads one image file inside a `tf.data` map.

    JPEG is decoded by TensorFlow; the rare rest (CMYK, PNG, 16 bit …) goes through
    `data.read_image`, so that both accept the same files.

    Args:
        path: String tensor, shape `()`.
        size: `(height, width)` to resize to, bilinear, aspect ratio not kept.
        antialias: Bool, smooth before shrinking as PIL does; slower. Defaults to `False`.

    Returns:
        RGB in [0, 255], float32 of shape `(height, width, 3)`.
    """
    content = tf.io.read_file(path)
    image = tf.cond(
        _is_plain_jpeg(content),
        lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.ensure_shape(
            tf.numpy_function(lambda p: data.read_image(p.decode()), [path], tf.uint8),
            (None, None, 3),
        ),
    )
    image = tf.image.resize(image, size, antialias=antialias)
    return tf.clip_by_value(image, 0.0, 255.0)


def read(paths, decode_one):
    """Data set of `decode_one(path)` for each file, in order, on all cores."""
    dataset = tf.data.Dataset.from_tensor_slices(paths)
    return pipeline.untuned(dataset.map(decode_one, num_parallel_calls=tf.data.AUTOTUNE))


def load_all(paths, *, size, antialias=True, batch_size=64, progress=True):
    """Decodes every file once and keeps the pixels as bytes.

    Args:
        paths: Sequence of image files, n of them.
        size: `(height, width)`.
        antialias: Bool, smooth before shrinking. Defaults to `True`: it is paid once.
        batch_size: Int, files decoded at a time.
        progress: Bool, show a bar.

    Returns:
        RGB, uint8 of shape `(n, height, width, 3)`; a quarter of the memory of floats.

    Raises:
        data.DataError: A file cannot be used; the message names it.
    """
    paths = [str(path) for path in paths]
    images = np.empty((len(paths), *size, 3), np.uint8)
    if not paths:
        return images

    def to_bytes(path):
        return tf.cast(tf.round(decode(path, size=size, antialias=antialias)), tf.uint8)

    dataset = read(paths, to_bytes)
    start = 0
    with progress_bars.bar(total=len(paths), desc="decode", shown=progress) as bar:
        try:
            for batch in dataset.batch(batch_size).prefetch(2).as_numpy_iterator():
                images[start : start + len(batch)] = batch
                start += len(batch)
                bar.update(len(batch))
        except tf.errors.OpError:
            # TensorFlow does not say which file it was; the strict reader does.
            for path in paths[start : start + 2 * batch_size]:
                data.read_image(path)
            raise
    return images


def grayscale(images):
    """Luma of RGB images, one channel.

    images: array of shape (..., 3), RGB in [0, 255]. Returns the same dtype, shape (..., 1).
    """
    images = np.asarray(images)
    luma = (images @ LUMA)[..., None]
    return np.rint(luma).astype(images.dtype) if images.dtype == np.uint8 else luma


def shrink_onto_white(images, scale):
    """Shrinks images and pastes them into the middle of a white ground of the old size.

    images: uint8 (n, h, w, c). scale: float in (0, 1]. Returns the same shape and dtype.
    """
    height, width = images.shape[1:3]
    size = max(1, round(scale * height)), max(1, round(scale * width))
    small = tf.image.resize(images, size, antialias=True).numpy()
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    result = np.full_like(images, 255)
    result[:, top : top + size[0], left : left + size[1]] = np.clip(np.rint(small), 0, 255)
    return result


def augmenter(*, flip=True, rotation=0.0, shift=0.0, shear=0.0, rand_augment=0.0):
    """Builds a random change of a batch of images, for training data only.

    Each image is changed on its own. Flips, rotation, shift and shear are one affine map of the
    image about its middle, so that pixels are interpolated once; the rim is repeated outwards.

    Args:
        flip: `True`, left-right and up-down flips, drawn apart, each with probability ½;
            "horizontal" or "vertical", one of them alone; `False`, none.
        rotation: Float, largest turn as a share of a full circle.
        shift: Float, largest translation as a share of the side.
        shear: Float, largest shear, in pixels per pixel.
        rand_augment: Float in [0, 1], magnitude of two changes by RandAugment; 0 = off. RGB only.

    Returns:
        `augment(images, rng)`: takes uint8 or float32 `(batch, h, w, c)` in [0, 255] and a
        `np.random.Generator`, and gives images of the same shape, dtype and range.

    Reference:
        Cubuk et al., 2020, RandAugment, https://arxiv.org/abs/1909.13719.
    """
    colors = _rand_augment(rand_augment) if rand_augment else None

    def augment(images, rng):
        if flip or rotation or shift or shear:
            maps = _affine_maps(len(images), images.shape[1:3], rng, flip, rotation, shift, shear)
            images = np.stack([_warp(*pair) for pair in zip(images, maps, strict=True)])
        return colors(images, rng) if colors else images

    return augment


def remove_background(image, *, method="grabcut", work_side=96, num_iterations=3):
    """Paints everything but the subject white.

    Args:
        image: RGB, uint8 of shape `(height, width, 3)`.
        method: `"grabcut"` (OpenCV: what is not like the rim) or `"rembg"` (a trained network).
        work_side: Int, grabCut works on a copy with this longer side: 20 times as fast.
        num_iterations: Int, of grabCut.

    Returns:
        RGB, uint8, the same shape. The image itself where no subject was found.

    Reference:
        Rother et al., 2004, GrabCut; report 001 used rembg, https://github.com/danielgatis/rembg.
    """
    if method == "rembg":
        import rembg

        opacity = np.asarray(rembg.remove(image, session=_rembg_session(), only_mask=True)) / 255
    else:
        opacity = _grabcut(image, work_side, num_iterations)
    if opacity.mean() < 0.02:
        return image.copy()
    opacity = opacity[..., None].astype(np.float32)
    return np.rint(opacity * image + (1 - opacity) * 255).astype(np.uint8)


def background_remover():
    """Returns `"rembg"` if it is installed and has its model, else `"grabcut"`."""
    folder = Path(os.environ.get("U2NET_HOME", "~/.u2net")).expanduser()
    has_rembg = importlib.util.find_spec("rembg") is not None
    return "rembg" if has_rembg and any(folder.glob("u2net*.onnx")) else "grabcut"


def without_background(paths, cache_dir, *, method=None, progress=True):
    """Removes the background of image files, each once.

    Args:
        paths: Sequence of image files, n of them.
        cache_dir: Folder for the results, named by the content of what they were made from.
        method: As of `remove_background`. Defaults to `background_remover()`.
        progress: Bool, show a bar.

    Returns:
        List of n paths of PNG files.
    """
    method = method or background_remover()
    folder = Path(cache_dir) / method
    folder.mkdir(parents=True, exist_ok=True)

    def cached(path):
        target = folder / f"{data.content_hash(path)}.png"
        if not target.is_file():
            beside = target.with_suffix(f".{os.getpid()}.{threading.get_ident()}.part")
            cut = remove_background(data.read_image(path), method=method)
            Image.fromarray(cut).save(beside, format="PNG", compress_level=1)
            beside.replace(target)
        return target

    bar = {"total": len(paths), "desc": "remove background", "shown": progress}
    with ThreadPoolExecutor() as pool:
        return list(progress_bars.bar(pool.map(cached, paths), **bar))


def _grabcut(image, work_side, num_iterations):
    """Opacity of the subject, float (height, width); all that touches the rim may be background."""
    height, width = image.shape[:2]
    scale = min(1.0, work_side / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(np.ascontiguousarray(image[..., ::-1]), size, interpolation=cv2.INTER_AREA)
    mask = np.full(small.shape[:2], cv2.GC_PR_FGD, np.uint8)
    rim = max(1, round(0.04 * max(size)))
    # The lower rim is left open: portraits are cut off there.
    mask[:rim] = mask[:, :rim] = mask[:, -rim:] = cv2.GC_BGD
    models = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(small, mask, None, *models, num_iterations, cv2.GC_INIT_WITH_MASK)
    subject = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return np.clip(cv2.resize(subject, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)


@functools.lru_cache
def _rembg_session():
    import rembg

    return rembg.new_session("u2net")


def _affine_maps(count, size, rng, flip, rotation, shift, shear):
    """Maps from a place in the result to its place in the image, float (count, 2, 3), as (x, y)."""
    flips = np.ones((count, 2))
    for axis, name in enumerate(("horizontal", "vertical")):
        if flip in (True, name):
            flips[:, axis] = rng.choice([-1, 1], count)
    angle = 2 * np.pi * rng.uniform(-rotation, rotation, count)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    slant = np.tile(np.eye(2), (count, 1, 1))
    slant[:, [0, 1], [1, 0]] = rng.uniform(-shear, shear, (count, 2))
    linear = np.moveaxis(turn, -1, 0) @ slant * flips[:, None]
    sides = np.array(size[::-1])
    middle = (sides - 1) / 2
    offset = middle + rng.uniform(-shift, shift, (count, 2)) * sides - linear @ middle
    return np.concatenate([linear, offset[..., None]], axis=2)


def _warp(image, affine_map):
    warped = cv2.warpAffine(
        image,
        affine_map,
        image.shape[1::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return warped.reshape(image.shape)


def _rand_augment(magnitude):
    """Keras-cv's RandAugment as `augment(images, rng)`."""
    generator = tf.random.Generator.from_seed(0)
    # Some parts of it take no seed and would draw from the global generator.
    tf.random.set_global_generator(generator)
    options = {"augmentations_per_image": 2, "magnitude": magnitude, "name": "rand_augment"}
    layer = _RandAugment((0, 255), **options)
    _draw_from(generator, layer)
    change = tf.function(lambda images: tf.clip_by_value(layer(images), 0.0, 255.0))

    def augment(images, rng):
        generator.reset_from_seed(int(rng.integers(2**31)))
        changed = change(tf.cast(images, tf.float32)).numpy()
        return np.rint(changed).astype(np.uint8) if images.dtype == np.uint8 else changed

    return augment


class _RandAugment(keras_cv.layers.RandAugment):
    """RandAugment that takes one image after the other, so that a seed means one result."""

    def _map_fn(self, func, inputs):
        return tf.map_fn(func, inputs, parallel_iterations=1)


class _Factor(keras_cv.core.FactorSampler):
    """A keras-cv factor that draws from a given generator."""

    def __init__(self, factor, generator):
        self.factor, self.generator = factor, generator

    def __call__(self, shape=(), dtype="float32"):
        factor = self.factor
        if isinstance(factor, keras_cv.core.UniformFactorSampler):
            return self.generator.uniform(shape, factor.lower, factor.upper, dtype)
        if isinstance(factor, keras_cv.core.NormalFactorSampler):
            drawn = self.generator.normal(shape, factor.mean, factor.stddev, dtype)
            return tf.clip_by_value(drawn, factor.min_value, factor.max_value)
        return factor(shape, dtype)


def _draw_from(generator, layer):
    """Makes a keras-cv layer, and the layers in it, take all its randomness from one generator."""
    layer._random_generator = generator
    for name, value in list(vars(layer).items()):
        if isinstance(value, keras_cv.core.FactorSampler):
            setattr(layer, name, _Factor(value, generator))
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        _draw_from(generator, inner)


def _is_plain_jpeg(content):
    """True for a JPEG of one or three channels; PIL and TensorFlow disagree about CMYK."""
    is_jpeg = tf.strings.substr(content, 0, 2) == b"\xff\xd8"
    return tf.cond(is_jpeg, lambda: tf.io.extract_jpeg_shape(content)[2] <= 3, lambda: False)
