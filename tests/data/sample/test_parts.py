"""Shapes of the sample pictures: geometry by hand and by properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tll_utils.data.sample import parts

SQUARE = np.array([(-1.0, -1), (1, -1), (1, 1), (-1, 1)])


def part(points=SQUARE, **options):
    return parts.Part(np.asarray(points, float), parts.WHITE, **options)


def test_rgb_reads_hex_names():
    np.testing.assert_allclose(parts.rgb("ff0000 003300"), [[1, 0, 0], [0, 0.2, 0]], atol=1e-6)


def test_shade_goes_to_black_and_to_white():
    gray = np.full(3, 0.5, np.float32)
    np.testing.assert_allclose(parts.shade(gray, -0.5), [0.25] * 3)
    np.testing.assert_allclose(parts.shade(gray, 0.5), [0.75] * 3)


@pytest.mark.parametrize("closed", [True, False])
def test_curve_passes_through_its_points(closed):
    points = parts.curve(SQUARE, closed=closed, steps=5)
    for corner in SQUARE:
        assert np.linalg.norm(points - corner, axis=1).min() < 1e-9
    assert len(points) == (20 if closed else 16)


def test_turn_by_a_quarter_takes_right_to_down():
    np.testing.assert_allclose(parts.turn(np.array([(1.0, 0)]), np.pi / 2), [(0, 1)], atol=1e-9)


def test_ellipse_keeps_its_radii():
    points = parts.ellipse(0.2, -0.1, 0.5, 0.25)
    np.testing.assert_allclose(points.max(0), (0.7, 0.15), atol=2e-3)
    np.testing.assert_allclose(points.min(0), (-0.3, -0.35), atol=2e-3)


def test_move_scales_strokes_and_patterns_with_the_points():
    pattern = parts.Pattern("stripes", 0.3, 0.2, 0.0, parts.INK)
    (moved,) = parts.move(
        [part(width=0.1, pattern=pattern, clip=SQUARE)], scale=2, shift=(1, 0), mirror=True
    )
    assert moved.width == pytest.approx(0.2)
    assert (moved.pattern.period, moved.pattern.angle) == pytest.approx((0.4, -0.3))
    np.testing.assert_allclose(moved.points, [(3, -2), (-1, -2), (-1, 2), (3, 2)])
    np.testing.assert_allclose(moved.clip, moved.points)


@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.floats(0.05, 5), st.floats(0.05, 5)),
    corner=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
)
def test_fit_keeps_every_point_inside_the_frame(seed, size, corner):
    points = SQUARE * size + corner
    (fitted,) = parts.fit([part(points, width=0.05)], np.random.default_rng(seed))
    reach = np.abs(fitted.points).max(0) + fitted.width / 2
    assert (reach <= (1, parts.TOP)).all()


def test_fit_lets_what_lies_below_the_cut_run_out():
    tall = [part(), part([(-0.5, 0.5), (0.5, 0.5), (0, 9)])]
    head, body = parts.fit(tall, np.random.default_rng(0), cut=1.0)
    assert np.abs(head.points[:, 1]).max() < parts.TOP < body.points[:, 1].max()


@pytest.mark.parametrize("motif", parts.MOTIFS)
def test_motifs_are_two_toned(motif):
    u, v = np.meshgrid(*[np.linspace(-20, 20, 200, dtype=np.float32)] * 2)
    share = (parts.MOTIFS[motif](u, v) > 0).mean()
    assert 0.1 < share < 0.9
