"""What sample pictures are made of: shapes, colors and patterns in one small vocabulary.

Units: the frame is 2 wide, its center is the origin, y points down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 200, 245  # pixels
UNIT = WIDTH / 2  # pixels per unit
TOP = HEIGHT / WIDTH  # y runs from −TOP to TOP


def rgb(names: str) -> np.ndarray:
    """RGB colors in [0, 1], float32 `(n, 3)`, of space-separated hex names."""
    return np.array([list(bytes.fromhex(name)) for name in names.split()], np.float32) / 255


SKINS = rgb("f3cfb3 e5b08c c98b63 a86b45 7b4a30 f0bfa5")
HAIRS = rgb("2f2623 5a3a28 8c5a32 c98f45 b5482e 8f8a88 e0cda9")
INK = np.array([0.17, 0.15, 0.19], np.float32)
WHITE = np.array([0.98, 0.97, 0.94], np.float32)

# Each maps pattern coordinates, one period = 2π, to a wave that is positive on the motif.
MOTIFS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "stripes": lambda u, v: np.sin(u),
    "waves": lambda u, v: np.sin(u + 1.6 * np.sin(v * 0.7)),
    "zigzag": lambda u, v: np.sin(u + 2 * np.arcsin(np.sin(v * 0.9))),
    "dots": lambda u, v: np.cos(u) + np.cos(v) - 0.9,
    "checks": lambda u, v: 1.5 * np.sin(u) * np.sin(v),
    "diamonds": lambda u, v: np.abs(np.arcsin(np.sin(u))) + np.abs(np.arcsin(np.sin(v))) - 1.5,
    "rings": lambda u, v: np.sin(np.hypot(u, v)),
    "grid": lambda u, v: np.maximum(np.cos(u), np.cos(v)) - 0.75,
    "bricks": lambda u, v: (
        np.maximum(np.cos(u), np.cos(v / 2 + np.pi / 2 * np.sign(np.sin(u / 2)))) - 0.85
    ),
    "scales": lambda u, v: (
        1.2
        * np.sin(
            1.3 * np.hypot((v + np.pi * (np.floor(u / np.pi) % 2)) % (2 * np.pi) - np.pi, u % np.pi)
        )
    ),
}


class Pattern(NamedTuple):
    """A two-tone pattern: `color` where the motif is, the part's own color elsewhere."""

    motif: str
    angle: float  # radians
    period: float  # units
    duty: float  # in [−0.5, 0.5]; how much of it the motif covers
    color: np.ndarray


class Part(NamedTuple):
    """One filled outline, or one stroke when `width` is set."""

    points: np.ndarray  # (n, 2), units
    color: np.ndarray  # (3,) RGB in [0, 1]
    width: float = 0.0  # of a stroke, units
    relief: float = 1.0  # how far light rounds it; 0 lies flat on what is below
    alpha: float = 1.0
    pattern: Pattern | None = None
    clip: np.ndarray | None = None  # outline that it stays within


Parts = list[Part]
Scene = tuple[Parts, Parts]  # left and right
Palettes = tuple[np.ndarray, np.ndarray]  # left and right: ground, main, second, accent; (4, 3)


def oval(
    x: float,
    y: float,
    rx: float,
    ry: float,
    color: np.ndarray,
    *,
    angle: float = 0.0,
    power: float = 1.0,
    **options: Any,
) -> Part:
    """A filled ellipse; see `ellipse`. The options are those of `Part`, here and below."""
    return Part(ellipse(x, y, rx, ry, angle=angle, power=power), color, **options)


def oval_at(center: np.ndarray, rx: float, ry: float, color: np.ndarray, **options: Any) -> Part:
    """A filled ellipse around a point."""
    return oval(center[0], center[1], rx, ry, color, **options)


def block(
    x: float,
    y: float,
    rx: float,
    ry: float,
    color: np.ndarray,
    *,
    angle: float = 0.0,
    **options: Any,
) -> Part:
    """A filled rectangle, `2 rx` wide and `2 ry` high."""
    return Part(box(x, y, rx, ry, angle=angle), color, **options)


def block_at(center: np.ndarray, rx: float, ry: float, color: np.ndarray, **options: Any) -> Part:
    """A filled rectangle around a point."""
    return block(center[0], center[1], rx, ry, color, **options)


def blob(points: Sequence[Any] | np.ndarray, color: np.ndarray, **options: Any) -> Part:
    """A filled closed curve through `points`."""
    return Part(curve(points), color, **options)


def line(points: Sequence[Any] | np.ndarray, color: np.ndarray, **options: Any) -> Part:
    """A stroke straight from point to point."""
    return Part(np.array(points), color, **options)


def tube(points: Sequence[Any] | np.ndarray, color: np.ndarray, **options: Any) -> Part:
    """A stroke that curves through `points`."""
    return Part(curve(points, closed=False), color, **options)


