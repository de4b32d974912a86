"""Finds the largest face of each picture, stores it once per image, and cuts pictures along it.

The detector is `mtcnn`, whose weights come with its package. It needs TensorFlow, so it is loaded
with the first picture; on another backend of Keras no face is found, with a warning. It knows
people, and few animals or drawings.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tll_utils import files
from tll_utils import progress as progress_bars
from tll_utils.images.decode import decode

NUM_VALUES = 15  # of a face: certainty, x and y of the box, its width and height, five points
TIGHT, TIGHTER = 0.26, 0.37  # from the eyes to the mouth, as a share of the picture's side

DETECTOR = "mtcnn-1.0-128"  # what finds the faces; stores are kept apart by it

# Sides in pixels. Pictures are shrunk to the first: three times as fast as at 245, and of 192
# photographs all but 6 give the same answer. From the second on they are too small for a face.
_LONGEST, _SHORTEST = 128, 24
_AT_ONCE = 32  # pictures that go through the detector together: four times as fast as alone
_lock = threading.Lock()


def _has_detector() -> bool:
    import keras

    has_packages = all(importlib.util.find_spec(name) for name in ("mtcnn", "tensorflow"))
    return has_packages and keras.backend.backend() == "tensorflow"


def find_faces(images: Sequence[np.ndarray]) -> np.ndarray:
    """Finds the largest face of each picture.

    Args:
        images: RGB, uint8 `(height, width, 3)` each, n of them.

    Returns:
        Float32 `(n, 15)`, in pixels from the upper left corner: certainty in (0, 1], box (x, y,
        width, height), and x and y of the eyes, the nose and the corners of the mouth, the one
        further left in an upright face first. All zeros where no face was found.

    Reference:
        Zhang et al., 2016, Joint Face Detection and Alignment using Multi-task Cascaded
        Convolutional Networks; https://github.com/ipazc/mtcnn.
    """
    faces = np.zeros((len(images), NUM_VALUES), np.float32)
    if not _has_detector():
        warnings.warn("No faces are found without mtcnn on TensorFlow.", stacklevel=2)
        return faces
    by_shape: dict[tuple[int, ...], list[int]] = {}  # others would be padded, and change a little
    for place, image in enumerate(images):
        if min(image.shape[:2]) >= _SHORTEST:
            by_shape.setdefault(image.shape, []).append(place)
    for (height, width, _), places in by_shape.items():
        scale = min(1.0, _LONGEST / max(height, width))
        size = (max(_SHORTEST, round(scale * width)), max(_SHORTEST, round(scale * height)))
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            small = [images[place] for place in some]
            if scale < 1:
                small = [cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in small]
            with _lock:
                found = _detect(small)
            for row in sorted(found, key=lambda row: row[3] * row[4]):  # the largest comes last
                points = row[6:].reshape(2, 5).T  # the detector gives all x first
                faces[some[int(row[0])]] = [row[5], *row[1:5], *points.ravel()]
        faces[places, 1:] *= np.tile([width / size[0], height / size[1]], 7) if scale < 1 else 1
    return faces


def _detect(images: Sequence[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    try:
        return _detector().detect_faces(images, output_type="numpy")
    except ValueError as error:
        # Where no image has a candidate, the next network gets none: Keras 3.13 refuses that.
        if "empty output" in str(error):
            return []
        raise


def faces_of(
    paths: Sequence[str | os.PathLike[str]],
    *,
    store_dir: str | os.PathLike[str],
    progress: bool = True,
) -> np.ndarray:
    """Finds the largest face of each image file, or reads what was found before.

    The detector needs TensorFlow. On another backend faces are those that a run with TensorFlow
    left in the store; an image that is not among them counts as one without a face.

    Args:
        paths: Image files, n of them; equal files are looked at once.
        store_dir: Folder of the store; made if it isn't there.
        progress: Show a bar. Defaults to `True`.

    Returns:
        As of `find_faces`, `(n, 15)`.

    Raises:
        DataError: If a file cannot be used; the message names it.
    """
    target = Path(store_dir) / f"faces-{DETECTOR}.npz"
    known = _read(target)
    with ThreadPoolExecutor() as pool:
        names = list(pool.map(files.content_hash, paths))
        todo = {n: path for n, path in zip(names, paths, strict=True) if n not in known}
        if todo and not _has_detector():
            warnings.warn(
                f"No faces of {len(todo)} images: mtcnn, which finds them, needs TensorFlow, and "
                f"{target} does not hold them. Run this once with TensorFlow on the same folder.",
                stacklevel=2,
            )
            known |= dict.fromkeys(todo, np.zeros(NUM_VALUES, np.float32))
            todo = {}
        with progress_bars.bar(
            total=len(todo), desc="find faces", unit=" images", shown=progress and bool(todo)
        ) as bar:
            for start in range(0, len(todo), 8 * _AT_ONCE):
                chunk = [*todo][start : start + 8 * _AT_ONCE]
                found = find_faces(list(pool.map(decode, [todo[name] for name in chunk])))
                known.update(zip(chunk, found, strict=True))
                bar.update(len(chunk))
                with files.replacing(target) as draft:  # a killed run loses one chunk
                    np.savez(draft, hashes=[*known], faces=[*known.values()])
    return np.array([known[name] for name in names], np.float32).reshape(-1, NUM_VALUES)


def align_face(
    image: np.ndarray, face: np.ndarray, *, share: float = TIGHTER, size: tuple[int, int]
) -> np.ndarray:
    """Moves and scales a picture so that its face comes to lie where all faces lie.

    The middle between eyes and mouth comes to the center, and their distance is `share` of the
    shorter side. Nothing is rotated: how a head is held is part of what makes it look alike. What
    lies beyond the rim repeats the outermost pixels.

    Args:
        image: RGB, `(height, width, 3)`.
        face: One row of `find_faces`.
        share: In (0, 1).
        size: `(height, width)` of the result.

    Returns:
        Float32 `(*size, 3)` in [0, 255]; the image as it is where there is no face.
    """
    eyes, mouth = (face[a:b].reshape(2, 2).mean(axis=0) for a, b in ((5, 9), (11, 15)))
    distance = float(np.linalg.norm(mouth - eyes))
    if face[0] <= 0 or distance < 1:
        return image
    step = distance / (share * min(size))  # pixels of the image from one of the crop to the next
    x, y = (eyes + mouth) / 2
    tall = _sample(image.astype(np.float32), 1, size[1], step, x)
    return _sample(tall, 0, size[0], step, y)


def _sample(image: np.ndarray, axis: int, length: int, step: float, middle: float) -> np.ndarray:
    """Linear interpolation along an axis, at `length` places that lie `step` apart."""
    places = middle + (np.arange(length) - (length - 1) / 2) * step
    places = places.clip(0, image.shape[axis] - 1)
    low = places.astype(int)
    high = np.minimum(low + 1, image.shape[axis] - 1)
    part = (places - low).astype(np.float32)
    part = part[:, None] if axis else part[:, None, None]
    return (1 - part) * image.take(low, axis) + part * image.take(high, axis)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Content hash → face; empty if nothing is stored, or not readably."""
    try:
        stored = files.read_arrays(path)
        hashes, faces = stored["hashes"].tolist(), stored["faces"]
    except (OSError, ValueError, KeyError):
        return {}
    whole = faces.shape == (len(hashes), NUM_VALUES) and faces.dtype.kind == "f"
    return dict(zip(hashes, faces, strict=True)) if whole and np.isfinite(faces).all() else {}


@functools.cache
def _detector() -> Any:
    from mtcnn import MTCNN

    return MTCNN()
