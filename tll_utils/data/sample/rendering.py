"""Two manners: parts lit like clay in a photograph, and parts drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tll_utils.data.sample.parts import (
    HEIGHT,
    INK,
    MOTIFS,
    TOP,
    UNIT,
    WIDTH,
    Part,
    ellipse,
    rgb,
    shade,
)

_Area = tuple[slice, slice]  # rows and columns of a canvas

_FINE = 2  # masks are drawn this much larger and averaged down
_SHIFT = 4  # fractional bits of OpenCV's coordinates
_GRID = np.stack(
    np.meshgrid((np.arange(WIDTH) + 0.5) / UNIT - 1, (np.arange(HEIGHT) + 0.5) / UNIT - TOP)
).astype(np.float32)
_LUMA = np.array([0.3, 0.59, 0.11], np.float32)


def _paint(points: np.ndarray, *, width: float = 0.0) -> np.ndarray:
    """Anti-aliased mask of an outline or a stroke, float32 (height, width) in [0, 1]."""
    mask = np.zeros((HEIGHT * _FINE, WIDTH * _FINE), np.uint8)
    pixels = (np.asarray(points) + (1, TOP)) * UNIT * _FINE - 0.5
    outline = [np.round(pixels * 2**_SHIFT).astype(np.int32)]
    if width:
        thickness = max(1, round(width * UNIT * _FINE))
        cv2.polylines(mask, outline, False, 255, thickness, cv2.LINE_AA, _SHIFT)
    else:
        cv2.fillPoly(mask, outline, 255, cv2.LINE_AA, _SHIFT)
    return cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) * np.float32(1 / 255)


def _area(points: np.ndarray, *, width: float = 0.0, margin: int = 1) -> _Area:
    """The rows and columns that a part can touch, `margin` pixels around included."""
    low = (points.min(0) - width / 2 + (1, TOP)) * UNIT - margin
    high = (points.max(0) + width / 2 + (1, TOP)) * UNIT + margin + 1
    low = np.clip(low, 0, (WIDTH - 1, HEIGHT - 1)).astype(int)
    high = np.clip(high, low + 1, (WIDTH, HEIGHT)).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _mask_of(part: Part, area: _Area) -> np.ndarray:
    mask = _paint(part.points, width=part.width)[area]
    return mask if part.clip is None else mask * _paint(part.clip)[area]


def _color_of(part: Part, area: _Area) -> np.ndarray:
    """The part's color, (3,) or, with a pattern, (rows, columns, 3)."""
    if part.pattern is None:
        return part.color
    pattern, grid = part.pattern, _GRID[:, area[0], area[1]]
    x, y = (grid - part.points.mean(0).astype(np.float32)[:, None, None]) * np.float32(
        2 * np.pi / pattern.period
    )
    c, s = np.float32(np.cos(pattern.angle)), np.float32(np.sin(pattern.angle))
    wave = MOTIFS[pattern.motif](c * x + s * y, c * y - s * x) + np.float32(pattern.duty)
    motif = np.clip(wave * 3 + 0.5, 0, 1).astype(np.float32)[..., None]
    return part.color + motif * (pattern.color - part.color)


def _blend(canvas: np.ndarray, mask: np.ndarray, color: np.ndarray) -> None:
    """Lays a color over a canvas, (rows, columns, 3), where its mask says so, in place."""
    canvas += mask[..., None] * (color - canvas)


def _stroke(
    canvas: np.ndarray,
    points: np.ndarray,
    *,
    width: float,
    color: np.ndarray,
    alpha: float = 1.0,
) -> None:
    area = _area(points, width=width)
    _blend(canvas[area], _paint(points, width=width)[area] * np.float32(alpha), color)


