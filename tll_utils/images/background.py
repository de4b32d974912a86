"""Paints the background of images white, and keeps the results as files."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from tll_utils import files
from tll_utils import progress as progress_bars
from tll_utils.images.decode import read_image

# Networks of rembg for any subject, the better one first; each is named like its file.
_REMBG_MODELS = ("u2net", "u2netp")
# grabCut works on a copy with this longer side, once: 20 times as fast, and on so small a copy
# further iterations lead away from what it finds at full size.
_WORK_SIDE, _NUM_ITERATIONS = 96, 1


def remove_background(image: np.ndarray, *, method: str = "grabcut") -> np.ndarray:
    """Paints everything but the subject white.

    Args:
        image: RGB, uint8 `(height, width, 3)`.
        method: `"grabcut"` (OpenCV: what is not like the rim), or a trained network of rembg,
            `"u2net"` or `"u2netp"`.

    Returns:
        RGB, uint8, the same shape. The image itself where no subject was found.

    Raises:
        ValueError: If the method is not one of those.

    Reference:
        Rother et al., 2004, GrabCut; report 001 used rembg, https://github.com/danielgatis/rembg.
    """
    if method == "grabcut":
        opacity = _grabcut(image)
    elif method in _REMBG_MODELS:
        import rembg

        mask = rembg.remove(image, session=_rembg_session(method), only_mask=True)
        opacity = np.asarray(mask, np.float32) / 255
    else:
        expected = ", ".join(("grabcut", *_REMBG_MODELS))
        raise ValueError(f"method must be one of {expected}. Received: method={method!r}")
    if opacity.mean() < 0.02:
        return image.copy()
    opacity = opacity[..., None].astype(np.float32)
    return np.rint(opacity * image + (1 - opacity) * 255).astype(np.uint8)


def background_remover() -> str:
    """The best method at hand: a network of rembg whose file is there, else `"grabcut"`."""
    folder = Path(os.environ.get("U2NET_HOME", "~/.u2net")).expanduser()
    if importlib.util.find_spec("rembg") is not None:
        for name in _REMBG_MODELS:
            if (folder / f"{name}.onnx").is_file():
                return name
    return "grabcut"


def without_background(
    paths: Sequence[str | os.PathLike[str]],
    cache_dir: str | os.PathLike[str],
    *,
    method: str | None = None,
    progress: bool = True,
) -> list[Path]:
    """Removes the background of image files, each once.

    Args:
        paths: Image files, n of them.
        cache_dir: Folder for the results, named by the content of what they were made from.
        method: As of `remove_background`. Defaults to `background_remover()`.
        progress: Show a bar. Defaults to `True`.

    Returns:
        Paths of n PNG files.

    Raises:
        DataError: If a file cannot be used; the message names it.
    """
    method = method or background_remover()
    version = f"_{_WORK_SIDE}_{_NUM_ITERATIONS}" if method == "grabcut" else ""
    folder = Path(cache_dir) / f"{method}{version}"

    def cached(path: str | os.PathLike[str]) -> Path:
        if not Path(path).is_file():
            read_image(path)  # says what is wrong
        target = folder / f"{files.content_hash(path)}.png"
        if not target.is_file():
            cut = remove_background(read_image(path), method=method)
            with files.replacing(target) as draft:
                Image.fromarray(cut).save(draft, format="PNG", compress_level=1)
        return target

    with ThreadPoolExecutor() as pool:
        done = pool.map(cached, paths)
        total = len(paths)
        return list(progress_bars.bar(done, total=total, desc="remove background", shown=progress))


def _grabcut(image: np.ndarray) -> np.ndarray:
    """Opacity of the subject, float (height, width); all that touches the rim may be background."""
    height, width = image.shape[:2]
    scale = min(1.0, _WORK_SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(np.ascontiguousarray(image[..., ::-1]), size, interpolation=cv2.INTER_AREA)
    mask = np.full(small.shape[:2], cv2.GC_PR_FGD, np.uint8)
    rim = max(1, round(0.04 * max(size)))
    # The lower rim is left open: portraits are cut off there.
    mask[:rim] = mask[:, :rim] = mask[:, -rim:] = cv2.GC_BGD
    background, foreground = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    unused = (0, 0, 0, 0)
    mode = cv2.GC_INIT_WITH_MASK
    cv2.grabCut(small, mask, unused, background, foreground, _NUM_ITERATIONS, mode)
    subject = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return np.clip(cv2.resize(subject, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)


@functools.lru_cache
def _rembg_session(name: str) -> Any:
    import rembg

    return rembg.new_session(name)
