"""Image files to arrays: read, resize, stream.

A plain JPEG is decoded by OpenCV, whose pixels are those of Pillow and TensorFlow; everything else
(CMYK, PNG, 16 bit …) goes through the strict reader. Only of a plain JPEG that is whole but holds
wrong codes inside does OpenCV make what it can, where the strict reader refuses it.
"""

from __future__ import annotations

import functools
import io
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from tll_utils import progress as progress_bars
from tll_utils.errors import DataError

if TYPE_CHECKING:
    from scipy import sparse

MAX_PIXELS = 64_000_000  # one image; the course images have 49 000
MAX_BYTES = 2**28  # of its file
# Pixels times scans: each scan of a progressive JPEG may ask for as much work as the whole image.
MAX_WORK = 10 * MAX_PIXELS
# What Pillow may try on a file; a whitelist keeps its rarer and riskier decoders out.
IMAGE_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")

# Weights of R, G and B in the luma of ITU-R BT.601, which Pillow and TensorFlow use as well.
LUMA = np.array([0.299, 0.587, 0.114], "float32")

Cut = Callable[[int, np.ndarray], np.ndarray]  # the place of a file and its image → a part of it

_JPEG_START, _JPEG_END, _JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Decodes one image file strictly, of any format allowed.

    Grayscale, palette, CMYK and 16-bit images are converted; transparency is laid on white. An
    EXIF rotation is not applied, as in TensorFlow's decoder.

    Args:
        path: A file in one of `IMAGE_FORMATS`.

    Returns:
        RGB in [0, 255], uint8 `(height, width, 3)`.

    Raises:
        DataError: If the file is no image, is damaged, or is larger than `MAX_PIXELS`,
            `MAX_BYTES` or `MAX_WORK` allow, which is told before anything is decoded.
    """
    return np.asarray(read_rgb(path)[0])


def read_rgb(path: str | os.PathLike[str]) -> tuple[Image.Image, str]:
    """Reads an image as `read_image` does; returns it as Pillow's, and the mode of the file."""
    try:
        content = _read_bytes(path)
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
            _refuse_bombs(image, content)
            return _to_rgb(image), image.mode
    except _Refused as error:
        reason = str(error)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = f"more than {MAX_PIXELS:,} pixels"
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        reason = str(error.strerror).lower()
    except Image.UnidentifiedImageError:
        reason = "no image" if os.path.getsize(path) else "an empty file"
    except Exception as error:  # decoders fail on damaged files in many ways
        reason = f"a damaged image ({error})"
    raise DataError(
        f"{path}: {reason}; expected an image, JPEG or PNG. Replace the file, or leave it out."
    )


def decode(path: str | os.PathLike[str]) -> np.ndarray:
    """Decodes one image file as `read_image` does, a plain JPEG several times as fast.

    Args:
        path: A file in one of `IMAGE_FORMATS`.

    Returns:
        RGB in [0, 255], uint8 `(height, width, 3)`.

    Raises:
        DataError: As `read_image`.
    """
    try:
        content = _read_bytes(path)
    except (OSError, _Refused):
        return read_image(path)  # says what is wrong
    if _is_plain_jpeg(content):
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        if image is not None:
            return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return read_image(path)


def resize(image: np.ndarray, size: tuple[int, int], *, antialias: bool = False) -> np.ndarray:
    """Resizes an image, the same numbers as `tf.image.resize`: bilinear, half-pixel centers.

    Args:
        image: `(height, width, channels)`, uint8 or float, in [0, 255].
        size: `(height, width)`; the aspect ratio is not kept.
        antialias: Smooth before shrinking, as Pillow does. Defaults to `False`.

    Returns:
        Float32 `(*size, channels)` in [0, 255].
    """
    resized = np.empty((*size, image.shape[2]), np.float32)
    _resize_into(resized, image, antialias=antialias)
    return resized


def load_all(
    paths: Sequence[str | os.PathLike[str]],
    *,
    size: tuple[int, int],
    antialias: bool = True,
    progress: bool = True,
) -> np.ndarray:
    """Decodes every file once and keeps the pixels as bytes, a quarter of the memory of floats.

    Args:
        paths: Image files, n of them.
        size: `(height, width)`.
        antialias: Smooth before shrinking. Defaults to `True`: it is paid once.
        progress: Show a bar. Defaults to `True`.

    Returns:
        RGB, uint8 `(n, height, width, 3)`.

    Raises:
        DataError: If a file cannot be used; the message names it.
    """
    images = np.empty((len(paths), *size, 3), np.uint8)

    def load(place: int) -> None:
        resized = resize(decode(paths[place]), size, antialias=antialias)
        images[place] = np.rint(resized)

    loaded = map_ahead(load, range(len(paths)), ahead=64)
    for _ in progress_bars.bar(loaded, total=len(paths), desc="decode", shown=progress):
        pass
    return images


