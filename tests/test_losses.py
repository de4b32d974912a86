"""Every loss by hand arithmetic, then what they have in common."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tll_utils import losses

A, B = (1.0, 0.0), (0.0, 1.0)
TRIPLET = np.array([[A, B, A]], "float32")  # squared distances 2 and 0
PAIRS = np.array([[A, A], [B, B]], "float32")
SCORES = np.array([[0.2, 0.9, 0.5], [0.2, 0.9, 0.5]], "float32")

ALL_LOSSES = [
    (losses.ContrastiveLoss(margin=0.4), [1.0, 0.0], [0.3, 0.1]),
    (losses.HingeDistanceLoss(margin=0.4), [1.0, 0.0], [0.3, 0.1]),
    (losses.TripletLoss(margin=0.4, squared=False), [0.0], TRIPLET),
    (losses.InBatchSoftmaxLoss(temperature=0.4), [0.0, 0.0], PAIRS),
    (losses.CandidateHingeLoss(margin=0.4), [1, 0], SCORES),
]


def per_sample(loss, y_true, y_pred):
    return np.asarray(loss.call(np.asarray(y_true), np.asarray(y_pred, "float32")))


def test_binary_cross_entropy_by_hand():
    loss = keras.losses.BinaryCrossentropy(reduction=None)
    value = np.asarray(loss(np.array([[1.0], [0.0]]), np.array([[0.8], [0.8]])))
    np.testing.assert_allclose(value, [-np.log(0.8), -np.log(0.2)], rtol=1e-5)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_contrastive_by_hand(shape):
    labels = np.reshape([1, 1, 0, 0], shape)
    distances = np.reshape([0.0, 0.4, 0.2, 0.7], shape)
    value = per_sample(losses.ContrastiveLoss(margin=0.5), labels, distances)
    np.testing.assert_allclose(value, [0.0, 0.5 * 0.16, 0.5 * 0.09, 0.0], atol=1e-6)


def test_contrastive_draws_matches_together_and_not_the_others():
    near, far = [0.1], [0.4]
    loss = losses.ContrastiveLoss(margin=0.5)
    assert per_sample(loss, [1], near) < per_sample(loss, [1], far)
    assert per_sample(loss, [0], near) > per_sample(loss, [0], far)


def test_hinge_distance_by_hand():
    value = per_sample(losses.HingeDistanceLoss(margin=1.0), [1, 1, 0, 0], [0.0, 0.5, 0.3, 1.2])
    np.testing.assert_allclose(value, [1.0, 1.5, 0.7, 0.0], atol=1e-6)


def test_triplet_by_hand():
    assert per_sample(losses.TripletLoss(margin=0.5), [0], TRIPLET) == pytest.approx(2.5)


def test_triplet_with_plain_distances_by_hand():
    loss = losses.TripletLoss(margin=0.5, squared=False)
    assert per_sample(loss, [0], TRIPLET) == pytest.approx(np.sqrt(2) + 0.5, abs=1e-5)


def test_triplet_is_free_beyond_the_margin():
    assert per_sample(losses.TripletLoss(margin=0.5), [0], [[A, A, B]]) == 0.0


def test_triplet_slope_is_finite_where_embeddings_coincide():
    import tensorflow as tf

    embeddings = tf.constant([[A, A, A]])
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = losses.triplet(embeddings, margin=0.5, squared=False)
    assert np.isfinite(tape.gradient(value, embeddings)).all()


def test_in_batch_softmax_by_hand():
    # Similarities are the identity: each match scores 1 against one 0, both ways.
    value = per_sample(losses.InBatchSoftmaxLoss(temperature=1.0), [0, 0], PAIRS)
    np.testing.assert_allclose(value, [np.log(1 + np.exp(-1.0))] * 2, rtol=1e-5)


def test_in_batch_softmax_looks_both_ways():
    # left a, a; right a, b: row 1 prefers its match, row 2 the other's; columns tie.
    pairs = np.array([[A, A], [A, B]], "float32")
    row = np.log(1 + np.exp(-1.0)), np.log(1 + np.exp(1.0))
    value = per_sample(losses.InBatchSoftmaxLoss(temperature=1.0), [0, 0], pairs)
    np.testing.assert_allclose(value, [(r + np.log(2)) / 2 for r in row], rtol=1e-5)


def test_in_batch_softmax_of_a_constant_is_log_of_the_batch():
    value = per_sample(losses.InBatchSoftmaxLoss(), [0] * 5, [[A, A]] * 5)
    np.testing.assert_allclose(value, [np.log(5)] * 5, rtol=1e-5)


@pytest.mark.parametrize("y_true", [[1, 0], [[1], [0]], [[0, 1, 0], [1, 0, 0]]])
def test_candidate_hinge_by_hand_for_places_and_one_hot(y_true):
    value = per_sample(losses.CandidateHingeLoss(margin=1.0), y_true, SCORES)
    np.testing.assert_allclose(value, [0.5 - 0.9 + 1, 0.9 - 0.2 + 1], atol=1e-6)


@given(st.permutations(range(6)), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_candidate_hinge_does_not_depend_on_the_order_of_candidates(order, place):
    scores = np.linspace(0.1, 0.9, 6, dtype="float32")[None]
    loss = losses.CandidateHingeLoss()
    moved = per_sample(loss, [order.index(place)], scores[:, order])
    assert moved == pytest.approx(per_sample(loss, [place], scores))


def test_candidate_softmax_is_kerass_own_cross_entropy():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    value = np.asarray(loss(np.array([1]), np.array([[0.0, np.log(2.0), 0.0]])))
    np.testing.assert_allclose(value, [np.log(2.0)], rtol=1e-5)


@pytest.mark.parametrize("y_true", [[0, 1, 2], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]])
def test_top_k_counts_ranks_and_ties_against(y_true):
    scores = np.array([[0.1, 0.9, 0.8], [0.1, 0.7, 0.8], [0.5, 0.5, 0.5]], "float32")
    metric = losses.CandidateTopK(k=2)
    metric.update_state(np.array(y_true), scores)  # ranks 3, 2 and a three-way tie
    assert float(metric.result()) == pytest.approx(1 / 3)


def test_top_k_survives_its_config():
    metric = losses.CandidateTopK(k=3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    again.update_state(np.array([0]), np.array([[0.1, 0.2, 0.3, 0.0]]))  # rank 3
    assert again.name == "top_3" and float(again.result()) == 1.0


@pytest.mark.parametrize("loss, y_true, y_pred", ALL_LOSSES, ids=lambda value: type(value).__name__)
def test_losses_average_per_sample_values_and_survive_their_config(loss, y_true, y_pred):
    values = per_sample(loss, y_true, y_pred)
    assert values.shape == (len(y_true),)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    total = float(again(np.asarray(y_true), np.asarray(y_pred, "float32")))
    assert total == pytest.approx(values.mean(), rel=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: losses.ContrastiveLoss(margin=0),
        lambda: losses.HingeDistanceLoss(margin=-1),
        lambda: losses.TripletLoss(margin=0),
        lambda: losses.InBatchSoftmaxLoss(temperature=0),
        lambda: losses.CandidateHingeLoss(margin=float("nan")),
        lambda: losses.CandidateTopK(k=0),
    ],
)
def test_losses_refuse_what_is_not_positive(make):
    with pytest.raises(ValueError, match=r"must be positive. Received: (margin|temperature|k)="):
        make()
