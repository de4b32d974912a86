"""Classical descriptors: what colors, edges and textures say without any learning.

Descriptors take images and return one row per image, float32 `(n, d)`. Images are uint8 RGB
`(n, h, w, 3)`, or paths, which are decoded one at a time.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from skimage.feature import hog as skimage_hog
from skimage.feature import local_binary_pattern
from sklearn.cluster import KMeans

from tll_utils import images as image_files
from tll_utils import progress as progress_bars

Images = np.ndarray | Sequence[str | os.PathLike]

_BINS = 4  # of a color histogram, per axis of Lab
_SIZE = (120, 96)  # height and width to which pictures are resized for edges and textures
_CELL = 12  # side of a cell of HOG, in pixels of the resized picture
_POINTS, _LBP_GRID = 8, 2  # neighbors compared with each pixel, on a circle; cells per side


def color_histogram(images: Images, *, grid: int = 1, progress: bool = True) -> np.ndarray:
    """Joint histogram of Lab colors, with soft bins so that close colors stay close.

    Its square root is taken: the dot product of two histograms is then their Bhattacharyya
    coefficient, and cosine similarity needs no more than that.

    Args:
        grid: Cells per side; above 1 the picture is split into `grid × grid` parts, so that
            where a color lies counts too.

    Returns:
        `(n, grid² · 64)`, 4 bins per axis of Lab; rows have unit L2 norm.
    """
    _require(grid >= 1, "grid must be at least 1", grid=grid)

    def describe(image):
        small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        # L in [0, 100]; a and b rarely leave ±64, what does joins the last bin.
        shift, width = np.array([[0, 64, 64], [100, 128, 128]], np.float32)
        place = (lab + shift) / width * (_BINS - 1)
        place = np.clip(place, 0, _BINS - 1).reshape(-1, 3)
        low = np.minimum(place.astype(int), _BINS - 2)
        part = place - low
        rows, columns = np.indices((64, 64)) * grid // 64
        cell = (rows * grid + columns).ravel()
        counts = np.zeros(grid * grid * _BINS**3)
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, part, 1 - part), axis=1)
            index = np.ravel_multi_index((low + corner).T, (_BINS,) * 3)
            counts += np.bincount(cell * _BINS**3 + index, weight, minlength=len(counts))
        return np.sqrt(counts / counts.sum())

    return _describe_all(describe, images, "Color histograms", progress)


def hog(images: Images, *, progress: bool = True) -> np.ndarray:
    """Histograms of oriented gradients of the gray picture, 9 directions in cells of 12 pixels.

    Pictures are resized to 120 × 96 first.

    Returns:
        `(n, 2268)`; blocks of 2 × 2 cells, each normalized.

    Reference:
        Dalal and Triggs, 2005, Histograms of oriented gradients for human detection.
    """

    def describe(image):
        return skimage_hog(
            _gray(image),
            orientations=9,
            pixels_per_cell=(_CELL, _CELL),
            cells_per_block=(2, 2),
            block_norm="L2-Hys",
        )

    return _describe_all(describe, images, "HOG", progress)


def lbp(images: Images, *, progress: bool = True) -> np.ndarray:
    """Histograms of uniform local binary patterns, which see texture and not brightness.

    Pictures are resized to 120 × 96 first; each quarter has a histogram of the patterns of 8
    neighbors, at a distance of 1 pixel.

    Returns:
        `(n, 40)`, square roots of frequencies; rows have unit L2 norm.

    Reference:
        Ojala et al., 2002, Multiresolution gray-scale and rotation invariant texture
        classification with local binary patterns.
    """
    num_codes = _POINTS + 2
    rows, columns = np.indices(_SIZE) * _LBP_GRID // np.array(_SIZE)[:, None, None]
    cell = (rows * _LBP_GRID + columns).ravel()

    def describe(image):
        codes = local_binary_pattern(_gray(image), _POINTS, 1.0, method="uniform")
        index = cell * num_codes + codes.astype(int).ravel()
        counts = np.bincount(index, minlength=_LBP_GRID**2 * num_codes)
        return np.sqrt(counts / counts.sum())

    return _describe_all(describe, images, "Local binary patterns", progress)


def dominant_colors(images: np.ndarray, *, num_colors: int = 10, seed: int = 0) -> np.ndarray:
    """Finds the colors around which the pixels of all images gather, by k-means.

    Args:
        images: uint8 RGB `(n, h, w, 3)`.

    Returns:
        uint8 RGB `(num_colors, 3)`, most frequent first.
    """
    pixels = images.reshape(-1, 3)
    _require(len(pixels) >= num_colors >= 1, "too few pixels", num_colors=num_colors)
    # Twenty thousand pixels say it as well as millions.
    chosen = np.random.default_rng(seed).choice(len(pixels), min(len(pixels), 20_000), False)
    means = KMeans(num_colors, n_init=1, random_state=seed).fit(pixels[chosen].astype(float))
    order = np.argsort(-np.bincount(means.labels_, minlength=num_colors), kind="stable")
    return means.cluster_centers_[order].round().astype(np.uint8)


def _gray(image):
    small = cv2.resize(image, _SIZE[::-1], interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)


def _describe_all(describe: Callable, images: Images, name: str, progress: bool) -> np.ndarray:
    """Describes images on all cores, in order."""
    _require(len(images) > 0, "there are no images to describe", images=images)

    def work(image):
        if isinstance(image, str | os.PathLike):
            image = image_files.read_image(Path(image))
        _require(
            image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3,
            "images must be uint8 RGB of shape (h, w, 3)",
            shape=image.shape,
            dtype=image.dtype,
        )
        return describe(image).astype(np.float32)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = pool.map(work, images)
        bar = progress_bars.bar(rows, total=len(images), desc=name, shown=progress)
        return np.stack(list(bar))


def _require(condition, message, **received):
    if not condition:
        found = ", ".join(f"{name}={value}" for name, value in received.items())
        raise ValueError(f"{message}. Received: {found}")
