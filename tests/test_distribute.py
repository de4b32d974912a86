"""One replica, two replicas, two processes, a killed worker: all must learn the same."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tll_utils import distribute

# The order in which floats are summed differs with the number of replicas, nothing else does.
TOLERANCE = 1e-5
WORKER = Path(__file__).with_name("toy_training.py")


# -- choosing -----------------------------------------------------------------------------------


def test_choose_says_what_it_chose():
    said = []
    machine = distribute.choose(environ={}, say=said.append)
    assert machine.num_replicas == machine.num_workers == 1 and machine.is_chief
    assert said == [machine.description] and "default strategy" in said[0]


def test_announced_tpu_that_does_not_answer_falls_back_and_says_so():
    said = []
    machine = distribute.choose(environ={"TPU_NAME": "local"}, say=said.append)
    assert not isinstance(machine.strategy, tf.distribute.TPUStrategy)
    assert "falling back" in said[0] and "tensorflow-tpu" in said[0] and "'local'" in said[0]


@pytest.mark.parametrize("text", ["{", '{"cluster": 3}', "[]"])
def test_malformed_tf_config_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="TF_CONFIG must be JSON like"):
        distribute.choose(environ={"TF_CONFIG": text}, say=print)


def test_tf_config_that_does_not_name_this_machine_is_refused():
    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}
    with pytest.raises(ValueError, match=r"Expected one of .*'index': 2"):
        distribute.choose(environ={"TF_CONFIG": json.dumps(config)}, say=print)


def test_single_worker_in_tf_config_is_an_ordinary_machine():
    config = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    machine = distribute.choose(environ={"TF_CONFIG": json.dumps(config)}, say=lambda text: None)
    assert machine.num_workers == 1


# -- shares -------------------------------------------------------------------------------------


@given(
    rows=st.integers(0, 60),
    size=st.integers(1, 4),
    workers=st.integers(1, 3),
    per_worker=st.integers(1, 3),
)
def test_shares_of_all_workers_make_up_each_batch_once(rows, size, workers, per_worker):
    replicas = workers * per_worker
    batch = size * replicas
    shares = [
        list(
            distribute.shares_of_worker(
                (np.arange(rows),),
                batch_size=batch,
                worker=worker,
                num_workers=workers,
                num_replicas=replicas,
            )
        )
        for worker in range(workers)
    ]
    for step in range(rows // batch):
        here = slice(step * per_worker, (step + 1) * per_worker)
        pieces = [piece for worker in shares for (piece,) in worker[here]]
        assert np.concatenate(pieces).tolist() == list(range(step * batch, (step + 1) * batch))
    assert all(len(worker) == rows // batch * per_worker for worker in shares)


# -- the loop, in this process ------------------------------------------------------------------


def toy(machine=None, *, batch_size=8, **options):
    """Trains a line through four points; returns the `Training`."""
    x = tf.constant(np.arange(16, dtype=np.float32)[:, None] / 16)

    def build():
        start = keras.initializers.Constant(0.5)
        return keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer=start)]
        )

    options = {"epochs": 3, "optimizer": lambda: keras.optimizers.SGD(0.1), **options}
    return distribute.fit(
        machine or distribute.Machine(tf.distribute.get_strategy()),
        build,
        loss=lambda targets, outputs: tf.square(targets - outputs[:, 0]),
        draw=lambda epoch: (np.random.default_rng(epoch).permutation(16),),
        fetch=lambda rows: (tf.gather(x, rows), 3 * tf.gather(x[:, 0], rows)),
        batch_size=batch_size,
        progress=False,
        **options,
    )


def test_one_step_by_hand():
    # All 16 rows in one batch: w ← w − lr · 2 · mean(x² (w − 3)), b ← b − lr · 2 · mean(x (w − 3)).
    x = np.arange(16) / 16
    training = toy(batch_size=16, epochs=1)
    kernel, bias = training.model.get_weights()
    assert kernel[0, 0] == pytest.approx(0.5 + 0.1 * 2 * 2.5 * np.mean(x**2), abs=1e-6)
    assert bias[0] == pytest.approx(0.1 * 2 * 2.5 * np.mean(x), abs=1e-6)
    assert training.history[0]["loss"] == pytest.approx(2.5**2 * np.mean(x**2), abs=1e-5)


def test_best_epoch_is_kept_the_first_of_equals(tmp_path):
    values = iter([0.2, 0.7, 0.7])
    weights = []

    def validate(model):
        weights.append(model.get_weights())
        return {"val_top_2_accuracy": next(values)}

    training = toy(validate=validate, best_path=tmp_path / "best.keras")
    assert training.best_epoch == 2
    np.testing.assert_array_equal(training.model.get_weights()[0], weights[1][0])
    loaded = keras.saving.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(loaded.get_weights()[0], weights[1][0])
    assert not np.array_equal(weights[1][0], weights[2][0])


def test_resumed_training_ends_like_an_uninterrupted_one(tmp_path):
    scores = {1: 0.9, 2: 0.1, 3: 0.1, 4: 0.1}
    epoch = iter([1, 2, 3, 4, 1, 2, 3, 4])
    adam = {"optimizer": lambda: keras.optimizers.Adam(0.05)}
    options = {**adam, "validate": lambda model: {"val_top_2_accuracy": scores[next(epoch)]}}
    whole = toy(epochs=4, **options)
    path, log = tmp_path / "c.npz", tmp_path / "log.csv"
    toy(epochs=2, checkpoint_path=path, log_path=log, **options)
    resumed = toy(epochs=4, checkpoint_path=path, log_path=log, **options)
    assert resumed.history == whole.history and resumed.best_epoch == whole.best_epoch == 1
    for a, b in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with open(log, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]


def test_finished_checkpoint_trains_nothing(tmp_path):
    first = toy(checkpoint_path=tmp_path / "c.npz")
    again = toy(checkpoint_path=tmp_path / "c.npz", validate=lambda model: pytest.fail("trained"))
    np.testing.assert_array_equal(first.model.get_weights()[0], again.model.get_weights()[0])


def test_checkpoint_of_another_model_is_refused(tmp_path):
    toy(checkpoint_path=tmp_path / "c.npz")
    with pytest.raises(ValueError, match=r"c\.npz was written by another model"):
        toy(checkpoint_path=tmp_path / "c.npz", optimizer=lambda: keras.optimizers.Adam())


def test_diverging_loss_is_an_error():
    with pytest.raises(FloatingPointError, match="learning rate"):
        toy(optimizer=lambda: keras.optimizers.SGD(1e20), epochs=5)


def test_epoch_of_less_than_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"at least one batch of 32 rows. Received: 16"):
        toy(batch_size=32)


def test_tensorboard_is_written_on_request(tmp_path):
    toy(epochs=1, tensorboard_dir=tmp_path / "board")
    assert list((tmp_path / "board").glob("events*"))


# -- several replicas and processes, each in fresh interpreters ---------------------------------


def start(*arguments, worker=None, ports=()):
    """Starts a toy training in a process of its own."""
    environ = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    if worker is not None:
        environ["TF_CONFIG"] = json.dumps(
            {
                "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
                "task": {"type": "worker", "index": worker},
            }
        )
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    return subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process):
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def assert_same(path, expected):
    with np.load(path) as file, np.load(expected) as reference:
        assert set(file) == set(reference)
        for name in reference:
            np.testing.assert_allclose(file[name], reference[name], atol=TOLERANCE, err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The result of one process with one replica."""
    path = tmp_path_factory.mktemp("alone") / "result.npz"
    finish(start("--replicas", 1, "--result", path))
    with np.load(path) as file:  # the reference itself must be right, and have learned
        assert file["square"][:, 0].tolist() == [0, 1, 4, 9, 16, 25, 36]
        assert file["losses"][-1] < file["losses"][0]
    return path


