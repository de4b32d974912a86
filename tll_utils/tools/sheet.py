"""What a search found, to look at: one picture, or one page that needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tll_utils import files, images
from tll_utils.errors import DataError
from tll_utils.tools.index import Match

TILE, GAP, LINE = 160, 8, 22  # pixels: a picture's longer side, between two, and for its text
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Look-alikes</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
:root {{ color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif }}
body {{ margin: 1rem auto; max-width: 80rem; padding: 0 1rem }}
ul {{ display: flex; flex-wrap: wrap; gap: 1rem; list-style: none; padding: 0 }}
li {{ width: 10rem; overflow-wrap: anywhere; font-size: .8rem }}
img {{ max-width: 100%; display: block }}
</style></head><body><main><h1>Pictures like {title}</h1><ul>{items}</ul></main></body></html>
"""


def thumbnail(path: str | Path, size: int = TILE) -> np.ndarray:
    """An image file made small, RGB uint8; its longer side has `size` pixels at most.

    Raises:
        DataError: If it cannot be read.
    """
    image = images.decode(path)
    scale = size / max(image.shape[:2])
    if scale >= 1:
        return image
    width, height = (max(1, round(scale * side)) for side in image.shape[1::-1])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def keep_thumbnail(path: Path, folder: Path) -> str:
    """Makes a thumbnail that is not there yet, named after the contents of its image.

    Returns:
        The name of the file in the folder, `<hash>.jpg`.

    Raises:
        DataError: If the image cannot be read.
    """
    name = f"{files.content_hash(path)[:16]}.jpg"
    if not (folder / name).is_file():
        with files.replacing(folder / name) as draft:
            draft.write_bytes(as_jpeg(thumbnail(path)))
    return name


def as_jpeg(image: np.ndarray, quality: int = 82) -> bytes:
    """RGB uint8 as the bytes of a JPEG file."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def write_grid(path: Path, matches: Sequence[Match], *, columns: int = 5) -> None:
    """Draws what was found into one JPEG, the most alike first, `rank · similarity` below each."""
    cell_height, cell_width = TILE + LINE + GAP, TILE + GAP
    num_rows = -(-len(matches) // columns)
    sheet = np.full((num_rows * cell_height + GAP, columns * cell_width + GAP, 3), 255, np.uint8)
    for place, match in enumerate(matches):
        top = GAP + place // columns * cell_height
        left = GAP + place % columns * cell_width
        small = _thumbnail_or_gray(match.path)
        height, width = small.shape[:2]
        below, beside = (TILE - height) // 2, (TILE - width) // 2
        sheet[top + below :, left + beside :][:height, :width] = small
        text, at = f"{place + 1} . {match.similarity:.2f}", (left, top + TILE + LINE - 6)
        cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    with files.replacing(path) as draft:
        draft.write_bytes(as_jpeg(sheet))


def write_page(path: Path, title: str, matches: Sequence[Match]) -> None:
    """Writes what was found as one page; pictures are inside, names are only ever text."""
    items = []
    for rank, match in enumerate(matches, 1):
        name = html.escape(match.path.encode("utf-8", "replace").decode())
        data = base64.b64encode(as_jpeg(_thumbnail_or_gray(match.path))).decode()
        items.append(
            f'<li><img alt="match {rank}" src="data:image/jpeg;base64,{data}">'
            f"{rank} · {match.similarity:.3f}<br>{name}</li>"
        )
    files.write_text(path, _PAGE.format(title=html.escape(title), items="\n".join(items)))


def _thumbnail_or_gray(path: str) -> np.ndarray:
    try:
        return thumbnail(path)
    except DataError:  # gone since it was indexed
        return np.full((TILE, TILE, 3), 200, np.uint8)
