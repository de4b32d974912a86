"""Benchmarks run: at toy size, with random weights, each as its own process."""

import pytest
import test_examples

environ = test_examples.environ  # the fixture


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        ("head_training.py", ("--pairs", 64, "--epochs", 2), "times as fast per epoch"),
        ("dual_step.py", ("--rounds", 1), "times the encoder"),
        ("pair_pipeline.py", ("--pairs", 40, "--rounds", 1), "of the memory"),
        ("run.py", ("--share", 0.005), "times as fast when warm"),
    ],
)
def test_benchmark_runs(script, arguments, expected, environ):
    assert expected in test_examples.run(f"benchmarks/{script}", *arguments, environ=environ)
