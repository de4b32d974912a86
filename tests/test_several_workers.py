"""One device, two logical devices, two workers, a killed worker: all must learn the same.

Everything that needs a process of its own happens in three launches, which several tests read.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toy_training

from tll_utils import training

# The order in which floats are summed differs with the number of replicas, nothing else does.
TOLERANCE = 1e-5
WORKER = Path(toy_training.__file__)
SECONDS = 900  # a worker that waits for another one ignores anything but SIGKILL


def start(*arguments, worker=None, ports=()):
    """Starts toy trainings in a process of their own."""
    environ = {k: v for k, v in os.environ.items() if k not in ("TF_CONFIG", "KERAS_BACKEND")}
    environ |= {"CUDA_VISIBLE_DEVICES": "", "TF_NUM_INTRAOP_THREADS": "1"}
    if worker is not None:
        hosts = [f"127.0.0.1:{port}" for port in ports]
        task = {"type": "worker", "index": worker}
        environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": hosts}, "task": task})
    return subprocess.Popen(
        [sys.executable, str(WORKER), *map(str, arguments)],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(processes, *, expected=0):
    """Waits for the processes; returns what they said. Leaves none behind."""
    try:
        said = [process.communicate(timeout=SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [p.returncode for p in processes] == [expected] * len(processes), "\n\n".join(said)
    return said


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def read(path):
    with np.load(path) as file:
        return dict(file)


def assert_same(found, expected, case):
    names = [name for name in expected if name.startswith(f"{case}/")]
    assert names
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], atol=TOLERANCE, err_msg=name)


@pytest.fixture(scope="module")
def alone():
    """The results of one process with one device, which must have learned something."""
    machine = training.choose(environ={}, say=lambda text: None)
    found = {}
    for name, case in toy_training.CASES.items():
        found |= {f"{name}/{k}": value for k, value in case(machine).items()}
    assert len(found["candidates/val_loss"]) == 6
    for name in ("candidates/val_loss", "candidates/loss", "softmax/val_loss"):
        assert found[name][-1] < found[name][0] - 0.05
    return found


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "result.npz"
    finish([start(*toy_training.CASES, "devices", "--replicas", 2, "--result", path)])
    return read(path)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """Worker 1 is killed in the middle of epoch 4; then both start again, with all trainings."""
    folder = tmp_path_factory.mktemp("workers")
    directory, ports = folder / "training", free_ports(2)
    killed = [
        start("candidates", "--directory", directory, *kill, worker=i, ports=ports)
        for i, kill in enumerate([(), ("--kill-in", 3)])
    ]
    try:
        killed[1].communicate(timeout=SECONDS)
    finally:
        for process in killed:
            process.kill()
        said = [process.communicate()[0] for process in killed]
    assert killed[1].returncode == -signal.SIGKILL, said
    with np.load(directory / "training.npz") as state:
        assert len(json.loads(str(state["notes"]))["history"]) == 3

    ports, paths = free_ports(2), [folder / f"result_{i}.npz" for i in range(2)]
    again = [
        start(*toy_training.CASES, "devices", "--directory", directory, "--result", path,
              worker=i, ports=ports)
        for i, path in enumerate(paths)
    ]  # fmt: skip
    said = finish(again)
    assert all("of 2, 2 replicas in all" in text for text in said)
    assert not any("anew" in text for text in said)
    assert [path.name for path in directory.iterdir()] == ["training.npz"]
    return [read(path) for path in paths]


@pytest.mark.parametrize("case", toy_training.CASES)
def test_two_logical_devices_learn_what_one_does(alone, two_devices, case):
    assert_same(two_devices, alone, case)


@pytest.mark.parametrize("case", toy_training.CASES)
def test_two_workers_learn_what_one_process_does_also_after_a_kill(alone, two_workers, case):
    for found in two_workers:
        assert_same(found, alone, case)


def test_two_devices_go_on_with_dropout_and_mining_where_they_were(two_devices):
    assert two_devices["gap"] == 0


def test_several_devices_train_in_16_bits(alone, two_devices, two_workers):
    first = alone["softmax/loss"][:1]
    for found in (two_devices, *two_workers):
        np.testing.assert_allclose(found["loss_in_bfloat16"], first, atol=0.05)
    assert np.isfinite(two_devices["loss_in_float16"]).all()


def test_several_workers_refuse_what_fails_or_hangs(two_workers):
    for found in two_workers:
        assert "set steps_per_execution=1" in str(found["refused_steps"])
        assert "use mixed_bfloat16 or float32" in str(found["refused_float16"])


@pytest.mark.parametrize(
    "name, override",
    [
        ("keras_model", "`training.Model._maybe_symbolic_build`"),
        ("keras_reduction", "`machine.mend_reduction`"),
    ],
)
def test_keras_still_needs_the_override(two_workers, name, override):
    said = str(two_workers[0][name])
    assert said != "works", f"This Keras trains on several workers without {override}: remove it."
    assert "PerReplica" in said or "reduction" in said, said  # anything else is news


def test_a_power_cut_costs_nothing_but_time(alone, tmp_path):
    finish([start("candidates", "--directory", tmp_path, "--kill-in", 3)], expected=-signal.SIGKILL)
    machine = training.choose(environ={}, say=lambda text: None)
    found = toy_training.candidates(machine, tmp_path)
    assert_same({f"candidates/{k}": v for k, v in found.items()}, alone, "candidates")
    assert [path.name for path in tmp_path.iterdir()] == ["training.npz"]
