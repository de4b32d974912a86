"""Branches share their weights and keep their places; distances and scores by hand."""

import keras
import numpy as np
import tensorflow as tf

from tll_utils import layers, losses

A, B = (1.0, 0.0), (0.0, 1.0)


def floats(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def small_encoder():
    image = keras.Input((8, 6, 3))
    x = keras.layers.Conv2D(4, 3, strides=2)(image)
    return keras.Model(image, keras.layers.Dense(5)(keras.layers.Flatten()(x)))


def test_branches_share_one_encoder():
    encoder = small_encoder()
    images = keras.Input((3, 8, 6, 3))
    model = keras.Model(images, layers.Branches(encoder)(images))
    assert model.count_params() == encoder.count_params()
    assert model.output_shape == (None, 3, 5)
    examples = floats(4, 3, 8, 6, 3)
    embeddings = np.asarray(model(examples))
    for place in range(3):
        np.testing.assert_allclose(embeddings[:, place], encoder(examples[:, place]), atol=1e-5)


def test_branches_take_images_of_a_size_not_known_before():
    image = keras.Input((None, None, 3))
    encoder = keras.Model(image, layers.CellPooling()(layers.Resize((4, 4))(image)))
    images = keras.Input((None, None, None, 3))
    model = keras.Model(images, layers.Branches(encoder)(images))
    examples = floats(2, 3, 9, 5, 3)
    one_by_one = np.stack([encoder(examples[:, place]) for place in range(3)], axis=1)
    np.testing.assert_allclose(model.predict(examples, verbose=0), one_by_one, atol=1e-5)


def test_branches_pass_training_on_to_layers_that_know_it_and_those_that_do_not():
    examples = np.ones((4, 2, 50), np.float32)
    dropout = layers.Branches(keras.layers.Dropout(0.5, seed=0))
    assert (np.asarray(dropout(examples, training=True)) == 0).any()
    assert (np.asarray(dropout(examples)) == 1).all()
    difference = layers.Branches(layers.SignedRoot())
    np.testing.assert_allclose(difference(examples, training=True), examples)


def test_branches_do_not_round_what_the_network_wants_in_full():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        features = keras.Input((2, 1))
        branches = layers.Branches(keras.Sequential([keras.Input((1,)), layers.Standardise()]))
        outputs = branches(features)
    finally:
        keras.config.set_dtype_policy("float32")
    assert outputs.dtype == "float32"
    examples = np.array([[[1025.0], [1027.0]]], np.float32)
    np.testing.assert_array_equal(keras.Model(features, outputs)(examples), examples)


def test_pair_distance_is_euclidean():
    pairs = np.array([[A, B], [A, A], [(3.0, 0.0), (0.0, 4.0)]])
    distances = layers.PairDistance()(pairs)
    np.testing.assert_allclose(distances, [[np.sqrt(2)], [0], [5]], atol=1e-5)


def test_pair_distance_has_a_finite_slope_where_embeddings_coincide():
    pairs = tf.constant([[A, A]])
    with tf.GradientTape() as tape:
        tape.watch(pairs)
        distance = layers.PairDistance()(pairs)
    assert np.isfinite(tape.gradient(distance, pairs)).all()


def test_pair_difference_does_not_depend_on_the_order():
    pairs = np.array([[(1.0, 5.0), (3.0, 2.0)]])
    np.testing.assert_allclose(layers.PairDifference()(pairs), [[2, 3]])
    np.testing.assert_allclose(layers.PairDifference()(pairs[:, ::-1]), [[2, 3]])


def test_candidate_scores_by_hand():
    query, candidates = [1.0, 0.0], [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]]
    scores = layers.CandidateScores()(np.array([[query, *candidates]]))
    np.testing.assert_allclose(scores, [[1.0, 0.5, 0.0, 0.8]], atol=1e-6)


def test_candidates_stay_with_their_query():
    examples = np.array([[A, (2.0, 0.0), (0.0, 2.0)], [B, (-3.0, 0.0), (0.0, 3.0)]])
    unit = layers.Branches(keras.layers.UnitNormalization())
    scores = layers.CandidateScores()(unit(examples))
    np.testing.assert_allclose(scores, [[1.0, 0.5], [0.5, 1.0]], atol=1e-6)


def test_candidate_model_learns():
    keras.utils.set_random_seed(0)
    examples = keras.Input((4, 6))
    head = [keras.Input((6,)), keras.layers.Dense(6), keras.layers.UnitNormalization()]
    embeddings = layers.Branches(keras.Sequential(head))(examples)
    model = keras.Model(examples, layers.CandidateScores()(embeddings))
    model.compile(keras.optimizers.Adam(0.02), losses.CandidateSoftmaxLoss())
    views = floats(64, 4, 6)
    views[:, 2, :3] = views[:, 0, :3]  # the match shares half of the features
    curve = model.fit(views, np.ones(64, int), epochs=15, verbose=0).history["loss"]
    assert curve[-1] < 0.6 * curve[0]


def test_zero_features_give_finite_scores_and_gradients():
    head = [keras.Input((3,)), layers.SignedRoot(smooth=True), layers.Standardise()]
    head = keras.Sequential([*head, keras.layers.Dense(4), keras.layers.UnitNormalization()])
    branches = layers.Branches(head)
    with tf.GradientTape() as tape:
        scores = layers.CandidateScores()(branches(np.zeros((2, 3, 3))))
        loss = tf.reduce_mean(losses.candidate_hinge(np.array([0, 1]), scores, margin=0.2))
    gradients = tape.gradient(loss, head.trainable_variables)
    assert np.isfinite(scores).all() and all(np.isfinite(g).all() for g in gradients)
