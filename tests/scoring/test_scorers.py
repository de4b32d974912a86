"""Scorers: what they encode, how often, and that lists change nothing."""

import keras
import numpy as np
import pytest
from keras import layers

from tll_utils import scoring

CANDIDATES = np.array([[1, 4, 0], [5, 1, 1]])


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(8, 5)).astype("float32")


def encoder(seed=0, dim=4):
    start = keras.initializers.GlorotUniform(seed=seed)
    return keras.Sequential(
        [keras.Input((5,)), layers.Dense(dim, kernel_initializer=start)], name="encoder"
    )


def similarity(dim=4, seed=0):
    """A network of two embeddings that is not symmetric, so that a swap would show."""
    sides = {side: keras.Input((dim,), name=side) for side in ("left", "right")}
    start = keras.initializers.GlorotUniform(seed=seed)
    pair = layers.Concatenate()([sides["left"], sides["right"]])
    return keras.Model(sides, layers.Dense(1, kernel_initializer=start)(pair), name="similarity")


def embedded(model, inputs):
    return keras.ops.convert_to_numpy(model(inputs))


def test_cosine_of_nothing_compares_the_arrays():
    queries, gallery = np.array([[3.0, 0.0]]), np.array([[0.0, 2.0], [5.0, 0.0], [3.0, 4.0]])
    scores = scoring.cosine_of()(queries, gallery, np.array([[2, 0, 1]]))
    np.testing.assert_allclose(scores, [[0.6, 0, 1]], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "score"),
    [
        (scoring.cosine_of, scoring.cosine_scores),
        (scoring.distance_of, scoring.euclidean_scores),
    ],
)
def test_scorers_compare_what_the_encoder_gives(features, make, score):
    model = encoder()
    scorer = make(model, batch_size=3)
    expected = score(embedded(model, features[:2]), embedded(model, features), CANDIDATES)
    scores = scorer(features[:2], features, CANDIDATES)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    assert scorer.encoder is model and scorer.network is None


def test_distance_of_is_higher_for_the_nearer():
    queries, gallery = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [1.0, 0.0]])
    np.testing.assert_allclose(
        scoring.distance_of()(queries, gallery, np.array([[0, 1]])), [[-5, -1]]
    )


def test_a_layer_is_an_encoder(features):
    layer = layers.Rescaling(-2.0)
    scores = scoring.cosine_of(layer)(features[:1], features, np.array([[0, 1]]))
    plain = scoring.cosine_scores(features[:1], features, np.array([[0, 1]]))
    np.testing.assert_allclose(scores, plain, rtol=1e-5)


@pytest.mark.parametrize("pairs_at_once", [1, 4, 100])
def test_similarity_of_asks_the_network_pair_by_pair(features, monkeypatch, pairs_at_once):
    model, network = encoder(), similarity()
    scorer = scoring.similarity_of(model, network)
    monkeypatch.setattr(scorer, "pairs_at_once", pairs_at_once)
    scores = scorer(features[:2], features, CANDIDATES)
    pair = {"left": embedded(model, features[1:2]), "right": embedded(model, features[5:6])}
    assert scores.shape == (2, 3) and scores.dtype == np.float32
    assert scores[1, 0] == pytest.approx(embedded(network, pair)[0, 0], abs=1e-6)
    assert scores[1, 1] == scores[1, 2]  # the same candidate twice
    assert scorer.encoder is model and scorer.network is network


@keras.saving.register_keras_serializable(package="tests")
class Counting(layers.Layer):
    """Remembers the first number of every row that it sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, inputs):
        self.seen += keras.ops.convert_to_numpy(inputs)[:, 0].tolist()
        return inputs


def test_each_listed_image_is_encoded_once_and_no_other(features):
    counting = Counting()
    scoring.cosine_of(counting, batch_size=2)(features[:2], features, CANDIDATES)
    expected = [*features[:2, 0], *features[[0, 1, 4, 5], 0]]
    assert counting.seen == pytest.approx(expected)


def test_similarity_of_refuses_a_network_of_one_input(features):
    with pytest.raises(ValueError, match="'left': …, 'right': …"):
        scoring.similarity_of(None, encoder())
