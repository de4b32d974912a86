"""Keras `fit` on whatever devices there are, and what it lacks: resume, keep the best epoch.

`choose` says which machine this is; models are built and compiled in its scope. `Model` is
`keras.Model` with two methods mended, so that `fit` also runs on several workers. `fit` calls
`model.fit`; a training that was killed goes on where it was and ends where it would have ended.
"""

from __future__ import annotations

import json
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tll_utils import files, fingerprint, machine, pipeline
from tll_utils.errors import TrainingError
from tll_utils.generators import Batches
from tll_utils.machine import Machine, choose

__all__ = ["Machine", "Measure", "Model", "choose", "fit"]

SAVE_SECONDS = 5.0  # a killed training repeats at most so much, and one epoch
_COUNTING = (keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau)
# What of the package a result depends on.
_OWN_FILES = ("generators", "layers", "losses", "machine", "mining", "pipeline", "training")


@keras.saving.register_keras_serializable(package="tll_utils")
class Model(keras.Model):
    """`keras.Model` that also trains on several workers, with losses over the whole batch.

    Three things differ, and only where there is more than one replica:

    1. Before the first step Keras averages a batch that is spread over workers, only to learn its
       shapes, and fails; here a replica's share tells them (keras-team/keras#20585).
    2. Keras then asks for the mean of a scalar metric along an axis that it has not; see
       `machine.mend_reduction`.
    3. A loss with `over_batch = True`, such as the softmax over the batch, gets the outputs of all
       replicas: each left meets all rights, however many devices share them.

    What data parallelism changes all the same: dropout masks differ between replicas, plain batch
    normalization sees its own share of a batch (`synchronized=True` mends that), and gradients are
    clipped per replica.
    """

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if not machine.is_distributed(self):
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
            return
        if iterator is not None:
            for _, _, batches in iterator:
                data_batch = machine.first_share(self.distribute_strategy, next(batches))
                break
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=data_batch)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Computes the compiled loss, over all replicas' outputs where the loss asks for them."""
        if getattr(self.loss, "over_batch", False) and machine.is_distributed(self):
            y, y_pred = machine.gather(y), machine.gather(y_pred)
        return super().compute_loss(x, y, y_pred, sample_weight, training)


def fit(
    model: keras.Model,
    batches: Batches,
    *,
    epochs: int,
    directory: Path | str | None = None,
    validation: Batches | None = None,
    monitor: str | None = None,
    patience: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, list[float]]:
    """Calls `model.fit`, keeps the best epoch and, given a directory, survives being killed.

    Called again with the same model, examples and settings, it goes on after the last epoch that
    was saved, optimizer and dropout included, or loads what a finished training left. If anything
    differs, it says what and starts anew. With several workers, all must see the directory; only
    the chief writes.

    Args:
        model: Compiled. With several replicas: a `Model`, built in the machine's scope.
        batches: Training examples, from `generators`.
        epochs: Int, at most so many.
        directory: Folder of this one training. `None` keeps nothing on disk.
        validation: Further examples; `val_loss` and the model's metrics on them are logged.
        monitor: The figure that chooses the best epoch; a `loss` is to fall, anything else to
            rise. Defaults to `val_loss` if there is `validation`, else the last epoch is kept.
        patience: Int, epochs without a better figure before the end; `None` = never stop early.
        callbacks: Further Keras callbacks. What they add to the logs can be monitored; one with
            `get_state()` and `set_state(state)`, dicts of arrays, goes on with its state.

    Returns:
        By name, the figure of each epoch or nan. The model carries the weights of the best.

    Raises:
        TrainingError: If a loss is not finite, or the replicas cannot share a batch.
        ValueError: If `epochs` or `patience` is below 1, `patience` has nothing to watch, or the
            optimizer averages weights (`use_ema`) and `monitor` judges others.
    """
    if epochs < 1:
        raise ValueError(f"`epochs` must be at least 1. Received: epochs={epochs}")
    if monitor is None and validation is not None:
        monitor = "val_loss"
    _check_stopping(model, monitor, patience)
    machine.check(model, batches, validation)
    _build(model, batches)
    state = _State(model, callbacks, monitor=monitor, patience=patience)
    if directory is not None:
        parts = _fingerprint(model, batches, validation, (epochs, monitor, patience), callbacks)
        state.open(Path(directory), parts)
    epoch = _SetEpoch([b for b in (batches, validation) if b is not None])
    if not state.stopped and state.epoch < epochs:
        machine.take_steps_together(model, batches)
        held_out = validation and pipeline.as_dataset(model, validation)
        with machine.mend_reduction(model):
            model.fit(
                pipeline.as_dataset(model, batches),
                validation_data=held_out,
                epochs=epochs,
                initial_epoch=state.epoch,
                shuffle=False,  # the batches are drawn shuffled
                verbose=0,
                callbacks=[epoch, *callbacks, state],  # the state last: it saves the others' logs
            )
    state.finish()
    names = dict.fromkeys(name for figures in state.history for name in figures)
    return {name: [figures.get(name, np.nan) for figures in state.history] for name in names}


