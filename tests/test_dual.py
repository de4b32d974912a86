"""The candidate network: shapes, values, equivalence of its roads, saving, other backends."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from tll_utils import losses
from tll_utils.models import dual

DIMS = (5, 4)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def head(**options):
    return dual.feature_head(DIMS, **{"units": 6, "seed": 3, **options})


def floats(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def test_candidate_scores_by_hand():
    query, candidates = [1.0, 0.0], [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]]
    scores = dual.CandidateScores(4)(np.array([query, *candidates], np.float32))
    np.testing.assert_allclose(scores, [[1.0, 0.5, 0.0, 0.8]], atol=1e-6)


def test_candidates_stay_with_their_query():
    # Folding into the batch axis must not shuffle: query i looks at its own m rows only.
    encoder = keras.Sequential([keras.Input((2,)), dual.UnitLength()])
    model = dual.candidate_model(encoder, num_candidates=2)
    query = np.array([[1, 0], [0, 1]], np.float32)
    candidates = np.array([[[2, 0], [0, 2]], [[-3, 0], [0, 3]]], np.float32)
    scores = model({"query": query, "candidates": candidates})
    np.testing.assert_allclose(scores, [[1.0, 0.5], [0.5, 1.0]], atol=1e-6)


@pytest.mark.parametrize(("join", "length"), [("concat", 12), ("average", 6)])
def test_head_embeds_to_unit_length(rng, join, length):
    embeddings = ops.convert_to_numpy(head(join=join)(floats(rng, 7, 9)))
    assert embeddings.shape == (7, length) and embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_head_rejects_an_unknown_join():
    with pytest.raises(ValueError, match=r"join='sum'"):
        head(join="sum")


def test_each_backbone_reaches_the_embedding(rng):
    features, model = floats(rng, 1, 9), head()
    for block in (slice(0, 5), slice(5, 9)):
        changed = features.copy()
        changed[:, block] = floats(rng, 1, block.stop - block.start)
        assert np.abs(model(features) - model(changed)).max() > 1e-3


def test_training_graph_scores_like_inference_that_embeds_each_image_once(rng):
    encoder = head(dropout=0.0)
    gallery, query = floats(rng, 8, 9), floats(rng, 3, 9)
    candidates = np.array([[0, 1, 2], [2, 5, 7], [7, 0, 4]])
    graph = dual.candidate_model(encoder, num_candidates=3)
    trained = graph({"query": query, "candidates": gallery[candidates]})
    left, right = (ops.convert_to_numpy(encoder(x)) for x in (query, gallery))
    once = (1 + np.einsum("bd,bmd->bm", left, right[candidates])) / 2
    np.testing.assert_allclose(trained, once, atol=1e-6)


def test_in_batch_graph_is_the_candidate_graph_with_the_batch_as_candidates(rng):
    encoder = head(dropout=0.0)
    query, right = floats(rng, 4, 9), floats(rng, 4, 9)
    every = np.broadcast_to(right, (4, 4, 9))
    folded = dual.candidate_model(encoder, num_candidates=4)({"query": query, "candidates": every})
    batch = dual.in_batch_model(encoder)({"query": query, "candidates": right})
    np.testing.assert_allclose(batch, folded, atol=1e-6)


def test_zero_features_give_finite_scores_and_gradients():
    import tensorflow as tf

    model = dual.candidate_model(head(), num_candidates=2)
    zeros = {"query": np.zeros((2, 9)), "candidates": np.zeros((2, 2, 9))}
    with tf.GradientTape() as tape:
        scores = model(zeros, training=True)
        loss = tf.reduce_mean(losses.candidate_hinge(np.array([0, 1]), scores, margin=0.2))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert np.isfinite(scores).all()
    assert all(np.isfinite(g).all() for g in gradients if g is not None)


def test_saved_candidate_model_scores_the_same(rng, tmp_path):
    model = dual.candidate_model(head(join="average"), num_candidates=3)
    inputs = {"query": floats(rng, 2, 9), "candidates": floats(rng, 2, 3, 9)}
    model.save(tmp_path / "dual.keras")
    loaded = keras.saving.load_model(tmp_path / "dual.keras")
    np.testing.assert_allclose(loaded(inputs), model(inputs), atol=1e-6)
    assert dual.encoder_of(loaded).name == "head"


def test_image_encoder_embeds_like_the_head_on_the_same_features(rng):
    images = keras.Input((8, 8, 3))
    networks = []
    for name, filters in (("a", 5), ("b", 4)):
        maps = keras.layers.Conv2D(filters, 3, strides=4, name=f"conv_{name}")(images)
        networks.append((keras.Model(images, {"tap": maps}), ["tap/avg"]))
    poolings = {"avg": lambda maps: ops.mean(maps, axis=(1, 2))}
    pixels = rng.uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    top = head()
    encoder = dual.image_encoder(top, networks, poolings=poolings)
    features = [ops.mean(network(pixels)["tap"], axis=(1, 2)) for network, _ in networks]
    np.testing.assert_allclose(encoder(pixels), top(ops.concatenate(features, -1)), atol=1e-5)

    mirrored = dual.image_encoder(top, networks, poolings=poolings, mirror=True)
    np.testing.assert_allclose(mirrored(pixels), mirrored(pixels[:, :, ::-1]), atol=1e-5)


def test_parameter_counts_separate_trainable_and_frozen():
    model = head()
    counts = dual.parameter_counts(model)
    # standardise: 2 · 9 frozen; project: 6 · 9 + 2 · 6; mix: 12 · 12 + 12.
    assert counts == {"total": 240, "trainable": 222, "frozen": 18}


def test_embeddings_stay_float32_under_mixed_precision(rng):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = dual.candidate_model(head(), num_candidates=2)
        scores = model({"query": floats(rng, 2, 9), "candidates": floats(rng, 2, 2, 9)})
    finally:
        keras.config.set_dtype_policy("float32")
    assert ops.convert_to_numpy(scores).dtype == np.float32


@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed")
def test_models_and_losses_train_on_jax():
    code = """
import keras, numpy as np
from tll_utils import losses
from tll_utils.models import dual
assert keras.backend.backend() == "jax"
keras.utils.set_random_seed(0)
model = dual.candidate_model(dual.feature_head((5, 4), units=6), num_candidates=3)
model.compile("adam", losses.CandidateSoftmaxLoss())
rng = np.random.default_rng(0)
inputs = {"query": rng.normal(size=(32, 9)), "candidates": rng.normal(size=(32, 3, 9))}
inputs["candidates"][:, 1] += inputs["query"]  # only faintly alike: there is much to learn
history = model.fit(inputs, np.full(32, 1), epochs=20, verbose=0).history["loss"]
assert np.isfinite(history).all() and history[-1] < 0.8 * history[0], history
"""
    environ = {**os.environ, "KERAS_BACKEND": "jax"}
    run = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
