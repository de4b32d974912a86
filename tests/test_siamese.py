"""Siamese networks share their weights, score as they train, and survive saving."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from tll_utils import losses
from tll_utils.models import siamese

SHAPE = (16, 12, 3)
TINY_NET = {"blocks": ((4, 3, 2),), "embedding_dim": 5}


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 2, *SHAPE), np.uint8)


@pytest.mark.parametrize(
    "settings, dense_inputs",
    [
        (siamese.BASELINE, 122 * 100 * 64),
        (siamese.SIMPLE_CNN, None),
        (siamese.CONTRASTIVE, 61 * 50 * 128),
    ],
    ids=["A1", "B1", "C2"],
)
def test_report_networks_have_their_sizes(settings, dense_inputs):
    # Built on the reports' images, 245 × 200; symbolic, so nothing of that size is computed.
    with keras.StatelessScope():
        model = siamese.encoder((245, 200, 3), **settings)
    kernels = [layer.kernel.shape for layer in model.layers if hasattr(layer, "kernel")]
    assert [k[-1] for k in kernels[: len(settings["blocks"])]] == [
        filters for filters, _, _ in settings["blocks"]
    ]
    if dense_inputs:
        assert kernels[-1] == (dense_inputs, 128)
    else:
        assert model.output_shape == (None, 15 * 12 * 256)


def test_branches_share_one_encoder(pixels):
    encoder = siamese.encoder(SHAPE, **TINY_NET)
    model = siamese.branches(encoder, 2)
    assert model.count_params() == encoder.count_params()
    both = np.asarray(model(pixels))
    np.testing.assert_allclose(both[:, 1], siamese.embed(encoder, pixels[:, 1]), atol=1e-5)


def test_pair_distance_is_euclidean(pixels):
    encoder = siamese.encoder(SHAPE, **TINY_NET)
    left, right = (siamese.embed(encoder, pixels[:, side]) for side in (0, 1))
    distance = np.asarray(siamese.pair_distance(encoder)(pixels))
    np.testing.assert_allclose(distance[:, 0], np.linalg.norm(left - right, axis=1), rtol=1e-4)


def test_classifier_scores_are_the_logits_of_the_model(pixels):
    encoder = siamese.encoder(SHAPE, **TINY_NET)
    model = siamese.pair_classifier(encoder)
    left, right = (siamese.embed(encoder, pixels[:, side]) for side in (0, 1))
    logits = siamese.classifier_scores(model, left, right, np.arange(6)[:, None])
    probability = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(probability, np.asarray(model(pixels)), rtol=1e-3)


def test_embed_does_not_depend_on_the_batch_size(pixels):
    encoder = siamese.encoder(SHAPE, **siamese.STRIDED)
    whole = siamese.embed(encoder, pixels[:, 0], batch_size=6)
    np.testing.assert_allclose(siamese.embed(encoder, pixels[:, 0], batch_size=4), whole, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)


def test_gradients_put_an_edge_into_its_direction_and_cell():
    image = np.zeros((1, 16, 16, 3), np.float32)
    image[0, :8, 4:] = 255  # cell 0: an upright edge inside, a flat one at its lower side
    layer = siamese.OrientedGradients(cell=8, num_directions=4)
    edges = np.asarray(layer(image))[0, :16].reshape(2, 2, 4)
    assert edges[0, 0].argmax() == 0 and edges[0, 1].argmax() == 2
    assert edges[1, 1, 2] > 100 * edges[1, 1, 0]
    assert layer.compute_output_shape((None, 16, 16, 3)) == (None, 2 * 2 * 7)


def test_gradients_tell_colours_apart():
    red, green = np.zeros((2, 1, 8, 8, 3), np.float32)
    red[..., 0], green[..., 1] = 255, 255
    layer = siamese.OrientedGradients(cell=8, num_directions=4, color_weight=2.0)
    np.testing.assert_allclose(np.asarray(layer(red))[0, 4:], [2 / 3, 2, -1], rtol=1e-5)
    np.testing.assert_allclose(np.asarray(layer(green))[0, 4:], [2 / 3, -2, -1], rtol=1e-5)


FRESH_PROCESS = """
import sys, numpy as np, keras
from tll_utils import losses
from tll_utils.models import autoencoder, siamese
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""


def test_saved_model_scores_the_same_in_a_fresh_process(tmp_path, pixels):
    network = {"gradients": {"cell": 4}, "embedding_dim": 5, "dropout": 0.2}
    model = siamese.pair_distance(siamese.encoder(SHAPE, **network))
    model.compile("adam", losses.ContrastiveLoss(), jit_compile=False)
    model.fit(pixels.astype(np.float32), np.arange(6) % 2, verbose=0)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "pixels.npy", pixels)
    arguments = [tmp_path / name for name in ("model.keras", "pixels.npy", "scores.npy")]
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, *arguments], check=True)
    expected = model.predict(pixels, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), expected, rtol=1e-4)
