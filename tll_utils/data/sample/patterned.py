"""Texture: two things that show the same pattern."""

from __future__ import annotations

import numpy as np

from tll_utils.data.sample.parts import (
    INK,
    MOTIFS,
    WHITE,
    Palettes,
    Part,
    Parts,
    Pattern,
    Scene,
    block,
    curve,
    ellipse,
    fit,
    flip,
    line,
    oval,
    tube,
)


def _draw_pattern(rng: np.random.Generator) -> Pattern:
    return Pattern(
        motif=rng.choice(list(MOTIFS)),
        angle=rng.uniform(0, np.pi),
        period=rng.uniform(0.13, 0.32),
        duty=rng.uniform(-0.3, 0.35),
        color=WHITE,
    )


def _knitted(pattern: Pattern, palette: np.ndarray, rng: np.random.Generator) -> Parts:
    """Left things that show a pattern: fish, cushion, egg, jumper, snail."""
    looks = (_fish, _cushion, _egg, _jumper, _snail)
    main, second, accent = palette[1:]
    pattern = pattern._replace(color=second, angle=pattern.angle + rng.normal(0, 0.08))
    return looks[int(rng.choice(len(looks)))](pattern, main, accent)


def _fish(pattern: Pattern, main: np.ndarray, accent: np.ndarray) -> Parts:
    body = curve([(-0.85, 0), (-0.4, -0.55), (0.25, -0.5), (0.7, 0), (0.25, 0.5), (-0.4, 0.55)])
    tail = curve([(0.55, 0), (1.05, -0.5), (0.92, 0), (1.05, 0.5)])
    fin = curve([(-0.3, -0.4), (0.1, -0.85), (0.45, -0.35)])
    return [
        Part(tail, accent),
        Part(fin, accent),
        Part(body, main, relief=1.5, pattern=pattern),
        oval(-0.52, -0.1, 0.13, 0.13, WHITE),
        oval(-0.54, -0.1, 0.065, 0.065, INK, relief=0),
    ]


def _cushion(pattern: Pattern, main: np.ndarray, accent: np.ndarray) -> Parts:
    square = curve(
        [
            (-0.8, -0.8),
            (0, -0.68),
            (0.8, -0.8),
            (0.68, 0),
            (0.8, 0.8),
            (0, 0.68),
            (-0.8, 0.8),
            (-0.68, 0),
        ]
    )
    tassels = [oval(x, y, 0.11, 0.11, accent) for x in (-0.82, 0.82) for y in (-0.82, 0.82)]
    return [*tassels, Part(square, main, relief=1.8, pattern=pattern)]


def _egg(pattern: Pattern, main: np.ndarray, accent: np.ndarray) -> Parts:
    egg = curve([(0, -0.95), (0.52, -0.4), (0.66, 0.3), (0, 0.85), (-0.66, 0.3), (-0.52, -0.4)])
    cup = curve([(-0.5, 0.55), (0.5, 0.55), (0.3, 1.0), (0.42, 1.25), (-0.42, 1.25), (-0.3, 1.0)])
    return [Part(egg, main, relief=1.8, pattern=pattern), Part(cup, accent)]


def _jumper(pattern: Pattern, main: np.ndarray, accent: np.ndarray) -> Parts:
    body = curve([(-0.45, -0.7), (0.45, -0.7), (0.5, 0), (0.5, 0.75), (-0.5, 0.75), (-0.5, 0)])
    sleeves = [
        tube(
            [(s * 0.42, -0.52), (s * 0.72, -0.05), (s * 0.8, 0.5)],
            main,
            width=0.3,
            pattern=pattern,
        )
        for s in (-1, 1)
    ]
    cuffs = [line([(s * 0.79, 0.47), (s * 0.8, 0.58)], accent, width=0.27) for s in (-1, 1)]
    return [
        *sleeves,
        *cuffs,
        Part(body, main, relief=1.3, pattern=pattern),
        line([(-0.47, 0.76), (0.47, 0.76)], accent, width=0.14),
        oval(0, -0.72, 0.26, 0.11, accent),
    ]


def _snail(pattern: Pattern, main: np.ndarray, accent: np.ndarray) -> Parts:
    body = curve([(-1.05, 0.75), (-0.95, 0.25), (-0.72, 0.3), (-0.6, 0.55), (0.9, 0.6), (1.1, 0.8)])
    horns = [line([(-0.9, 0.35), (x, -0.12)], accent, width=0.05) for x in (-1.02, -0.8)]
    knobs = [oval(x, -0.14, 0.06, 0.06, accent) for x in (-1.02, -0.8)]
    return [
        *horns,
        *knobs,
        Part(body, accent),
        oval(0.15, 0.02, 0.68, 0.68, main, relief=1.8, pattern=pattern),
        oval(-0.92, 0.42, 0.04, 0.04, INK, relief=0),
    ]


