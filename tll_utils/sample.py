"""Draws a synthetic data set in the course layout: pairs that look alike in one of five ways.

Left pictures are modelled and lit like photographs of clay figures; right pictures are drawn:
flat, inked, in crayon or in pencil. A pair shares one thing only, its *kind* of likeness

    colour       a palette                     a harbour town / a bird
    shape        a profile                     a vase / a creature
    texture      a pattern                     a fish / a mitten
    pose         the angles of the limbs       a dancer / a gingerbread man
    expression   eyes, brows, mouth, tilt      a person / a cat

while everything else (subject, colours, place, size, backdrop) is drawn for each side alone.
A picture is a list of `Part`s, built in units where the frame is 2 wide and y points down.
"""

import json
import os
import shutil
import string
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

KINDS = ("colour", "shape", "texture", "pose", "expression")
WIDTH, HEIGHT = 200, 245
NUM_CANDIDATES = 20
MARKER = "sample.json"

_VERSION = 2  # goes into the marker: the same seed means the same bytes only within a version
_UNIT = WIDTH / 2  # pixels per unit
_TOP = HEIGHT / WIDTH  # y runs from −_TOP to _TOP
_INK = np.array([0.17, 0.15, 0.19], np.float32)
_WHITE = np.array([0.98, 0.97, 0.94], np.float32)
_COLOURS = (
    "f4e8d0 f0c4b0 e8755a c4593a 9c3d2a e3a93c c98a2d 8a8b4a a3b899 3f6b54 "
    "2f8583 8fc1cf 4a7fa7 2d3f5e 6b3f5c b6a0c8 dd8fa0 d9bf94 bfdcc3 55505c"
)
_SKINS = "f3cfb3 e5b08c c98b63 a86b45 7b4a30 f0bfa5"
_HAIRS = "2f2623 5a3a28 8c5a32 c98f45 b5482e 8f8a88 e0cda9"


def _rgb(names: str) -> np.ndarray:
    """RGB colours in [0, 1], shape (n, 3), of space-separated hex names."""
    return np.array([list(bytes.fromhex(name)) for name in names.split()], np.float32) / 255


class SampleError(ValueError):
    """A sample data set cannot be drawn as asked."""


# ── The data set ────────────────────────────────────────────────────────────────────────────


def draw(
    directory: str | os.PathLike,
    *,
    num_pairs: int = 200,
    num_queries: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Draws a sample data set in the course layout into `directory`.

    Writes `train.csv`, `test_candidates.csv`, `test_truth.csv`, `sample.json` and 200 × 245
    JPEGs in `train|test/left|right/`. The same arguments give the same bytes. The set is
    drawn beside its place and renamed into it, so it is there whole or not at all.

    Args:
        num_pairs: Training pairs, at least 2.
        num_queries: Test queries, at least 2. Each gets `min(20, num_queries)` candidates.
        seed: Non-negative int.

    Returns:
        The path of the data set.

    Raises:
        SampleError: If a count or the seed is too small.
        FileExistsError: If `directory` holds anything but a sample data set.
    """
    for name, value, least in (
        ("num_pairs", num_pairs, 2), ("num_queries", num_queries, 2), ("seed", seed, 0)
    ):  # fmt: skip
        if value < least:
            raise SampleError(f"{name} must be at least {least}. Received: {name}={value}")
    directory = Path(directory)
    _refuse_foreign(directory)
    was_there = directory.exists()

    rng = np.random.default_rng(seed)
    total = num_pairs + num_queries
    left, right = np.split(_draw_ids(2 * total, rng), 2)
    left = np.concatenate([np.sort(left[:num_pairs]), np.sort(left[num_pairs:])])
    pair_kinds = np.concatenate([_spread_kinds(num_pairs, rng), _spread_kinds(num_queries, rng)])
    marker = {
        "version": _VERSION,
        "seed": seed,
        "num_pairs": num_pairs,
        "num_queries": num_queries,
        "kinds": dict(zip(left.tolist(), pair_kinds.tolist(), strict=True)),
    }

    directory.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        for folder in ("train/left", "train/right", "test/left", "test/right"):
            (part / folder).mkdir(parents=True)

        def write_pair(index):
            split = "train" if index < num_pairs else "test"
            pictures = draw_pair(pair_kinds[index], seed=(seed, index))
            for side, ids, picture in zip(("left", "right"), (left, right), pictures, strict=True):
                path = part / split / side / f"{ids[index]}.jpg"
                path.write_bytes(_encode(picture))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            drawn = pool.map(write_pair, range(total))
            bar = tqdm(
                drawn, total=total, desc="Drawing sample pairs", disable=not progress or None,
                leave=False,
            )  # fmt: skip
            for _ in bar:
                pass

        pairs = pd.DataFrame({"left": left, "right": right})
        pairs[:num_pairs].to_csv(part / "train.csv", index=False)
        pairs[num_pairs:].to_csv(part / "test_truth.csv", index=False)
        candidates = _draw_candidates(left[num_pairs:], right[num_pairs:], rng)
        candidates.to_csv(part / "test_candidates.csv", index=False)
        (part / MARKER).write_text(json.dumps(marker, indent=1) + "\n")
        part.chmod(0o755)  # mkdtemp makes it private
        # Another process may have drawn the same set meanwhile; who reads it is not disturbed.
        if was_there or _read_marker(directory) != marker:
            _move_into_place(part, directory)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return directory


def ensure(directory: str | os.PathLike) -> Path:
    """Returns `directory`, drawing the default sample data set into it unless it holds one."""
    marker = _read_marker(Path(directory)) or {}
    return Path(directory) if marker.get("version") == _VERSION else draw(directory)


def kinds(directory: str | os.PathLike) -> dict[str, str]:
    """The kind of likeness of every pair and query of a sample data set, by left id."""
    return json.loads((Path(directory) / MARKER).read_text())["kinds"]


def draw_pair(kind: str, *, seed) -> tuple[np.ndarray, np.ndarray]:
    """Draws one pair of the given kind.

    Returns:
        Left and right picture, each uint8 RGB of shape (245, 200, 3).
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}. Received: kind={kind!r}")
    rng = np.random.default_rng(seed)
    palettes = _draw_palettes(kind, rng)
    left, right = _SCENES[kind](palettes, rng)
    return _photograph(left, palettes[0], rng), _sketch(right, palettes[1], rng, kind=kind)


def _draw_ids(count, rng):
    """`count` distinct ids of three letters, or of as many more as it takes."""
    length = 3
    while 26**length < 2 * count:
        length += 1
    numbers = rng.choice(26**length, size=count, replace=False)
    letters = np.array(list(string.ascii_lowercase))
    digits = numbers[:, None] // 26 ** np.arange(length)[::-1] % 26
    return np.array(["".join(row) for row in letters[digits]], dtype=object)


def _spread_kinds(count, rng):
    """`count` kinds, as equally many of each as can be, in random order."""
    return rng.permutation(np.resize(np.array(KINDS, dtype=object), count))


def _draw_candidates(left, right, rng):
    """`test_candidates.csv`: each true match among random other test rights, in random order."""
    size = min(NUM_CANDIDATES, len(left))
    rows = []
    for query in range(len(left)):
        others = rng.permutation(np.delete(np.arange(len(left)), query))[: size - 1]
        rows.append([left[query], *right[rng.permutation([query, *others])]])
    return pd.DataFrame(rows, columns=["left", *(f"c{place}" for place in range(size))])


def _encode(picture):
    done, jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert done
    return jpeg.tobytes()


def _read_marker(directory):
    try:
        return json.loads((directory / MARKER).read_text())
    except (OSError, ValueError):
        return None


def _refuse_foreign(directory):
    """Raises FileExistsError unless `directory` is free, empty, or a sample data set alone."""
    if not directory.exists():
        return
    ours = {"train", "test", "train.csv", "test_truth.csv", "test_candidates.csv", MARKER}
    found = {path.name for path in directory.iterdir()} if directory.is_dir() else {"a file"}
    marker = _read_marker(directory)
    if found and not (found <= ours and isinstance(marker, dict) and "kinds" in marker):
        foreign = sorted(found - ours) or sorted(found)
        raise FileExistsError(
            f"{directory} is not a sample data set (it holds {', '.join(foreign[:3])}); "
            "it was left as it is. Name a new or empty folder."
        )


