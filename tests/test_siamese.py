"""Siamese networks share their weights, score as they train, and survive saving."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from tll_utils import generators, images, losses, training
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


FRESH_PROCESS = """
import sys, numpy as np, keras
from tll_utils import losses
from tll_utils.models import autoencoder, siamese
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""


def test_saved_model_scores_the_same_in_a_fresh_process(tmp_path, pixels):
    model = siamese.pair_distance(siamese.encoder(SHAPE, **TINY_NET, batch_norm=True))
    model.compile("adam", losses.ContrastiveLoss())
    model.fit(pixels.astype(np.float32), np.arange(6) % 2, verbose=0)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "pixels.npy", pixels)
    arguments = [tmp_path / name for name in ("model.keras", "pixels.npy", "scores.npy")]
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, *arguments], check=True)
    expected = model.predict(pixels, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), expected, rtol=1e-4)


class KilledError(Exception):
    pass


class KillInEpoch(keras.callbacks.Callback):
    """Ends the run in the middle of an epoch, as a power cut would."""

    def __init__(self, epoch):
        super().__init__()
        self.kill_in, self.now = epoch, None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.kill_in and batch == 1:
            raise KilledError


def tiny_run(directory, callbacks=(), patience=None):
    """Trains a tiny network with dropout and augmentation; returns its weights and history."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(1)
    left, right = rng.integers(0, 256, (2, 12, *SHAPE), np.uint8)
    model = siamese.pair_distance(siamese.encoder(SHAPE, **TINY_NET, dropout=0.3))
    model.compile(keras.optimizers.Adam(0.01), losses.ContrastiveLoss())
    epoch = generators.Epoch()
    fetch = generators.fetch_pairs(left, right)
    train = generators.dataset(
        generators.pairs(np.arange(8)), fetch, batch_size=4, epoch=epoch, augment=images.augmenter()
    )
    valid = generators.dataset(
        generators.pairs(np.arange(8, 12)), fetch, batch_size=8, epoch=generators.Epoch()
    )
    history = training.fit(
        model, train, validation=valid, epoch=epoch, epochs=5, directory=directory,
        patience=patience, callbacks=callbacks,
    )  # fmt: skip
    return model.get_weights(), history


def test_a_killed_run_ends_like_an_unbroken_one(tmp_path):
    weights, history = tiny_run(tmp_path / "unbroken")
    with pytest.raises(KilledError):
        tiny_run(tmp_path / "killed", [KillInEpoch(3)])
    resumed_weights, resumed_history = tiny_run(tmp_path / "killed")
    assert len(history["loss"]) == 5
    for name, figures in history.items():
        assert resumed_history[name] == pytest.approx(figures)
    for a, b in zip(weights, resumed_weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_finished_run_is_loaded_and_not_trained_again(tmp_path):
    weights, history = tiny_run(tmp_path)
    again, history_again = tiny_run(tmp_path, [KillInEpoch(0)])
    assert history_again == history
    np.testing.assert_array_equal(weights[0], again[0])


def test_early_stopping_ends_and_returns_to_the_best_epoch(tmp_path):
    class Worse(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            logs["val_loss"] = [3.0, 1.0, 2.0, 2.0, 2.0][epoch]

    _, history = tiny_run(tmp_path, [Worse()], patience=2)
    assert history["val_loss"] == [3.0, 1.0, 2.0, 2.0]


def test_hold_out_splits_no_group():
    groups = np.repeat(np.arange(10), 3)
    train, valid = training.hold_out(np.arange(0, 30, 2), groups, share=0.3)
    assert not set(groups[train]) & set(groups[valid])
    np.testing.assert_array_equal(np.sort(np.r_[train, valid]), np.arange(0, 30, 2))
    assert 3 <= len(valid) <= 6
