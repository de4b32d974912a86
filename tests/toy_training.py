"""Small trainings whose results are arrays; `test_several_workers` runs them on several devices.

python toy_training.py --replicas 2 --result FILE [--directory DIR] [--kill-in EPOCH] [CASE …]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
import tempfile
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import tll_utils  # noqa: F401, I001  before Keras, which it quiets
import keras
import numpy as np

from tll_utils import features, generators, layers, losses, mining, training
from tll_utils.errors import TrainingError

PAIRS, TRAIN, DIM, BATCH = 60, np.arange(42), 6, 8
VALID = np.arange(42, PAIRS)  # 18 pairs: the last batch holds 2, one for each of two replicas
GROUPS = np.arange(PAIRS) // 2

rng = np.random.default_rng(0)
left = rng.normal(size=(PAIRS, DIM)).astype(np.float32)
VIEWS = types.SimpleNamespace(
    left=left, right=left + rng.normal(size=(PAIRS, DIM)).astype(np.float32)
)
EVEN = {"batch_size": BATCH, "drop_remainder": True}
REST = {"batch_size": BATCH, "drop_remainder": False, "fixed": True}


class Killed(Exception):
    """Stands for whatever ends a program in the middle."""


class Kill(keras.callbacks.Callback):
    """Ends the program in the middle of an epoch, by an exception or as a power cut would."""

    def __init__(self, epoch=None, *, moment="batch", power_cut=False):
        super().__init__()
        # Hidden: a training without the kill is the same training.
        self._epoch, self._moment, self._power_cut = epoch, moment, power_cut
        self._now = None

    def _kill(self, moment):
        if (self._now, moment) == (self._epoch, self._moment):
            if self._power_cut:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Killed

    def on_epoch_begin(self, epoch, logs=None):
        self._now = epoch
        self._kill("begin")

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            self._kill("batch")

    def on_epoch_end(self, epoch, logs=None):
        self._kill("end")


def dense(units, seed):
    return keras.layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed))


def make_encoder(*middle):
    inputs = keras.Input((DIM,))
    outputs = dense(5, seed=1)(inputs)
    for layer in middle:
        outputs = layer(outputs)
    outputs = keras.layers.UnitNormalization()(dense(4, seed=2)(outputs))
    return keras.Model(inputs, outputs)


def branches(encoder, k):
    """The model of k images by one encoder."""
    inputs = keras.Input((k, DIM))
    return inputs, layers.Branches(encoder)(inputs)


def steps_together(machine):
    """Two of five, so that a training can be killed in the middle of an epoch."""
    return 2 if machine.num_replicas == 1 else 1  # more is not for several replicas


def results(model, history):
    weights = {f"weight{i}": weight for i, weight in enumerate(model.get_weights())}
    return {**{name: np.array(values) for name, values in history.items()}, **weights}


# -- the trainings ---------------------------------------------------------------------------------


def candidates(machine, directory=None, kill=None):
    """Adam, validation with a metric, a figure of one's own, and early stopping by it."""
    with machine.scope():
        encoder = make_encoder()
        inputs, outputs = branches(encoder, 1 + 5)
        model = training.Model(inputs, layers.CandidateScores()(outputs))
        model.compile(
            keras.optimizers.Adam(0.02),
            losses.CandidateSoftmaxLoss(temperature=0.1),
            metrics=[losses.CandidateTopK()],
            steps_per_execution=steps_together(machine),
        )

    def measure():
        sides = (features.encode(encoder, side[VALID]) for side in (VIEWS.left, VIEWS.right))
        cosine = np.sum(np.multiply(*sides), axis=1)
        return {"val_cosine": cosine.mean()}

    options = {"groups": GROUPS, "m": 5, "seed": 3}
    history = training.fit(
        model,
        generators.candidate_sets(VIEWS, TRAIN, **EVEN, **options),
        epochs=6,
        validation=generators.candidate_sets(VIEWS, VALID, **REST, **options),
        directory=directory,
        monitor="val_cosine",
        patience=5,
        callbacks=[training.Measure(measure), kill or Kill()],
    )
    return results(model, history)


def softmax(machine, *, precision="float32", epochs=3):
    """Softmax and statistics of the whole batch; SGD shows gradients of a wrong size."""
    with dataclasses.replace(machine, precision=precision).scope():
        # With JAX a batch is one whatever the number of devices, and Keras refuses the option.
        synchronized = keras.backend.backend() == "tensorflow"
        normalization = keras.layers.BatchNormalization(momentum=0.5, synchronized=synchronized)
        model = training.Model(*branches(make_encoder(normalization), 2))
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.5), losses.InBatchSoftmaxLoss(temperature=0.2)
        )
    history = training.fit(
        model,
        generators.matches(VIEWS, TRAIN, batch_size=BATCH),
        epochs=epochs,
        validation=generators.matches(VIEWS, VALID, batch_size=BATCH, fixed=True),
    )
    return results(model, history)


