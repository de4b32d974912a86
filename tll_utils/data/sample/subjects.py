"""The subjects of the sample pictures: five kinds of likeness, two subjects for each pair."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tll_utils.data.sample.faces import expression_scene
from tll_utils.data.sample.figures import pose_scene
from tll_utils.data.sample.parts import Palettes, Scene, rgb
from tll_utils.data.sample.patterned import texture_scene
from tll_utils.data.sample.scenery import color_scene
from tll_utils.data.sample.vessels import shape_scene

_COLORS = (
    "f4e8d0 f0c4b0 e8755a c4593a 9c3d2a e3a93c c98a2d 8a8b4a a3b899 3f6b54 "
    "2f8583 8fc1cf 4a7fa7 2d3f5e 6b3f5c b6a0c8 dd8fa0 d9bf94 bfdcc3 55505c"
)


def _draw_palette(rng: np.random.Generator) -> np.ndarray:
    """Ground, main, second and accent color, RGB (4, 3): distinct, main far from ground."""
    colors = rgb(_COLORS)
    light = colors @ np.array([0.3, 0.59, 0.11], np.float32)
    while True:
        palette = rng.choice(len(colors), 4, replace=False)
        ground, main, second, accent = light[palette]
        if abs(ground - main) > 0.22 and abs(second - main) > 0.12 and abs(accent - ground) > 0.1:
            return np.clip(colors[palette] + rng.normal(0, 0.02, (4, 3)), 0, 1).astype(np.float32)


def draw_palettes(kind: str, rng: np.random.Generator) -> Palettes:
    """Left and right palette: the same for `colour`, now and then partly so for the others."""
    left, right = _draw_palette(rng), _draw_palette(rng)
    if kind == "colour":
        right = left.copy()
    elif rng.random() < 0.15:
        right[:2] = left[:2]
    return left, np.clip(right + rng.normal(0, 0.015, (4, 3)), 0, 1).astype(np.float32)


SCENES: dict[str, Callable[[Palettes, np.random.Generator], Scene]] = {
    "colour": color_scene,
    "shape": shape_scene,
    "texture": texture_scene,
    "pose": pose_scene,
    "expression": expression_scene,
}
