"""The command line: exit codes and messages; long work is never started on bad input."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tll_utils import __main__ as command_line
from tll_utils import data, submission


def run(capsys, *arguments):
    code = command_line.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def perfect_csv(sample_dir, tmp_path):
    dataset = data.load(sample_dir)
    scores = np.zeros(dataset.candidate_index.shape)
    scores[np.arange(len(scores)), dataset.true_place] = 1
    return submission.write(tmp_path / "perfect.csv", dataset.candidates, scores)


def test_sample_then_check(capsys, tmp_path):
    code, out, _ = run(capsys, "sample", tmp_path / "s", "--pairs", 20, "--queries", 5)
    assert (code, "20 pairs and 5 queries" in out) == (0, True)
    code, out, _ = run(capsys, "check", tmp_path / "s")
    assert code == 0 and "20" in out


def test_check_exits_1_on_what_cannot_be_used(capsys, sample_dir, tmp_path):
    import shutil

    broken = shutil.copytree(sample_dir, tmp_path / "broken")
    victim = sorted((broken / "train" / "left").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:200])
    code, _, err = run(capsys, "check", broken)
    assert code == 1 and victim.name in err
    assert run(capsys, "check", tmp_path / "nowhere")[0] == 1


def test_validate_and_score(capsys, perfect_csv, sample_dir):
    code, out, _ = run(capsys, "validate", perfect_csv, "--data", sample_dir)
    assert code == 0 and "12 queries" in out
    truth = sample_dir / "test_truth.csv"
    code, out, _ = run(capsys, "score", perfect_csv, "--truth", truth, "--data", sample_dir)
    assert code == 0
    assert "n = 12" in out and "top-1  1.000  95 % 0.758–1.000" in out  # 12 / (12 + 1.96²)


def test_validate_names_file_and_line(capsys, perfect_csv, sample_dir):
    lines = perfect_csv.read_text().splitlines()
    perfect_csv.write_text("\n".join([*lines[:4], lines[4].replace("0", "nan", 1), *lines[5:]]))
    code, _, err = run(capsys, "validate", perfect_csv, "--data", sample_dir)
    assert code == 1
    assert "perfect.csv: line 5" in err and "nan" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "fast"], "quick, cpu, full"),
        (["--backbones", "resnet51"], "resnet51"),
        (["--only", "42"], "Unknown notebook"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_run_refuses_before_long_work(capsys, tmp_path, sample_dir, arguments, message):
    arguments = ["--data", sample_dir, "--out", tmp_path / "out", *arguments]
    code, _, err = run(capsys, "run", *arguments)
    assert code == 1 and message in err and "Traceback" not in err
    assert not list((tmp_path / "out").glob("*.csv"))


def test_run_refuses_an_unwritable_output_folder(capsys, tmp_path, sample_dir):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "run", "--data", sample_dir, "--out", tmp_path / "file")
    assert code == 1 and "cannot be written" in err


def test_misuse_exits_2_without_a_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "tll_utils", "score"],
        capture_output=True,
        text=True,
        env={**os.environ},
        check=False,
    )
    assert done.returncode == 2 and "usage:" in done.stderr and "Traceback" not in done.stderr
