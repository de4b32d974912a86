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


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        ("head_training.py", ("--pairs", 64, "--epochs", 2), "times as fast per epoch"),
        (
            "dual_step.py",
            ("--rounds", 1, "--side", 32, "--backbones", "mobilenet"),
            "times the encoder",
        ),
        ("precision.py", (), "of 24 hits differ"),
        ("pair_pipeline.py", ("--pairs", 40, "--rounds", 1), "of the memory"),
    ],
)
def test_benchmark_runs(script, arguments, expected, environ):
    assert expected in test_examples.run(f"benchmarks/{script}", *arguments, environ=environ)


def test_run_measures_all_its_parts(monkeypatch, capsys, environ):
    """Its parts are run in this process: each in its own would load TensorFlow first."""

    def here(script, *arguments, **job):
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        # OpenVINO's takes seconds to make: where it is asked for only.
        job = {"engine": "keras", **job}
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(job)))
        with contextlib.redirect_stdout(io.StringIO()) as said:
            runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
        return json.loads(said.getvalue().splitlines()[-1])

    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("benchmark", BENCHMARKS / "run.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(benchmark, "run", here)
    monkeypatch.setattr(sys, "argv", ["run.py", "--share", "0.005"])
    benchmark.main()
    said = capsys.readouterr().out
    for measured in ("times as fast", "GiB peak", "network's throughput", "when warm", " 2000 "):
        assert measured in said
