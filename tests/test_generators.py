"""What is drawn, that it is drawn anew each epoch, and that it can be drawn again."""

import types

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tll_utils import generators
from tll_utils.images import augmenter
from tll_utils.mining import Mining

POOL = np.array([2, 3, 5, 8, 9, 11])
ALONE = np.arange(12)  # groups in which nothing is a near-duplicate
LEFT = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((12, 2, 2, 3), np.uint8)
VIEWS = types.SimpleNamespace(left=LEFT, right=LEFT + 100)  # image i is all i; its match 100 + i

MAKERS = {
    "pairs": lambda **o: generators.pairs(VIEWS, POOL, groups=ALONE, **{"batch_size": 4, **o}),
    "triplets": lambda **o: generators.triplets(
        VIEWS, POOL, groups=ALONE, **{"batch_size": 4, **o}
    ),
    "matches": lambda **o: generators.matches(
        VIEWS, POOL, **{"batch_size": 4, "drop_remainder": False, **o}
    ),
    "candidate_sets": lambda **o: generators.candidate_sets(
        VIEWS, POOL, groups=ALONE, **{"m": 3, "batch_size": 4, **o}
    ),
    "translations": lambda **o: generators.translations(
        VIEWS.right, VIEWS.left, POOL, **{"batch_size": 4, **o}
    ),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def numbers(batches, epoch=0):
    """What an epoch shows, as the numbers of its images, and the targets."""
    batches.epoch = epoch
    drawn = [batches[i] for i in range(batches.num_batches)]
    return tuple(np.concatenate(part) for part in zip(*drawn, strict=True))


def places(batches, epoch=0):
    """`numbers`, with one number in place of each image."""
    inputs, targets = numbers(batches, epoch)
    return inputs[..., 0, 0, 0].astype(int), targets


groupings = st.lists(st.integers(0, 3), min_size=8, max_size=8).filter(
    lambda groups: max(map(groups.count, groups)) <= 4
)


# -- what is drawn ---------------------------------------------------------------------------------


@given(groupings, st.integers(0, 5), st.permutations(range(12)))
@settings(max_examples=40, deadline=None)
def test_no_generator_pairs_an_anchor_with_its_own_group_or_leaves_the_pool(groups, epoch, order):
    pool, groups = np.array(order)[:8], np.concatenate([groups, [0, 1, 2, 3]])
    groups = groups[np.argsort(order)]
    options = {"groups": groups, "batch_size": 5}
    x, label = places(generators.pairs(VIEWS, pool, num_negatives=2, **options), epoch)
    left, right = x[:, 0], x[:, 1] - 100
    assert (groups[left] != groups[right])[label == 0].all()
    assert (left == right)[label == 1].all() and label.sum() == 8
    assert set(left) == set(pool) and set(right) <= set(pool)

    x, _ = places(generators.triplets(VIEWS, pool, **options), epoch)
    assert sorted(x[:, 0]) == sorted(pool) and (x[:, 0] == x[:, 1] - 100).all()
    assert (groups[x[:, 0]] != groups[x[:, 2] - 100]).all() and set(x[:, 2] - 100) <= set(pool)

    x, place = places(generators.candidate_sets(VIEWS, pool, m=4, **options), epoch)
    query, candidates = x[:, 0], x[:, 1:] - 100
    same = groups[candidates] == groups[query][:, None]
    assert (same.sum(axis=1) == 1).all() and (same.argmax(axis=1) == place).all()
    assert (candidates[np.arange(8), place] == query).all() and set(candidates.ravel()) <= set(pool)


def test_pairs_hold_each_match_once_and_n_different_negatives():
    x, label = places(MAKERS["pairs"](num_negatives=3))
    left, right = x[:, 0], x[:, 1] - 100
    assert label.dtype == np.float32 and len(x) == 24
    np.testing.assert_array_equal(np.sort(left[label == 1]), POOL)
    for anchor in POOL:
        assert len(set(right[(left == anchor) & (label == 0)])) == 3


def test_negatives_are_uniform_over_the_other_groups():
    groups = np.array([0, 1, 1, 2, 0])
    batches = generators.triplets(VIEWS, np.arange(5), groups=groups, batch_size=5)
    drawn = np.concatenate([places(batches, epoch)[0] for epoch in range(600)])
    counts = np.bincount(drawn[drawn[:, 0] == 1, 2] - 100, minlength=5)
    assert counts[1] == counts[2] == 0
    assert (np.abs(counts[[0, 3, 4]] - 200) < 60).all()


def test_place_of_the_match_is_spread_over_all_places():
    found = [places(MAKERS["candidate_sets"](m=4), epoch)[1] for epoch in range(50)]
    assert (np.bincount(np.concatenate(found), minlength=4) > 40).all()


def test_matches_are_the_pool_in_a_new_order_and_whole_batches_only():
    x, _ = places(MAKERS["matches"](drop_remainder=False))
    assert sorted(x[:, 0]) == POOL.tolist() and (x[:, 1] == x[:, 0] + 100).all()
    batches = generators.matches(VIEWS, POOL, batch_size=4)
    assert batches.num_batches == 1 and batches.drop_remainder


def test_translations_scale_the_target():
    x, target = numbers(MAKERS["translations"]())
    assert x.dtype == np.uint8 and target.dtype == np.float32
    np.testing.assert_allclose((x.astype(float) - 100) / 255, target, atol=1e-6)


@makers
def test_images_stay_bytes(make):
    assert make()[0][0].dtype == np.uint8


def test_features_are_drawn_like_images():
    views = types.SimpleNamespace(left=np.eye(12, dtype=np.float32), right=-np.eye(12))
    x, _ = generators.matches(views, POOL, batch_size=6)[0]
    assert x.shape == (6, 2, 12) and set(x[:, 0].argmax(axis=1)) == set(POOL)


# -- mined negatives -------------------------------------------------------------------------------

MINED = np.array([[3, 5], [2, 5], [2, 3], [9, 11], [8, 11], [8, 9]])


def test_mined_negatives_are_the_only_ones_drawn():
    x, label = places(MAKERS["pairs"](negatives=MINED))
    for anchor, negative in x[label == 0]:
        assert negative - 100 in MINED[POOL.tolist().index(anchor)]


@pytest.mark.parametrize("kind", ["pairs", "triplets"])
def test_mining_is_drawn_from_as_soon_as_it_has_mined(kind):
    found = iter([MINED[:, :1], MINED[:, 1:]])
    mining = Mining(lambda epoch: next(found))
    batches, any_right = MAKERS[kind](negatives=mining), MAKERS[kind]()
    np.testing.assert_array_equal(places(batches)[0], places(any_right)[0])
    for column in (0, 1):  # also within the same epoch: what was drawn before is out of date
        mining.on_epoch_begin(0)
        x, label = places(batches)
        x = x[label == 0] if kind == "pairs" else x[:, [0, 2]]
        assert dict(x) == dict(zip(POOL, MINED[:, column] + 100, strict=True))


@pytest.mark.parametrize("mined", [np.arange(6)[::-1, None], POOL[:, None], [[3]] * 3 + [[7]] * 3])
def test_mined_negatives_of_other_pairs_are_refused(mined):
    with pytest.raises(ValueError, match=r"`indices\[rows\]` are the pairs"):
        MAKERS["pairs"](negatives=np.array(mined))


def test_a_pool_without_enough_negatives_is_refused():
    with pytest.raises(ValueError, match="5 rights outside its own group; 6 negatives"):
        MAKERS["pairs"](num_negatives=6)
    with pytest.raises(ValueError, match="needs 2 mined negatives"):
        MAKERS["pairs"](num_negatives=2, negatives=POOL[::-1])
    with pytest.raises(ValueError, match="at least one example.*Received: 0 examples"):
        generators.matches(VIEWS, np.array([], int), batch_size=4)


# -- epochs ----------------------------------------------------------------------------------------


@makers
def test_draws_follow_from_seed_and_epoch_alone(make):
    batches, again = make(seed=1), make(seed=1)
    numbers(batches, 0)
    for a, b in zip(numbers(batches, 4), numbers(again, 4), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (numbers(batches, 4)[0] != numbers(batches, 5)[0]).any()
    assert (numbers(batches, 4)[0] != numbers(make(seed=2), 4)[0]).any()


@makers
def test_a_batch_can_be_asked_for_out_of_order(make):
    batches, again = make(), make()
    last = batches[1][0]
    np.testing.assert_array_equal(again[0][0], batches[0][0])
    np.testing.assert_array_equal(again[1][0], last)


@makers
def test_fixed_examples_are_those_of_epoch_0(make):
    first = numbers(make(), 0)[0]
    np.testing.assert_array_equal(numbers(make(fixed=True), 3)[0], first)


@makers
def test_what_is_done_to_a_batch_does_not_change_the_next_epoch(make):
    batches = make(fixed=True)
    expected = numbers(batches)
    for inputs, targets in (batches[i] for i in range(batches.num_batches)):
        inputs[:], targets[:] = 77, 77  # as TensorFlow, which computes in place where it can
    for found, wanted in zip(numbers(batches), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@makers
def test_batches_are_whole_but_for_the_last_which_may_be_dropped(make):
    rows = 12 if make is MAKERS["pairs"] else 6
    for size in (1, 4, 5, 100):
        sizes = [len(x) for x, _ in list(make(batch_size=size))]
        assert sum(sizes) == rows and set(sizes[:-1]) <= {size} and sizes[-1] <= size
        kept = make(batch_size=size, drop_remainder=True)
        assert {len(x) for x, _ in list(kept)} == {min(size, rows)}
        assert kept.size == rows // min(size, rows) * min(size, rows)


def brighter(images, rng):
    return images + rng.integers(100, size=(len(images), 1, 1, 1), dtype=np.uint8)


def test_augmentation_changes_images_one_by_one_and_follows_from_the_batch():
    plain, augmented = numbers(MAKERS["triplets"]())[0], MAKERS["triplets"](augment=brighter)
    changed = numbers(augmented)[0]
    assert changed.shape == plain.shape
    assert len(np.unique(changed.astype(int) - plain)) > 6
    np.testing.assert_array_equal(numbers(MAKERS["triplets"](augment=brighter))[0], changed)
    by = [(numbers(augmented, e)[0].astype(int) - numbers(MAKERS["triplets"](), e)[0]).tolist()
          for e in (0, 1)]  # fmt: skip
    assert by[0] != by[1]


def test_augmentation_draws_from_a_stream_of_its_own():
    seen = []
    batches = MAKERS["pairs"](
        seed=4, batch_size=12, augment=lambda images, rng: seen.append(rng.random()) or images
    )
    numbers(batches, 3)
    assert len(seen) == 1 and seen[0] != np.random.default_rng((4, 3)).random()  # the pairs' own


# -- fingerprints ----------------------------------------------------------------------------------


@makers
def test_fingerprint_does_not_follow_the_epoch(make):
    batches = make()
    before = batches.fingerprint()
    numbers(batches, 3)
    assert batches.fingerprint() == before == make().fingerprint()


@makers
def test_fingerprint_changes_with_settings(make):
    settings = [{}, {"seed": 1}, {"batch_size": 3}, {"fixed": True}, {"augment": brighter}]
    if make is not MAKERS["pairs"]:  # twelve examples make whole batches anyway
        settings.append({"drop_remainder": True})
    assert len({make(**options).fingerprint() for options in settings}) == len(settings)


def test_fingerprint_changes_with_data_groups_pool_and_options_of_augmentation():
    other = types.SimpleNamespace(left=LEFT.copy(), right=LEFT + 100)
    other.left[POOL[-1], 0, 0, 0] ^= 1
    unused = types.SimpleNamespace(left=LEFT.copy(), right=LEFT + 100)
    unused.left[0] ^= 1
    twins = ALONE.copy()
    twins[POOL[0]] = twins[POOL[1]]

    def print_of(views=VIEWS, pool=POOL, groups=ALONE, **options):
        return generators.pairs(views, pool, groups=groups, batch_size=4, **options).fingerprint()

    turns = [augmenter(rotation=angle) for angle in (0.05, 0.25)]
    prints = [print_of(), print_of(other), print_of(pool=POOL[:-1]), print_of(groups=twins)]
    prints += [print_of(augment=augment) for augment in (*turns, brighter)]
    prints += [print_of(num_negatives=2), print_of(negatives=MINED)]
    assert len(set(prints)) == len(prints)
    assert print_of(unused) == prints[0]
    assert print_of(augment=augmenter(rotation=0.25)) == print_of(augment=turns[1])


# -- with Keras alone ------------------------------------------------------------------------------


def test_keras_fit_takes_the_batches_and_draws_anew_each_epoch():
    def seen():
        drawn = []

        class Seen(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                drawn.append(places(batches, batches.epoch)[0].tolist())

        batches = MAKERS["triplets"]()
        model = keras.Sequential([keras.Input((3, 2, 2, 3)), keras.layers.Conv3D(1, 2)])
        model.compile(loss=lambda y_true, y_pred: y_pred[:, 0, 0, 0, 0])
        history = model.fit(batches, epochs=3, verbose=0, callbacks=[Seen()]).history
        assert len(history["loss"]) == 3
        return drawn

    drawn = seen()
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0] and seen() == drawn
