"""What a search found, to look at: one picture, or one page that needs nothing else."""

from __future__ import annotations

import base64
import html
import os
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
@media (min-width: 100rem) {{ :root {{ font-size: 20px }} }}
body {{ margin: 1rem auto; max-width: 80rem; padding: 0 1rem }}
h1 {{ overflow-wrap: anywhere; font-size: 1.4rem }}
h2 {{ font-size: 1.2rem }}
ul {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 1rem;
 list-style: none; padding: 0 }}
li {{ overflow-wrap: anywhere; font-size: .8rem }}
img {{ max-width: 100%; display: block }}
</style></head><body><main><h1>Pictures like {title}</h1><ul>{queries}</ul><h2>Found</h2>
<ul>{items}</ul></main></body></html>
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


def write_page(
    path: Path, title: str, matches: Sequence[Match], *, queries: Sequence[str] = ()
) -> None:
    """Writes what was found as one page; pictures are inside, names are only ever text.

    Args:
        path: The page; files below its folder are named from there on.
        title: What was asked.
        matches: What was found, the most alike first.
        queries: The files that were asked with.
    """
    items = [
        _item(path, match.path, f"match {rank}", f"{rank} · {match.similarity:.3f}")
        for rank, match in enumerate(matches, 1)
    ]
    asked = [_item(path, name, "query", "query") for name in queries]
    title = html.escape(_as_text(title))
    files.write_text(
        path, _PAGE.format(title=title, queries="\n".join(asked), items="\n".join(items))
    )


def _item(page: Path, name: str, alt: str, words: str) -> str:
    data = base64.b64encode(as_jpeg(_thumbnail_or_gray(name))).decode()
    shown = os.path.abspath(name).removeprefix(os.path.join(os.path.abspath(page.parent), ""))
    return (
        f'<li><img alt="{alt}" src="data:image/jpeg;base64,{data}">'
        f"{words}<br>{html.escape(_as_text(shown))}</li>"
    )


def _as_text(name: str) -> str:
    return name.encode("utf-8", "replace").decode()  # a name on disk may be any bytes


def _thumbnail_or_gray(path: str) -> np.ndarray:
    try:
        return thumbnail(path)
    except DataError:  # gone since it was indexed
        return np.full((TILE, TILE, 3), 200, np.uint8)
