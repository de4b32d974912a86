"""Killed runs end like unbroken ones; early stopping returns to the best epoch."""

import keras
import numpy as np
import pytest

from tll_utils import generators, images, losses, training
from tll_utils.models import siamese

SHAPE = (16, 12, 3)
TINY_NET = {"blocks": ((4, 3, 2),), "embedding_dim": 5}


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
    model.compile(keras.optimizers.Adam(0.01), losses.ContrastiveLoss(), jit_compile=False)
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