def _move_into_place(part, directory):
    """Renames `part` to `directory`, replacing an empty folder or an older sample set."""
    try:
        os.replace(part, directory)  # works on a free name and on an empty folder
        return
    except OSError:
        _refuse_foreign(directory)
    old = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        os.replace(directory, old)
        os.replace(part, directory)
    finally:
        shutil.rmtree(old, ignore_errors=True)


# ── Parts and shapes ────────────────────────────────────────────────────────────────────────


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


def _curve(points, *, closed=True, steps=8):
    """Catmull–Rom curve through `points`, shape (n · steps, 2)."""
    points = np.asarray(points, float)
    if closed:
        before, after, beyond = (np.roll(points, shift, axis=0) for shift in (1, -1, -2))
        here = points
    else:
        padded = np.concatenate([points[:1], points, points[-1:]])
        before, here, after, beyond = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = here + t / 2 * (
        (after - before)
        + t * (2 * before - 5 * here + 4 * after - beyond)
        + t**2 * (3 * here - before - 3 * after + beyond)
    )
    curve = curve.transpose(1, 0, 2).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


def _ellipse(x, y, rx, ry, *, angle=0.0, start=0.0, end=2 * np.pi, power=1.0):
    """Points of an ellipse or an arc of it; `power` < 1 makes it boxy."""
    t = np.linspace(start, end, 48)
    shape = np.stack([np.cos(t), np.sin(t)], axis=1)
    shape = np.sign(shape) * np.abs(shape) ** power * (rx, ry)
    return _turn(shape, angle) + (x, y)


def _box(x, y, rx, ry, *, angle=0.0):
    return _turn(np.array([(-rx, -ry), (rx, -ry), (rx, ry), (-rx, ry)], float), angle) + (x, y)


def _turn(points, angle):
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def _flip(points):
    return points * (-1, 1)


def _shade(colour, amount):
    """Towards black for `amount` < 0, towards white for > 0."""
    goal = np.float32(amount > 0)
    return colour + (goal - colour) * np.float32(abs(amount))


def _move(parts, *, scale=1.0, shift=(0.0, 0.0), angle=0.0, mirror=False):
    """The parts turned, scaled, mirrored and shifted together."""
    side = -1 if mirror else 1

    def place(points):
        return None if points is None else _turn(points * (side, 1), angle) * scale + shift

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


def _fit(parts, rng, *, mirror=None, angle=0.08, cut=np.inf):
    """Centres the parts in the frame, at a random size and place that keeps them inside.

    What lies below `cut` may run out of the frame.
    """
    parts = _move(
        parts,
        angle=rng.uniform(-angle, angle),
        mirror=rng.random() < 0.5 if mirror is None else mirror,
    )
    low = np.min([part.points.min(0) - part.width / 2 for part in parts], axis=0)
    high = np.max([part.points.max(0) + part.width / 2 for part in parts], axis=0)
    high[1] = min(high[1], cut)
    scale = np.min(np.array([1.8, 1.8 * _TOP]) / (high - low)) * rng.uniform(0.76, 1.0)
    slack = np.array([1.0, _TOP]) * 0.94 - (high - low) * scale / 2
    shift = -(low + high) / 2 * scale + rng.uniform(-1, 1, 2) * slack * 0.7
    return _move(parts, scale=scale, shift=shift)


# ── Colours ─────────────────────────────────────────────────────────────────────────────────


def _draw_palette(rng):
    """Ground, main, second and accent colour, RGB (4, 3): distinct, main far from ground."""
    colours = _rgb(_COLOURS)
    light = colours @ np.float32([0.3, 0.59, 0.11])
    while True:
        palette = rng.choice(len(colours), 4, replace=False)
        ground, main, second, accent = light[palette]
        if abs(ground - main) > 0.22 and abs(second - main) > 0.12 and abs(accent - ground) > 0.1:
            return np.clip(colours[palette] + rng.normal(0, 0.02, (4, 3)), 0, 1).astype(np.float32)


def _draw_palettes(kind, rng):
    """Left and right palette: the same for `colour`, now and then partly so for the others."""
    left, right = _draw_palette(rng), _draw_palette(rng)
    if kind == "colour":
        right = left.copy()
    elif rng.random() < 0.15:
        right[:2] = left[:2]
    return left, np.clip(right + rng.normal(0, 0.015, (4, 3)), 0, 1).astype(np.float32)


# ── Expression: faces ───────────────────────────────────────────────────────────────────────


class Expression(NamedTuple):
    smile: float  # −1 sad … 1 happy
    gape: float  # 0 closed … 1 wide open
    brow: float  # −1 worried … 1 cross
    lift: float  # 0 … 1, height of the brows
    lids: float  # 0.1 sleepy … 1 wide awake
    gaze: tuple[float, float]  # each −1 … 1
    spread: float  # width of the mouth, 0.6 … 1.3
    wink: bool
    tilt: float  # of the head, radians


def _draw_expression(rng):
    return Expression(
        smile=rng.choice([-1, 1]) * rng.uniform(0.25, 1),
        gape=max(0.0, rng.uniform(-0.8, 1)),
        brow=rng.uniform(-1, 1),
        lift=rng.uniform(0, 1),
        lids=rng.uniform(0.2, 1),
        gaze=tuple(rng.uniform(-1, 1, 2)),
        spread=rng.uniform(0.6, 1.3),
        wink=bool(rng.random() < 0.15),
        tilt=rng.uniform(-0.35, 0.35),
    )


def _features(face, brow_colour, iris, *, eye=0.19, apart=0.3):
    """Eyes, brows and mouth, around a head of radius about 0.75."""
    parts = []
    for side in (-1, 1):
        x, y = side * apart, -0.12
        height = eye * face.lids
        if face.wink and side == 1:
            wink = _ellipse(x, y + 0.05, eye, 0.08, start=np.pi, end=2 * np.pi)
            parts.append(Part(wink, _INK, width=0.05, relief=0))
        else:
            white = _ellipse(x, y, eye, height)
            gaze = np.array(face.gaze) * (0.07, 0.05)
            look = (x + gaze[0], y + gaze[1])
            parts += [
                Part(white, _WHITE, relief=0.3),
                Part(_ellipse(*look, 0.12, 0.12), iris, relief=0, clip=white),
                Part(_ellipse(*look, 0.065, 0.065), _INK, relief=0, clip=white),
                Part(_ellipse(look[0] + 0.04, look[1] - 0.05, 0.03, 0.03), _WHITE, relief=0,
                     clip=white),
                Part(white[24:], _INK, width=0.035, relief=0),
            ]  # fmt: skip
        inner, outer = x - side * 0.17, x + side * 0.19
        base = y - 0.25 - 0.14 * face.lift
        bend = 0.1 * face.brow
        brow = _curve(
            [(inner, base + bend), (x, base - 0.04), (outer, base + 0.03 - bend)], closed=False
        )
        parts.append(Part(brow, brow_colour, width=0.075, relief=0.4))
    return parts + _mouth(face)


def _mouth(face):
    half, y = 0.27 * face.spread, 0.4
    lift = 0.16 * face.smile
    upper = np.array([(-half, y - lift), (-half / 2, y + lift * 0.3), (0, y + lift * 0.6),
                      (half / 2, y + lift * 0.3), (half, y - lift)])  # fmt: skip
    if face.gape < 0.12:
        return [Part(_curve(upper, closed=False), _INK, width=0.055, relief=0)]
    drop = np.array([0, 0.75, 1, 0.75, 0])[:, None] * (0, 0.08 + 0.26 * face.gape)
    outline = np.concatenate(
        [_curve(upper, closed=False), _curve((upper + drop)[::-1], closed=False)]
    )
    bottom = y + lift * 0.6 + drop[2, 1]
    return [
        Part(outline, np.float32([0.36, 0.12, 0.14]), relief=0),
        Part(_ellipse(0, bottom + 0.02, half * 0.6, 0.13), np.float32([0.85, 0.42, 0.4]),
             relief=0, clip=outline),
        Part(_box(0, y + lift * 0.5 - 0.02, half * 0.7, 0.055), _WHITE, relief=0, clip=outline),
        Part(np.concatenate([outline, outline[:1]]), _INK, width=0.03, relief=0),
    ]  # fmt: skip


