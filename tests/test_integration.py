"""Learning look-alike features: scaling, closed-form start, training, and lists of any length."""

import keras
import numpy as np
import pytest

from tll_utils import integration
from tll_utils.features import Views
from tll_utils.integration import Training
from tll_utils.models import look_alike

TAPS = {"low": 3, "middle": 4, "high": 5}


def matched_pairs(n=24):
    """Left and right agree in four of twelve features and differ in the rest."""
    rng = np.random.default_rng(5)
    left, right = 2 * rng.normal(size=(2, n, 12)).astype("float32")
    left[:, :4] = right[:, :4] = rng.normal(size=(n, 4))
    return left, right


def as_views(features):
    """Two views of each row: itself, twice."""
    return np.stack([features, features], axis=1)


def top_1(left, right):
    return np.mean((left @ right.T).argmax(axis=1) == np.arange(len(left)))


def test_join_taps_keeps_taps_in_order_and_versions_apart():
    def features(offset):
        roles = [np.full((n, 2), n + offset) for n in (3, 3, 2, 4)]
        wide = [np.full((n, 1), -n - offset) for n in (3, 3, 2, 4)]
        return {"a/avg": Views(*roles), "b/avg": Views(*wide), "b/max": Views(*wide)}

    views, tap_dims = integration.join_taps([features(0.0), features(0.5)])
    assert tap_dims == {"a": 2, "b": 1}
    np.testing.assert_array_equal(views.query[0], [[2, 2, -2], [2.5, 2.5, -2.5]])
    assert [role.shape for role in views] == [(3, 2, 3), (3, 2, 3), (2, 2, 3), (4, 2, 3)]


def test_only_taps_drops_the_channels_of_the_others():
    views = Views(*[np.arange(12.0)[None, None]] * 4)
    kept, tap_dims = integration.only_taps(views, TAPS, ["high", "low"])
    assert tap_dims == {"low": 3, "high": 5}
    np.testing.assert_array_equal(kept.left[0, 0], [0, 1, 2, 7, 8, 9, 10, 11])


def test_equal_taps_gives_each_tap_the_same_energy():
    rng = np.random.default_rng(0)
    left, right = rng.normal(3, 5, size=(2, 50, 2, 12))
    scaling = integration.equal_taps(left, right, TAPS)
    scaled = scaling(np.concatenate([left, right]).reshape(-1, 12))
    energy = (scaled**2).mean(axis=0)
    # Three channels of variance 1/3, four of 1/4, five of 1/5.
    np.testing.assert_allclose(energy, np.repeat([1 / 3, 1 / 4, 1 / 5], [3, 4, 5]), rtol=1e-4)


def test_whitened_start_prefers_what_matched_images_share():
    left, right = matched_pairs(200)
    projection = integration.whitened_start(left, right, dim=4, shrinkage=0.1)
    energy = (projection**2).sum(axis=1)
    assert energy[:4].sum() > 0.9 * energy.sum()


def test_whitened_start_pads_what_few_pairs_cannot_fill():
    left, right = matched_pairs(4)
    projection = integration.whitened_start(left, right, dim=20)
    assert projection.shape == (12, 20)
    assert not projection[:, 12:].any()


@pytest.mark.parametrize("loss", ["triplet", "softmax"])
def test_fit_finds_what_matched_images_share(loss):
    left, right = matched_pairs()
    model = look_alike.integration_model(TAPS, embedding_dim=6, seed=1)
    before = top_1(np.asarray(model(left)), np.asarray(model(right)))
    training = Training(loss=loss, epochs=30, learning_rate=0.03, batch_size=12)
    history = integration.fit(model, left, right, training)
    assert len(history) == 30
    assert history[-1] < 0.6 * history[0]
    assert top_1(np.asarray(model(left)), np.asarray(model(right))) > before + 0.2


