"""Feature integration: one form for images, one for stored features, the same numbers in both."""

import keras
import numpy as np
import pytest

from tll_utils.models import look_alike

TAPS = {"low": 3, "middle": 4, "high": 5}
DIM = 6


def small_backbone():
    """Three feature maps of 3, 4 and 5 channels, shallow to deep."""
    images = keras.Input((8, 8, 3))
    maps, x = {}, images
    for tap, channels in TAPS.items():
        x = maps[tap] = keras.layers.Conv2D(channels, 3, activation="relu", name=tap)(x)
    return keras.Model(images, maps, name="small")


def pooled(maps):
    return np.concatenate([np.mean(m, axis=(1, 2)) for m in maps.values()], axis=1)


@pytest.fixture
def model():
    return look_alike.integration_model(TAPS, embedding_dim=DIM, seed=1)


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(7, 12)).astype("float32")


def test_integration_is_the_weighed_sum_of_projected_taps(model, features):
    combine = model.get_layer("combine")
    combine.set_weights([np.array([2.0, -1.0, 0.5]).reshape(1, 3, 1)])
    low, middle, high = (model.get_layer(f"project_{tap}").kernel.numpy() for tap in TAPS)
    wanted = 2 * features[:, :3] @ low - features[:, 3:7] @ middle + 0.5 * features[:, 7:] @ high
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(model(features), wanted, atol=1e-5)


def test_convolution_then_pooling_equals_pooling_then_dense(model):
    rng = np.random.default_rng(3)
    backbone = small_backbone()
    target = look_alike.image_model(backbone, embedding_dim=DIM)
    mean, scale = rng.normal(size=12), rng.uniform(0.5, 2, 12)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    look_alike.copy_to_image_model(model, target, mean=mean, scale=scale)

    images = rng.uniform(0, 1, (4, 8, 8, 3)).astype("float32")
    stored = pooled({tap: np.asarray(m) for tap, m in backbone(images).items()})
    on_features = np.asarray(model(((stored - mean) * scale).astype("float32")))
    np.testing.assert_allclose(np.asarray(target(images)), on_features, atol=1e-5)


def test_only_the_added_layers_train_over_a_frozen_backbone():
    backbone = small_backbone()
    backbone.trainable = False
    target = look_alike.image_model(backbone, embedding_dim=DIM)
    # Per tap a kernel and a bias, and the weights of the stack.
    assert sum(np.prod(w.shape) for w in target.trainable_weights) == 12 * DIM + 3 * DIM + 3


def test_image_model_stacks_a_ready_embedding_as_it_is():
    images = keras.Input((4, 4, 3))
    ready = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(DIM, 1)(images))
    target = look_alike.image_model(
        keras.Model(images, {"map": images, "embedding": ready}), embedding_dim=DIM
    )
    assert target.get_layer("stack").output.shape == (None, DIM, 2)
    assert [w.path.split("/")[0] for w in target.trainable_weights if "project" in w.path] == [
        "project_map", "project_map",
    ]  # fmt: skip


def test_set_projection_starts_from_one_linear_map(model, features):
    projection = np.random.default_rng(1).normal(size=(12, DIM)).astype("float32")
    look_alike.set_projection(model, projection)
    wanted = features @ projection
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(model(features), wanted, atol=1e-5)


def test_set_projection_refuses_another_shape(model):
    with pytest.raises(ValueError, match=r"\(12, 6\).*Received: \(12, 5\)"):
        look_alike.set_projection(model, np.zeros((12, 5)))


def test_tap_shares_follow_the_hand_computed_split():
    model = look_alike.integration_model({"a": 2, "b": 2}, embedding_dim=2)
    look_alike.set_projection(model, np.tile(np.eye(2, dtype="float32"), (2, 1)))
    # left = a + b = (2, 0) + (1, 0), right = (1, 0) + (0, 0): product 3, of which, taken from
    # the left, a has 2 and b 1, and from the right a has 3 and b 0. Mean 2.5 and 0.5.
    shares = look_alike.tap_shares(model, np.array([[2, 0, 1, 0]]), np.array([[1, 0, 0, 0]]))
    assert shares == pytest.approx({"a": 2.5 / 3, "b": 0.5 / 3}, abs=1e-6)


def test_saved_model_returns_the_same_features(model, features, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(features), model(features), atol=1e-6)
