"""Examples run: at toy size, with random weights.

In processes of their own where they are killed or share the work; TensorFlow takes seconds to load.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_several_workers import free_ports

ROOT = Path(__file__).parents[1]


@pytest.fixture
def environ(sample_dir, tmp_path):
    """Settings for a script that may write nowhere but below `tmp_path`."""
    own = {"DATA_DIR": sample_dir, "OUT_DIR": tmp_path, "WEIGHTS": "random", "CACHE_DIR": tmp_path}
    own |= {"ENGINE": "keras"}  # to make OpenVINO's network takes longer than a few images
    return {**os.environ, **{f"TLL_{name}": str(value) for name, value in own.items()}}


def start(script, *arguments, environ):
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environ, stdout=pipe, stderr=pipe, text=True)


def finish(*processes):
    """Waits for the processes; returns what each printed. Leaves none behind."""
    try:
        said = [process.communicate(timeout=600) for process in processes]
    finally:
        kill(*processes)
    assert [process.returncode for process in processes] == [0] * len(processes), said
    assert not any(noise in err for _, err in said for noise in ("anew", "oneDNN")), said
    return [out for out, _ in said]


def kill(*processes):
    for process in processes:
        process.kill()
        process.communicate()


def run(script, *arguments, environ):
    [printed] = finish(start(script, *arguments, environ=environ))
    return printed


def wait_for(pattern, folder, processes):
    while not list(folder.glob(pattern)):
        assert all(process.poll() is None for process in processes), "ended before it was killed"
        time.sleep(0.02)


@pytest.fixture
def here(environ, monkeypatch, capsys):
    """Runs a script in this process; gives what it says and how it ends."""

    def call(script, *arguments, **changes):
        for name, value in {**environ, **changes}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        capsys.readouterr()
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except SystemExit as end:
            message = end.code if isinstance(end.code, str) else ""
            return capsys.readouterr().err + message, 1 if message else end.code
        return capsys.readouterr().out, 0

    return call


@pytest.mark.parametrize(
    ("script", "arguments", "changes", "message"),
    [
        ("train_dual", (), {"TLL_DATA_DIR": "nowhere"}, "nowhere: no such folder"),
        ("embed_images", ("--backbones", "resnet5"), {}, "Unknown backbone 'resnet5'"),
        ("embed_images", ("--share", "x"), {}, "--share: expected 1/1"),
    ],
)
def test_what_a_person_can_mend_ends_in_one_line(here, script, arguments, changes, message):
    said, code = here(f"examples/{script}.py", *arguments, **changes)
    assert code in (1, 2) and message in said.splitlines()[-1], said


# AlexNet at its least size is soon traced, and it is traced in each of five processes.
TINY = ("--backbones", "alexnet", "--size", 67, 67, "--units", 8, "--candidates", 3)


DUAL = (*TINY, "--batch-size", 4, "--epochs", 6, "--limit", 24)


def test_train_dual_leaves_a_model_and_goes_on_with_two_workers_that_were_killed(
    here, environ, tmp_path
):
    alone, code = here("examples/train_dual.py", *DUAL)
    assert code == 0 and "top-2" in alone
    assert (tmp_path / "models" / "dual_alexnet_concat.keras").is_file()
    # What is finished is not trained again.
    assert here("examples/train_dual.py", *DUAL) == (alone, 0)

    environ = {**environ, "TLL_OUT_DIR": str(tmp_path / "workers"), "CUDA_VISIBLE_DEVICES": ""}
    killed = two_workers(environ)
    wait_for("workers/training/*/training.npz", tmp_path, killed)
    kill(*killed)
    assert {process.returncode for process in killed} == {-signal.SIGKILL}
    assert "".join(finish(*two_workers(environ))).count("top-2") == 1  # only the chief says it
    histories = [history_of(path) for path in (tmp_path, tmp_path / "workers")]
    assert len(histories[0]) == 6
    for figures in zip(*histories, strict=True):
        assert figures[1] == pytest.approx(figures[0], abs=1e-4)


def history_of(out_dir):
    [path] = out_dir.glob("training/*/training.npz")
    with np.load(path) as state:
        return json.loads(str(state["notes"]))["history"]


def two_workers(environ):
    hosts = [f"127.0.0.1:{port}" for port in free_ports(2)]
    return [
        start("examples/train_dual.py", *DUAL, environ={**environ, "TF_CONFIG": json.dumps(task)})
        for task in (
            {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": i}} for i in (0, 1)
        )
    ]


def test_embed_images_shares_the_work_and_goes_on_where_it_was_killed(environ, tmp_path):
    options = ("--backbones", "mobilenet", "alexnet", "--limit", 6, "--share")
    script, stored = "examples/embed_images.py", "features/{}-*/[!.]*.npz"
    killed = start(script, *options, "1/2", environ=environ)
    wait_for(stored.format("mobilenet"), tmp_path, [killed])
    kill(killed)
    assert not list(tmp_path.glob(stored.format("alexnet")))
    shards = {path: path.stat().st_mtime_ns for path in tmp_path.glob(stored.format("mobilenet"))}
    printed = finish(*(start(script, *options, f"{i}/2", environ=environ) for i in (1, 2)))
    assert all("mobilenet: 3 images" in text and "alexnet: 3 images" in text for text in printed)
    assert all(path.stat().st_mtime_ns == before for path, before in shards.items())