def _person(face, palette, rng):
    """Head and shoulders."""
    skin, hair = rng.choice(_rgb(_SKINS)), rng.choice(_rgb(_HAIRS))
    style = rng.choice(["bob", "bun", "short", "curls", "cap", "long"])
    wide = rng.uniform(0.62, 0.72)
    head = _curve([(0, -0.82), (wide * 0.8, -0.55), (wide, 0), (wide * 0.78, 0.52), (0, 0.84),
                   (-wide * 0.78, 0.52), (-wide, 0), (-wide * 0.8, -0.55)])  # fmt: skip
    body = _curve([(-1.1, 1.7), (-0.9, 1.2), (-0.3, 1.0), (0.3, 1.0), (0.9, 1.2), (1.1, 1.7),
                   (1.2, 4.0), (-1.2, 4.0)])  # fmt: skip
    back, front = [], []
    fringe = rng.uniform(-0.6, 0.6)
    crown = _curve([(-wide - 0.08, -0.08), (-wide - 0.02, -0.6), (0, -0.98), (wide + 0.02, -0.6),
                    (wide + 0.08, -0.08), (wide - 0.08, -0.38), (fringe * 0.5, -0.5),
                    (-wide + 0.08, -0.38)])  # fmt: skip
    if style in ("bob", "long"):
        low = 0.65 if style == "bob" else 1.25
        back.append(Part(_curve([(0, -1.0), (wide + 0.2, -0.6), (wide + 0.25, low * 0.5),
                                 (wide + 0.1, low), (-wide - 0.1, low),
                                 (-wide - 0.25, low * 0.5), (-wide - 0.2, -0.6)]), hair))  # fmt: skip
    if style == "bun":
        back.append(Part(_ellipse(0, -1.05, 0.3, 0.27), hair))
    if style == "curls":
        around = np.linspace(np.pi * 0.95, np.pi * 2.05, 11)
        front = [Part(_ellipse(np.cos(t) * (wide + 0.04), np.sin(t) * 0.75 - 0.08, 0.21, 0.2), hair)
                 for t in around]  # fmt: skip
    elif style == "cap":
        front = [
            Part(_ellipse(0, -0.42, wide + 0.1, 0.58, start=np.pi, end=2 * np.pi), palette[2]),
            Part(_ellipse(0, -0.43, wide + 0.13, 0.1, power=0.7), _shade(palette[2], -0.2)),
            Part(_ellipse(0, -1.02, 0.13, 0.13), palette[3]),
        ]
    else:
        front = [Part(crown, hair)]
    ears = [Part(_ellipse(side * wide, 0.02, 0.12, 0.17), skin) for side in (-1, 1)]
    rosy = _shade(skin, -0.1) * np.float32([1.1, 0.75, 0.75])
    cheeks = [Part(_ellipse(s * 0.42, 0.2, 0.14, 0.1), rosy, relief=0, alpha=0.45)
              for s in (-1, 1)]  # fmt: skip
    nose = [Part(_ellipse(0, 0.12, 0.085, 0.11), _shade(skin, -0.06))]
    iris = rng.choice(_rgb("5b7f95 6b4a2f 4d6b4a 3b2f2f"))
    head_parts = [*back, *ears, Part(head, skin), *cheeks, *nose,
                  *_features(face, _shade(hair, -0.15), iris), *front]  # fmt: skip
    neck = Part(np.array([(0, 0.5), (0, 1.12)]), _shade(skin, -0.12), width=0.5)
    collar = Part(_ellipse(0, 1.08, 0.36, 0.16), palette[3], relief=0.6)
    turned = _move(head_parts, angle=face.tilt)
    long_hair = turned[: len(back)]
    return [*long_hair, Part(body, palette[1]), collar, neck, *turned[len(back) :]]


def _animal(face, palette, rng):
    """A head with ears: cat, bear, rabbit, owl, monster or the moon."""
    main, second, accent = palette[1:]
    look = rng.choice(["cat", "bear", "rabbit", "monster", "moon", "dog"])
    parts = []
    for side in (-1, 1):
        inside = _shade(second, 0.25)
        if look == "cat":
            ear = np.array([(0.22, -0.62), (0.68, -1.15), (0.8, -0.3)]) * (side, 1)
            parts += [Part(ear, main), Part(ear * 0.8 + (side * 0.1, -0.1), inside, relief=0.3)]
        elif look == "bear":
            parts += [Part(_ellipse(side * 0.58, -0.66, 0.27, 0.27), main),
                      Part(_ellipse(side * 0.58, -0.66, 0.15, 0.15), inside, relief=0.3)]  # fmt: skip
        elif look == "rabbit":
            ear = _ellipse(side * 0.3, -1.05, 0.2, 0.56, angle=side * 0.2)
            parts += [Part(ear, main), Part(_ellipse(side * 0.3, -1.05, 0.1, 0.4,
                                                     angle=side * 0.2), inside, relief=0.3)]  # fmt: skip
        elif look == "dog":
            parts.append(Part(_ellipse(side * 0.78, 0.0, 0.22, 0.55, angle=-side * 0.3), second))
        elif look == "monster":
            horn = np.array([(0.25, -0.7), (0.62, -1.2), (0.6, -0.5)]) * (side, 1)
            parts.append(Part(horn, accent))
    rx, ry = rng.uniform(0.74, 0.84), rng.uniform(0.72, 0.8)
    boxy = {"monster": 0.65, "moon": 1.0}.get(look, 0.9)
    parts.append(Part(_ellipse(0, 0.05, rx, ry, power=boxy), main))
    if look == "moon":
        parts += [Part(_ellipse(x, y, r, r), _shade(main, -0.12), relief=0.4)
                  for x, y, r in ((0.5, -0.45, 0.1), (-0.6, 0.25, 0.08), (0.1, -0.6, 0.06))]  # fmt: skip
    elif look in ("cat", "bear", "rabbit", "dog"):
        parts.append(Part(_ellipse(0, 0.38, 0.46, 0.34), _shade(main, 0.45), relief=0.6))
        parts.append(Part(_curve([(-0.11, 0.1), (0.11, 0.1), (0, 0.22)]), _shade(_INK, 0.15)))
    if look == "cat":
        parts += [Part(np.array([(s * 0.4, y), (s * 0.88, y + d)]), _INK, width=0.022, relief=0)
                  for s in (-1, 1) for y, d in ((0.3, -0.04), (0.4, 0.06))]  # fmt: skip
    cheeks = [Part(_ellipse(s * 0.52, 0.22, 0.13, 0.09), np.float32([0.9, 0.5, 0.48]), relief=0,
                   alpha=0.5) for s in (-1, 1)]  # fmt: skip
    brows = _shade(second, -0.35) if rng.random() < 0.5 else _INK
    return _move(parts + cheeks + _features(face, brows, _shade(accent, -0.15)), angle=face.tilt)


def _expression_scene(palettes, rng):
    face = _draw_expression(rng)
    left, right = _person(face, palettes[0], rng), _animal(face, palettes[1], rng)
    # A tilted head is part of the expression, so it is mirrored on neither side.
    return (
        _fit(left, rng, mirror=False, angle=0.03, cut=1.35),
        _fit(right, rng, mirror=False, angle=0.03),
    )


# ── Pose: figures ───────────────────────────────────────────────────────────────────────────


