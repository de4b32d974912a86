"""A drawn figure as a notebook's value: a small image and its description in words."""

import base64
import functools
import io
import os
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tll_utils.plots import style

_PAGE_DPI = 96  # CSS pixels an inch: 12 points are 16 pixels on the page
_CHART_DPI, _PHOTO_DPI = 144, 120
_PALETTE = 128  # colors of a chart; its soft edges need them
_MAX_PHOTO_BYTES = 160_000  # a notebook of eight mosaics stays below 1.5 MB


class Picture:
    """A closed figure. Notebooks show the image, screen readers and terminals the description.

    Args:
        figure: A figure that pyplot doesn't hold.
        description: What is to be seen, with its numbers; the alternative text.
        photo: Whether photographs fill it: JPEG then, else a PNG with a palette.
    """

    def __init__(self, figure: Figure, description: str, *, photo: bool = False) -> None:
        self.figure, self.description, self.photo = figure, description, photo

    @property
    def mime_type(self) -> str:
        """`image/jpeg` or `image/png`."""
        return "image/jpeg" if self.photo else "image/png"

    @functools.cached_property
    def data(self) -> bytes:
        """The encoded image."""
        image = self._draw(_PHOTO_DPI if self.photo else _CHART_DPI)
        return _jpeg(image) if self.photo else _palette_png(image)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the image to a file; its ending says the format."""
        self._draw(_CHART_DPI).save(path)

    @style.styled
    def _draw(self, dpi: int) -> Image.Image:
        self.figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
        """The image, its description, and as metadata its width on the page and its alt text."""
        width = round(self.figure.get_figwidth() * _PAGE_DPI)
        return (
            {
                self.mime_type: base64.b64encode(self.data).decode("ascii"),
                "text/plain": self.description,
            },
            {self.mime_type: {"width": width, "alt": self.description}},
        )

    def __repr__(self) -> str:
        return self.description


def finish(figure: Figure, title: str, description: str, *, photo: bool = False) -> Picture:
    """Titles a figure and wraps it, the title being the description's first sentence."""
    width = figure.get_figwidth()
    size = style.STYLE["figure.titlesize"]
    text = style.wrap(title, width - 0.2, 0.98 * size)
    figure.set_figheight(figure.get_figheight() + text.count("\n") * 1.3 * size / 72)
    figure.suptitle(text, x=0.1 / width, ha="left")
    sentence = title if title.endswith((".", "!", "?")) else f"{title}."
    return Picture(figure, f"{sentence} {description}".strip(), photo=photo)


def _jpeg(image: Image.Image) -> bytes:
    """Encodes as well as the room allows; color at full resolution, for the type's sake."""
    data = b""
    for quality, scale in ((88, 1), (80, 1), (70, 1), (60, 1), (60, 0.75), (50, 0.6)):
        buffer = io.BytesIO()
        size = round(image.width * scale), round(image.height * scale)
        small = image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS)
        small.save(buffer, "JPEG", quality=quality, subsampling=0)
        data = buffer.getvalue()
        if len(data) <= _MAX_PHOTO_BYTES:
            break
    return data


def _palette_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.quantize(_PALETTE, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