def _printed(pattern: Pattern, palette: np.ndarray, rng: np.random.Generator) -> Parts:
    """Right things that show a pattern: mitten, cat, umbrella, butterfly, balloon."""
    looks = (_mitten, _cat, _umbrella, _butterfly, _balloon)
    main, second, accent = palette[1:]
    pattern = pattern._replace(color=second, angle=pattern.angle + rng.normal(0, 0.08))
    return looks[int(rng.choice(len(looks)))](pattern, main, accent)


def _mitten(pattern: Pattern, main: np.ndarray, accent: np.ndarray) -> Parts:
    hand = curve([(-0.5, 0.6), (-0.55, -0.3), (-0.1, -0.95), (0.4, -0.4), (0.42, 0.6)])
    thumb = curve([(0.3, 0.45), (0.72, -0.2), (0.9, 0.05), (0.5, 0.6)])
    return [
        Part(thumb, main, pattern=pattern),
        Part(hand, main, pattern=pattern),
        block(-0.04, 0.75, 0.56, 0.17, accent),
    ]


def _cat(pattern: Pattern, main: np.ndarray, accent: np.ndarray) -> Parts:
    body = curve([(-0.5, 0.95), (-0.62, 0.3), (-0.3, -0.2), (0.3, -0.2), (0.62, 0.3), (0.5, 0.95)])
    tail = curve([(0.45, 0.8), (0.95, 0.7), (0.9, 0.2), (1.05, -0.05)], closed=False)
    head = np.concatenate(
        [
            ellipse(0, -0.45, 0.48, 0.4, start=-0.5, end=np.pi + 0.5),
            [(-0.42, -1.05), (-0.15, -0.82), (0.15, -0.82), (0.42, -1.05)],
        ]
    )
    eyes = [oval(s * 0.19, -0.5, 0.06, 0.09, accent, relief=0) for s in (-1, 1)]
    nose = oval(0, -0.33, 0.05, 0.035, INK, relief=0)
    return [
        Part(tail, main, width=0.17, pattern=pattern),
        Part(body, main, pattern=pattern),
        Part(head, main, pattern=pattern),
        *eyes,
        nose,
    ]


def _umbrella(pattern: Pattern, main: np.ndarray, accent: np.ndarray) -> Parts:
    scallops = [
        ellipse(x, 0.05, 0.225, 0.1, start=0, end=-np.pi) for x in (0.675, 0.225, -0.225, -0.675)
    ]
    dome = np.concatenate([ellipse(0, 0.05, 0.9, 0.85, start=np.pi, end=2 * np.pi), *scallops])
    handle = curve([(0, 0), (0, 0.9), (0.12, 1.05), (0.26, 0.92)], closed=False)
    return [
        Part(handle, accent, width=0.07),
        line([(0, -0.92), (0, -0.8)], accent, width=0.06),
        Part(dome, main, pattern=pattern),
    ]


def _butterfly(pattern: Pattern, main: np.ndarray, accent: np.ndarray) -> Parts:
    upper = curve([(0.06, -0.05), (0.45, -0.75), (0.98, -0.72), (0.85, -0.12), (0.3, 0.12)])
    lower = curve([(0.06, 0.05), (0.55, 0.1), (0.75, 0.55), (0.4, 0.85), (0.1, 0.4)])
    wings = [
        Part(side(wing), main, pattern=pattern)
        for wing in (lower, upper)
        for side in (np.asarray, flip)
    ]
    feelers = [
        tube([(0, -0.4), (s * 0.1, -0.65), (s * 0.25, -0.8)], accent, width=0.035) for s in (-1, 1)
    ]
    return [*wings, *feelers, oval(0, 0.05, 0.09, 0.5, accent)]


def _balloon(pattern: Pattern, main: np.ndarray, accent: np.ndarray) -> Parts:
    envelope = curve(
        [(0, -1.0), (0.6, -0.7), (0.68, -0.2), (0.2, 0.5), (-0.2, 0.5), (-0.68, -0.2), (-0.6, -0.7)]
    )
    ropes = [
        line([(s * 0.18, 0.45), (s * 0.14, 0.85)], INK, width=0.025, relief=0) for s in (-1, 1)
    ]
    return [*ropes, block(0, 0.92, 0.19, 0.14, accent), Part(envelope, main, pattern=pattern)]


def texture_scene(palettes: Palettes, rng: np.random.Generator) -> Scene:
    """The left and the right picture, as parts."""
    pattern = _draw_pattern(rng)
    left, right = _knitted(pattern, palettes[0], rng), _printed(pattern, palettes[1], rng)
    return fit(left, rng, mirror=False), fit(right, rng, mirror=False)
