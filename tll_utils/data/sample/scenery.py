"""Color: two scenes of one palette."""

from __future__ import annotations

import numpy as np

from tll_utils.data.sample.parts import (
    INK,
    WHITE,
    Palettes,
    Part,
    Parts,
    Scene,
    blob,
    block,
    blossom,
    box,
    curve,
    ellipse,
    line,
    move,
    oval,
    oval_at,
    shade,
)


def _hills(palette: np.ndarray, rng: np.random.Generator) -> Parts:
    parts = [oval(rng.uniform(-0.6, 0.6), rng.uniform(-0.85, -0.4), 0.27, 0.27, palette[3])]
    colors = (palette[2], palette[1], shade(palette[1], -0.25))
    for base, color in zip((0.0, 0.4, 0.85), colors, strict=True):
        heights = base + rng.uniform(-0.28, 0.18, 8)
        ridge = np.stack([np.linspace(-1.3, 1.3, 8), heights], axis=1)
        parts.append(
            Part(
                np.concatenate([curve(ridge, closed=False), [(1.3, 1.6), (-1.3, 1.6)]]),
                color,
                relief=0.7,
            )
        )
    for _ in range(rng.integers(1, 5)):
        x, y, size = rng.uniform(-0.8, 0.8), rng.uniform(0.55, 1.0), rng.uniform(0.16, 0.3)
        parts.append(line([(x, y), (x, y - size * 1.5)], shade(palette[2], -0.4), width=0.05))
        parts.append(oval(x, y - size * 1.9, size * 0.65, size, palette[2]))
    return parts


def _town(palette: np.ndarray, rng: np.random.Generator) -> Parts:
    parts: Parts = []
    x, colors = -1.05, [palette[1], palette[2], palette[3], palette[1]]
    while x < 1.0:
        wide, top = rng.uniform(0.34, 0.5), rng.uniform(-0.5, 0.25)
        color = colors[rng.integers(4)]
        roof = np.array(
            [(x - 0.03, top), (x + wide / 2, top - rng.uniform(0.2, 0.45)), (x + wide + 0.03, top)]
        )
        parts.append(block(x + wide / 2, (top + 0.85) / 2, wide / 2, (0.85 - top) / 2, color))
        parts.append(Part(roof, palette[1] if color is not palette[1] else palette[2]))
        for y in np.arange(top + 0.2, 0.7, 0.27):
            parts += [
                block(x + wide * t, y, 0.05, 0.075, shade(palette[0], 0.3), relief=0)
                for t in (0.3, 0.7)
            ]
        x += wide + 0.01
    street = box(0, 1.1, 1.3, 0.28)
    return [*parts, Part(street, shade(palette[2], -0.15), relief=0.4)]


def _boat(palette: np.ndarray, rng: np.random.Generator) -> Parts:
    lean = rng.uniform(-0.08, 0.08)
    hull = curve([(-0.75, 0.35), (0.78, 0.3), (0.5, 0.68), (-0.5, 0.7)])
    boat = [
        line([(0, 0.4), (0, -0.95)], shade(palette[3], -0.3), width=0.05),
        blob([(0.06, -0.85), (0.5, -0.2), (0.66, 0.2), (0.06, 0.22)], palette[1]),
        blob([(-0.05, -0.65), (-0.3, -0.2), (-0.55, 0.2), (-0.05, 0.2)], palette[3]),
        Part(hull, palette[1]),
    ]
    x = np.linspace(-1.3, 1.3, 14)
    waves = []
    for i, base in enumerate((0.55, 0.8, 1.02)):
        crest = np.stack([x, base + 0.06 * np.sin(x * 7 + i * 2)], axis=1)
        shape = np.concatenate([curve(crest, closed=False), [(1.3, 1.6), (-1.3, 1.6)]])
        waves.append(Part(shape, shade(palette[2], -0.14 * i), relief=0.6))
    sun = oval(rng.uniform(-0.7, 0.7), -0.85, 0.2, 0.2, palette[3])
    return [sun, *move(boat, angle=lean, mirror=rng.random() < 0.5), *waves]


