"""Subjects of the sample pictures: what a pair shares and what it does not."""

import numpy as np
import pytest

from tll_utils.data.sample import figures, subjects


def scene(kind, seed):
    rng = np.random.default_rng(seed)
    return subjects.SCENES[kind](subjects.draw_palettes(kind, rng), rng)


@pytest.mark.parametrize("kind", subjects.SCENES)
def test_scenes_give_two_different_subjects_of_finite_parts(kind):
    for seed in range(5):
        left, right = scene(kind, seed)
        assert len(left) > 1 and len(right) > 1
        assert not any(np.array_equal(a.points, b.points) for a in left for b in right)
        for part in left + right:
            assert np.isfinite(part.points).all() and part.points.shape[1] == 2
            assert part.color.shape == (3,)


def test_palettes_are_shared_by_colour_pairs_and_rarely_by_others():
    def gap(kind, seed):
        left, right = subjects.draw_palettes(kind, np.random.default_rng(seed))
        return np.abs(left - right).max()

    assert max(gap("colour", seed) for seed in range(50)) < 0.1
    assert np.mean([gap("pose", seed) > 0.2 for seed in range(50)]) > 0.9


def test_palettes_set_the_main_color_off_the_ground():
    for seed in range(50):
        left, _ = subjects.draw_palettes("shape", np.random.default_rng(seed))
        light = left @ [0.3, 0.59, 0.11]
        assert abs(light[0] - light[1]) > 0.1


def test_texture_pairs_share_motif_and_period_up_to_scale():
    for seed in range(20):
        left, right = ([p.pattern for p in side if p.pattern] for side in scene("texture", seed))
        assert {p.motif for p in left} == {p.motif for p in right}
        assert abs(np.sin(left[0].angle - right[0].angle)) < 0.6


def test_shape_pairs_share_their_profile():
    """The widest parts of both sides have the same outline, up to place and size."""

    def profile(side):
        points = max((p.points for p in side if len(p.points) == 82), key=np.ptp)
        centered = points - points.mean(0)
        return centered / np.linalg.norm(centered)

    for seed in range(10):
        left, right = (profile(side) for side in scene("shape", seed))
        # Turned by some degrees and mirrored or not, but the same.
        overlap = max(
            np.linalg.svd(left.T @ (right * mirror), compute_uv=False).sum()
            for mirror in ((1, 1), (-1, 1))
        )
        assert overlap > 0.999


def test_joints_keep_the_lengths_of_limbs():
    for seed in range(20):
        joints = figures._draw_joints(np.random.default_rng(seed))
        for name in ("a", "b"):
            arm = np.linalg.norm(np.diff(joints[f"arm_{name}"], axis=0), axis=1)
            leg = np.linalg.norm(np.diff(joints[f"leg_{name}"], axis=0), axis=1)
            np.testing.assert_allclose([*arm, *leg], [0.38, 0.36, 0.46, 0.44])