def _check_stopping(model: keras.Model, monitor: str | None, patience: int | None) -> None:
    if patience is not None and (monitor is None or patience < 1):
        raise ValueError(
            "`patience` is a number of epochs, at least 1, and needs `monitor` or `validation`. "
            f"Received: patience={patience}, monitor={monitor!r}"
        )
    if monitor is not None and getattr(model.optimizer, "use_ema", False):
        raise ValueError(
            "With use_ema=True the weights are averaged after the last epoch, and `monitor` and "
            "`validation` judge others. Leave them out, or the average to a "
            f"keras.callbacks.SwapEMAWeights. Received: monitor={monitor!r}"
        )


class Measure(keras.callbacks.Callback):
    """Adds figures of one's own to the logs of each epoch, for `monitor` and for the curves.

    Args:
        measure: Called after each epoch; returns a dict such as `{"val_top_2": 0.41}`.
    """

    def __init__(self, measure: Callable[[], dict[str, float]]):
        super().__init__()
        self.measure = measure

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        _ = self.model  # with JAX, reading it brings the trained weights back into the model
        if logs is not None:
            logs.update({name: float(value) for name, value in self.measure().items()})


class _SetEpoch(keras.callbacks.Callback):
    """Tells the batches which epoch it is."""

    def __init__(self, batches: Sequence[Batches]):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        for batches in self.batches:
            batches.epoch = epoch


class _State(keras.callbacks.Callback):
    """History, best epoch and all variables of a training, in memory and on disk."""

    def __init__(
        self,
        model: keras.Model,
        callbacks: Sequence[keras.callbacks.Callback],
        *,
        monitor: str | None,
        patience: int | None,
    ):
        super().__init__()
        self.set_model(model)
        self.monitor, self.patience = monitor, patience
        self.others = callbacks
        self.history: list[dict[str, float]] = []
        self.best_weights: list[np.ndarray] = []
        self.stopped, self.finished, self.saved_at = False, False, 0.0
        self.path: Path | None = None
        self.fingerprint: dict[str, str] = {}

    @property
    def epoch(self) -> int:
        """Epochs behind us."""
        return len(self.history)

    # During training -----------------------------------------------------------------------------

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        figures = {name: float(value) for name, value in (logs or {}).items()}
        wrong = [name for name, value in figures.items() if not np.isfinite(value)]
        if wrong:
            raise TrainingError(
                f"{wrong[0]} of epoch {epoch + 1} is {figures[wrong[0]]}. Lower the learning rate."
            )
        self.history.append(figures)
        best = self._best_epoch()
        if best == epoch:
            self.best_weights = self.model.get_weights()
        if self.patience is not None and epoch - best >= self.patience:
            self.model.stop_training = True
        self.stopped = bool(self.model.stop_training)  # another callback may have said so
        if self.stopped or time.monotonic() - self.saved_at > SAVE_SECONDS:
            self._save()

    def _best_epoch(self) -> int:
        if self.monitor is None:
            return self.epoch - 1
        if self.monitor not in self.history[0]:
            raise TrainingError(
                f"`monitor` must be one of the logged figures, {', '.join(self.history[0])}. "
                f"Received: monitor={self.monitor!r}"
            )
        values = [figures.get(self.monitor, np.nan) for figures in self.history]
        return int(np.nanargmin(values) if self.monitor.endswith("loss") else np.nanargmax(values))

    def finish(self) -> None:
        """Gives the model its best weights and leaves them on disk in place of everything."""
        with machine.scope_of(self.model):
            if self.best_weights:
                self.model.set_weights(self.best_weights)
            if not self.finished:
                # An average of the weights that the optimizer keeps; Keras's `fit` does the same.
                self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        if not self.finished:
            self.finished = True
            self._save()

    # On disk --------------------------------------------------------------------------------------

    def open(self, directory: Path, fingerprint: dict[str, str]) -> None:
        """Takes up what an earlier run left, if it belongs to this training."""
        path = self.path = directory / "training.npz"
        self.fingerprint = fingerprint
        if not path.exists():
            return
        try:
            arrays = files.read_arrays(path)
            notes = json.loads(str(arrays.pop("notes")))
            before = notes["fingerprint"]
        except Exception as error:  # whatever a damaged file makes of itself
            _say(f"{path}: cannot be read ({error}); this training starts anew.")
            return
        differ = [part for part in fingerprint if before.get(part) != fingerprint[part]]
        if differ:
            _say(f"{directory.name}: trained anew, because {', '.join(differ)} changed.")
        elif self._fits(notes, arrays):
            self._restore(notes, arrays)
        else:
            _say(f"{path}: holds other arrays than it says; this training starts anew.")

    def _fits(self, notes: dict, arrays: dict[str, np.ndarray]) -> bool:
        best = [] if notes["finished"] else self.model.weights
        wanted = {"variable": self._variables(), "best": best}
        return all(
            [array.shape for array in _numbered(arrays, name)]
            == [tuple(v.shape) for v in variables]
            for name, variables in wanted.items()
        )

    def _restore(self, notes: dict, arrays: dict[str, np.ndarray]) -> None:
        self.history, self.best_weights = notes["history"], _numbered(arrays, "best")
        self.stopped, self.finished = notes["stopped"], notes["finished"]
        with machine.scope_of(self.model):
            saved = _numbered(arrays, "variable")
            for variable, value in zip(self._variables(), saved, strict=True):
                variable.assign(value)
        for place, other in enumerate(self.others):
            prefix = f"callback{place}_"
            state = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            if hasattr(other, "set_state"):
                other.set_state(state)
            elif isinstance(other, _COUNTING) and not self.stopped:
                _say(f"{type(other).__name__} counts from here on: Keras does not keep its state.")

    def _save(self) -> None:
        if self.path is None or not machine.is_chief(self.model):
            return
        notes = {name: getattr(self, name) for name in ("fingerprint", "history", "stopped")}
        values = [keras.ops.convert_to_numpy(v) for v in self._variables()]
        arrays: dict[str, Any] = {f"variable{i:05d}": value for i, value in enumerate(values)}
        best = () if self.finished else self.best_weights  # the model has them
        arrays |= {f"best{i:05d}": weight for i, weight in enumerate(best)}
        for place, other in enumerate(self.others):
            if hasattr(other, "get_state"):
                arrays |= {f"callback{place}_{k}": v for k, v in other.get_state().items()}
        with files.replacing(self.path) as draft:
            np.savez(draft, notes=json.dumps({**notes, "finished": self.finished}), **arrays)
        self.saved_at = time.monotonic()

    def _variables(self) -> list:
        """All that changes in training: weights, the state of dropout, the optimizer's slots."""
        return [*self.model.variables, *self.model.optimizer.variables]