def _bird(palette: np.ndarray, rng: np.random.Generator) -> Parts:
    main, second, accent = palette[1:]
    body = curve(
        [
            (-0.62, -0.2),
            (-0.35, -0.55),
            (0.05, -0.3),
            (0.45, 0.1),
            (0.85, 0.2),
            (0.4, 0.5),
            (-0.25, 0.5),
            (-0.6, 0.15),
        ]
    )
    wing = curve([(-0.2, -0.05), (0.3, 0.0), (0.78, 0.4), (0.25, 0.38), (-0.15, 0.25)])
    legs = [
        line([(x, 0.45), (x + 0.03, 0.85)], shade(accent, -0.2), width=0.045) for x in (-0.1, 0.12)
    ]
    branch = curve([(-1.1, 0.92), (-0.2, 0.86), (0.5, 0.9), (1.1, 0.8)], closed=False)
    leaves = [
        oval(x, 0.9 + dy, 0.17, 0.09, second, angle=dy * 4)
        for x, dy in ((-0.85, -0.13), (-0.6, 0.14), (0.55, 0.12), (0.85, -0.14))
    ]
    return [
        *leaves,
        Part(branch, shade(second, -0.35), width=0.08),
        *legs,
        Part(np.array([(-0.58, -0.28), (-0.9, -0.14), (-0.57, -0.08)]), accent),
        Part(body, main, relief=1.4),
        Part(wing, second),
        blob(
            [(-0.5, 0.02), (-0.2, 0.1), (0.05, 0.46), (-0.3, 0.45), (-0.52, 0.2)],
            accent,
            relief=0.5,
        ),
        oval(-0.38, -0.26, 0.065, 0.065, INK, relief=0.2),
        oval(-0.4, -0.285, 0.022, 0.022, WHITE, relief=0),
    ]


def _bouquet(palette: np.ndarray, rng: np.random.Generator) -> Parts:
    main, second, accent = palette[1:]
    pot = curve([(-0.42, 0.35), (0.42, 0.35), (0.32, 1.0), (-0.32, 1.0)], steps=6)
    parts: Parts = []
    for t in np.linspace(-1, 1, rng.integers(3, 6)):
        end = np.array([0.72 * t, -0.75 + 0.45 * t**2 + rng.uniform(-0.15, 0.15)])
        stem = curve([(t * 0.2, 0.45), (t * 0.4, -0.1), end], closed=False)
        parts.append(Part(stem, shade(second, -0.3), width=0.05))
        leaf = (stem[8] + stem[-1]) / 2
        parts.append(oval_at(leaf, 0.2, 0.08, second, angle=rng.uniform(-0.8, 0.8)))
        parts += blossom(end, 0.27, accent if rng.random() < 0.5 else main, second, rng)
    return [
        *parts,
        Part(pot, main, relief=1.3),
        block(0, 0.4, 0.48, 0.09, shade(main, -0.15)),
    ]


def _mushrooms(palette: np.ndarray, rng: np.random.Generator) -> Parts:
    parts: Parts = []
    for x, size in zip(rng.permutation([-0.5, 0.0, 0.5]), rng.uniform(0.5, 0.95, 3), strict=True):
        foot = 0.85 + 0.1 * size
        stalk = curve([(-0.12, -0.1), (0.12, -0.1), (0.2, 0.9), (-0.2, 0.9)]) * size
        cap = (
            np.concatenate(
                [
                    ellipse(0, 0, 0.56, 0.58, start=np.pi, end=2 * np.pi),
                    ellipse(0, 0, 0.56, 0.1, start=0, end=np.pi),
                ]
            )
            * size
        )
        color = palette[1] if rng.random() < 0.65 else palette[3]
        spots = [
            Part(
                ellipse(dx, dy, r, r * 0.85) * size + (x, foot - 0.9 * size),
                shade(palette[0], 0.35),
                relief=0.2,
            )
            for dx, dy, r in ((0.02, -0.36, 0.12), (-0.3, -0.17, 0.08), (0.3, -0.2, 0.09))
        ]
        shift = np.array([x, foot - 0.9 * size])
        parts += [Part(stalk + shift, shade(palette[2], 0.35)), Part(cap + shift, color), *spots]
    lawn = curve([(-1.4, 1.0), (-0.5, 0.86), (0.5, 0.9), (1.4, 0.98), (1.4, 1.7), (-1.4, 1.7)])
    return [*parts, Part(lawn, palette[2], relief=0.6)]


def color_scene(palettes: Palettes, rng: np.random.Generator) -> Scene:
    """The left and the right picture, as parts."""
    subjects = (_hills, _town, _boat, _bird, _bouquet, _mushrooms)
    left, right = rng.choice(len(subjects), 2, replace=False)

    def draw(subject: int, palette: np.ndarray) -> Parts:
        parts = subjects[subject](palette, rng)
        return move(parts, scale=rng.uniform(0.95, 1.08), mirror=rng.random() < 0.5)

    return draw(left, palettes[0]), draw(right, palettes[1])
