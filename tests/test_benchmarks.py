"""Benchmarks run: at toy size, with random weights."""

import contextlib
import importlib.util
import io
import json
import runpy
import sys

import pytest
import test_examples

environ = test_examples.environ  # the fixture
BENCHMARKS = test_examples.ROOT / "benchmarks"


def load(script, **constants):
    """A benchmark as a module: in a process of its own it would load TensorFlow first."""
    spec = importlib.util.spec_from_file_location("benchmark", BENCHMARKS / script)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    for name, value in constants.items():
        assert hasattr(benchmark, name)
        setattr(benchmark, name, value)
    return benchmark


@pytest.fixture
def here(monkeypatch, environ):
    """Settings of a script for this process."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return lambda *words: monkeypatch.setattr(sys, "argv", [*map(str, words)])


@pytest.mark.parametrize(
    ("script", "constants", "arguments", "expected"),
    [
        (
            "head_training.py",
            {"TIMED_BATCHES": 1, "IMAGES_PER_BATCH": 2},
            ("--pairs", 64, "--epochs", 2),
            "times as fast per epoch",
        ),
        (
            "dual_step.py",
            {"NUM_CANDIDATES": 3},
            ("--rounds", 1, "--side", 32, "--backbones", "mobilenet"),
            "times the encoder",
        ),
        ("precision.py", {}, ("--backbone", "mobilenet"), "of 24 hits differ"),
    ],
)
def test_benchmark_runs(script, constants, arguments, expected, here, capsys):
    here(script, *arguments)
    load(script, **constants).main()
    assert expected in capsys.readouterr().out


def test_pairs_are_fed_in_processes_whose_memory_is_their_own(environ):
    arguments = ("--pairs", 24, "--rounds", 1, "--batches", 1)
    said = test_examples.run("benchmarks/pair_pipeline.py", *arguments, environ=environ)
    assert "of the memory" in said


def test_run_measures_all_its_parts(monkeypatch, capsys, here):
    def run(script, *arguments, **job):
        here(script, *arguments)
        # OpenVINO's network takes seconds to make: where it is asked for only.
        if job.get("engine", "auto") == "auto":
            job["engine"] = "keras"
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(job)))
        with contextlib.redirect_stdout(io.StringIO()) as said:
            runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
        return json.loads(said.getvalue().splitlines()[-1])

    benchmark = load("run.py", run=run)
    here("run.py", "--share", "0.002")
    benchmark.main()
    said = capsys.readouterr().out
    for measured in ("times as fast", "GiB peak", "network's throughput", "when warm", " 2000 "):
        assert measured in said
