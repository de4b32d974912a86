"""Signed root, standardizing and whitening: the numbers, in every precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tll_utils import layers

FLOATS = hnp.arrays(np.float32, (3, 4), elements=st.floats(-1000, 1000, width=32))


def with_weights(layer, *weights):
    layer.build((None, len(weights[0])))
    layer.set_weights([np.asarray(weight, np.float32) for weight in weights])
    return layer


def test_signed_root_by_hand():
    features = np.array([[4.0, -9.0, 0.0]])
    np.testing.assert_allclose(layers.SignedRoot()(features), [[2, -3, 0]], rtol=1e-6)


@given(FLOATS)
@settings(max_examples=25, deadline=None)
def test_smooth_signed_root_stays_near_and_keeps_signs(features):
    root = np.asarray(layers.SignedRoot()(features))
    smooth = np.asarray(layers.SignedRoot(smooth=True)(features))
    np.testing.assert_allclose(smooth, root, atol=1.1e-3)
    assert (smooth * features >= 0).all()


def test_smooth_signed_root_has_a_slope_at_zero():
    zero = tf.zeros((1, 1))
    with tf.GradientTape() as tape:
        tape.watch(zero)
        root = layers.SignedRoot(smooth=True)(zero)
    # Of √(x + ε) at 0: 1 / (2 √ε) = 500, but the sign of 0 is 0.
    assert np.isfinite(tape.gradient(root, zero)).all() and float(root[0, 0]) == 0


def test_standardise_by_hand_and_not_at_all_before_it_is_told():
    features = np.array([[4.0, 1.0], [2.0, 7.0]])
    np.testing.assert_allclose(layers.Standardise()(features), features)
    layer = with_weights(layers.Standardise(), [3, 1], [2, 0])
    np.testing.assert_allclose(layer(features), [[2, 0], [-2, 0]])


def test_standardise_sees_differences_that_bfloat16_rounds_off():
    # Between 1024 and 1032 bfloat16 has nothing; the model's policy must not cost the features.
    features = np.array([[1025.0], [1027.0]], np.float32)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input((1,))
        layer = layers.Standardise()
        model = keras.Model(inputs, layer(inputs))
    finally:
        keras.config.set_dtype_policy("float32")
    layer.set_weights([np.array([1026.0]), np.array([1.0])])
    np.testing.assert_allclose(model.predict(features, verbose=0), [[-1], [1]])


def test_whitening_by_hand():
    layer = with_weights(layers.Whitening(1), [1, 0, 0], [[0], [1], [0]], [3], 0.5)
    # Centered (2, 4, 6): the second direction three times, the others half.
    np.testing.assert_allclose(layer(np.array([[3.0, 4.0, 6.0]])), [[1, 12, 3]])
    cells = np.array([[[3.0, 4.0, 6.0], [1.0, 0.0, 2.0]]])
    np.testing.assert_allclose(layer(cells), [[[1, 12, 3], [0, 0, 1]]])


def test_whitening_is_the_whole_matrix_without_storing_it():
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(6, 3)))
    gains, rest, mean = rng.uniform(1, 2, 3), 0.7, rng.normal(size=6)
    matrix = basis @ np.diag(gains) @ basis.T + rest * (np.eye(6) - basis @ basis.T)
    features = rng.normal(size=(5, 6))
    layer = with_weights(layers.Whitening(3), mean, basis, gains, rest)
    np.testing.assert_allclose(layer(features), (features - mean) @ matrix, atol=1e-5)


def test_whitening_changes_nothing_before_it_is_told():
    features = np.array([[1.0, -2.0]])
    for rank in (0, 2):
        np.testing.assert_allclose(layers.Whitening(rank)(features), features)


def test_whitening_refuses_a_negative_rank():
    with pytest.raises(ValueError, match="Received: rank=-1"):
        layers.Whitening(-1)


def test_closed_forms_are_never_trained():
    model = keras.Sequential([keras.Input((4,)), layers.Standardise(), layers.Whitening(2)])
    assert not model.trainable_weights and len(model.weights) == 6
