"""Image files to pixels, grayscale, and the augmentation of training batches.

Images are RGB in [0, 255] wherever they pass from one function to another.
"""

import keras_cv
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tll_utils import data

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

    dataset = tf.data.Dataset.from_tensor_slices(paths).map(to_bytes, tf.data.AUTOTUNE)
    start = 0
    with tqdm(total=len(paths), desc="decode", leave=False, disable=not progress) as bar:
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


def augmenter(*, flip=True, rotation=0.0, shift=0.0, shear=0.0, rand_augment=0.0, seed=0):
    """Builds a random change of a batch of images, for the map of a training data set only.

    Keras-cv layers draw anew on every call, in evaluation too. They therefore never go into a
    model, and every image is changed on its own. Built again with the same seed, the same
    batches change in the same way.

    Args:
        flip: Bool, left-right and up-down flips, drawn apart, each with probability ½.
        rotation: Float, largest turn as a share of a full circle.
        shift: Float, largest translation as a share of the side.
        shear: Float, largest shear. Together with `rotation` and `shift`: an affine map.
        rand_augment: Float in [0, 1], magnitude of RandAugment; 0 = off. RGB images only.
        seed: Int.

    Returns:
        A function of float images `(batch, h, w, c)` in [0, 255] to the same.
    """
    geometry = {"fill_mode": "nearest"}
    layers = []
    if flip:
        layers.append(keras_cv.layers.RandomFlip("horizontal_and_vertical", seed=seed))
    if rotation:
        layers.append(keras_cv.layers.RandomRotation(rotation, seed=seed + 1, **geometry))
    if shift:
        layers.append(keras_cv.layers.RandomTranslation(shift, shift, seed=seed + 2, **geometry))
    if shear:
        layers.append(keras_cv.layers.RandomShear(shear, shear, seed=seed + 3, **geometry))
    if rand_augment:
        layers.append(
            keras_cv.layers.RandAugment((0, 255), magnitude=rand_augment, seed=seed + 4)
        )

    def augment(images):
        for layer in layers:
            images = layer(images)
        return tf.clip_by_value(tf.cast(images, tf.float32), 0.0, 255.0)

    return augment


def _is_plain_jpeg(content):
    """True for a JPEG of one or three channels; PIL and TensorFlow disagree about CMYK."""
    is_jpeg = tf.strings.substr(content, 0, 2) == b"\xff\xd8"
    return tf.cond(is_jpeg, lambda: tf.io.extract_jpeg_shape(content)[2] <= 3, lambda: False)
