"""What sample pictures are made of: shapes, colours and patterns in one small vocabulary.

Units: the frame is 2 wide, its centre is the origin, y points down.
"""

from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 200, 245  # pixels
UNIT = WIDTH / 2  # pixels per unit
TOP = HEIGHT / WIDTH  # y runs from −TOP to TOP


def rgb(names: str) -> np.ndarray:
    """RGB colours in [0, 1], float32 `(n, 3)`, of space-separated hex names."""
    return np.array([list(bytes.fromhex(name)) for name in names.split()], np.float32) / 255


INK = np.array([0.17, 0.15, 0.19], np.float32)
WHITE = np.array([0.98, 0.97, 0.94], np.float32)

# Each maps pattern coordinates, one period = 2π, to a wave that is positive on the motif.
MOTIFS = {
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
    """A two-tone pattern: `colour` where the motif is, the part's own colour elsewhere."""

    motif: str
    angle: float  # radians
    period: float  # units
    duty: float  # in [−0.5, 0.5]; how much of it the motif covers
    colour: np.ndarray


class Part(NamedTuple):
    """One filled outline, or one stroke when `width` is set."""

    points: np.ndarray  # (n, 2), units
    colour: np.ndarray  # (3,) RGB in [0, 1]
    width: float = 0.0  # of a stroke, units
    relief: float = 1.0  # how far light rounds it; 0 lies flat on what is below
    alpha: float = 1.0
    pattern: Pattern | None = None
    clip: np.ndarray | None = None  # outline that it stays within


def oval(x, y, rx, ry, colour, *, angle=0.0, power=1.0, **options) -> Part:
    """A filled ellipse; see `ellipse`."""
    return Part(ellipse(x, y, rx, ry, angle=angle, power=power), colour, **options)


def block(x, y, rx, ry, colour, *, angle=0.0, **options) -> Part:
    """A filled rectangle, `2 rx` wide and `2 ry` high."""
    return Part(box(x, y, rx, ry, angle=angle), colour, **options)


def blob(points, colour, **options) -> Part:
    """A filled closed curve through `points`."""
    return Part(curve(points), colour, **options)


def line(points, colour, **options) -> Part:
    """A stroke straight from point to point."""
    return Part(np.array(points), colour, **options)


def tube(points, colour, **options) -> Part:
    """A stroke that curves through `points`."""
    return Part(curve(points, closed=False), colour, **options)


def curve(points, *, closed=True, steps=8):
    """Catmull–Rom curve through `points`, shape (n · steps, 2)."""
    points = np.asarray(points, float)
    if closed:
        before, after, beyond = (np.roll(points, shift, axis=0) for shift in (1, -1, -2))
        here = points
    else:
        padded = np.concatenate([points[:1], points, points[-1:]])
        before, here, after, beyond = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    points_on = here + t / 2 * (
        (after - before)
        + t * (2 * before - 5 * here + 4 * after - beyond)
        + t**2 * (3 * here - before - 3 * after + beyond)
    )
    points_on = points_on.transpose(1, 0, 2).reshape(-1, 2)
    return points_on if closed else np.concatenate([points_on, points[-1:]])


def ellipse(x, y, rx, ry, *, angle=0.0, start=0.0, end=2 * np.pi, power=1.0):
    """Points of an ellipse or an arc of it; `power` < 1 makes it boxy."""
    t = np.linspace(start, end, 48)
    shape = np.stack([np.cos(t), np.sin(t)], axis=1)
    shape = np.sign(shape) * np.abs(shape) ** power * (rx, ry)
    return turn(shape, angle) + (x, y)


def box(x, y, rx, ry, *, angle=0.0):
    return turn(np.array([(-rx, -ry), (rx, -ry), (rx, ry), (-rx, ry)], float), angle) + (x, y)


def turn(points, angle):
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def flip(points):
    return points * (-1, 1)


def shade(colour, amount):
    """Towards black for `amount` < 0, towards white for > 0."""
    goal = np.float32(amount > 0)
    return colour + (goal - colour) * np.float32(abs(amount))


def move(parts, *, scale=1.0, shift=(0.0, 0.0), angle=0.0, mirror=False):
    """The parts turned, scaled, mirrored and shifted together."""
    side = -1 if mirror else 1

    def place(points):
        return None if points is None else turn(points * (side, 1), angle) * scale + shift

    def follow(pattern):
        return pattern and pattern._replace(
            angle=side * pattern.angle + angle, period=pattern.period * scale
        )

    return [
        part._replace(
            points=place(part.points),
            clip=place(part.clip),
            width=part.width * scale,
            pattern=follow(part.pattern),
        )
        for part in parts
    ]


def fit(parts, rng, *, mirror=None, angle=0.08, cut=np.inf):
    """Centres the parts in the frame, at a random size and place that keeps them inside.

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