def _draw_joints(rng):
    """A random pose as named points; the pelvis is the origin."""

    def limb(start, angles, lengths):
        points = [np.asarray(start, float)]
        for angle, length in zip(np.cumsum(angles), lengths, strict=True):
            points.append(points[-1] + length * np.array([np.sin(angle), np.cos(angle)]))
        return np.array(points)

    lean = rng.uniform(-0.4, 0.4)
    up = np.array([np.sin(lean), -np.cos(lean)])
    neck = 0.62 * up
    across = np.array([np.cos(lean), np.sin(lean)])
    nod = lean + rng.uniform(-0.35, 0.35)
    joints = {"neck": neck, "head": neck + 0.27 * np.array([np.sin(nod), -np.cos(nod)])}
    for name, side in (("a", -1), ("b", 1)):
        raise_arm = side * rng.uniform(0.25, 2.9)
        bend_arm = side * rng.uniform(-0.3, 1.6)
        joints[f"arm_{name}"] = limb(
            neck + side * 0.2 * across + 0.06 * -up, (raise_arm, bend_arm), (0.38, 0.36)
        )
        raise_leg = side * rng.uniform(-0.05, 1.1)
        bend_leg = -side * rng.uniform(0, 1.3)
        joints[f"leg_{name}"] = limb(side * 0.11 * across, (raise_leg, bend_leg), (0.46, 0.44))
    return joints


def _limbs(joints, name):
    return [joints[f"{name}_a"], joints[f"{name}_b"]]


def _dancer(joints, palette, rng):
    """A dressed figure."""
    skin, hair = rng.choice(_rgb(_SKINS)), rng.choice(_rgb(_HAIRS))
    top, trousers, shoes = palette[1], palette[2], _shade(palette[3], -0.1)
    parts = []
    for leg in _limbs(joints, "leg"):
        parts.append(Part(_curve(leg, closed=False), trousers, width=0.2))
        toe = leg[2] + (0.09 * np.sign(leg[2, 0] - 0.01), 0.02)
        parts.append(Part(np.array([leg[2], toe]), shoes, width=0.16))
    far, near = _limbs(joints, "arm")
    neck = joints["neck"]
    arms = [[Part(_curve(arm, closed=False), _shade(top, 0.08), width=0.15),
             Part(_ellipse(*arm[2], 0.085, 0.085), skin)] for arm in (far, near)]  # fmt: skip
    axis = neck / np.linalg.norm(neck)
    side = np.array([-axis[1], axis[0]])
    torso = _curve([neck - 0.2 * side, neck + 0.1 * axis, neck + 0.2 * side, 0.15 * side,
                    -0.08 * axis + 0.19 * side, -0.08 * axis - 0.19 * side, -0.15 * side])  # fmt: skip
    head = joints["head"]
    up = head - neck
    angle = np.arctan2(up[0], -up[1])
    crown = _ellipse(*head, 0.2, 0.21, angle=angle, start=np.pi * 1.05, end=np.pi * 1.95)
    eyes = [_turn(np.array([s * 0.07, 0.02]), angle) + head for s in (-1, 1)]
    parts += arms[0]
    if rng.random() < 0.4:  # a skirt over the legs
        hem = 0.42 * (joints["leg_a"][1] + joints["leg_b"][1])
        flare = np.array([0.34, 0])
        parts.append(Part(_curve([-0.16 * side, 0.16 * side, hem + flare, hem - flare]), top))
    parts += [
        Part(torso, top),
        Part(np.array([neck, (neck + head) / 2]), _shade(skin, -0.1), width=0.12),
        *arms[1],
        Part(_ellipse(*head, 0.18, 0.2, angle=angle), skin),
        *[Part(_ellipse(*eye, 0.026, 0.03), _INK, relief=0) for eye in eyes],
        Part(crown, hair),
    ]
    if rng.random() < 0.5:
        parts.append(Part(_ellipse(*(head + up / 0.27 * 0.24), 0.09, 0.09), hair))
    return parts


def _doll(joints, palette, rng):
    """The same joints as a stick man, a gingerbread man, a robot or a tree."""
    main, second, accent = palette[1:]
    look = rng.choice(["stick", "gingerbread", "robot", "tree"])
    neck, head = joints["neck"], joints["head"]
    up = head - neck
    angle = np.arctan2(up[0], -up[1])
    spine = np.array([(0, 0), neck])
    limbs = _limbs(joints, "arm") + _limbs(joints, "leg")

    def eyes(size, colour):
        return [Part(_ellipse(*(head + _turn(np.array([s * 0.075, -0.01]), angle)), size, size),
                     colour, relief=0) for s in (-1, 1)]  # fmt: skip

    if look == "stick":
        width = 0.07
        shoulders = np.array([joints["arm_a"][0], joints["arm_b"][0]])
        lines = [*limbs, spine, shoulders]
        parts = [Part(line, main, width=width) for line in lines]
        return [*parts, Part(_ellipse(*head, 0.19, 0.19), main), *eyes(0.03, second)]
    if look == "gingerbread":
        dough = [Part(_curve(limb, closed=False), main, width=0.2) for limb in limbs]
        icing = [Part(_ellipse(*(neck * t), 0.05, 0.05), accent, relief=0.5)
                 for t in (0.25, 0.55, 0.85)]  # fmt: skip
        cuffs = [Part(_ellipse(*limb[2], 0.06, 0.06), second, relief=0.3) for limb in limbs]
        return [*dough, Part(spine, main, width=0.38), *cuffs,
                Part(_ellipse(*head, 0.24, 0.24), main), *icing, *eyes(0.035, _INK)]  # fmt: skip
    if look == "robot":
        bones = [Part(limb, second, width=0.1) for limb in limbs]
        knobs = [Part(_ellipse(*point, 0.085, 0.085), accent) for limb in limbs
                 for point in limb[1:]]  # fmt: skip
        lean = np.arctan2(neck[0], -neck[1])
        return [*bones, *knobs,
                Part(_box(*(neck / 2), 0.26, 0.36, angle=lean), main),
                Part(_box(*(neck * 0.6), 0.14, 0.1, angle=lean), accent, relief=0.3),
                Part(_box(*head, 0.2, 0.17, angle=angle), main),
                Part(np.array([head, head + up * 1.1]), second, width=0.04),
                Part(_ellipse(*(head + up * 1.15), 0.05, 0.05), accent),
                *eyes(0.05, _WHITE)]  # fmt: skip
    bark = [Part(_curve(limb, closed=False), main, width=0.13) for limb in limbs]
    tips = [limb[2] for limb in limbs[:2]] + [limb[1] for limb in limbs[:2]]
    leaves = [Part(_ellipse(*(tip + rng.normal(0, 0.07, 2)), 0.13, 0.1, angle=rng.uniform(0, 3)),
                   second if rng.random() < 0.7 else accent)
              for tip in tips for _ in range(3)]  # fmt: skip
    return [*bark, Part(spine, main, width=0.3), *leaves,
            Part(_ellipse(*head, 0.26, 0.24), second), *eyes(0.035, _INK)]  # fmt: skip


def _pose_scene(palettes, rng):
    joints = _draw_joints(rng)
    mirror = rng.random() < 0.5  # the pose is mirrored with its pair, and against it now and then
    left, right = _dancer(joints, palettes[0], rng), _doll(joints, palettes[1], rng)
    return (
        _fit(left, rng, mirror=mirror),
        _fit(right, rng, mirror=mirror ^ (rng.random() < 0.15)),
    )


# ── Shape: vessels and what they look like ──────────────────────────────────────────────────


def _draw_profile(rng):
    """Outline of a turned shape, (n, 2), 1.8 high, with necks and bellies."""
    height = np.linspace(-0.9, 0.9, 6)
    while True:
        radius = rng.uniform(0.13, 0.68, 6)
        if np.abs(np.diff(radius)).sum() > 0.7:
            break
    half = _curve(np.stack([radius, height], axis=1), closed=False)
    half[:, 0] = np.maximum(half[:, 0], 0.1)
    return half


def _close(half):
    return np.concatenate([half, _flip(half[::-1])])


def _radius(half, y):
    return np.interp(y, half[:, 1], half[:, 0])