def _numbered(arrays: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    return [arrays[name] for name in sorted(arrays) if re.fullmatch(prefix + r"\d+", name)]


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _build(model: keras.Model, batches: Batches) -> None:
    """Creates weights and slots ahead: within the traced step that takes three times as long."""
    with machine.scope_of(model):
        if not all(layer.built for layer in _layers(model)):
            model(batches[0][0][:1])  # a model of one's own gets its weights when it is called
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)


def _fingerprint(
    model: keras.Model,
    batches: Batches,
    validation: Batches | None,
    stopping: tuple,
    callbacks: Sequence[keras.callbacks.Callback],
) -> dict[str, str]:
    """What a result depends on, part by part, so that a difference can be named."""
    # Keras keeps the metrics that it was given in a list, and builds its own from them later.
    kept = [part for metric in model.metrics for part in vars(metric).values()]
    metrics = [m for part in kept if isinstance(part, list) for m in part if callable(m)]
    parts = {
        "the network": _config(model.get_config) + _codes(_layers(model)),
        "its initial weights": _checksum(model.variables),
        "loss or optimizer": _config(model.get_compile_config)
        + _codes([model.loss, model.optimizer, *metrics])
        + _checksum(model.optimizer.variables),
        "the examples": batches.fingerprint(),
        "the validation examples": "" if validation is None else validation.fingerprint(),
        "epochs, monitor or patience": repr(stopping),
        "the callbacks": "".join(map(_settings, callbacks)),
        "Keras": f"{keras.__version__} {keras.backend.backend()}",
        "the package": fingerprint.of_own_files(_OWN_FILES),
    }
    return {name: f"{zlib.crc32(text.encode()):08x}" for name, text in parts.items()}


def _checksum(variables: Iterable[Any]) -> str:
    checksum = 0
    for variable in variables:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        checksum = zlib.crc32(repr(value.shape).encode(), zlib.crc32(value.tobytes(), checksum))
    return str(checksum)


def _config(get_config: Callable[[], dict]) -> str:
    """A config as text, without the numbers that Keras appends to the names of layers."""
    try:
        text = json.dumps(get_config(), default=str)
    except NotImplementedError:  # a model of one's own; its code and its weights tell
        return ""
    return re.sub(r"_\d+(?=[\"/])", "", re.sub(r"0x[0-9a-f]+", "", text))


def _codes(things: Iterable[Any]) -> str:
    return "".join(map(fingerprint.of_code, things))


def _layers(layer: keras.Layer) -> Iterator[keras.Layer]:
    yield layer
    for inner in (*getattr(layer, "layers", ()), getattr(layer, "layer", None)):
        if isinstance(inner, keras.Layer):
            yield from _layers(inner)


def _settings(callback: keras.callbacks.Callback) -> str:
    """Name, plain attributes and functions of a callback, such as what a `Mining` calls."""
    values = {k: v for k, v in sorted(vars(callback).items()) if not k.startswith("_")}
    name = type(callback).__name__
    return name + fingerprint.of_values(values) + fingerprint.of_code(callback)