def test_two_logical_devices_learn_what_one_does(alone, tmp_path):
    finish(start("--replicas", 2, "--result", tmp_path / "result.npz"))
    assert_same(tmp_path / "result.npz", alone)


def test_two_processes_learn_what_one_does_also_after_a_kill(alone, tmp_path):
    """Worker 1 is killed in the middle; both restart, and end where one process ends."""
    checkpoint, ports = tmp_path / "checkpoint.npz", free_ports(2)
    arguments = ["--checkpoint", checkpoint, "--pause-after", 2]
    first = [start(*arguments, worker=i, ports=ports) for i in range(2)]
    try:
        deadline = time.monotonic() + 200
        while not checkpoint.exists() or not (tmp_path / "checkpoint.npz.paused").exists():
            assert time.monotonic() < deadline and first[0].poll() is None
            time.sleep(0.1)
        first[1].send_signal(signal.SIGKILL)
    finally:
        for process in first:
            process.kill()
            process.communicate()

    ports = free_ports(2)
    results = [tmp_path / f"result_{i}.npz" for i in range(2)]
    second = [
        start("--checkpoint", checkpoint, "--result", results[i], worker=i, ports=ports)
        for i in range(2)
    ]
    outputs = [finish(process) for process in second]
    assert all("2 workers, resumed after epoch 2" in output for output in outputs), outputs
    for result in results:
        assert_same(result, alone)
