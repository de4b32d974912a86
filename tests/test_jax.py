"""Keras on JAX, with TensorFlow out of reach: one device, two devices, a killed training."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toy_training

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="needs JAX")
TOLERANCE = 1e-5  # the order in which floats are summed differs, nothing else does
BLOCKED = """
import runpy, sys
sys.modules["tensorflow"] = None  # from here on, importing it fails
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(*arguments, devices):
    """Runs toy trainings on so many JAX devices of this CPU; returns what they said."""
    environ = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    script = Path(toy_training.__file__)
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, script, *map(str, arguments)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    path = tmp_path_factory.mktemp("one") / "result.npz"
    said = start(*toy_training.CASES, "--result", path, devices=1)
    assert "JAX on 1 × CPU: one device, float32" in said
    return dict(np.load(path))


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    path = tmp_path_factory.mktemp("two") / "result.npz"
    said = start(*toy_training.CASES, "devices", "--replicas", 2, "--result", path, devices=2)
    assert "JAX on 2 × CPU: DataParallel, float32" in said
    return dict(np.load(path))


def test_one_device_learns_something(one_device):
    assert len(one_device["candidates/val_loss"]) == 6
    for name in ("candidates/val_loss", "candidates/loss", "softmax/val_loss"):
        assert one_device[name][-1] < one_device[name][0] - 0.05


def test_two_devices_learn_what_one_does(one_device, two_devices):
    assert one_device.keys() <= two_devices.keys()
    for name, expected in one_device.items():
        np.testing.assert_allclose(two_devices[name], expected, atol=TOLERANCE, err_msg=name)


def test_two_devices_go_on_with_dropout_and_mining_where_they_were(two_devices):
    assert two_devices["gap"] == 0


def test_two_devices_train_in_16_bits(one_device, two_devices):
    first = one_device["softmax/loss"][:1]
    np.testing.assert_allclose(two_devices["loss_in_bfloat16"], first, atol=0.05)
    assert np.isfinite(two_devices["loss_in_float16"]).all()
