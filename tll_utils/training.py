"""Fits a model with early stopping, keeps its best epoch and goes on after a kill."""

import json
from pathlib import Path

import keras
import numpy as np


class KeepBest(keras.callbacks.Callback):
    """Stops early and returns to the best epoch, also over a restart.

    Keras's `EarlyStopping` and `ModelCheckpoint` forget what they saw when the process dies.
    This one writes each epoch's figures to `history.json` and reads them again.

    Args:
        directory: Where `best.keras` and `history.json` go.
        monitor: Name of the figure to lower. Defaults to `"val_loss"`.
        patience: Int, epochs without improvement before the end; `None` = never stop early.
    """

    def __init__(self, directory, *, monitor="val_loss", patience=None):
        super().__init__()
        self.best_path = Path(directory) / "best.keras"
        self.history_path = Path(directory) / "history.json"
        self.monitor, self.patience = monitor, patience
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        if epoch and not self.epochs:
            # An epoch that was logged but not backed up is about to be repeated.
            self.epochs = json.loads(self.history_path.read_text(encoding="utf-8"))[:epoch]

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append({name: float(value) for name, value in logs.items()})
        values = [figures[self.monitor] for figures in self.epochs]
        if not np.isfinite(values[-1]):
            raise FloatingPointError(
                f"{self.monitor} of epoch {epoch + 1} is {values[-1]}: lower the learning rate."
            )
        best = int(np.argmin(values))
        if best == epoch:
            self.model.save(self.best_path)
        self.history_path.write_text(json.dumps(self.epochs), encoding="utf-8")
        if self.patience is not None and epoch - best >= self.patience:
            self.model.stop_training = True


class ReseedDropout(keras.callbacks.Callback):
    """Makes dropout follow from the epoch's number: weight files do not hold its state."""

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        for place, layer in enumerate(self.model._flatten_layers()):
            generator = getattr(layer, "seed_generator", None)
            if generator is not None:
                # Its state is a seed and a count of draws; a million draws are kept apart.
                generator.state.assign([self.seed + place, epoch << 20])


def fit(
    model,
    train,
    *,
    epoch,
    epochs,
    directory,
    validation=None,
    patience=None,
    callbacks=(),
    seed=0,
):
    """Trains a compiled model and loads the weights of its best epoch.

    Called again with the same arguments after the process was killed, it begins with the epoch
    that was under way and ends where it would have ended, because the examples follow from the
    epoch's number. After a finished run it trains nothing and loads the result.

    Args:
        model: Compiled; built from the same seed.
        train: As from `generators.dataset`.
        epoch: The `generators.Epoch` that `train` was made with.
        epochs: Int, at most so many.
        directory: One per run: `best.keras`, `history.json` and the backup.
        validation: Data set; its loss chooses the best epoch. Without it the training loss does.
        patience: Int, epochs without improvement before the end; `None` = never stop early.
        callbacks: Further Keras callbacks.
        seed: Int, for dropout.

    Returns:
        The figures of the epochs, a dict of lists.
    """
    directory = Path(directory)
    done = directory / "done"
    directory.mkdir(parents=True, exist_ok=True)
    monitor = "val_loss" if validation is not None else "loss"
    best = KeepBest(directory, monitor=monitor, patience=patience)
    if not done.exists():
        backup = keras.callbacks.BackupAndRestore(str(directory / "backup"))
        model.fit(
            train,
            validation_data=validation,
            epochs=epochs,
            shuffle=False,  # the data set shuffles by itself
            verbose=0,
            # The backup comes last: what it holds, the others have already written down.
            callbacks=[epoch, ReseedDropout(seed), *callbacks, best, backup],
        )
        done.touch()
    model.set_weights(keras.saving.load_model(best.best_path, compile=False).get_weights())
    history = json.loads(best.history_path.read_text(encoding="utf-8"))
    return {name: [figures[name] for figures in history] for name in history[0]}


def hold_out(indices, groups, *, share=0.15, seed=0):
    """Splits pairs for early stopping; near-duplicates stay on one side.

    indices: int (n,); groups: int (all pairs,). Returns `(train, validation)`, both sorted.
    """
    indices = np.asarray(indices)
    labels, place = np.unique(np.asarray(groups)[indices], return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    held = np.isin(place, order[: max(1, round(share * len(labels)))])
    return np.sort(indices[~held]), np.sort(indices[held])