def stream(
    paths: Sequence[str | os.PathLike[str]],
    *,
    size: tuple[int, int],
    batch_size: int = 64,
    cut: Cut | None = None,
) -> Iterator[np.ndarray]:
    """Decodes files in order, batch by batch, while the caller works on the batch before.

    At most two batches are decoded ahead, so that memory stays bounded.

    Args:
        paths: Image files.
        size: `(height, width)`.
        batch_size: Images per batch; the last one may be smaller. Defaults to 64.
        cut: Takes the place of a file in `paths` and its image, gives what is resized instead.
            Defaults to the image.

    Yields:
        RGB in [0, 255], float32 `(batch, height, width, 3)`.

    Raises:
        DataError: If a file cannot be used; the message names it.
    """

    def places() -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
        """Each file's place, where its image goes, and the batch that is complete with it."""
        for start in range(0, len(paths), batch_size):
            some = paths[start : start + batch_size]
            batch = np.empty((len(some), *size, 3), np.float32)
            for row in range(len(some)):
                yield start + row, batch[row], batch if row == len(some) - 1 else None

    def load(item: tuple[int, np.ndarray, np.ndarray | None]) -> np.ndarray | None:
        place, resized, batch = item
        image = decode(paths[place])
        _resize_into(resized, cut(place, image) if cut else image, antialias=False)
        return batch

    for batch in map_ahead(load, places(), ahead=2 * batch_size):
        if batch is not None:
            yield batch


def grayscale(images: np.ndarray) -> np.ndarray:
    """Luma of RGB images, one channel.

    Args:
        images: `(..., 3)`, RGB in [0, 255].

    Returns:
        `(..., 1)` of the same dtype, in [0, 255].

    Example:
        >>> grayscale(np.array([[[[255, 255, 255], [255, 0, 0]]]], np.uint8)).squeeze().tolist()
        [255, 76]
    """
    images = np.asarray(images)
    luma = (images @ LUMA)[..., None]
    return np.rint(luma).astype(images.dtype) if images.dtype == np.uint8 else luma


def shrink_onto_white(images: np.ndarray, scale: float) -> np.ndarray:
    """Shrinks images and pastes them into the middle of a white ground of the old size.

    Args:
        images: Uint8 `(n, height, width, channels)`.
        scale: In (0, 1].

    Returns:
        The same shape and dtype.
    """
    height, width = images.shape[1:3]
    size = max(1, round(scale * height)), max(1, round(scale * width))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    result = np.full_like(images, 255)
    for image, ground in zip(images, result, strict=True):
        small = np.rint(resize(image, size, antialias=True))
        ground[top : top + size[0], left : left + size[1]] = small
    return result


class _Refused(Exception):
    """The file asks for more than an image may."""


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    status = os.stat(path)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise _Refused("a pipe or a device")  # reading might never end
    if status.st_size > MAX_BYTES:
        raise _Refused(f"more than {MAX_BYTES >> 20} MB")
    return Path(path).read_bytes()


def _refuse_bombs(image: Image.Image, content: bytes) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _Refused(f"more than {MAX_PIXELS:,} pixels ({width}×{height})")
    scans = content.count(_JPEG_SCAN) if image.format == "JPEG" else 1
    if width * height * scans > MAX_WORK:
        raise _Refused(f"{scans} scans of {width}×{height} pixels")


def map_ahead(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    ahead: int,
    num_threads: int | None = None,
) -> Iterator[Any]:
    """Yields `function(item)` in order, from threads that run at most `ahead` items ahead.

    There are `num_threads` of them, by default as many as there are cores.
    """
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(num_threads or os.cpu_count()) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the caller may have left, or a file may be broken
            for future in waiting:
                future.cancel()


def _is_plain_jpeg(content: bytes) -> bool:
    """True for a whole JPEG of one or three channels that is not too large, by its header.

    OpenCV fills up what a cut-off file lacks, and converts CMYK in its own way.
    """
    if not (content.startswith(_JPEG_START) and content.endswith(_JPEG_END)):
        return False
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            _refuse_bombs(image, content)
            return image.mode in ("RGB", "L")
    except Exception:  # the strict reader says what is wrong
        return False


def _resize_into(resized: np.ndarray, image: np.ndarray, *, antialias: bool) -> None:
    """`resize`, written to a float32 array that is there: fresh memory costs as much as the sum."""
    (height, width, channels), size = image.shape, resized.shape[:2]
    image = np.ascontiguousarray(image, np.float32)
    if (height, width) == size:
        resized[:] = image
        return
    if antialias:
        rows, columns = _resize_matrix(height, size[0]), _resize_matrix(width, size[1])
        tall = (rows @ image.reshape(height, -1)).reshape(size[0], width, channels)
        turned = columns @ cv2.transpose(tall).reshape(width, -1)  # ten times NumPy's speed
        resized[:] = cv2.transpose(turned.reshape(size[1], size[0], channels)).reshape(
            resized.shape
        )
    else:
        result = cv2.resize(image, size[::-1], dst=resized, interpolation=cv2.INTER_LINEAR)
        if not np.may_share_memory(result, resized):
            resized[:] = result.reshape(resized.shape)
    np.clip(resized, 0, 255, out=resized)  # sums of rounded weights can be a hair too large


@functools.lru_cache(maxsize=64)
def _resize_matrix(length_in: int, length_out: int) -> sparse.csr_matrix:
    """Resizing of one axis, bilinear and smoothed: each row adds up to 1, most of it is zeros."""
    from scipy import sparse

    step = length_in / length_out
    centers = (np.arange(length_out) + 0.5) * step - 0.5
    weights = 1 - np.abs(np.arange(length_in) - centers[:, None]) / max(step, 1.0)
    weights = weights.clip(0)
    return sparse.csr_matrix((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits in one channel; the high byte is the 8-bit image
        high_byte = np.asarray(image).astype(np.int32) >> 8
        return Image.fromarray(high_byte.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
