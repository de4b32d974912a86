"""The best system: cells, whitening and head on features made by hand."""

import numpy as np
import pytest

from tll_utils import adaption, best, scoring
from tll_utils.features import Views

RNG = np.random.default_rng(0)
PARTS = best.parts_of(("mobilenet_v2", "mobilenet"))


def likeness(n=60, *, grid=3, channels=4, noise=0.5, seed=0):
    """Pairs that share a positive pattern per cell; two loud channels are noise to each image."""
    rng = np.random.default_rng(seed)
    shared = rng.exponential(size=(n, grid, grid, channels))
    sides = [shared + noise * rng.exponential(size=shared.shape) for _ in range(2)]
    loud = [20 * rng.exponential(size=(n, grid, grid, 2)) for _ in range(2)]
    return [np.concatenate(both, axis=3).reshape(n, -1) for both in zip(sides, loud, strict=True)]


def top_2(scorer, left, right):
    n = len(left)
    lists = np.tile(np.arange(n), (n, 1))
    return scoring.top_k_accuracy(scorer(left, right, lists), np.arange(n))


def test_whiten_cells_gives_differences_unit_variance_in_every_cell():
    left, right = likeness(n=500)
    transform = best.whiten_cells(left, right, grid=3, shrinkage=1e-6)
    difference = (transform(left) - transform(right)).reshape(-1, 6)
    np.testing.assert_allclose(difference.T @ difference / len(difference), np.eye(6), atol=0.02)


def test_whiten_cells_finds_pairs_of_other_images():
    left, right = likeness(seed=1)
    transform = best.whiten_cells(left, right, grid=3)
    raw = adaption.cosine_of(lambda features: features)
    whitened = adaption.cosine_of(transform)
    others = likeness(seed=2)
    assert top_2(whitened, *others) > top_2(raw, *others) + 0.3


def test_fit_part_sees_the_training_pairs_alone():
    left, right = likeness()
    part = best.Part("mobilenet", "conv_pw_11_relu")
    train, lists = np.arange(40), np.tile(np.arange(60), (20, 1))

    def scores_of(left, right):
        scorer = best.fit_part(Views(left, right, None, None), part)(train, 0)
        return scorer(likeness()[0][40:], likeness()[1], lists)

    spoiled = [np.where(np.arange(60)[:, None] < 40, side, 7.0) for side in (left, right)]
    np.testing.assert_array_equal(scores_of(*spoiled), scores_of(left, right))


def test_head_finds_pairs_of_other_images_whatever_the_validation_side_holds():
    sides = [likeness(n=120, seed=seed) for seed in (1, 2)]  # two parts, two backbones
    views = [Views(left, right, left[:5], right[:5]) for left, right in sides]
    settings = adaption.HeadSettings(embedding_dim=32, epochs=3, batch_size=40)
    fit = best.fit_head(views, PARTS, settings=settings)
    joined = best.join_parts(views)
    train, lists = np.arange(90), np.tile(np.arange(90, 120), (30, 1))
    scores = fit(train, 0)(joined.left[90:], joined.right, lists)
    assert scoring.top_k_accuracy(scores, np.arange(30)) > 0.6  # chance 0.07
    for side in views:
        side.left[90:], side.right[90:] = 7, 7
    again = best.fit_head(views, PARTS, settings=settings)(train, 0)
    np.testing.assert_allclose(again(joined.left[90:], joined.right, lists), scores, atol=1e-5)


def test_join_parts_puts_features_side_by_side():
    one, other = (Views(*[np.full((2, width), width)] * 4) for width in (1, 2))
    for side in best.join_parts([one, other]):
        np.testing.assert_array_equal(side, [[1, 2, 2]] * 2)


def test_parts_of_takes_an_inner_layer_of_each_backbone():
    assert [part.key for part in PARTS] == ["block_13_expand_relu/grid3", "conv_pw_11_relu/grid3"]
    (part,) = best.parts_of(["resnet50"])
    assert (part.key, part.grid) == ("conv4_block6_out/grid3", 3)


@pytest.mark.parametrize(("pooling", "grid"), [("avg", 1), ("grid2", 2), ("grid3", 3)])
def test_grid_of_a_part_follows_its_pooling(pooling, grid):
    assert best.Part("mobilenet", "conv_pw_11_relu", pooling).grid == grid
