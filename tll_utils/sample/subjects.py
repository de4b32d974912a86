"""The subjects of the sample pictures: five kinds of likeness, two subjects for each pair."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tll_utils.sample.parts import (
    INK,
    MOTIFS,
    WHITE,
    Part,
    Pattern,
    blob,
    block,
    box,
    curve,
    ellipse,
    fit,
    flip,
    line,
    move,
    oval,
    rgb,
    shade,
    tube,
    turn,
)

_COLOURS = (
    "f4e8d0 f0c4b0 e8755a c4593a 9c3d2a e3a93c c98a2d 8a8b4a a3b899 3f6b54 "
    "2f8583 8fc1cf 4a7fa7 2d3f5e 6b3f5c b6a0c8 dd8fa0 d9bf94 bfdcc3 55505c"
)
_SKINS = "f3cfb3 e5b08c c98b63 a86b45 7b4a30 f0bfa5"
_HAIRS = "2f2623 5a3a28 8c5a32 c98f45 b5482e 8f8a88 e0cda9"


def _draw_palette(rng):
    """Ground, main, second and accent colour, RGB (4, 3): distinct, main far from ground."""
    colours = rgb(_COLOURS)
    light = colours @ np.float32([0.3, 0.59, 0.11])
    while True:
        palette = rng.choice(len(colours), 4, replace=False)
        ground, main, second, accent = light[palette]
        if abs(ground - main) > 0.22 and abs(second - main) > 0.12 and abs(accent - ground) > 0.1:
            return np.clip(colours[palette] + rng.normal(0, 0.02, (4, 3)), 0, 1).astype(np.float32)


def draw_palettes(kind, rng):
    """Left and right palette: the same for `colour`, now and then partly so for the others."""
    left, right = _draw_palette(rng), _draw_palette(rng)
    if kind == "colour":
        right = left.copy()
    elif rng.random() < 0.15:
        right[:2] = left[:2]
    return left, np.clip(right + rng.normal(0, 0.015, (4, 3)), 0, 1).astype(np.float32)


# ---------------------------------------------------------------------------------------------
# Expression: faces


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
            wink = ellipse(x, y + 0.05, eye, 0.08, start=np.pi, end=2 * np.pi)
            parts.append(Part(wink, INK, width=0.05, relief=0))
        else:
            white = ellipse(x, y, eye, height)
            gaze = np.array(face.gaze) * (0.07, 0.05)
            look = (x + gaze[0], y + gaze[1])
            parts += [
                Part(white, WHITE, relief=0.3),
                oval(*look, 0.12, 0.12, iris, relief=0, clip=white),
                oval(*look, 0.065, 0.065, INK, relief=0, clip=white),
                oval(look[0] + 0.04, look[1] - 0.05, 0.03, 0.03, WHITE, relief=0, clip=white),
                Part(white[24:], INK, width=0.035, relief=0),
            ]
        inner, outer = x - side * 0.17, x + side * 0.19
        base = y - 0.25 - 0.14 * face.lift
        bend = 0.1 * face.brow
        brow = curve(
            [(inner, base + bend), (x, base - 0.04), (outer, base + 0.03 - bend)], closed=False
        )
        parts.append(Part(brow, brow_colour, width=0.075, relief=0.4))
    return parts + _mouth(face)


def _mouth(face):
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
        Part(outline, np.float32([0.36, 0.12, 0.14]), relief=0),
        oval(
            0,
            bottom + 0.02,
            half * 0.6,
            0.13,
            np.float32([0.85, 0.42, 0.4]),
            relief=0,
            clip=outline,
        ),
        block(0, y + lift * 0.5 - 0.02, half * 0.7, 0.055, WHITE, relief=0, clip=outline),
        Part(np.concatenate([outline, outline[:1]]), INK, width=0.03, relief=0),
    ]


def _person(face, palette, rng):
    """Head and shoulders."""
    skin, hair = rng.choice(rgb(_SKINS)), rng.choice(rgb(_HAIRS))
    style = rng.choice(["bob", "bun", "short", "curls", "cap", "long"])
    wide = rng.uniform(0.62, 0.72)
    head = curve(
        [
            (0, -0.82),
            (wide * 0.8, -0.55),
            (wide, 0),
            (wide * 0.78, 0.52),
            (0, 0.84),
            (-wide * 0.78, 0.52),
            (-wide, 0),
            (-wide * 0.8, -0.55),
        ]
    )
    body = curve(
        [
            (-1.1, 1.7),
            (-0.9, 1.2),
            (-0.3, 1.0),
            (0.3, 1.0),
            (0.9, 1.2),
            (1.1, 1.7),
            (1.2, 4.0),
            (-1.2, 4.0),
        ]
    )
    back, front = [], []
    fringe = rng.uniform(-0.6, 0.6)
    crown = curve(
        [
            (-wide - 0.08, -0.08),
            (-wide - 0.02, -0.6),
            (0, -0.98),
            (wide + 0.02, -0.6),
            (wide + 0.08, -0.08),
            (wide - 0.08, -0.38),
            (fringe * 0.5, -0.5),
            (-wide + 0.08, -0.38),
        ]
    )
    if style in ("bob", "long"):
        low = 0.65 if style == "bob" else 1.25
        back.append(
            blob(
                [
                    (0, -1.0),
                    (wide + 0.2, -0.6),
                    (wide + 0.25, low * 0.5),
                    (wide + 0.1, low),
                    (-wide - 0.1, low),
                    (-wide - 0.25, low * 0.5),
                    (-wide - 0.2, -0.6),
                ],
                hair,
            )
        )
    if style == "bun":
        back.append(oval(0, -1.05, 0.3, 0.27, hair))
    if style == "curls":
        around = np.linspace(np.pi * 0.95, np.pi * 2.05, 11)
        front = [
            oval(np.cos(t) * (wide + 0.04), np.sin(t) * 0.75 - 0.08, 0.21, 0.2, hair)
            for t in around
        ]
    elif style == "cap":
        front = [
            Part(ellipse(0, -0.42, wide + 0.1, 0.58, start=np.pi, end=2 * np.pi), palette[2]),
            oval(0, -0.43, wide + 0.13, 0.1, shade(palette[2], -0.2), power=0.7),
            oval(0, -1.02, 0.13, 0.13, palette[3]),
        ]
    else:
        front = [Part(crown, hair)]
    ears = [oval(side * wide, 0.02, 0.12, 0.17, skin) for side in (-1, 1)]
    rosy = shade(skin, -0.1) * np.float32([1.1, 0.75, 0.75])
    cheeks = [oval(s * 0.42, 0.2, 0.14, 0.1, rosy, relief=0, alpha=0.45) for s in (-1, 1)]
    nose = [oval(0, 0.12, 0.085, 0.11, shade(skin, -0.06))]
    iris = rng.choice(rgb("5b7f95 6b4a2f 4d6b4a 3b2f2f"))
    head_parts = [
        *back,
        *ears,
        Part(head, skin),
        *cheeks,
        *nose,
        *_features(face, shade(hair, -0.15), iris),
        *front,
    ]
    neck = line([(0, 0.5), (0, 1.12)], shade(skin, -0.12), width=0.5)
    collar = oval(0, 1.08, 0.36, 0.16, palette[3], relief=0.6)
    turned = move(head_parts, angle=face.tilt)
    long_hair = turned[: len(back)]
    return [*long_hair, Part(body, palette[1]), collar, neck, *turned[len(back) :]]


def _animal(face, palette, rng):
    """A head with ears: cat, bear, rabbit, owl, monster or the moon."""
    main, second, accent = palette[1:]
    look = rng.choice(["cat", "bear", "rabbit", "monster", "moon", "dog"])
    parts = []
    for side in (-1, 1):
        inside = shade(second, 0.25)
        if look == "cat":
            ear = np.array([(0.22, -0.62), (0.68, -1.15), (0.8, -0.3)]) * (side, 1)
            parts += [Part(ear, main), Part(ear * 0.8 + (side * 0.1, -0.1), inside, relief=0.3)]
        elif look == "bear":
            parts += [
                oval(side * 0.58, -0.66, 0.27, 0.27, main),
                oval(side * 0.58, -0.66, 0.15, 0.15, inside, relief=0.3),
            ]
        elif look == "rabbit":
            ear = ellipse(side * 0.3, -1.05, 0.2, 0.56, angle=side * 0.2)
            parts += [
                Part(ear, main),
                oval(side * 0.3, -1.05, 0.1, 0.4, inside, angle=side * 0.2, relief=0.3),
            ]
        elif look == "dog":
            parts.append(oval(side * 0.78, 0.0, 0.22, 0.55, second, angle=-side * 0.3))
        elif look == "monster":
            horn = np.array([(0.25, -0.7), (0.62, -1.2), (0.6, -0.5)]) * (side, 1)
            parts.append(Part(horn, accent))
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
    cheeks = [
        oval(s * 0.52, 0.22, 0.13, 0.09, np.float32([0.9, 0.5, 0.48]), relief=0, alpha=0.5)
        for s in (-1, 1)
    ]
    brows = shade(second, -0.35) if rng.random() < 0.5 else INK
    return move(parts + cheeks + _features(face, brows, shade(accent, -0.15)), angle=face.tilt)


def _expression_scene(palettes, rng):
    face = _draw_expression(rng)
    left, right = _person(face, palettes[0], rng), _animal(face, palettes[1], rng)
    # A tilted head is part of the expression, so it is mirrored on neither side.
    return (
        fit(left, rng, mirror=False, angle=0.03, cut=1.35),
        fit(right, rng, mirror=False, angle=0.03),
    )


# ---------------------------------------------------------------------------------------------
# Pose: figures


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
    skin, hair = rng.choice(rgb(_SKINS)), rng.choice(rgb(_HAIRS))
    top, trousers, shoes = palette[1], palette[2], shade(palette[3], -0.1)
    parts = []
    for leg in _limbs(joints, "leg"):
        parts.append(tube(leg, trousers, width=0.2))
        toe = leg[2] + (0.09 * np.sign(leg[2, 0] - 0.01), 0.02)
        parts.append(line([leg[2], toe], shoes, width=0.16))
    far, near = _limbs(joints, "arm")
    neck = joints["neck"]
    arms = [
        [tube(arm, shade(top, 0.08), width=0.15), oval(*arm[2], 0.085, 0.085, skin)]
        for arm in (far, near)
    ]
    axis = neck / np.linalg.norm(neck)
    side = np.array([-axis[1], axis[0]])
    torso = curve(
        [
            neck - 0.2 * side,
            neck + 0.1 * axis,
            neck + 0.2 * side,
            0.15 * side,
            -0.08 * axis + 0.19 * side,
            -0.08 * axis - 0.19 * side,
            -0.15 * side,
        ]
    )
    head = joints["head"]
    up = head - neck
    angle = np.arctan2(up[0], -up[1])
    crown = ellipse(*head, 0.2, 0.21, angle=angle, start=np.pi * 1.05, end=np.pi * 1.95)
    eyes = [turn(np.array([s * 0.07, 0.02]), angle) + head for s in (-1, 1)]
    parts += arms[0]
    if rng.random() < 0.4:  # a skirt over the legs
        hem = 0.42 * (joints["leg_a"][1] + joints["leg_b"][1])
        flare = np.array([0.34, 0])
        parts.append(blob([-0.16 * side, 0.16 * side, hem + flare, hem - flare], top))
    parts += [
        Part(torso, top),
        line([neck, (neck + head) / 2], shade(skin, -0.1), width=0.12),
        *arms[1],
        oval(*head, 0.18, 0.2, skin, angle=angle),
        *[oval(*eye, 0.026, 0.03, INK, relief=0) for eye in eyes],
        Part(crown, hair),
    ]
    if rng.random() < 0.5:
        parts.append(oval(*(head + up / 0.27 * 0.24), 0.09, 0.09, hair))
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
        return [
            oval(*(head + turn(np.array([s * 0.075, -0.01]), angle)), size, size, colour, relief=0)
            for s in (-1, 1)
        ]

    if look == "stick":
        width = 0.07
        shoulders = np.array([joints["arm_a"][0], joints["arm_b"][0]])
        bones = [*limbs, spine, shoulders]
        parts = [Part(bone, main, width=width) for bone in bones]
        return [*parts, oval(*head, 0.19, 0.19, main), *eyes(0.03, second)]
    if look == "gingerbread":
        dough = [tube(limb, main, width=0.2) for limb in limbs]
        icing = [oval(*(neck * t), 0.05, 0.05, accent, relief=0.5) for t in (0.25, 0.55, 0.85)]
        cuffs = [oval(*limb[2], 0.06, 0.06, second, relief=0.3) for limb in limbs]
        return [
            *dough,
            Part(spine, main, width=0.38),
            *cuffs,
            oval(*head, 0.24, 0.24, main),
            *icing,
            *eyes(0.035, INK),
        ]
    if look == "robot":
        bones = [Part(limb, second, width=0.1) for limb in limbs]
        knobs = [oval(*point, 0.085, 0.085, accent) for limb in limbs for point in limb[1:]]
        lean = np.arctan2(neck[0], -neck[1])
        return [
            *bones,
            *knobs,
            block(*(neck / 2), 0.26, 0.36, main, angle=lean),
            block(*(neck * 0.6), 0.14, 0.1, accent, angle=lean, relief=0.3),
            block(*head, 0.2, 0.17, main, angle=angle),
            line([head, head + up * 1.1], second, width=0.04),
            oval(*(head + up * 1.15), 0.05, 0.05, accent),
            *eyes(0.05, WHITE),
        ]
    bark = [tube(limb, main, width=0.13) for limb in limbs]
    tips = [limb[2] for limb in limbs[:2]] + [limb[1] for limb in limbs[:2]]
    leaves = []
    for tip in np.repeat(tips, 3, axis=0):
        place, slant = tip + rng.normal(0, 0.07, 2), rng.uniform(0, 3)
        leaves.append(
            oval(*place, 0.13, 0.1, second if rng.random() < 0.7 else accent, angle=slant)
        )
    return [
        *bark,
        Part(spine, main, width=0.3),
        *leaves,
        oval(*head, 0.26, 0.24, second),
        *eyes(0.035, INK),
    ]


def _pose_scene(palettes, rng):
    joints = _draw_joints(rng)
    mirror = rng.random() < 0.5  # the pose is mirrored with its pair, and against it now and then
    left, right = _dancer(joints, palettes[0], rng), _doll(joints, palettes[1], rng)
    return (
        fit(left, rng, mirror=mirror),
        fit(right, rng, mirror=mirror ^ (rng.random() < 0.15)),
    )


# ---------------------------------------------------------------------------------------------
# Shape: vessels and what they look like


def _draw_profile(rng):
    """Outline of a turned shape, (n, 2), 1.8 high, with necks and bellies."""
    height = np.linspace(-0.9, 0.9, 6)
    while True:
        radius = rng.uniform(0.13, 0.68, 6)
        if np.abs(np.diff(radius)).sum() > 0.7:
            break
    half = curve(np.stack([radius, height], axis=1), closed=False)
    half[:, 0] = np.maximum(half[:, 0], 0.1)
    return half


def _close(half):
    return np.concatenate([half, flip(half[::-1])])


def _radius(half, y):
    return np.interp(y, half[:, 1], half[:, 0])


def _vase(half, palette, rng):
    main, second, accent = palette[1:]
    parts = []
    if rng.random() < 0.5:  # flowers
        top = _radius(half, -0.9)
        for _ in range(rng.integers(2, 5)):
            end = np.array([rng.uniform(-0.5, 0.5), rng.uniform(-1.5, -1.15)])
            stem = curve([(end[0] * top, -0.85), (end[0] * 0.6, -1.1), end], closed=False)
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
        oval(0, rim[1], rim[0], 0.07, shade(main, -0.35), relief=0.2),
        line([(-foot[0], 0.92), (foot[0], 0.92)], shade(main, -0.2), width=0.07),
    ]


def _band(half, y, thickness):
    """The strip of a turned shape around height y, sagging as it would seen from above."""
    heights = np.linspace(y - thickness, y + thickness, 12)
    side = np.stack([_radius(half, heights), heights], axis=1)
    across = np.linspace(1, -1, 24)[:, None]
    sag = 0.12 * np.sqrt(1 - across**2) * _radius(half, y)
    low = np.concatenate([across * side[-1, 0], side[-1, 1] + sag], axis=1)
    top = np.concatenate([-across * side[0, 0], side[0, 1] + sag], axis=1)
    return np.concatenate([side, low, flip(side[::-1]), top])


def _blossom(centre, radius, petal, heart, rng):
    count, first = rng.integers(5, 8), rng.uniform(0, 2)
    spots = [
        centre + radius * 0.62 * np.array([np.cos(t), np.sin(t)])
        for t in first + np.arange(count) / count * 2 * np.pi
    ]
    petals = [oval(*spot, radius * 0.45, radius * 0.45, petal, relief=0.7) for spot in spots]
    return [*petals, oval(*centre, radius * 0.38, radius * 0.38, heart)]


def _turned_thing(half, palette, rng):
    """The same profile as a creature, a tower, a lamp or a perfume bottle."""
    main, second, accent = palette[1:]
    look = rng.choice(["creature", "tower", "bottle", "jar"])
    outline = Part(_close(half), main, relief=1.2)
    if look == "creature":
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
        feet = [
            oval(s * max(_radius(half, 0.85) * 0.6, 0.14), 0.93, 0.16, 0.08, accent)
            for s in (-1, 1)
        ]
        return [
            *feet,
            outline,
            Part(belly, shade(second, 0.2), relief=0.3),
            *eyes,
            Part(smile, INK, width=0.04, relief=0),
        ]
    if look == "tower":
        roof = np.array([(-half[0, 0] - 0.12, -0.88), (0, -1.4), (half[0, 0] + 0.12, -0.88)])
        windows = []
        for y in (-0.6, -0.2, 0.2):
            count = 1 if _radius(half, y) < 0.36 else 2
            for x in np.linspace(-1, 1, count) * (0.18 if count > 1 else 0):
                arch = ellipse(x, y, 0.07, 0.12, power=0.75)
                windows.append(Part(arch, shade(second, -0.1), relief=0))
        door = ellipse(0, 0.86, 0.12, 0.3, start=np.pi, end=2 * np.pi)
        return [outline, Part(roof, accent), *windows, Part(door, shade(second, -0.3), relief=0)]
    if look == "bottle":
        cork = block(0, -1.0, half[0, 0] * 0.6, 0.12, shade(accent, -0.1))
        label = Part(_band(half, 0.25, 0.28) * (0.8, 1), WHITE, relief=0)
        mark = oval(0, 0.3, 0.13, 0.13, second, relief=0)
        return [cork, outline, label, mark]
    stripes = [
        Part(_band(half, y, 0.05), second if i % 2 else accent, relief=0)
        for i, y in enumerate(np.linspace(-0.6, 0.6, 5))
    ]
    handles = [
        oval(s * (_radius(half, -0.35) + 0.08), -0.4, 0.2, 0.26, main, width=0.08) for s in (-1, 1)
    ]
    return [*handles, outline, *stripes]


def _shape_scene(palettes, rng):
    half = _draw_profile(rng)
    left, right = _vase(half, palettes[0], rng), _turned_thing(half, palettes[1], rng)
    return fit(left, rng), fit(right, rng)


# ---------------------------------------------------------------------------------------------
# Texture: patterned things


def _draw_pattern(rng):
    return Pattern(
        motif=rng.choice(list(MOTIFS)),
        angle=rng.uniform(0, np.pi),
        period=rng.uniform(0.13, 0.32),
        duty=rng.uniform(-0.3, 0.35),
        colour=WHITE,
    )


def _knitted(pattern, palette, rng):
    """Left things that show a pattern: fish, cushion, egg, jumper, snail."""
    main, second, accent = palette[1:]
    pattern = pattern._replace(colour=second, angle=pattern.angle + rng.normal(0, 0.08))
    look = rng.choice(["fish", "cushion", "egg", "jumper", "snail"])
    if look == "fish":
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
    if look == "cushion":
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
    if look == "egg":
        egg = curve([(0, -0.95), (0.52, -0.4), (0.66, 0.3), (0, 0.85), (-0.66, 0.3), (-0.52, -0.4)])
        cup = curve(
            [(-0.5, 0.55), (0.5, 0.55), (0.3, 1.0), (0.42, 1.25), (-0.42, 1.25), (-0.3, 1.0)]
        )
        return [Part(egg, main, relief=1.8, pattern=pattern), Part(cup, accent)]
    if look == "jumper":
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


def _printed(pattern, palette, rng):
    """Right things that show a pattern: mitten, cat, umbrella, butterfly, balloon."""
    main, second, accent = palette[1:]
    pattern = pattern._replace(colour=second, angle=pattern.angle + rng.normal(0, 0.08))
    look = rng.choice(["mitten", "cat", "umbrella", "butterfly", "balloon"])
    if look == "mitten":
        hand = curve([(-0.5, 0.6), (-0.55, -0.3), (-0.1, -0.95), (0.4, -0.4), (0.42, 0.6)])
        thumb = curve([(0.3, 0.45), (0.72, -0.2), (0.9, 0.05), (0.5, 0.6)])
        return [
            Part(thumb, main, pattern=pattern),
            Part(hand, main, pattern=pattern),
            block(-0.04, 0.75, 0.56, 0.17, accent),
        ]
    if look == "cat":
        body = curve(
            [(-0.5, 0.95), (-0.62, 0.3), (-0.3, -0.2), (0.3, -0.2), (0.62, 0.3), (0.5, 0.95)]
        )
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
    if look == "umbrella":
        scallops = [
            ellipse(x, 0.05, 0.225, 0.1, start=0, end=-np.pi)
            for x in (0.675, 0.225, -0.225, -0.675)
        ]
        dome = np.concatenate([ellipse(0, 0.05, 0.9, 0.85, start=np.pi, end=2 * np.pi), *scallops])
        handle = curve([(0, 0), (0, 0.9), (0.12, 1.05), (0.26, 0.92)], closed=False)
        return [
            Part(handle, accent, width=0.07),
            line([(0, -0.92), (0, -0.8)], accent, width=0.06),
            Part(dome, main, pattern=pattern),
        ]
    if look == "butterfly":
        upper = curve([(0.06, -0.05), (0.45, -0.75), (0.98, -0.72), (0.85, -0.12), (0.3, 0.12)])
        lower = curve([(0.06, 0.05), (0.55, 0.1), (0.75, 0.55), (0.4, 0.85), (0.1, 0.4)])
        wings = [
            Part(side(wing), main, pattern=pattern)
            for wing in (lower, upper)
            for side in (np.asarray, flip)
        ]
        feelers = [
            tube([(0, -0.4), (s * 0.1, -0.65), (s * 0.25, -0.8)], accent, width=0.035)
            for s in (-1, 1)
        ]
        return [*wings, *feelers, oval(0, 0.05, 0.09, 0.5, accent)]
    envelope = curve(
        [(0, -1.0), (0.6, -0.7), (0.68, -0.2), (0.2, 0.5), (-0.2, 0.5), (-0.68, -0.2), (-0.6, -0.7)]
    )
    ropes = [
        line([(s * 0.18, 0.45), (s * 0.14, 0.85)], INK, width=0.025, relief=0) for s in (-1, 1)
    ]
    return [*ropes, block(0, 0.92, 0.19, 0.14, accent), Part(envelope, main, pattern=pattern)]


def _texture_scene(palettes, rng):
    pattern = _draw_pattern(rng)
    left, right = _knitted(pattern, palettes[0], rng), _printed(pattern, palettes[1], rng)
    return fit(left, rng, mirror=False), fit(right, rng, mirror=False)


# ---------------------------------------------------------------------------------------------
# Colour: scenes of one palette


def _hills(palette, rng):
    parts = [oval(rng.uniform(-0.6, 0.6), rng.uniform(-0.85, -0.4), 0.27, 0.27, palette[3])]
    colours = (palette[2], palette[1], shade(palette[1], -0.25))
    for base, colour in zip((0.0, 0.4, 0.85), colours, strict=True):
        x = np.linspace(-1.3, 1.3, 8)
        ridge = np.stack([x, base + rng.uniform(-0.28, 0.18, 8)], axis=1)
        parts.append(
            Part(
                np.concatenate([curve(ridge, closed=False), [(1.3, 1.6), (-1.3, 1.6)]]),
                colour,
                relief=0.7,
            )
        )
    for _ in range(rng.integers(1, 5)):
        x, y, size = rng.uniform(-0.8, 0.8), rng.uniform(0.55, 1.0), rng.uniform(0.16, 0.3)
        parts.append(line([(x, y), (x, y - size * 1.5)], shade(palette[2], -0.4), width=0.05))
        parts.append(oval(x, y - size * 1.9, size * 0.65, size, palette[2]))
    return parts


def _town(palette, rng):
    parts, x, colours = [], -1.05, [palette[1], palette[2], palette[3], palette[1]]
    while x < 1.0:
        wide, top = rng.uniform(0.34, 0.5), rng.uniform(-0.5, 0.25)
        colour = colours[rng.integers(4)]
        roof = np.array(
            [(x - 0.03, top), (x + wide / 2, top - rng.uniform(0.2, 0.45)), (x + wide + 0.03, top)]
        )
        parts.append(block(x + wide / 2, (top + 0.85) / 2, wide / 2, (0.85 - top) / 2, colour))
        parts.append(Part(roof, palette[1] if colour is not palette[1] else palette[2]))
        for y in np.arange(top + 0.2, 0.7, 0.27):
            parts += [
                block(x + wide * t, y, 0.05, 0.075, shade(palette[0], 0.3), relief=0)
                for t in (0.3, 0.7)
            ]
        x += wide + 0.01
    street = box(0, 1.1, 1.3, 0.28)
    return [*parts, Part(street, shade(palette[2], -0.15), relief=0.4)]


def _boat(palette, rng):
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


def _bird(palette, rng):
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


def _bouquet(palette, rng):
    main, second, accent = palette[1:]
    pot = curve([(-0.42, 0.35), (0.42, 0.35), (0.32, 1.0), (-0.32, 1.0)], steps=6)
    parts = []
    for t in np.linspace(-1, 1, rng.integers(3, 6)):
        end = np.array([0.72 * t, -0.75 + 0.45 * t**2 + rng.uniform(-0.15, 0.15)])
        stem = curve([(t * 0.2, 0.45), (t * 0.4, -0.1), end], closed=False)
        parts.append(Part(stem, shade(second, -0.3), width=0.05))
        leaf = (stem[8] + stem[-1]) / 2
        parts.append(oval(*leaf, 0.2, 0.08, second, angle=rng.uniform(-0.8, 0.8)))
        parts += _blossom(end, 0.27, accent if rng.random() < 0.5 else main, second, rng)
    return [
        *parts,
        Part(pot, main, relief=1.3),
        block(0, 0.4, 0.48, 0.09, shade(main, -0.15)),
    ]


def _mushrooms(palette, rng):
    parts = []
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
        colour = palette[1] if rng.random() < 0.65 else palette[3]
        spots = [
            Part(
                ellipse(dx, dy, r, r * 0.85) * size + (x, foot - 0.9 * size),
                shade(palette[0], 0.35),
                relief=0.2,
            )
            for dx, dy, r in ((0.02, -0.36, 0.12), (-0.3, -0.17, 0.08), (0.3, -0.2, 0.09))
        ]
        shift = np.array([x, foot - 0.9 * size])
        parts += [Part(stalk + shift, shade(palette[2], 0.35)), Part(cap + shift, colour), *spots]
    lawn = curve([(-1.4, 1.0), (-0.5, 0.86), (0.5, 0.9), (1.4, 0.98), (1.4, 1.7), (-1.4, 1.7)])
    return [*parts, Part(lawn, palette[2], relief=0.6)]


def _colour_scene(palettes, rng):
    subjects = (_hills, _town, _boat, _bird, _bouquet, _mushrooms)
    left, right = rng.choice(len(subjects), 2, replace=False)
    return tuple(
        move(subjects[i](palette, rng), scale=rng.uniform(0.95, 1.08), mirror=rng.random() < 0.5)
        for i, palette in zip((left, right), palettes, strict=True)
    )


SCENES: dict[str, Callable] = {
    "colour": _colour_scene,
    "shape": _shape_scene,
    "texture": _texture_scene,
    "pose": _pose_scene,
    "expression": _expression_scene,
}
