"""Examples and benchmarks run: at toy size, with random weights, each as its own process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def environ(sample_dir, tmp_path):
    """Settings for a script that may write nowhere but below `tmp_path`."""
    own = {"DATA_DIR": sample_dir, "OUT_DIR": tmp_path, "WEIGHTS": "random", "CACHE_DIR": tmp_path}
    return {**os.environ, **{f"TLL_{name}": str(value) for name, value in own.items()}}


def run(script, *arguments, environ):
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


TINY = ("--backbones", "mobilenet", "--size", 32, 32, "--units", 8, "--candidates", 3)


def test_train_dual_leaves_a_model_and_goes_on(environ, tmp_path):
    options = (*TINY, "--batch-size", 4, "--epochs", 2, "--limit", 24)
    first = run("examples/train_dual.py", *options, environ=environ)
    model = tmp_path / "models" / "dual_mobilenet_concat.keras"
    assert "top-2" in first and model.is_file()
    # What is finished is not trained again.
    assert run("examples/train_dual.py", *options, environ=environ) == first


def test_embed_images_shares_the_work(environ, tmp_path):
    options = ("--backbones", "mobilenet", "--limit", 6)
    printed = [
        run("examples/embed_images.py", *options, "--share", share, environ=environ)
        for share in ("1/2", "2/2")
    ]
    assert all("mobilenet: 3 images" in text for text in printed)
    assert list((tmp_path / "features").glob("mobilenet-*/*.npz"))


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        ("head_training.py", ("--pairs", 64, "--epochs", 2), "times as fast per epoch"),
        ("dual_step.py", ("--rounds", 1), "times the encoder"),
        ("run.py", ("--share", 0.005), "times as fast when warm"),
    ],
)
def test_benchmark_runs(script, arguments, expected, environ):
    assert expected in run(f"benchmarks/{script}", *arguments, environ=environ)