def _vase(half, palette, rng):
    main, second, accent = palette[1:]
    parts = []
    if rng.random() < 0.5:  # flowers
        top = _radius(half, -0.9)
        for _ in range(rng.integers(2, 5)):
            end = np.array([rng.uniform(-0.5, 0.5), rng.uniform(-1.5, -1.15)])
            stem = _curve([(end[0] * top, -0.85), (end[0] * 0.6, -1.1), end], closed=False)
            parts.append(Part(stem, np.float32([0.36, 0.47, 0.3]), width=0.04))
            parts += _blossom(end, 0.17, accent, second, rng)
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
        Part(_ellipse(0, rim[1], rim[0], 0.07), _shade(main, -0.35), relief=0.2),
        Part(np.array([(-foot[0], 0.92), (foot[0], 0.92)]), _shade(main, -0.2), width=0.07),
    ]


def _band(half, y, thickness):
    """The strip of a turned shape around height y, sagging as it would seen from above."""
    heights = np.linspace(y - thickness, y + thickness, 12)
    side = np.stack([_radius(half, heights), heights], axis=1)
    across = np.linspace(1, -1, 24)[:, None]
    sag = 0.12 * np.sqrt(1 - across**2) * _radius(half, y)
    low = np.concatenate([across * side[-1, 0], side[-1, 1] + sag], axis=1)
    top = np.concatenate([-across * side[0, 0], side[0, 1] + sag], axis=1)
    return np.concatenate([side, low, _flip(side[::-1]), top])


def _blossom(centre, radius, petal, heart, rng):
    count, turn = rng.integers(5, 8), rng.uniform(0, 2)
    spots = [centre + radius * 0.62 * np.array([np.cos(t), np.sin(t)])
             for t in turn + np.arange(count) / count * 2 * np.pi]  # fmt: skip
    petals = [Part(_ellipse(*spot, radius * 0.45, radius * 0.45), petal, relief=0.7)
              for spot in spots]  # fmt: skip
    return [*petals, Part(_ellipse(*centre, radius * 0.38, radius * 0.38), heart)]


def _turned_thing(half, palette, rng):
    """The same profile as a creature, a tower, a lamp or a perfume bottle."""
    main, second, accent = palette[1:]
    look = rng.choice(["creature", "tower", "bottle", "jar"])
    outline = Part(_close(half), main, relief=1.2)
    if look == "creature":
        top = -0.55
        spread = max(0.5 * _radius(half, top), 0.11)
        eyes = [part for s in (-1, 1) for part in (
            Part(_ellipse(s * spread, top, 0.13, 0.15), _WHITE, relief=0.3),
            Part(_ellipse(s * spread + 0.03, top + 0.03, 0.06, 0.07), _INK, relief=0),
        )]  # fmt: skip
        belly = _band(half, 0.3, 0.4) * (0.6, 1)
        smile = _ellipse(0, top + 0.24, 0.12, 0.07, start=0.1, end=np.pi - 0.1)
        feet = [Part(_ellipse(s * max(_radius(half, 0.85) * 0.6, 0.14), 0.93, 0.16, 0.08), accent)
                for s in (-1, 1)]  # fmt: skip
        return [*feet, outline, Part(belly, _shade(second, 0.2), relief=0.3), *eyes,
                Part(smile, _INK, width=0.04, relief=0)]  # fmt: skip
    if look == "tower":
        roof = np.array([(-half[0, 0] - 0.12, -0.88), (0, -1.4), (half[0, 0] + 0.12, -0.88)])
        windows = []
        for y in (-0.6, -0.2, 0.2):
            count = 1 if _radius(half, y) < 0.36 else 2
            for x in np.linspace(-1, 1, count) * (0.18 if count > 1 else 0):
                arch = _ellipse(x, y, 0.07, 0.12, power=0.75)
                windows.append(Part(arch, _shade(second, -0.1), relief=0))
        door = _ellipse(0, 0.86, 0.12, 0.3, start=np.pi, end=2 * np.pi)
        return [outline, Part(roof, accent), *windows, Part(door, _shade(second, -0.3), relief=0)]
    if look == "bottle":
        cork = Part(_box(0, -1.0, half[0, 0] * 0.6, 0.12), _shade(accent, -0.1))
        label = Part(_band(half, 0.25, 0.28) * (0.8, 1), _WHITE, relief=0)
        mark = Part(_ellipse(0, 0.3, 0.13, 0.13), second, relief=0)
        return [cork, outline, label, mark]
    stripes = [Part(_band(half, y, 0.05), second if i % 2 else accent, relief=0)
               for i, y in enumerate(np.linspace(-0.6, 0.6, 5))]  # fmt: skip
    handles = [Part(_ellipse(s * (_radius(half, -0.35) + 0.08), -0.4, 0.2, 0.26), main, width=0.08)
               for s in (-1, 1)]  # fmt: skip
    return [*handles, outline, *stripes]


def _shape_scene(palettes, rng):
    half = _draw_profile(rng)
    left, right = _vase(half, palettes[0], rng), _turned_thing(half, palettes[1], rng)
    return _fit(left, rng), _fit(right, rng)


# ── Texture: patterned things ───────────────────────────────────────────────────────────────

_MOTIFS = {
    "stripes": lambda u, v: np.sin(u),
    "waves": lambda u, v: np.sin(u + 1.6 * np.sin(v * 0.7)),
    "zigzag": lambda u, v: np.sin(u + 2 * np.arcsin(np.sin(v * 0.9))),
    "dots": lambda u, v: np.cos(u) + np.cos(v) - 0.9,
    "checks": lambda u, v: 1.5 * np.sin(u) * np.sin(v),
    "diamonds": lambda u, v: np.abs(np.arcsin(np.sin(u))) + np.abs(np.arcsin(np.sin(v))) - 1.5,
    "rings": lambda u, v: np.sin(np.hypot(u, v)),
    "grid": lambda u, v: np.maximum(np.cos(u), np.cos(v)) - 0.75,
    "bricks": lambda u, v: np.maximum(
        np.cos(u), np.cos(v / 2 + np.pi / 2 * np.sign(np.sin(u / 2)))
    ) - 0.85,
    "scales": lambda u, v: 1.2 * np.sin(
        1.3 * np.hypot((v + np.pi * (np.floor(u / np.pi) % 2)) % (2 * np.pi) - np.pi,
                       u % np.pi)),
}  # fmt: skip


def _draw_pattern(rng):
    return Pattern(
        motif=rng.choice(list(_MOTIFS)),
        angle=rng.uniform(0, np.pi),
        period=rng.uniform(0.13, 0.32),
        duty=rng.uniform(-0.3, 0.35),
        colour=_WHITE,
    )