def test_learn_without_epochs_is_the_closed_form_and_with_a_seed_it_repeats():
    left, right = map(as_views, matched_pairs())
    untrained = integration.learn(left, right, TAPS, Training(epochs=0), embedding_dim=6)
    scaled = [untrained.scaling(v[:, 0]) for v in (left, right)]
    wanted = scaled[0] @ integration.whitened_start(*scaled, dim=6)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(untrained(left), wanted, atol=1e-4)

    training = Training(epochs=2, batch_size=8)
    once, again = (
        integration.learn(left, right, TAPS, training, embedding_dim=6, seed=3) for _ in range(2)
    )
    np.testing.assert_allclose(once(left), again(left), atol=1e-6)
    assert np.abs(once(left) - untrained(left)).max() > 1e-3


def test_groups_keep_near_duplicates_from_being_negatives(monkeypatch):
    seen = []

    def margin_violating(anchors, positives, *, margin, groups, seed):
        seen.append(groups)
        return np.zeros((len(anchors), 1), int)

    monkeypatch.setattr(integration.mining, "margin_violating", margin_violating)
    left, right = matched_pairs()
    model = look_alike.integration_model(TAPS, embedding_dim=6)
    groups = np.arange(24) // 2
    integration.fit(model, left, right, Training(epochs=1), groups=groups)
    assert len(seen) == 1 and seen[0] is groups


def test_training_refuses_an_unknown_loss():
    with pytest.raises(ValueError, match="'contrastive'"):
        Training(loss="contrastive")


def test_random_view_takes_each_row_from_its_own_views():
    views = np.arange(5)[:, None, None] + np.array([0.0, 0.5])[None, :, None]
    rngs = map(np.random.default_rng, range(9))
    drawn = [integration.random_view(views, rng)[:, 0] for rng in rngs]
    np.testing.assert_array_equal(np.floor(drawn), np.tile(np.arange(5), (9, 1)))
    assert {0.0, 0.5} == set(np.ravel(np.mod(drawn, 1)).tolist())


@pytest.mark.parametrize("axis", [1, 2])
def test_random_flip_mirrors_about_half_along_its_axis(axis):
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 3)).astype("uint8")
    flipped = integration.random_flip(axis)(images, np.random.default_rng(1))
    kept = (flipped == images).all(axis=(1, 2, 3))
    mirrored = (flipped == np.flip(images, axis)).all(axis=(1, 2, 3))
    assert np.all(kept ^ mirrored)
    assert 10 < mirrored.sum() < 30


def test_images_train_end_to_end():
    images = keras.Input((6, 6, 3))
    maps = keras.layers.Conv2D(4, 3, name="conv")(images)
    model = look_alike.image_model(keras.Model(images, {"conv": maps}), embedding_dim=3)
    pixels = np.random.default_rng(0).uniform(0, 1, (2, 8, 6, 6, 3)).astype("float32")
    before = [w.numpy() for w in model.trainable_weights]
    history = integration.fit(
        model, *pixels, Training(epochs=2, batch_size=4), augment=integration.random_flip(2)
    )
    assert np.isfinite(history).all()
    moved = [
        np.abs(w.numpy() - b).max() for w, b in zip(model.trainable_weights, before, strict=True)
    ]
    assert min(moved) > 0


def test_accuracy_by_list_length_counts_by_hand():
    # Left 0 finds its match, left 1 prefers right 0: with both rights in the list, one of two.
    similarity = np.array([[0.9, 0.1], [0.8, 0.3]])
    accuracy = integration.accuracy_by_list_length(
        similarity, np.zeros(2, int), lengths=(2, 3), ks=(1, 2)
    )
    assert accuracy[2, 1] == 0.5
    assert accuracy[2, 2] == 1.0
    assert np.isnan(accuracy[3, 1])


def test_accuracy_by_list_length_gives_a_constant_scorer_nothing():
    accuracy = integration.accuracy_by_list_length(
        np.ones((12, 12)), np.zeros(12, int), lengths=(6,), ks=(1, 5)
    )
    assert set(accuracy.values()) == {0.0}
