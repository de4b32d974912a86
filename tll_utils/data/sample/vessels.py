"""Shape: a vase and a thing turned to the same profile."""

from __future__ import annotations

from typing import Any

import numpy as np

from tll_utils.data.sample.parts import (
    INK,
    WHITE,
    Palettes,
    Part,
    Parts,
    Scene,
    block,
    blossom,
    curve,
    ellipse,
    fit,
    flip,
    line,
    oval,
    shade,
)


def _draw_profile(rng: np.random.Generator) -> np.ndarray:
    """Outline of a turned shape, (n, 2), 1.8 high, with necks and bellies."""
    height = np.linspace(-0.9, 0.9, 6)
    while True:
        radius = rng.uniform(0.13, 0.68, 6)
        if np.abs(np.diff(radius)).sum() > 0.7:
            break
    half = curve(np.stack([radius, height], axis=1), closed=False)
    half[:, 0] = np.maximum(half[:, 0], 0.1)
    return half


def _close(half: np.ndarray) -> np.ndarray:
    return np.concatenate([half, flip(half[::-1])])


def _radius(half: np.ndarray, y: Any) -> Any:
    return np.interp(y, half[:, 1], half[:, 0])


def _vase(half: np.ndarray, palette: np.ndarray, rng: np.random.Generator) -> Parts:
    main, second, accent = palette[1:]
    parts: Parts = []
    if rng.random() < 0.5:  # flowers
        top = _radius(half, -0.9)
        for _ in range(rng.integers(2, 5)):
            end = np.array([rng.uniform(-0.5, 0.5), rng.uniform(-1.5, -1.15)])
            stem = curve([(end[0] * top, -0.85), (end[0] * 0.6, -1.1), end], closed=False)
            parts.append(Part(stem, np.array([0.36, 0.47, 0.3], np.float32), width=0.04))
            parts += blossom(end, 0.17, accent, second, rng)
    outline = _close(half)
    bands = [
        Part(_band(half, y, rng.uniform(0.04, 0.12)), second, relief=0, alpha=0.9)
        for y in rng.uniform(-0.7, 0.7, rng.integers(0, 4))
    ]
    foot, rim = half[-1], half[0]
    return [
        *parts,
        Part(outline, main, relief=1.5),
        *bands,
        oval(0, rim[1], rim[0], 0.07, shade(main, -0.35), relief=0.2),
        line([(-foot[0], 0.92), (foot[0], 0.92)], shade(main, -0.2), width=0.07),
    ]


def _band(half: np.ndarray, y: float, thickness: float) -> np.ndarray:
    """The strip of a turned shape around height y, sagging as it would seem from above."""
    heights = np.linspace(y - thickness, y + thickness, 12)
    side = np.stack([_radius(half, heights), heights], axis=1)
    across = np.linspace(1, -1, 24)[:, None]
    sag = 0.12 * np.sqrt(1 - across**2) * _radius(half, y)
    low = np.concatenate([across * side[-1, 0], side[-1, 1] + sag], axis=1)
    top = np.concatenate([-across * side[0, 0], side[0, 1] + sag], axis=1)
    return np.concatenate([side, low, flip(side[::-1]), top])


def _turned_thing(half: np.ndarray, palette: np.ndarray, rng: np.random.Generator) -> Parts:
    """The same profile as a creature, a tower, a perfume bottle or a jar."""
    looks = (_creature, _tower, _bottle, _jar)
    return looks[int(rng.choice(len(looks)))](half, *palette[1:])


def _creature(half: np.ndarray, main: np.ndarray, second: np.ndarray, accent: np.ndarray) -> Parts:
    top = -0.55
    spread = max(0.5 * _radius(half, top), 0.11)
    eyes = [
        part
        for s in (-1, 1)
        for part in (
            oval(s * spread, top, 0.13, 0.15, WHITE, relief=0.3),
            oval(s * spread + 0.03, top + 0.03, 0.06, 0.07, INK, relief=0),
        )
    ]
    belly = _band(half, 0.3, 0.4) * (0.6, 1)
    smile = ellipse(0, top + 0.24, 0.12, 0.07, start=0.1, end=np.pi - 0.1)
    stance = max(_radius(half, 0.85) * 0.6, 0.14)
    return [
        *(oval(s * stance, 0.93, 0.16, 0.08, accent) for s in (-1, 1)),
        _turned(half, main),
        Part(belly, shade(second, 0.2), relief=0.3),
        *eyes,
        Part(smile, INK, width=0.04, relief=0),
    ]


def _tower(half: np.ndarray, main: np.ndarray, second: np.ndarray, accent: np.ndarray) -> Parts:
    roof = np.array([(-half[0, 0] - 0.12, -0.88), (0, -1.4), (half[0, 0] + 0.12, -0.88)])
    windows = []
    for y in (-0.6, -0.2, 0.2):
        for x in (0.0,) if _radius(half, y) < 0.36 else (-0.18, 0.18):
            arch = ellipse(x, y, 0.07, 0.12, power=0.75)
            windows.append(Part(arch, shade(second, -0.1), relief=0))
    door = ellipse(0, 0.86, 0.12, 0.3, start=np.pi, end=2 * np.pi)
    return [
        _turned(half, main),
        Part(roof, accent),
        *windows,
        Part(door, shade(second, -0.3), relief=0),
    ]


def _bottle(half: np.ndarray, main: np.ndarray, second: np.ndarray, accent: np.ndarray) -> Parts:
    return [
        block(0, -1.0, half[0, 0] * 0.6, 0.12, shade(accent, -0.1)),
        _turned(half, main),
        Part(_band(half, 0.25, 0.28) * (0.8, 1), WHITE, relief=0),
        oval(0, 0.3, 0.13, 0.13, second, relief=0),
    ]


def _jar(half: np.ndarray, main: np.ndarray, second: np.ndarray, accent: np.ndarray) -> Parts:
    stripes = [
        Part(_band(half, y, 0.05), second if i % 2 else accent, relief=0)
        for i, y in enumerate(np.linspace(-0.6, 0.6, 5))
    ]
    reach = _radius(half, -0.35) + 0.08
    handles = [oval(s * reach, -0.4, 0.2, 0.26, main, width=0.08) for s in (-1, 1)]
    return [*handles, _turned(half, main), *stripes]


def _turned(half: np.ndarray, color: np.ndarray) -> Part:
    return Part(_close(half), color, relief=1.2)


def shape_scene(palettes: Palettes, rng: np.random.Generator) -> Scene:
    """The left and the right picture, as parts."""
    half = _draw_profile(rng)
    left, right = _vase(half, palettes[0], rng), _turned_thing(half, palettes[1], rng)
    return fit(left, rng), fit(right, rng)