def _knitted(pattern, palette, rng):
    """Left things that show a pattern: fish, cushion, egg, jumper, snail."""
    main, second, accent = palette[1:]
    pattern = pattern._replace(colour=second, angle=pattern.angle + rng.normal(0, 0.08))
    look = rng.choice(["fish", "cushion", "egg", "jumper", "snail"])
    if look == "fish":
        body = _curve([(-0.85, 0), (-0.4, -0.55), (0.25, -0.5), (0.7, 0), (0.25, 0.5),
                       (-0.4, 0.55)])  # fmt: skip
        tail = _curve([(0.55, 0), (1.05, -0.5), (0.92, 0), (1.05, 0.5)])
        fin = _curve([(-0.3, -0.4), (0.1, -0.85), (0.45, -0.35)])
        return [Part(tail, accent), Part(fin, accent),
                Part(body, main, relief=1.5, pattern=pattern),
                Part(_ellipse(-0.52, -0.1, 0.13, 0.13), _WHITE),
                Part(_ellipse(-0.54, -0.1, 0.065, 0.065), _INK, relief=0)]  # fmt: skip
    if look == "cushion":
        square = _curve([(-0.8, -0.8), (0, -0.68), (0.8, -0.8), (0.68, 0), (0.8, 0.8), (0, 0.68),
                         (-0.8, 0.8), (-0.68, 0)])  # fmt: skip
        tassels = [Part(_ellipse(x, y, 0.11, 0.11), accent) for x in (-0.82, 0.82)
                   for y in (-0.82, 0.82)]  # fmt: skip
        return [*tassels, Part(square, main, relief=1.8, pattern=pattern)]
    if look == "egg":
        egg = _curve([(0, -0.95), (0.52, -0.4), (0.66, 0.3), (0, 0.85), (-0.66, 0.3),
                      (-0.52, -0.4)])  # fmt: skip
        cup = _curve([(-0.5, 0.55), (0.5, 0.55), (0.3, 1.0), (0.42, 1.25), (-0.42, 1.25),
                      (-0.3, 1.0)])  # fmt: skip
        return [Part(egg, main, relief=1.8, pattern=pattern), Part(cup, accent)]
    if look == "jumper":
        body = _curve([(-0.45, -0.7), (0.45, -0.7), (0.5, 0), (0.5, 0.75), (-0.5, 0.75),
                       (-0.5, 0)])  # fmt: skip
        sleeves = [Part(_curve([(s * 0.42, -0.52), (s * 0.72, -0.05), (s * 0.8, 0.5)],
                               closed=False), main, width=0.3, pattern=pattern)
                   for s in (-1, 1)]  # fmt: skip
        cuffs = [Part(np.array([(s * 0.79, 0.47), (s * 0.8, 0.58)]), accent, width=0.27)
                 for s in (-1, 1)]  # fmt: skip
        return [*sleeves, *cuffs, Part(body, main, relief=1.3, pattern=pattern),
                Part(np.array([(-0.47, 0.76), (0.47, 0.76)]), accent, width=0.14),
                Part(_ellipse(0, -0.72, 0.26, 0.11), accent)]  # fmt: skip
    body = _curve([(-1.05, 0.75), (-0.95, 0.25), (-0.72, 0.3), (-0.6, 0.55), (0.9, 0.6),
                   (1.1, 0.8)])  # fmt: skip
    horns = [Part(np.array([(-0.9, 0.35), (x, -0.12)]), accent, width=0.05) for x in (-1.02, -0.8)]
    knobs = [Part(_ellipse(x, -0.14, 0.06, 0.06), accent) for x in (-1.02, -0.8)]
    return [*horns, *knobs, Part(body, accent),
            Part(_ellipse(0.15, 0.02, 0.68, 0.68), main, relief=1.8, pattern=pattern),
            Part(_ellipse(-0.92, 0.42, 0.04, 0.04), _INK, relief=0)]  # fmt: skip


def _printed(pattern, palette, rng):
    """Right things that show a pattern: mitten, cat, umbrella, butterfly, balloon."""
    main, second, accent = palette[1:]
    pattern = pattern._replace(colour=second, angle=pattern.angle + rng.normal(0, 0.08))
    look = rng.choice(["mitten", "cat", "umbrella", "butterfly", "balloon"])
    if look == "mitten":
        hand = _curve([(-0.5, 0.6), (-0.55, -0.3), (-0.1, -0.95), (0.4, -0.4), (0.42, 0.6)])
        thumb = _curve([(0.3, 0.45), (0.72, -0.2), (0.9, 0.05), (0.5, 0.6)])
        return [Part(thumb, main, pattern=pattern), Part(hand, main, pattern=pattern),
                Part(_box(-0.04, 0.75, 0.56, 0.17), accent)]  # fmt: skip
    if look == "cat":
        body = _curve([(-0.5, 0.95), (-0.62, 0.3), (-0.3, -0.2), (0.3, -0.2), (0.62, 0.3),
                       (0.5, 0.95)])  # fmt: skip
        tail = _curve([(0.45, 0.8), (0.95, 0.7), (0.9, 0.2), (1.05, -0.05)], closed=False)
        head = np.concatenate([_ellipse(0, -0.45, 0.48, 0.4, start=-0.5, end=np.pi + 0.5),
                               [(-0.42, -1.05), (-0.15, -0.82), (0.15, -0.82), (0.42, -1.05)]])  # fmt: skip
        eyes = [Part(_ellipse(s * 0.19, -0.5, 0.06, 0.09), accent, relief=0) for s in (-1, 1)]
        nose = Part(_ellipse(0, -0.33, 0.05, 0.035), _INK, relief=0)
        return [Part(tail, main, width=0.17, pattern=pattern), Part(body, main, pattern=pattern),
                Part(head, main, pattern=pattern), *eyes, nose]  # fmt: skip
    if look == "umbrella":
        scallops = [_ellipse(x, 0.05, 0.225, 0.1, start=0, end=-np.pi)
                    for x in (0.675, 0.225, -0.225, -0.675)]  # fmt: skip
        dome = np.concatenate([_ellipse(0, 0.05, 0.9, 0.85, start=np.pi, end=2 * np.pi),
                               *scallops])  # fmt: skip
        handle = _curve([(0, 0), (0, 0.9), (0.12, 1.05), (0.26, 0.92)], closed=False)
        return [Part(handle, accent, width=0.07), Part(np.array([(0, -0.92), (0, -0.8)]), accent,
                width=0.06), Part(dome, main, pattern=pattern)]  # fmt: skip
    if look == "butterfly":
        upper = _curve([(0.06, -0.05), (0.45, -0.75), (0.98, -0.72), (0.85, -0.12), (0.3, 0.12)])
        lower = _curve([(0.06, 0.05), (0.55, 0.1), (0.75, 0.55), (0.4, 0.85), (0.1, 0.4)])
        wings = [Part(side(wing), main, pattern=pattern) for wing in (lower, upper)
                 for side in (np.asarray, _flip)]  # fmt: skip
        feelers = [Part(_curve([(0, -0.4), (s * 0.1, -0.65), (s * 0.25, -0.8)], closed=False),
                        accent, width=0.035) for s in (-1, 1)]  # fmt: skip
        return [*wings, *feelers, Part(_ellipse(0, 0.05, 0.09, 0.5), accent)]
    envelope = _curve([(0, -1.0), (0.6, -0.7), (0.68, -0.2), (0.2, 0.5), (-0.2, 0.5),
                       (-0.68, -0.2), (-0.6, -0.7)])  # fmt: skip
    ropes = [Part(np.array([(s * 0.18, 0.45), (s * 0.14, 0.85)]), _INK, width=0.025, relief=0)
             for s in (-1, 1)]  # fmt: skip
    return [*ropes, Part(_box(0, 0.92, 0.19, 0.14), accent), Part(envelope, main, pattern=pattern)]


def _texture_scene(palettes, rng):
    pattern = _draw_pattern(rng)
    left, right = _knitted(pattern, palettes[0], rng), _printed(pattern, palettes[1], rng)
    return _fit(left, rng, mirror=False), _fit(right, rng, mirror=False)


# ── Colour: scenes of one palette ───────────────────────────────────────────────────────────


def _hills(palette, rng):
    parts = [Part(_ellipse(rng.uniform(-0.6, 0.6), rng.uniform(-0.85, -0.4), 0.27, 0.27),
                  palette[3])]  # fmt: skip
    colours = (palette[2], palette[1], _shade(palette[1], -0.25))
    for base, colour in zip((0.0, 0.4, 0.85), colours, strict=True):
        x = np.linspace(-1.3, 1.3, 8)
        ridge = np.stack([x, base + rng.uniform(-0.28, 0.18, 8)], axis=1)
        parts.append(Part(np.concatenate([_curve(ridge, closed=False), [(1.3, 1.6), (-1.3, 1.6)]]),
                          colour, relief=0.7))  # fmt: skip
    for _ in range(rng.integers(1, 5)):
        x, y, size = rng.uniform(-0.8, 0.8), rng.uniform(0.55, 1.0), rng.uniform(0.16, 0.3)
        parts.append(Part(np.array([(x, y), (x, y - size * 1.5)]), _shade(palette[2], -0.4),
                          width=0.05))  # fmt: skip
        parts.append(Part(_ellipse(x, y - size * 1.9, size * 0.65, size), palette[2]))
    return parts


def _town(palette, rng):
    parts, x, colours = [], -1.05, [palette[1], palette[2], palette[3], palette[1]]
    while x < 1.0:
        wide, top = rng.uniform(0.34, 0.5), rng.uniform(-0.5, 0.25)
        colour = colours[rng.integers(4)]
        roof = np.array([(x - 0.03, top), (x + wide / 2, top - rng.uniform(0.2, 0.45)),
                         (x + wide + 0.03, top)])  # fmt: skip
        parts.append(Part(_box(x + wide / 2, (top + 0.85) / 2, wide / 2, (0.85 - top) / 2), colour))
        parts.append(Part(roof, palette[1] if colour is not palette[1] else palette[2]))
        for y in np.arange(top + 0.2, 0.7, 0.27):
            parts += [Part(_box(x + wide * t, y, 0.05, 0.075), _shade(palette[0], 0.3), relief=0)
                      for t in (0.3, 0.7)]  # fmt: skip
        x += wide + 0.01
    street = _box(0, 1.1, 1.3, 0.28)
    return [*parts, Part(street, _shade(palette[2], -0.15), relief=0.4)]