class Mined:
    """Triplets whose negatives the current model chooses; dropout; early stopping."""

    # Best is epoch 2, the first of equals; two epochs later the training ends.
    FIGURES = (0.1, 0.5, 0.7, 0.7, 0.6, 0.9)

    def __init__(self, machine):
        with machine.scope():
            self.encoder = make_encoder(keras.layers.Dropout(0.4, seed=5))
            self.model = training.Model(*branches(self.encoder, 3))
            self.model.compile(
                keras.optimizers.Adam(0.02),
                losses.TripletLoss(margin=0.5),
                steps_per_execution=steps_together(machine),
            )
            self.model.optimizer.build(self.model.trainable_variables)
        self.machine = machine
        self.variables = [*self.model.variables, *self.model.optimizer.variables]
        self.start = [keras.ops.convert_to_numpy(variable) for variable in self.variables]
        self.mined_in = []

    def mine(self, epoch):
        self.mined_in.append(epoch)
        sides = (features.encode(self.encoder, s[TRAIN]) for s in (VIEWS.left, VIEWS.right))
        return TRAIN[mining.hardest_of_random(*sides, groups=GROUPS[TRAIN], num_random=9)]

    def reset(self):
        with self.machine.scope():
            for variable, value in zip(self.variables, self.start, strict=True):
                variable.assign(value)

    def fit(self, directory=None, kill=None, **options):
        """Trains from the start on, also if called again: a traced step is used again."""
        self.reset()
        self.mined_in.clear()
        hard = mining.Mining(self.mine, start=1, every=2)
        options = {"epochs": len(self.FIGURES), "monitor": "val_figure", "patience": 2, **options}
        history = training.fit(
            self.model,
            generators.triplets(VIEWS, TRAIN, groups=GROUPS, negatives=hard, **EVEN),
            validation=generators.triplets(VIEWS, VALID, groups=GROUPS, **REST),
            directory=directory,
            callbacks=[hard, Figures(self.FIGURES), kill or Kill()],
            **options,
        )
        return results(self.model, history)


class Figures(keras.callbacks.Callback):
    """Logs figures of one's own choice."""

    def __init__(self, figures):
        super().__init__()
        self.figures = figures

    def on_epoch_end(self, epoch, logs=None):
        logs["val_figure"] = self.figures[epoch]


CASES = {f.__name__: f for f in (candidates, softmax)}


# -- what only several devices show ----------------------------------------------------------------


def resumed(machine, epoch=3):
    """Ends dropout and mining in the middle and starts again: how far off is the end?"""
    toy = Mined(machine)
    whole = toy.fit()
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(Killed):
            toy.fit(folder, Kill(epoch))
        again = toy.fit(folder)
    return max(np.abs(again[name] - whole[name]).max() for name in whole)


def refusal(machine, **options):
    """What `fit` says of a setting."""
    with machine.scope():
        inputs, outputs = branches(make_encoder(), 2)
        model = training.Model(inputs, outputs)
        model.compile("sgd", losses.InBatchSoftmaxLoss(), **options)
    try:
        training.fit(model, generators.matches(VIEWS, TRAIN, batch_size=BATCH), epochs=1)
    except TrainingError as error:
        return str(error)
    return "none"


def keras_alone(machine, model_class):
    """What Keras's own `fit` says: nothing, or an error that our overrides are there to mend."""
    from tll_utils.pipeline import as_dataset

    with machine.scope():
        inputs, outputs = branches(make_encoder(), 2)
        model = model_class(inputs, outputs)
        model.compile("sgd", "mse", metrics=["mae"])
    batches = generators.matches(VIEWS, TRAIN, batch_size=BATCH)
    try:
        model.fit(as_dataset(model, batches), epochs=1, verbose=0)
    except Exception as error:  # whatever it is today
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "works"


def devices(machine, num_workers):
    """What has no counterpart on one device."""

    def loss(precision):
        return softmax(machine, precision=precision, epochs=1)["loss"]

    found = {"loss_in_bfloat16": loss("mixed_bfloat16")}
    if num_workers == 1:
        return {**found, "loss_in_float16": loss("mixed_float16"), "gap": resumed(machine)}
    half = dataclasses.replace(machine, precision="mixed_float16")
    return {
        **found,
        "refused_steps": refusal(machine, steps_per_execution=2),
        "refused_float16": refusal(half),
        "keras_model": keras_alone(machine, keras.Model),
        "keras_reduction": keras_alone(machine, training.Model),
    }


def machine_of(replicas):
    if replicas == 1 or keras.backend.backend() == "jax":  # whose XLA_FLAGS tell
        return training.choose()
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, logical)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    return training.Machine(strategy, replicas)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", choices=[*CASES, "devices"])
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--result", type=Path)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--kill-in", type=int)
    options = parser.parse_args()
    machine = machine_of(options.replicas)
    training.SAVE_SECONDS = 0
    found = {}
    for case in options.cases:
        if case == "devices":
            found |= devices(machine, machine.num_replicas // options.replicas)
            continue
        takes = {"directory": options.directory} if case == "candidates" else {}
        if options.kill_in is not None:
            takes["kill"] = Kill(options.kill_in, power_cut=True)
        found |= {f"{case}/{k}": v for k, v in CASES[case](machine, **takes).items()}
    if options.result:
        np.savez(options.result, **found)


if __name__ == "__main__":
    main()
