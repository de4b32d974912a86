"""Expression: a person and an animal that make the same face."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tll_utils.data.sample.parts import (
    HAIRS,
    INK,
    SKINS,
    WHITE,
    Palettes,
    Part,
    Parts,
    Scene,
    blob,
    block,
    curve,
    ellipse,
    fit,
    flip,
    line,
    move,
    oval,
    oval_at,
    rgb,
    shade,
    tube,
)


class Expression(NamedTuple):
    """What two faces share."""

    smile: float  # −1 sad … 1 happy
    gape: float  # 0 closed … 1 wide open
    brow: float  # −1 worried … 1 cross
    lift: float  # 0 … 1, height of the brows
    lids: float  # 0.1 sleepy … 1 wide awake
    gaze: tuple[float, float]  # each −1 … 1
    spread: float  # width of the mouth, 0.6 … 1.3
    wink: bool
    tilt: float  # of the head, radians


def _draw_expression(rng: np.random.Generator) -> Expression:
    return Expression(
        smile=rng.choice([-1, 1]) * rng.uniform(0.25, 1),
        gape=max(0.0, rng.uniform(-0.8, 1)),
        brow=rng.uniform(-1, 1),
        lift=rng.uniform(0, 1),
        lids=rng.uniform(0.2, 1),
        gaze=(rng.uniform(-1, 1), rng.uniform(-1, 1)),
        spread=rng.uniform(0.6, 1.3),
        wink=bool(rng.random() < 0.15),
        tilt=rng.uniform(-0.35, 0.35),
    )


def _features(
    face: Expression,
    brow_color: np.ndarray,
    iris: np.ndarray,
    *,
    eye: float = 0.19,
    apart: float = 0.3,
) -> Parts:
    """Eyes, brows and mouth, around a head of radius about 0.75."""
    parts: Parts = []
    for side in (-1, 1):
        x, y = side * apart, -0.12
        height = eye * face.lids
        if face.wink and side == 1:
            wink = ellipse(x, y + 0.05, eye, 0.08, start=np.pi, end=2 * np.pi)
            parts.append(Part(wink, INK, width=0.05, relief=0))
        else:
            white = ellipse(x, y, eye, height)
            gaze = np.array(face.gaze) * (0.07, 0.05)
            look = gaze + (x, y)
            parts += [
                Part(white, WHITE, relief=0.3),
                oval_at(look, 0.12, 0.12, iris, relief=0, clip=white),
                oval_at(look, 0.065, 0.065, INK, relief=0, clip=white),
                oval(look[0] + 0.04, look[1] - 0.05, 0.03, 0.03, WHITE, relief=0, clip=white),
                Part(white[24:], INK, width=0.035, relief=0),
            ]
        inner, outer = x - side * 0.17, x + side * 0.19
        base = y - 0.25 - 0.14 * face.lift
        bend = 0.1 * face.brow
        brow = curve(
            [(inner, base + bend), (x, base - 0.04), (outer, base + 0.03 - bend)], closed=False
        )
        parts.append(Part(brow, brow_color, width=0.075, relief=0.4))
    return parts + _mouth(face)


def _mouth(face: Expression) -> Parts:
    half, y = 0.27 * face.spread, 0.4
    lift = 0.16 * face.smile
    upper = np.array(
        [
            (-half, y - lift),
            (-half / 2, y + lift * 0.3),
            (0, y + lift * 0.6),
            (half / 2, y + lift * 0.3),
            (half, y - lift),
        ]
    )
    if face.gape < 0.12:
        return [tube(upper, INK, width=0.055, relief=0)]
    drop = np.array([0, 0.75, 1, 0.75, 0])[:, None] * (0, 0.08 + 0.26 * face.gape)
    outline = np.concatenate(
        [curve(upper, closed=False), curve((upper + drop)[::-1], closed=False)]
    )
    bottom = y + lift * 0.6 + drop[2, 1]
    return [
        Part(outline, np.array([0.36, 0.12, 0.14], np.float32), relief=0),
        oval(
            0,
            bottom + 0.02,
            half * 0.6,
            0.13,
            np.array([0.85, 0.42, 0.4], np.float32),
            relief=0,
            clip=outline,
        ),
        block(0, y + lift * 0.5 - 0.02, half * 0.7, 0.055, WHITE, relief=0, clip=outline),
        Part(np.concatenate([outline, outline[:1]]), INK, width=0.03, relief=0),
    ]


# Neck and shoulders, cut off by the lower rim of the picture.
_SHOULDERS = [
    (-1.1, 1.7),
    (-0.9, 1.2),
    (-0.3, 1.0),
    (0.3, 1.0),
    (0.9, 1.2),
    (1.1, 1.7),
    (1.2, 4.0),
    (-1.2, 4.0),
]


def _person(face: Expression, palette: np.ndarray, rng: np.random.Generator) -> Parts:
    """Head and shoulders."""
    skin, hair = rng.choice(SKINS), rng.choice(HAIRS)
    style = rng.choice(["bob", "bun", "short", "curls", "cap", "long"])
    wide = rng.uniform(0.62, 0.72)
    fringe = rng.uniform(-0.6, 0.6)
    back = _hair_behind(style, hair, wide)
    ears = [oval(side * wide, 0.02, 0.12, 0.17, skin) for side in (-1, 1)]
    half = np.array([(wide * 0.8, -0.55), (wide, 0), (wide * 0.78, 0.52)])
    head = curve([(0, -0.82), *half, (0, 0.84), *flip(half[::-1])])
    rosy = shade(skin, -0.1) * np.array([1.1, 0.75, 0.75], np.float32)
    cheeks = [oval(s * 0.42, 0.2, 0.14, 0.1, rosy, relief=0, alpha=0.45) for s in (-1, 1)]
    iris = rng.choice(rgb("5b7f95 6b4a2f 4d6b4a 3b2f2f"))
    head_parts = [
        *back,
        *ears,
        Part(head, skin),
        *cheeks,
        oval(0, 0.12, 0.085, 0.11, shade(skin, -0.06)),
        *_features(face, shade(hair, -0.15), iris),
        *_hair_in_front(style, hair, wide, fringe=fringe, palette=palette),
    ]
    neck = line([(0, 0.5), (0, 1.12)], shade(skin, -0.12), width=0.5)
    collar = oval(0, 1.08, 0.36, 0.16, palette[3], relief=0.6)
    turned = move(head_parts, angle=face.tilt)
    long_hair = turned[: len(back)]
    body = Part(curve(_SHOULDERS), palette[1])
    return [*long_hair, body, collar, neck, *turned[len(back) :]]


def _hair_behind(style: str, hair: np.ndarray, wide: float) -> Parts:
    if style == "bun":
        return [oval(0, -1.05, 0.3, 0.27, hair)]
    if style not in ("bob", "long"):
        return []
    low = 0.65 if style == "bob" else 1.25
    half = np.array([(wide + 0.2, -0.6), (wide + 0.25, low * 0.5), (wide + 0.1, low)])
    return [blob([(0, -1.0), *half, *flip(half[::-1])], hair)]


def _hair_in_front(
    style: str, hair: np.ndarray, wide: float, *, fringe: float, palette: np.ndarray
) -> Parts:
    if style == "curls":
        around = np.linspace(np.pi * 0.95, np.pi * 2.05, 11)
        return [
            oval(np.cos(t) * (wide + 0.04), np.sin(t) * 0.75 - 0.08, 0.21, 0.2, hair)
            for t in around
        ]
    if style == "cap":
        return [
            Part(ellipse(0, -0.42, wide + 0.1, 0.58, start=np.pi, end=2 * np.pi), palette[2]),
            oval(0, -0.43, wide + 0.13, 0.1, shade(palette[2], -0.2), power=0.7),
            oval(0, -1.02, 0.13, 0.13, palette[3]),
        ]
    outer = np.array([(wide + 0.02, -0.6), (wide + 0.08, -0.08)])
    parting = [(wide - 0.08, -0.38), (fringe * 0.5, -0.5), (-wide + 0.08, -0.38)]
    return [blob([*flip(outer[::-1]), (0, -0.98), *outer, *parting], hair)]


def _animal(face: Expression, palette: np.ndarray, rng: np.random.Generator) -> Parts:
    """A head with ears: cat, bear, rabbit, dog, monster or the moon."""
    main, second, accent = palette[1:]
    look = rng.choice(["cat", "bear", "rabbit", "monster", "moon", "dog"])
    parts = [part for side in (-1, 1) for part in _ears(look, side, palette)]
    rx, ry = rng.uniform(0.74, 0.84), rng.uniform(0.72, 0.8)
    boxy = {"monster": 0.65, "moon": 1.0}.get(look, 0.9)
    parts.append(oval(0, 0.05, rx, ry, main, power=boxy))
    if look == "moon":
        parts += [
            oval(x, y, r, r, shade(main, -0.12), relief=0.4)
            for x, y, r in ((0.5, -0.45, 0.1), (-0.6, 0.25, 0.08), (0.1, -0.6, 0.06))
        ]
    elif look in ("cat", "bear", "rabbit", "dog"):
        parts.append(oval(0, 0.38, 0.46, 0.34, shade(main, 0.45), relief=0.6))
        parts.append(blob([(-0.11, 0.1), (0.11, 0.1), (0, 0.22)], shade(INK, 0.15)))
    if look == "cat":
        parts += [
            line([(s * 0.4, y), (s * 0.88, y + d)], INK, width=0.022, relief=0)
            for s in (-1, 1)
            for y, d in ((0.3, -0.04), (0.4, 0.06))
        ]
    rosy = np.array([0.9, 0.5, 0.48], np.float32)
    cheeks = [oval(s * 0.52, 0.22, 0.13, 0.09, rosy, relief=0, alpha=0.5) for s in (-1, 1)]
    brows = shade(second, -0.35) if rng.random() < 0.5 else INK
    return move(parts + cheeks + _features(face, brows, shade(accent, -0.15)), angle=face.tilt)


def _ears(look: str, side: int, palette: np.ndarray) -> Parts:
    """One ear or horn; the moon has none."""
    main, second, accent = palette[1:]
    inside = shade(second, 0.25)
    if look == "cat":
        ear = np.array([(0.22, -0.62), (0.68, -1.15), (0.8, -0.3)]) * (side, 1)
        return [Part(ear, main), Part(ear * 0.8 + (side * 0.1, -0.1), inside, relief=0.3)]
    if look == "bear":
        return [
            oval(side * 0.58, -0.66, 0.27, 0.27, main),
            oval(side * 0.58, -0.66, 0.15, 0.15, inside, relief=0.3),
        ]
    if look == "rabbit":
        return [
            oval(side * 0.3, -1.05, 0.2, 0.56, main, angle=side * 0.2),
            oval(side * 0.3, -1.05, 0.1, 0.4, inside, angle=side * 0.2, relief=0.3),
        ]
    if look == "dog":
        return [oval(side * 0.78, 0.0, 0.22, 0.55, second, angle=-side * 0.3)]
    if look == "monster":
        return [Part(np.array([(0.25, -0.7), (0.62, -1.2), (0.6, -0.5)]) * (side, 1), accent)]
    return []


def expression_scene(palettes: Palettes, rng: np.random.Generator) -> Scene:
    """The left and the right picture, as parts."""
    face = _draw_expression(rng)
    left, right = _person(face, palettes[0], rng), _animal(face, palettes[1], rng)
    # A tilted head is part of the expression, so it is mirrored on neither side.
    return (
        fit(left, rng, mirror=False, angle=0.03, cut=1.35),
        fit(right, rng, mirror=False, angle=0.03),
    )
