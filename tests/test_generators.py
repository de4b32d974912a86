"""What is drawn, that it is drawn anew each epoch, and that it can be drawn again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tll_utils import generators

POOL = np.array([2, 3, 5, 8, 9, 11])
LEFT = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((12, 2, 2, 3), np.uint8)
RIGHT = LEFT + 100

groupings = st.lists(st.integers(0, 3), min_size=8, max_size=8).filter(
    lambda groups: max(map(groups.count, groups)) <= 4
)


@given(groupings, st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_no_generator_pairs_anchor_with_its_own_group(groups, epoch):
    groups, pool = np.array(groups), np.arange(8)
    left, right, label = generators.pairs(pool, num_negatives=2, groups=groups)(epoch)
    assert (groups[left] != groups[right])[label == 0].all()
    anchor, positive, negative = generators.triplets(pool, groups=groups)(epoch)
    assert (anchor == positive).all() and (groups[anchor] != groups[negative]).all()
    query, candidates, place = generators.candidate_sets(pool, m=4, groups=groups)(epoch)
    same = groups[candidates] == groups[query][:, None]
    assert (same.sum(axis=1) == 1).all() and (same.argmax(axis=1) == place).all()


def test_pairs_hold_each_match_once_and_n_different_negatives():
    left, right, label = generators.pairs(POOL, num_negatives=3)(0)
    assert label.dtype == np.float32
    np.testing.assert_array_equal(np.sort(left[label == 1]), POOL)
    np.testing.assert_array_equal(left[label == 1], right[label == 1])
    assert set(right) <= set(POOL)
    for anchor in POOL:
        assert len(set(right[(left == anchor) & (label == 0)])) == 3


def test_negatives_are_uniform_over_the_other_groups():
    groups = np.array([0, 1, 1, 2, 0])
    draw = generators.triplets(np.arange(5), groups=groups)
    drawn = [n for e in range(600) for a, _, n in zip(*draw(e), strict=True) if a == 1]
    counts = np.bincount(drawn, minlength=5)
    assert counts[1] == counts[2] == 0
    assert (np.abs(counts[[0, 3, 4]] - 200) < 60).all()


def test_place_of_the_match_is_spread_over_all_places():
    draw = generators.candidate_sets(POOL, m=4)
    places = np.concatenate([draw(epoch)[2] for epoch in range(50)])
    assert (np.bincount(places, minlength=4) > 40).all()


@pytest.mark.parametrize("make", [generators.pairs, generators.triplets, generators.candidate_sets])
def test_draws_follow_from_seed_and_epoch_alone(make):
    options = {"m": 3} if make is generators.candidate_sets else {}
    draw, again = make(POOL, seed=1, **options), make(POOL, seed=1, **options)
    draw(0)
    for a, b in zip(draw(4), again(4), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(draw(4), draw(5), strict=True))
    other = make(POOL, seed=2, **options)
    assert any((a != b).any() for a, b in zip(draw(4), other(4), strict=True))


def test_mined_negatives_are_the_only_ones_drawn():
    mined = np.array([[3, 5], [2, 5], [2, 3], [9, 11], [8, 11], [8, 9]])
    left, right, label = generators.pairs(POOL, negatives=mined)(0)
    for anchor, negative in zip(left[label == 0], right[label == 0], strict=True):
        assert negative in mined[POOL.tolist().index(anchor)]


def test_a_pool_without_enough_negatives_is_refused():
    with pytest.raises(ValueError, match="5 rights outside its own group; 6 negatives"):
        generators.pairs(POOL, num_negatives=6)
    with pytest.raises(ValueError, match="needs 2 mined negatives"):
        generators.pairs(POOL, num_negatives=2, negatives=POOL[::-1])


def batches(draw, fetch, **options):
    data = generators.dataset(draw, fetch, **{"epoch": generators.Epoch(), **options})
    return data, list(data.as_numpy_iterator())


def test_dataset_of_pairs_looks_up_the_drawn_images():
    draw = generators.pairs(POOL)
    data, drawn = batches(draw, generators.fetch_pairs(LEFT, RIGHT), batch_size=5)
    assert len(data) == len(drawn) == 3
    images = np.concatenate([x for x, _ in drawn])
    assert images.shape == (12, 2, 2, 2, 3) and images.dtype == np.float32
    left, right, label = draw(0)
    np.testing.assert_array_equal(images[:, 0, 0, 0, 0], left)
    np.testing.assert_array_equal(images[:, 1, 0, 0, 0], right + 100)
    np.testing.assert_array_equal(np.concatenate([y for _, y in drawn]), label)


def test_dataset_of_triplets_and_candidates_have_their_shapes():
    fetch = generators.fetch_triplets(LEFT, RIGHT)
    _, [(images, _)] = batches(generators.triplets(POOL), fetch, batch_size=6)
    assert images.shape == (6, 3, 2, 2, 3)
    fetch = generators.fetch_candidates(LEFT, RIGHT)
    _, [(images, place)] = batches(generators.candidate_sets(POOL, m=4), fetch, batch_size=6)
    assert images.shape == (6, 5, 2, 2, 3)
    rows = np.arange(6)
    np.testing.assert_array_equal(images[rows, 0, 0, 0, 0], images[rows, 1 + place, 0, 0, 0] - 100)


def test_dataset_of_translations_scales_the_target():
    draw = generators.pairs(POOL, num_negatives=0)
    fetch = generators.fetch_translations(RIGHT, LEFT)
    _, [(source, target)] = batches(draw, fetch, batch_size=6)
    np.testing.assert_allclose((source - 100) / 255, target, atol=1e-6)


def test_dataset_is_drawn_anew_each_epoch_and_resumes_at_any():
    epoch = generators.Epoch()
    make = lambda epoch: generators.dataset(  # noqa: E731
        generators.pairs(POOL),
        generators.fetch_pairs(LEFT, RIGHT),
        batch_size=12,
        epoch=epoch,
        augment=lambda images, rng: images + rng.integers(100, dtype=np.uint8),
    )
    data, orders = make(epoch), []
    for number in range(3):
        epoch.on_epoch_begin(number)
        orders.append(next(data.as_numpy_iterator())[0])
    assert (orders[0] != orders[1]).any()
    resumed = next(make(generators.Epoch(2)).as_numpy_iterator())[0]
    np.testing.assert_array_equal(orders[2], resumed)


def test_augmentation_draws_from_a_stream_of_its_own():
    seen = []
    data = generators.dataset(
        generators.pairs(POOL, seed=4),
        generators.fetch_pairs(LEFT, RIGHT),
        batch_size=12,
        epoch=generators.Epoch(3),
        augment=lambda images, rng: seen.append(rng.random()) or images,
        seed=4,
    )
    assert len(list(data)) == len(seen) == 1
    assert seen[0] != np.random.default_rng((4, 3)).random()  # that of the pairs


def test_augmentation_takes_every_image_on_its_own():
    flatten = lambda images, rng: images * (np.arange(24) % 2)[:, None, None, None]  # noqa: E731
    data = generators.dataset(
        generators.pairs(POOL, seed=4),
        generators.fetch_pairs(LEFT, RIGHT),
        batch_size=12,
        epoch=generators.Epoch(),
        augment=lambda images, rng: flatten(images, rng).astype(images.dtype),
    )
    [(images, _)] = data.as_numpy_iterator()
    assert (images[:, 0] == 0).all() and (images[:, 1] > 0).all()


def test_shards_share_the_batches():
    draw, fetch = generators.pairs(POOL), generators.fetch_pairs(LEFT, RIGHT)
    data, drawn = batches(draw, fetch, batch_size=2, drop_remainder=True)
    parts = [list(data.shard(2, i).as_numpy_iterator()) for i in range(2)]
    assert [len(part) for part in parts] == [3, 3]
    for i, (images, _) in enumerate(drawn):
        np.testing.assert_array_equal(images, parts[i % 2][i // 2][0])
