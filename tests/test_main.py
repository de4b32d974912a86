"""The command line: exit codes, stdout and stderr; long work is never started on bad input."""

import argparse
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import tll_utils
from tll_utils import __main__ as command_line
from tll_utils import data
from tll_utils.data import download
from tll_utils.scoring import submission


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
    code, out, _ = run(capsys, "check", tmp_path / "s", "--json")
    assert code == 0 and json.loads(out)["problems"] == []


def test_sample_explains_a_folder_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "sample", tmp_path / "file" / "s", "--pairs", 4, "--queries", 4)
    assert code == 1 and err.startswith(f"{tmp_path / 'file' / 's'}: cannot be written")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--jobs", "two"], "--jobs: expected a whole number of at least 1, received two"),
        (
            ["sample", "s", "--pairs", "1"],
            "--pairs: expected a whole number of at least 2, received 1",
        ),
    ],
)
def test_numbers_are_refused_by_the_name_of_their_option(capsys, arguments, message):
    with pytest.raises(SystemExit):
        run(capsys, *arguments)
    assert message in capsys.readouterr().err


def test_help_explains_every_argument():
    parsers = [command_line._parser()]
    for parser in parsers:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
            else:
                assert action.help, f"{parser.prog}: {action.dest}"


def test_check_exits_1_on_what_cannot_be_used(capsys, sample_dir, tmp_path):
    broken = shutil.copytree(sample_dir, tmp_path / "broken")
    victim = sorted((broken / "train" / "left").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:200])
    code, out, err = run(capsys, "check", broken)
    assert code == 1 and victim.name in err and not out
    assert run(capsys, "check", tmp_path / "nowhere")[0] == 1


def test_get_says_how_to_use_the_release_from_any_folder(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(download, "get_release", lambda folder: [])
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "data", "get", "my release")
    assert code == 0 and f"--data '{tmp_path / 'my release'}'" in err


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
    assert "perfect.csv, row 5" in err and "nan" in err and "Traceback" not in err


def rows(*results):
    fixed = {
        "notebook": "01_a", "backbone": "", "data": "sample", "weights": "none",
        "protocol": "per query", "n": 200, "m": 20, "top_1": 0.1, "top_5": 0.5,
    }  # fmt: skip
    return [{**fixed, "low": 0.1, "high": 0.4, "seed": 0, **result} for result in results]


def test_leaderboard_lists_results_and_sets_runs_side_by_side(capsys, tmp_path):
    first = {"system": "hog", "profile": "quick", "top_2": 0.2}
    recorded = rows(first, {**first, "profile": "cpu", "top_2": 0.3})
    (tmp_path / "results.json").write_text(json.dumps(recorded))
    code, out, _ = run(capsys, "leaderboard", "--out", tmp_path)
    assert code == 0 and out.count("hog") == 2
    code, out, _ = run(capsys, "leaderboard", "--out", tmp_path, "--compare")
    assert code == 0 and out.count("hog") == 1
    assert "0.300" in out and "0.200" in out and "quick" in out
    code, _, err = run(capsys, "leaderboard", "--out", tmp_path / "none")
    assert code == 1 and "tll run" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "fast"], "quick, cpu, full"),
        (["--backbones", "resnet51", "--only", "04"], "resnet51"),
        (["--backbones", "efficientnet_lite0", "--only", "07"], "needs at least 2"),
        (["--backbones", "resnet5", "--only", "07"], "Did you mean 'resnet50'"),
        (["--weights", "nowhere"], "nowhere"),
        (["--seed", "-1"], "seed"),
        (["--only", "42"], "Unknown notebook"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_run_refuses_before_long_work(capsys, tmp_path, sample_dir, arguments, message):
    arguments = [f"--seed={arguments[1]}"] if arguments[0] == "--seed" else arguments
    arguments = ["--data", sample_dir, "--out", tmp_path / "out", *arguments]
    code, _, err = run(capsys, "run", *arguments)
    assert code == 1 and message in err and "Traceback" not in err
    assert not list((tmp_path / "out").glob("*.csv"))


def test_run_overwrites_no_results_of_other_data(capsys, tmp_path, sample_dir):
    other = {"notebook": "01_data_exploration", "data": "tll", "profile": "cpu", "seed": 1}
    recorded = rows({"system": "hog", "top_2": 0.2, **other})
    (tmp_path / "results.json").write_text(json.dumps(recorded))
    arguments = ["--data", sample_dir, "--out", tmp_path, "--only", "01", "--seed", "0,1"]
    code, _, err = run(capsys, "run", *arguments)
    assert code == 1 and "data 'tll' in profile cpu" in err and "--out" in err


def test_run_lists_all_weights_that_are_missing_before_it_starts(capsys, tmp_path, sample_dir):
    (tmp_path / "empty").mkdir()
    code, _, err = run(
        capsys, "run", "--data", sample_dir, "--out", tmp_path / "out",
        "--backbones", "vgg16,resnet50", "--weights", tmp_path / "empty", "--only", "04",
    )  # fmt: skip
    assert code == 1
    assert "vgg16.weights.h5" in err and "resnet50.weights.h5" in err and "random" in err


def test_run_refuses_an_unwritable_output_folder(capsys, tmp_path, sample_dir):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "run", "--data", sample_dir, "--out", tmp_path / "file")
    assert code == 1 and "cannot be written" in err


def test_errors_of_ours_are_messages_and_bugs_show_their_trace(capsys, monkeypatch, tmp_path):
    def broken(path):
        raise ZeroDivisionError

    monkeypatch.setattr(data, "load", broken)
    with pytest.raises(ZeroDivisionError):
        run(capsys, "check", tmp_path)


def fresh(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_misuse_exits_2_without_a_traceback():
    done = fresh("-m", "tll_utils", "score")
    assert done.returncode == 2 and "usage:" in done.stderr and "Traceback" not in done.stderr


def test_version_is_the_packages():
    done = fresh("-m", "tll_utils", "--version")
    assert done.returncode == 0 and done.stdout == f"tll {tll_utils.__version__}\n"


@pytest.mark.parametrize("command", ["--help", "sample", "check", "validate", "score"])
def test_light_commands_never_load_keras(command, perfect_csv, sample_dir, tmp_path):
    truth = sample_dir / "test_truth.csv"
    arguments = {
        "--help": [],
        "sample": [tmp_path / "s", "--pairs", 4, "--queries", 4],
        "check": [sample_dir],
        "validate": [perfect_csv, "--data", sample_dir],
        "score": [perfect_csv, "--data", sample_dir, "--truth", truth],
    }[command]
    code = (
        "import sys\n"
        "from tll_utils.__main__ import main\n"
        "try:\n    code = main(sys.argv[1:])\n"
        "except SystemExit as done:\n    code = done.code\n"
        "print(code, sorted({'keras', 'tensorflow', 'jax', 'matplotlib'} & set(sys.modules)))"
    )
    done = fresh("-c", code, command, *arguments)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