def _boat(palette, rng):
    lean = rng.uniform(-0.08, 0.08)
    hull = _curve([(-0.75, 0.35), (0.78, 0.3), (0.5, 0.68), (-0.5, 0.7)])
    boat = [
        Part(np.array([(0, 0.4), (0, -0.95)]), _shade(palette[3], -0.3), width=0.05),
        Part(_curve([(0.06, -0.85), (0.5, -0.2), (0.66, 0.2), (0.06, 0.22)]), palette[1]),
        Part(_curve([(-0.05, -0.65), (-0.3, -0.2), (-0.55, 0.2), (-0.05, 0.2)]), palette[3]),
        Part(hull, palette[1]),
    ]
    x = np.linspace(-1.3, 1.3, 14)
    waves = []
    for i, base in enumerate((0.55, 0.8, 1.02)):
        crest = np.stack([x, base + 0.06 * np.sin(x * 7 + i * 2)], axis=1)
        shape = np.concatenate([_curve(crest, closed=False), [(1.3, 1.6), (-1.3, 1.6)]])
        waves.append(Part(shape, _shade(palette[2], -0.14 * i), relief=0.6))
    sun = Part(_ellipse(rng.uniform(-0.7, 0.7), -0.85, 0.2, 0.2), palette[3])
    return [sun, *_move(boat, angle=lean, mirror=rng.random() < 0.5), *waves]


def _bird(palette, rng):
    main, second, accent = palette[1:]
    body = _curve([(-0.62, -0.2), (-0.35, -0.55), (0.05, -0.3), (0.45, 0.1), (0.85, 0.2),
                   (0.4, 0.5), (-0.25, 0.5), (-0.6, 0.15)])  # fmt: skip
    wing = _curve([(-0.2, -0.05), (0.3, 0.0), (0.78, 0.4), (0.25, 0.38), (-0.15, 0.25)])
    legs = [Part(np.array([(x, 0.45), (x + 0.03, 0.85)]), _shade(accent, -0.2), width=0.045)
            for x in (-0.1, 0.12)]  # fmt: skip
    branch = _curve([(-1.1, 0.92), (-0.2, 0.86), (0.5, 0.9), (1.1, 0.8)], closed=False)
    leaves = [Part(_ellipse(x, 0.9 + dy, 0.17, 0.09, angle=dy * 4), second)
              for x, dy in ((-0.85, -0.13), (-0.6, 0.14), (0.55, 0.12), (0.85, -0.14))]  # fmt: skip
    return [*leaves, Part(branch, _shade(second, -0.35), width=0.08), *legs,
            Part(np.array([(-0.58, -0.28), (-0.9, -0.14), (-0.57, -0.08)]), accent),
            Part(body, main, relief=1.4), Part(wing, second),
            Part(_curve([(-0.5, 0.02), (-0.2, 0.1), (0.05, 0.46), (-0.3, 0.45), (-0.52, 0.2)]),
                 accent, relief=0.5),
            Part(_ellipse(-0.38, -0.26, 0.065, 0.065), _INK, relief=0.2),
            Part(_ellipse(-0.4, -0.285, 0.022, 0.022), _WHITE, relief=0)]  # fmt: skip


def _bouquet(palette, rng):
    main, second, accent = palette[1:]
    pot = _curve([(-0.42, 0.35), (0.42, 0.35), (0.32, 1.0), (-0.32, 1.0)], steps=6)
    parts = []
    for t in np.linspace(-1, 1, rng.integers(3, 6)):
        end = np.array([0.72 * t, -0.75 + 0.45 * t**2 + rng.uniform(-0.15, 0.15)])
        stem = _curve([(t * 0.2, 0.45), (t * 0.4, -0.1), end], closed=False)
        parts.append(Part(stem, _shade(second, -0.3), width=0.05))
        leaf = (stem[8] + stem[-1]) / 2
        parts.append(Part(_ellipse(*leaf, 0.2, 0.08, angle=rng.uniform(-0.8, 0.8)), second))
        parts += _blossom(end, 0.27, accent if rng.random() < 0.5 else main, second, rng)
    return [
        *parts,
        Part(pot, main, relief=1.3),
        Part(_box(0, 0.4, 0.48, 0.09), _shade(main, -0.15)),
    ]


def _mushrooms(palette, rng):
    parts = []
    for x, size in zip(rng.permutation([-0.5, 0.0, 0.5]), rng.uniform(0.5, 0.95, 3), strict=True):
        foot = 0.85 + 0.1 * size
        stalk = _curve([(-0.12, -0.1), (0.12, -0.1), (0.2, 0.9), (-0.2, 0.9)]) * size
        cap = np.concatenate([_ellipse(0, 0, 0.56, 0.58, start=np.pi, end=2 * np.pi),
                              _ellipse(0, 0, 0.56, 0.1, start=0, end=np.pi)]) * size  # fmt: skip
        colour = palette[1] if rng.random() < 0.65 else palette[3]
        spots = [Part(_ellipse(dx, dy, r, r * 0.85) * size + (x, foot - 0.9 * size),
                      _shade(palette[0], 0.35), relief=0.2)
                 for dx, dy, r in ((0.02, -0.36, 0.12), (-0.3, -0.17, 0.08), (0.3, -0.2, 0.09))]  # fmt: skip
        shift = np.array([x, foot - 0.9 * size])
        parts += [Part(stalk + shift, _shade(palette[2], 0.35)), Part(cap + shift, colour), *spots]
    lawn = _curve([(-1.4, 1.0), (-0.5, 0.86), (0.5, 0.9), (1.4, 0.98), (1.4, 1.7), (-1.4, 1.7)])
    return [*parts, Part(lawn, palette[2], relief=0.6)]


def _colour_scene(palettes, rng):
    subjects = (_hills, _town, _boat, _bird, _bouquet, _mushrooms)
    left, right = rng.choice(len(subjects), 2, replace=False)
    return tuple(
        _move(subjects[i](palette, rng), scale=rng.uniform(0.95, 1.08), mirror=rng.random() < 0.5)
        for i, palette in zip((left, right), palettes, strict=True)
    )


_SCENES: dict[str, Callable] = {
    "colour": _colour_scene,
    "shape": _shape_scene,
    "texture": _texture_scene,
    "pose": _pose_scene,
    "expression": _expression_scene,
}


# ── Rendering ───────────────────────────────────────────────────────────────────────────────

_FINE = 2  # masks are drawn this much larger and averaged down
_SHIFT = 4  # fractional bits of OpenCV's coordinates
_GRID = np.stack(
    np.meshgrid((np.arange(WIDTH) + 0.5) / _UNIT - 1, (np.arange(HEIGHT) + 0.5) / _UNIT - _TOP)
).astype(np.float32)
_LUMA = np.float32([0.3, 0.59, 0.11])


def _paint(points, *, width=0.0):
    """Anti-aliased mask of an outline or a stroke, float32 (height, width) in [0, 1]."""
    mask = np.zeros((HEIGHT * _FINE, WIDTH * _FINE), np.uint8)
    pixels = (np.asarray(points) + (1, _TOP)) * _UNIT * _FINE - 0.5
    pixels = [np.round(pixels * 2**_SHIFT).astype(np.int32)]
    if width:
        thickness = max(1, round(width * _UNIT * _FINE))
        cv2.polylines(mask, pixels, False, 255, thickness, cv2.LINE_AA, _SHIFT)
    else:
        cv2.fillPoly(mask, pixels, 255, cv2.LINE_AA, _SHIFT)
    return cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) * np.float32(1 / 255)


