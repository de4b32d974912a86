"""Pose: a dancer and a doll with the same joints."""

from __future__ import annotations

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
    block_at,
    curve,
    ellipse,
    fit,
    line,
    oval_at,
    shade,
    tube,
    turn,
)

Joints = dict[str, np.ndarray]  # "neck" and "head", (2,); arms and legs, (3, 2)


def _draw_joints(rng: np.random.Generator) -> Joints:
    """A random pose as named points; the pelvis is the origin."""

    def limb(
        start: np.ndarray, angles: tuple[float, float], lengths: tuple[float, float]
    ) -> np.ndarray:
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


def _limbs(joints: Joints, name: str) -> list[np.ndarray]:
    return [joints[f"{name}_a"], joints[f"{name}_b"]]


def _dancer(joints: Joints, palette: np.ndarray, rng: np.random.Generator) -> Parts:
    """A dressed figure."""
    skin, hair = rng.choice(SKINS), rng.choice(HAIRS)
    top, trousers, shoes = palette[1], palette[2], shade(palette[3], -0.1)
    parts: Parts = []
    for leg in _limbs(joints, "leg"):
        parts.append(tube(leg, trousers, width=0.2))
        toe = leg[2] + (0.09 * np.sign(leg[2, 0] - 0.01), 0.02)
        parts.append(line([leg[2], toe], shoes, width=0.16))
    far, near = _limbs(joints, "arm")
    neck = joints["neck"]
    arms = [
        [tube(arm, shade(top, 0.08), width=0.15), oval_at(arm[2], 0.085, 0.085, skin)]
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
    crown = ellipse(head[0], head[1], 0.2, 0.21, angle=angle, start=np.pi * 1.05, end=np.pi * 1.95)
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
        oval_at(head, 0.18, 0.2, skin, angle=angle),
        *[oval_at(eye, 0.026, 0.03, INK, relief=0) for eye in eyes],
        Part(crown, hair),
    ]
    if rng.random() < 0.5:
        parts.append(oval_at((head + up / 0.27 * 0.24), 0.09, 0.09, hair))
    return parts


def _doll(joints: Joints, palette: np.ndarray, rng: np.random.Generator) -> Parts:
    """The same joints as a stick man, a gingerbread man, a robot or a tree."""
    dolls = (_stick_man, _gingerbread_man, _robot, _tree)
    return dolls[int(rng.choice(len(dolls)))](joints, palette, rng)


def _stick_man(joints: Joints, palette: np.ndarray, rng: np.random.Generator) -> Parts:
    main, second, _ = palette[1:]
    shoulders = np.array([joints["arm_a"][0], joints["arm_b"][0]])
    bones = [*_arms_and_legs(joints), _spine(joints), shoulders]
    return [
        *(Part(bone, main, width=0.07) for bone in bones),
        oval_at(joints["head"], 0.19, 0.19, main),
        *_eyes(joints, 0.03, second),
    ]


def _gingerbread_man(joints: Joints, palette: np.ndarray, rng: np.random.Generator) -> Parts:
    main, second, accent = palette[1:]
    limbs, neck = _arms_and_legs(joints), joints["neck"]
    return [
        *(tube(limb, main, width=0.2) for limb in limbs),
        Part(_spine(joints), main, width=0.38),
        *(oval_at(limb[2], 0.06, 0.06, second, relief=0.3) for limb in limbs),
        oval_at(joints["head"], 0.24, 0.24, main),
        *(oval_at(neck * t, 0.05, 0.05, accent, relief=0.5) for t in (0.25, 0.55, 0.85)),
        *_eyes(joints, 0.035, INK),
    ]


def _robot(joints: Joints, palette: np.ndarray, rng: np.random.Generator) -> Parts:
    main, second, accent = palette[1:]
    limbs, neck, head = _arms_and_legs(joints), joints["neck"], joints["head"]
    lean, up = np.arctan2(neck[0], -neck[1]), head - neck
    return [
        *(Part(limb, second, width=0.1) for limb in limbs),
        *(oval_at(point, 0.085, 0.085, accent) for limb in limbs for point in limb[1:]),
        block_at(neck / 2, 0.26, 0.36, main, angle=lean),
        block_at(neck * 0.6, 0.14, 0.1, accent, angle=lean, relief=0.3),
        block_at(head, 0.2, 0.17, main, angle=_nod(joints)),
        line([head, head + up * 1.1], second, width=0.04),
        oval_at(head + up * 1.15, 0.05, 0.05, accent),
        *_eyes(joints, 0.05, WHITE),
    ]


def _tree(joints: Joints, palette: np.ndarray, rng: np.random.Generator) -> Parts:
    main, second, accent = palette[1:]
    limbs = _arms_and_legs(joints)
    tips = [limb[2] for limb in limbs[:2]] + [limb[1] for limb in limbs[:2]]
    leaves = []
    for tip in np.repeat(tips, 3, axis=0):
        place, slant = tip + rng.normal(0, 0.07, 2), rng.uniform(0, 3)
        color = second if rng.random() < 0.7 else accent
        leaves.append(oval_at(place, 0.13, 0.1, color, angle=slant))
    return [
        *(tube(limb, main, width=0.13) for limb in limbs),
        Part(_spine(joints), main, width=0.3),
        *leaves,
        oval_at(joints["head"], 0.26, 0.24, second),
        *_eyes(joints, 0.035, INK),
    ]


def _arms_and_legs(joints: Joints) -> list[np.ndarray]:
    return _limbs(joints, "arm") + _limbs(joints, "leg")


def _spine(joints: Joints) -> np.ndarray:
    return np.array([(0, 0), joints["neck"]])


def _nod(joints: Joints) -> float:
    """Angle of the head."""
    up = joints["head"] - joints["neck"]
    return np.arctan2(up[0], -up[1])


def _eyes(joints: Joints, size: float, color: np.ndarray) -> Parts:
    return [
        oval_at(joints["head"] + turn(np.array(eye), _nod(joints)), size, size, color, relief=0)
        for eye in ((-0.075, -0.01), (0.075, -0.01))
    ]


def pose_scene(palettes: Palettes, rng: np.random.Generator) -> Scene:
    """The left and the right picture, as parts."""
    joints = _draw_joints(rng)
    mirror = rng.random() < 0.5  # the pose is mirrored with its pair, and against it now and then
    left, right = _dancer(joints, palettes[0], rng), _doll(joints, palettes[1], rng)
    return (
        fit(left, rng, mirror=mirror),
        fit(right, rng, mirror=mirror ^ (rng.random() < 0.15)),
    )
