"""Every loss by hand arithmetic, then what they have in common."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tll_utils import losses

A, B = (1.0, 0.0), (0.0, 1.0)
TRIPLET = np.array([[A, B, A]], "float32")  # squared distances 2 and 0
PAIRS = np.array([[A, A], [B, B]], "float32")
SCORE_ROWS = hnp.arrays(np.float32, (3, 5), elements=st.floats(0, 1, width=32))
SCORES = np.array([[0.2, 0.9, 0.5], [0.2, 0.9, 0.5]], "float32")

ALL_LOSSES = [
    (losses.ContrastiveLoss(margin=0.4), [1.0, 0.0], [0.3, 0.1]),
    (losses.HingeDistanceLoss(margin=0.4), [1.0, 0.0], [0.3, 0.1]),
    (losses.TripletLoss(margin=0.4), [0.0], TRIPLET),
    (losses.InBatchSoftmaxLoss(temperature=0.4), [0.0, 0.0], PAIRS),
    (losses.CandidateHingeLoss(margin=0.4), [1, 0], SCORES),
    (losses.CandidateSoftmaxLoss(temperature=0.4), [1, 0], SCORES),
]
IDS = [type(loss).__name__ for loss, _, _ in ALL_LOSSES]


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


def test_triplet_is_free_beyond_the_margin():
    assert per_sample(losses.TripletLoss(margin=0.5), [0], [[A, A, B]]) == 0.0


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


@pytest.mark.parametrize("y_true", [[1, 0], [[1], [0]]])
def test_candidate_hinge_by_hand(y_true):
    value = per_sample(losses.CandidateHingeLoss(margin=1.0), y_true, SCORES)
    np.testing.assert_allclose(value, [0.5 - 0.9 + 1, 0.9 - 0.2 + 1], atol=1e-6)


@given(st.permutations(range(6)), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_candidate_hinge_does_not_depend_on_the_order_of_candidates(order, place):
    scores = np.linspace(0.1, 0.9, 6, dtype="float32")[None]
    loss = losses.CandidateHingeLoss()
    moved = per_sample(loss, [order.index(place)], scores[:, order])
    assert moved == pytest.approx(per_sample(loss, [place], scores))


@given(scores=SCORE_ROWS, place=st.integers(0, 4), margin=st.floats(0.1, 2))
@settings(max_examples=25, deadline=None)
def test_candidate_hinge_of_one_is_kerass_categorical_hinge(scores, place, margin):
    # Keras's asks for a margin of 1; scores and loss in units of the margin are the same thing.
    places = [place] * len(scores)
    one_hot = np.eye(5, dtype="float32")[places]
    found = per_sample(losses.CandidateHingeLoss(margin=margin), places, scores)
    oracle = keras.losses.CategoricalHinge(reduction=None)
    # Keras lets the match itself, as 0, take part in the race: scores above 0 outrun it.
    expected = margin * np.asarray(oracle(one_hot, (scores + 1) / margin))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@given(scores=SCORE_ROWS, place=st.integers(0, 4), temperature=st.floats(0.05, 2))
@settings(max_examples=25, deadline=None)
def test_candidate_softmax_is_kerass_own_cross_entropy(scores, place, temperature):
    places = np.full(len(scores), place)
    oracle = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    found = per_sample(losses.CandidateSoftmaxLoss(temperature=temperature), places, scores)
    expected = oracle(places, scores / np.float32(temperature))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_candidate_softmax_of_equal_scores_is_log_of_their_number():
    value = per_sample(losses.CandidateSoftmaxLoss(), [3], [[0.5] * 20])
    np.testing.assert_allclose(value, [np.log(20)], rtol=1e-5)


@given(views=hnp.arrays(np.float32, (4, 2, 3), elements=st.floats(-1, 1, width=32)))
@settings(max_examples=25, deadline=None)
def test_in_batch_softmax_is_kerass_cross_entropy_of_rows_and_columns(views):
    oracle = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
    logits, places = views[:, 0] @ views[:, 1].T / np.float32(0.2), np.arange(4)
    both = [np.asarray(oracle(places, way)) for way in (logits, logits.T)]
    found = per_sample(losses.InBatchSoftmaxLoss(temperature=0.2), places, views)
    np.testing.assert_allclose(found, np.mean(both, axis=0), rtol=1e-4, atol=1e-4)


def test_in_batch_softmax_alone_asks_for_the_whole_batch():
    over_batch = {type(loss).__name__ for loss, _, _ in ALL_LOSSES if hasattr(loss, "over_batch")}
    assert over_batch == {"InBatchSoftmaxLoss"} and losses.InBatchSoftmaxLoss.over_batch is True


def test_top_k_counts_ranks_and_ties_against():
    scores = np.array([[0.1, 0.9, 0.8], [0.1, 0.7, 0.8], [0.5, 0.5, 0.5]], "float32")
    metric = losses.CandidateTopK(k=2)
    metric.update_state(np.arange(3), scores)  # ranks 3, 2 and a three-way tie
    assert float(metric.result()) == pytest.approx(1 / 3)


def test_top_k_counts_what_is_no_number_against():
    scores = np.array([[np.nan] * 4, [0.9, np.nan, 0.1, 0.1], [np.nan, 0.9, 0.8, 0.1]], "float32")
    hits = losses.candidate_top_k(np.zeros(3, int), scores)
    np.testing.assert_array_equal(hits, [0, 1, 0])  # ranks 4, 2 and 4


def test_top_k_is_kerass_where_no_scores_tie():
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(6, dtype="float32"), (50, 1)), axis=1)
    places = rng.integers(0, 6, 50)
    oracle = keras.metrics.SparseTopKCategoricalAccuracy(k=2)
    found = losses.CandidateTopK(k=2)
    for metric in (oracle, found):
        metric.update_state(places, scores)
    assert float(found.result()) == pytest.approx(float(oracle.result()))


def test_top_k_survives_its_config():
    metric = losses.CandidateTopK(k=3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    again.update_state(np.array([0]), np.array([[0.1, 0.2, 0.3, 0.0]]))  # rank 3
    assert again.name == "top_3" and float(again.result()) == 1.0


@pytest.mark.parametrize("loss, y_true, y_pred", ALL_LOSSES, ids=IDS)
def test_losses_average_per_sample_values_and_survive_their_config(loss, y_true, y_pred):
    values = per_sample(loss, y_true, y_pred)
    assert values.shape == (len(y_true),)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()
    total = float(again(np.asarray(y_true), np.asarray(y_pred, "float32")))
    assert total == pytest.approx(values.mean(), rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("loss, y_true, y_pred", ALL_LOSSES, ids=IDS)
def test_losses_compute_in_float32_whatever_the_network_gives(loss, y_true, y_pred, dtype):
    rounded = keras.ops.cast(np.asarray(y_pred, "float32"), dtype)
    value = loss.call(np.asarray(y_true), rounded)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    again = per_sample(loss, y_true, keras.ops.cast(rounded, "float32"))
    np.testing.assert_allclose(value, again, rtol=1e-6)


@pytest.mark.parametrize("loss, y_true, y_pred", ALL_LOSSES, ids=IDS)
def test_losses_reload_with_the_model_in_safe_mode(loss, y_true, y_pred, tmp_path):
    inputs = keras.Input(np.shape(y_pred)[1:])
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    model.compile("sgd", loss, metrics=[losses.CandidateTopK(k=3)] if y_pred is SCORES else [])
    examples = np.asarray(y_true), np.asarray(y_pred, "float32")
    expected = model.evaluate(examples[1], examples[0], verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    found = again.evaluate(examples[1], examples[0], verbose=0, return_dict=True)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: losses.ContrastiveLoss(margin=0),
        lambda: losses.HingeDistanceLoss(margin=-1),
        lambda: losses.TripletLoss(margin=float("inf")),
        lambda: losses.InBatchSoftmaxLoss(temperature=0),
        lambda: losses.CandidateHingeLoss(margin=float("nan")),
        lambda: losses.CandidateSoftmaxLoss(temperature=-0.1),
    ],
)
def test_losses_refuse_what_is_not_positive(make):
    with pytest.raises(ValueError, match=r"must be positive.* Received: (margin|temperature)="):
        make()


@pytest.mark.parametrize("k", [0, -1, 1.5])
def test_top_k_refuses_what_is_not_a_place(k):
    with pytest.raises(ValueError, match=f"at least 1. Received: k={k}"):
        losses.CandidateTopK(k=k)