def _area(points, *, width=0.0, margin=1):
    """The rows and columns that a part can touch, `margin` pixels around included."""
    low = (points.min(0) - width / 2 + (1, _TOP)) * _UNIT - margin
    high = (points.max(0) + width / 2 + (1, _TOP)) * _UNIT + margin + 1
    low = np.clip(low, 0, (WIDTH - 1, HEIGHT - 1)).astype(int)
    high = np.clip(high, low + 1, (WIDTH, HEIGHT)).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _mask_of(part, area):
    mask = _paint(part.points, width=part.width)[area]
    return mask if part.clip is None else mask * _paint(part.clip)[area]


def _colour_of(part, area):
    """The part's colour, (3,) or, with a pattern, (rows, columns, 3)."""
    if part.pattern is None:
        return part.colour
    pattern, grid = part.pattern, _GRID[:, area[0], area[1]]
    x, y = (grid - np.float32(part.points.mean(0))[:, None, None]) * np.float32(
        2 * np.pi / pattern.period
    )
    c, s = np.float32(np.cos(pattern.angle)), np.float32(np.sin(pattern.angle))
    wave = _MOTIFS[pattern.motif](c * x + s * y, c * y - s * x) + np.float32(pattern.duty)
    motif = np.clip(wave * 3 + 0.5, 0, 1).astype(np.float32)[..., None]
    return part.colour + motif * (pattern.colour - part.colour)


def _blend(canvas, mask, colour):
    """Lays a colour over a canvas, (rows, columns, 3), where its mask says so, in place."""
    canvas += mask[..., None] * (colour - canvas)


def _stroke(canvas, points, *, width, colour, alpha=1.0):
    area = _area(points, width=width)
    _blend(canvas[area], _paint(points, width=width)[area] * np.float32(alpha), colour)


def _soften(mask, sigma):
    return cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def _photograph(parts, palette, rng):
    """Lights the parts as if modelled in clay and photographed; uint8 (height, width, 3)."""
    sun = rng.uniform(-0.9, 0.9)
    towards = np.float32([np.sin(sun), -np.cos(sun)])
    fall = np.float32([[1, 0, -4 * towards[0]], [0, 1, -4 * towards[1]]])
    canvas = _backdrop(palette, towards, rng)
    for part in parts:
        area = _area(part.points, width=part.width, margin=14 if part.relief > 0.4 else 1)
        mask, colour, below = _mask_of(part, area), _colour_of(part, area), canvas[area]
        if part.relief > 0.4:
            shadow = _soften(cv2.warpAffine(mask, fall, mask.shape[::-1]), 3.5)
            below *= 1 - np.float32(0.32) * shadow[..., None]
        if part.relief:
            colour = colour * _light(mask, part.relief, towards)[..., None]
        _blend(below, mask * np.float32(part.alpha), colour)
    return _develop(canvas, rng)


def _light(mask, relief, towards):
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


def _backdrop(palette, towards, rng):
    """An out-of-focus studio wall, with a table edge or lights now and then."""
    wall = palette[0]
    glow = 1 + 0.14 * (towards[0] * _GRID[0] + towards[1] * _GRID[1])
    canvas = wall * glow[..., None]
    look = rng.choice(["wall", "table", "lights"])
    if look == "table":
        below = np.clip((_GRID[1] - np.float32(rng.uniform(0.45, 0.85))) * 12 + 0.5, 0, 1)
        _blend(canvas, below, _shade(wall, rng.choice([-0.28, 0.28])))
    elif look == "lights":
        spots = np.zeros((HEIGHT, WIDTH), np.float32)
        for _ in range(8):
            x, y, radius = *rng.uniform(-1, 1, 2) * (1, _TOP), rng.uniform(0.12, 0.3)
            spots = np.maximum(spots, _paint(_ellipse(x, y, radius, radius)) * rng.uniform(0.4, 1))
        _blend(canvas, _soften(spots, 3) * np.float32(0.3), _shade(palette[2], 0.2))
    return canvas


def _develop(canvas, rng):
    """Exposure, colour cast, vignette and grain of a camera."""
    cast = np.float32(rng.uniform(0.92, 1.08)) * (1 + rng.normal(0, 0.03, 3)).astype(np.float32)
    corners = _GRID[0] ** 2 + (_GRID[1] / np.float32(_TOP)) ** 2
    vignette = 1 - np.float32(rng.uniform(0.04, 0.1)) * corners
    grain = rng.standard_normal((HEIGHT, WIDTH, 1), np.float32) * np.float32(0.01)
    return _to_uint8(canvas * cast * vignette[..., None] + grain)


def _to_uint8(canvas):
    return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)


def _sketch(parts, palette, rng, *, kind):
    """Draws the parts flat, inked, in crayon or, where colour does not matter, in pencil."""
    manner = rng.choice(["flat", "ink", "crayon"] + ["pencil"] * (kind != "colour"))
    paper = rng.choice(_rgb("f6f0e2 efe6d6 f3f1ec"))
    hatch = _hatching(rng)
    canvas = np.ones((HEIGHT, WIDTH, 3), np.float32) * (paper if manner == "pencil" else palette[0])
    if manner in ("flat", "ink") and kind != "colour" and rng.random() < 0.5:
        x, y, radius = *rng.uniform(-0.15, 0.15, 2), rng.uniform(0.75, 0.95)
        disc = _paint(_ellipse(x, y, radius, radius))
        _blend(canvas, disc, _shade(palette[0], rng.choice([-0.12, 0.18])))
    if manner == "crayon":
        _blend(canvas, hatch * np.float32(0.16), paper)
    for part in parts:
        area = _area(part.points, width=part.width)
        colour, strokes = _colour_of(part, area), hatch[area][..., None]
        if manner == "crayon":
            colour = colour + np.float32(0.22) * strokes * (paper - colour)
        elif manner == "pencil":
            colour = paper * _pencil_tone(1 - colour @ _LUMA, strokes, part)
        if manner in ("ink", "pencil") and part.alpha == 1 and part.clip is None:
            _outline(canvas, part, manner, rng)
        _blend(canvas[area], _mask_of(part, area) * np.float32(part.alpha), colour)
    if manner in ("crayon", "pencil"):
        grain = rng.standard_normal((HEIGHT, WIDTH), np.float32)
        canvas += _soften(grain, 0.8)[..., None] * np.float32(0.04)
    return _to_uint8(canvas)


def _pencil_tone(dark, strokes, part):
    """How bright graphite leaves the paper: thin and black parts solid, the others hatched."""
    if part.pattern is not None:
        return 1 - np.float32(0.8) * dark[..., None]
    if 0 < part.width < 0.09 or dark > 0.75:
        return np.float32(0.3)
    return 1 - np.float32(0.6) * dark * strokes


def _hatching(rng):
    """Uneven parallel strokes, (height, width) in [0, 1]."""
    angle = rng.uniform(0.5, 1.1) * rng.choice([-1, 1])
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    across, along = c * _GRID[0] + s * _GRID[1], c * _GRID[1] - s * _GRID[0]
    waves = np.sin(across * 125 + 1.5 * np.sin(along * 3)) + 0.6 * np.sin(across * 53 + along * 2)
    return np.clip(0.5 + 0.5 * waves, 0, 1)


def _outline(canvas, part, manner, rng):
    """Draws around a part, before it is filled; the pencil goes round twice, never the same."""
    if part.width:
        if part.width > 0.09:
            _stroke(canvas, part.points, width=part.width + 0.045, colour=_INK)
        return
    closed = np.concatenate([part.points, part.points[:1]])
    if manner == "ink":
        _stroke(canvas, closed, width=0.06, colour=_INK)
        return
    size = 0.012 * min(1.0, np.ptp(part.points))
    t = np.linspace(0, 2 * np.pi, len(closed))[:, None]
    for _ in range(2):
        phase, swing = rng.uniform(0, 2 * np.pi, (2, 2)), rng.normal(0, size, (2, 2))
        wobble = swing[0] * np.sin(2 * t + phase[0]) + swing[1] * np.sin(5 * t + phase[1])
        _stroke(canvas, closed + wobble, width=0.045, colour=_shade(_INK, 0.12), alpha=0.8)