def curve(points: Sequence[Any] | np.ndarray, *, closed: bool = True, steps: int = 8) -> np.ndarray:
    """Catmull–Rom curve through `points`, shape (n · steps, 2)."""
    here = ends = np.asarray(points, float)
    if closed:
        before, after, beyond = (np.roll(here, shift, axis=0) for shift in (1, -1, -2))
    else:
        padded = np.concatenate([ends[:1], ends, ends[-1:]])
        before, here, after, beyond = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    points_on = here + t / 2 * (
        (after - before)
        + t * (2 * before - 5 * here + 4 * after - beyond)
        + t**2 * (3 * here - before - 3 * after + beyond)
    )
    points_on = points_on.transpose(1, 0, 2).reshape(-1, 2)
    return points_on if closed else np.concatenate([points_on, ends[-1:]])


def ellipse(
    x: float,
    y: float,
    rx: float,
    ry: float,
    *,
    angle: float = 0.0,
    start: float = 0.0,
    end: float = 2 * np.pi,
    power: float = 1.0,
) -> np.ndarray:
    """Points of an ellipse or an arc of it; `power` < 1 makes it boxy."""
    t = np.linspace(start, end, 48)
    shape = np.stack([np.cos(t), np.sin(t)], axis=1)
    shape = np.sign(shape) * np.abs(shape) ** power * (rx, ry)
    return turn(shape, angle) + (x, y)


def box(x: float, y: float, rx: float, ry: float, *, angle: float = 0.0) -> np.ndarray:
    """Corners of a rectangle, `2 rx` wide and `2 ry` high."""
    return turn(np.array([(-rx, -ry), (rx, -ry), (rx, ry), (-rx, ry)], float), angle) + (x, y)


def turn(points: np.ndarray, angle: float) -> np.ndarray:
    """The points turned about the origin."""
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def flip(points: np.ndarray) -> np.ndarray:
    """The points mirrored left to right."""
    return points * (-1, 1)


def shade(color: np.ndarray, amount: float) -> np.ndarray:
    """Towards black for `amount` < 0, towards white for > 0."""
    goal = np.float32(amount > 0)
    return color + (goal - color) * np.float32(abs(amount))


def move(
    parts: Sequence[Part],
    *,
    scale: float = 1.0,
    shift: npt.ArrayLike = (0.0, 0.0),
    angle: float = 0.0,
    mirror: bool = False,
) -> Parts:
    """The parts turned, scaled, mirrored and shifted together."""
    side = -1 if mirror else 1

    def place(points: np.ndarray) -> np.ndarray:
        return turn(points * (side, 1), angle) * scale + np.asarray(shift)

    def follow(pattern: Pattern) -> Pattern:
        return pattern._replace(angle=side * pattern.angle + angle, period=pattern.period * scale)

    return [
        part._replace(
            points=place(part.points),
            clip=None if part.clip is None else place(part.clip),
            width=part.width * scale,
            pattern=part.pattern and follow(part.pattern),
        )
        for part in parts
    ]


def fit(
    parts: Sequence[Part],
    rng: np.random.Generator,
    *,
    mirror: bool | None = None,
    angle: float = 0.08,
    cut: float = np.inf,
) -> Parts:
    """Centers the parts in the frame, at a random size and place that keeps them inside.

    What lies below `cut` may run out of the frame.
    """
    parts = move(
        parts,
        angle=rng.uniform(-angle, angle),
        mirror=rng.random() < 0.5 if mirror is None else mirror,
    )
    low = np.min([part.points.min(0) - part.width / 2 for part in parts], axis=0)
    high = np.max([part.points.max(0) + part.width / 2 for part in parts], axis=0)
    high[1] = min(high[1], cut)
    scale = np.min(np.array([1.8, 1.8 * TOP]) / (high - low)) * rng.uniform(0.76, 1.0)
    slack = np.array([1.0, TOP]) * 0.94 - (high - low) * scale / 2
    shift = -(low + high) / 2 * scale + rng.uniform(-1, 1, 2) * slack * 0.7
    return move(parts, scale=scale, shift=shift)


def blossom(
    center: np.ndarray,
    radius: float,
    petal: np.ndarray,
    heart: np.ndarray,
    rng: np.random.Generator,
) -> Parts:
    """A flower: some petals around its heart."""
    count, first = rng.integers(5, 8), rng.uniform(0, 2)
    spots = [
        center + radius * 0.62 * np.array([np.cos(t), np.sin(t)])
        for t in first + np.arange(count) / count * 2 * np.pi
    ]
    petals = [oval_at(spot, radius * 0.45, radius * 0.45, petal, relief=0.7) for spot in spots]
    return [*petals, oval_at(center, radius * 0.38, radius * 0.38, heart)]