def _soften(mask: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def photograph(parts: Sequence[Part], palette: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lights the parts as if modeled in clay and photographed; uint8 (height, width, 3)."""
    sun = rng.uniform(-0.9, 0.9)
    towards = np.array([np.sin(sun), -np.cos(sun)], np.float32)
    fall = np.array([[1, 0, -4 * towards[0]], [0, 1, -4 * towards[1]]], np.float32)
    canvas = _backdrop(palette, towards, rng)
    for part in parts:
        area = _area(part.points, width=part.width, margin=14 if part.relief > 0.4 else 1)
        mask, color, below = _mask_of(part, area), _color_of(part, area), canvas[area]
        if part.relief > 0.4:
            shadow = _soften(cv2.warpAffine(mask, fall, mask.shape[::-1]), 3.5)
            below *= 1 - np.float32(0.32) * shadow[..., None]
        if part.relief:
            color = color * _light(mask, part.relief, towards)[..., None]
        _blend(below, mask * np.float32(part.alpha), color)
    return _develop(canvas, rng)


def _light(mask: np.ndarray, relief: float, towards: np.ndarray) -> np.ndarray:
    """Brightness of a mask blown up like a cushion: lit on one side, shaded on the other."""
    sigma = float(np.clip(np.sqrt(mask.sum()) / 8, 1.2, 13))
    # A wide blur is the same at half the size, for a quarter of the work.
    step = 2 if sigma > 4 and min(mask.shape) > 8 else 1
    cushion = mask[::step, ::step] if step > 1 else mask
    cushion = _soften(np.ascontiguousarray(cushion), sigma / step)
    slope = (sigma / step) * (
        towards[0] * cv2.Sobel(cushion, cv2.CV_32F, 1, 0, scale=1 / 8)
        + towards[1] * cv2.Sobel(cushion, cv2.CV_32F, 0, 1, scale=1 / 8)
    )
    if step > 1:
        slope = cv2.resize(slope, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return 1.02 - np.float32(relief) * np.clip(1.5 * slope, -0.32, 0.42)


def _backdrop(palette: np.ndarray, towards: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An out-of-focus studio wall, with a table edge or lights now and then."""
    wall = palette[0]
    glow = 1 + 0.14 * (towards[0] * _GRID[0] + towards[1] * _GRID[1])
    canvas = wall * glow[..., None]
    look = rng.choice(["wall", "table", "lights"])
    if look == "table":
        below = np.clip((_GRID[1] - np.float32(rng.uniform(0.45, 0.85))) * 12 + 0.5, 0, 1)
        _blend(canvas, below, shade(wall, rng.choice([-0.28, 0.28])))
    elif look == "lights":
        spots = np.zeros((HEIGHT, WIDTH), np.float32)
        for _ in range(8):
            x, y = rng.uniform(-1, 1, 2) * (1, TOP)
            radius = rng.uniform(0.12, 0.3)
            spots = np.maximum(spots, _paint(ellipse(x, y, radius, radius)) * rng.uniform(0.4, 1))
        _blend(canvas, _soften(spots, 3) * np.float32(0.3), shade(palette[2], 0.2))
    return canvas


def _develop(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, color cast, vignette and grain of a camera."""
    cast = np.float32(rng.uniform(0.92, 1.08)) * (1 + rng.normal(0, 0.03, 3)).astype(np.float32)
    corners = _GRID[0] ** 2 + (_GRID[1] / np.float32(TOP)) ** 2
    vignette = 1 - np.float32(rng.uniform(0.04, 0.1)) * corners
    grain = rng.standard_normal((HEIGHT, WIDTH, 1), np.float32) * np.float32(0.01)
    return _to_uint8(canvas * cast * vignette[..., None] + grain)


def _to_uint8(canvas: np.ndarray) -> np.ndarray:
    return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)


def sketch(
    parts: Sequence[Part], palette: np.ndarray, rng: np.random.Generator, *, kind: str
) -> np.ndarray:
    """Draws the parts flat, inked, in crayon or, where color does not matter, in pencil."""
    manner = rng.choice(["flat", "ink", "crayon"] + ["pencil"] * (kind != "colour"))
    paper = rng.choice(rgb("f6f0e2 efe6d6 f3f1ec"))
    hatch = _hatching(rng)
    canvas = np.ones((HEIGHT, WIDTH, 3), np.float32) * (paper if manner == "pencil" else palette[0])
    if manner in ("flat", "ink") and kind != "colour" and rng.random() < 0.5:
        x, y = rng.uniform(-0.15, 0.15, 2)
        radius = rng.uniform(0.75, 0.95)
        disc = _paint(ellipse(x, y, radius, radius))
        _blend(canvas, disc, shade(palette[0], rng.choice([-0.12, 0.18])))
    if manner == "crayon":
        _blend(canvas, hatch * np.float32(0.16), paper)
    for part in parts:
        area = _area(part.points, width=part.width)
        color, strokes = _color_of(part, area), hatch[area][..., None]
        if manner == "crayon":
            color = color + np.float32(0.22) * strokes * (paper - color)
        elif manner == "pencil":
            color = paper * _pencil_tone(1 - color @ _LUMA, strokes, part)
        if manner in ("ink", "pencil") and part.alpha == 1 and part.clip is None:
            _outline(canvas, part, manner, rng)
        _blend(canvas[area], _mask_of(part, area) * np.float32(part.alpha), color)
    if manner in ("crayon", "pencil"):
        grain = rng.standard_normal((HEIGHT, WIDTH), np.float32)
        canvas += _soften(grain, 0.8)[..., None] * np.float32(0.04)
    return _to_uint8(canvas)


def _pencil_tone(dark: np.ndarray, strokes: np.ndarray, part: Part) -> np.ndarray:
    """How bright graphite leaves the paper: thin and black parts solid, the others hatched."""
    if part.pattern is not None:
        return 1 - np.float32(0.8) * dark[..., None]
    if 0 < part.width < 0.09 or dark > 0.75:
        return np.array(0.3, np.float32)
    return 1 - np.float32(0.6) * dark * strokes


def _hatching(rng: np.random.Generator) -> np.ndarray:
    """Uneven parallel strokes, (height, width) in [0, 1]."""
    angle = rng.uniform(0.5, 1.1) * rng.choice([-1, 1])
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    across, along = c * _GRID[0] + s * _GRID[1], c * _GRID[1] - s * _GRID[0]
    waves = np.sin(across * 125 + 1.5 * np.sin(along * 3)) + 0.6 * np.sin(across * 53 + along * 2)
    return np.clip(0.5 + 0.5 * waves, 0, 1)


def _outline(canvas: np.ndarray, part: Part, manner: str, rng: np.random.Generator) -> None:
    """Draws around a part, before it is filled; the pencil goes round twice, never the same."""
    if part.width:
        if part.width > 0.09:
            _stroke(canvas, part.points, width=part.width + 0.045, color=INK)
        return
    closed = np.concatenate([part.points, part.points[:1]])
    if manner == "ink":
        _stroke(canvas, closed, width=0.06, color=INK)
        return
    size = 0.012 * min(1.0, np.ptp(part.points))
    t = np.linspace(0, 2 * np.pi, len(closed))[:, None]
    for _ in range(2):
        phase, swing = rng.uniform(0, 2 * np.pi, (2, 2)), rng.normal(0, size, (2, 2))
        wobble = swing[0] * np.sin(2 * t + phase[0]) + swing[1] * np.sin(5 * t + phase[1])
        _stroke(canvas, closed + wobble, width=0.045, color=shade(INK, 0.12), alpha=0.8)
