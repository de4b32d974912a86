"""Rows are kept once per result, and shown best first."""

import json

import pytest

import tll_utils
from tll_utils.errors import SettingsError, TllError
from tll_utils.scoring import leaderboard


def row(system, top_2=0.5, **changes):
    return {
        "system": system, "notebook": "01", "split": "4 folds", "n": 100, "m": 20, "top_1": 0.25,
        "top_2": top_2, "top_5": 0.75, "low": 0.4, "high": 0.6, "seed": 0, "seconds": 1.0,
        "backbone": "", "weights": "none", "data": "tll", "profile": "cpu",
        "protocol": "per query", **changes,
    }  # fmt: skip


def test_a_folder_without_results_has_no_rows(tmp_path):
    assert leaderboard.read(tmp_path) == []
    assert leaderboard.leaderboard([]).empty


def test_a_row_replaces_the_one_of_the_same_system(tmp_path):
    leaderboard.write(tmp_path, [row("a", 0.1), row("b", 0.2)])
    leaderboard.write(tmp_path, [row("a", 0.3)])
    assert {r["system"]: r["top_2"] for r in leaderboard.read(tmp_path)} == {"a": 0.3, "b": 0.2}
    seen = [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert seen == ["results.json"]  # no draft beside it


def test_results_are_a_list_of_objects_in_the_order_of_the_notebooks(tmp_path):
    leaderboard.write(tmp_path, [row("late", notebook="08"), row("early", notebook="02")])
    written = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [r["system"] for r in written] == ["early", "late"]


@pytest.mark.parametrize("change", [{"data": "sample"}, {"profile": "quick"}])
def test_rows_of_other_data_and_profiles_stay_apart(tmp_path, change):
    leaderboard.write(tmp_path, [row("a"), row("b", **change)])
    found = leaderboard.of_run(tmp_path, data="tll", profile="cpu")
    assert [r["system"] for r in found] == ["a"]


@pytest.mark.parametrize(
    ("recorded", "refused"),
    [
        ({}, False),  # the same run again
        ({"data": "sample", "profile": "quick"}, False),
        ({"profile": "full"}, True),
        ({"data": "release"}, True),
        ({"data": "release", "seed": 2}, False),  # its files are called otherwise
        ({"data": "release", "notebook": "02"}, False),
    ],
)
def test_only_another_run_on_the_sample_may_be_overwritten(tmp_path, recorded, refused):
    leaderboard.write(tmp_path, [row("a", **recorded)])
    this_run = {"data": "tll", "profile": "cpu", "seeds": (0, 1)}
    if refused:
        with pytest.raises(SettingsError, match=r"holds results on data '.*TLL_OUT_DIR"):
            leaderboard.refuse_overwriting(tmp_path, ["01", "04"], **this_run)
    else:
        leaderboard.refuse_overwriting(tmp_path, ["01", "04"], **this_run)


def test_leaderboard_puts_the_best_first_with_its_interval():
    table = leaderboard.leaderboard([row("a", 0.2), row("c", 0.4), row("b", 0.3)])
    assert list(table.index) == ["c", "b", "a"]
    assert list(table.loc["c"])[:6] == ["0.250", "0.400", "0.400–0.600", "0.750", 100, 20]


@pytest.mark.parametrize(
    "change", [{"backbone": "vgg16"}, {"data": "sample"}, {"profile": "quick"}]
)
def test_a_row_of_another_key_replaces_nothing(tmp_path, change):
    leaderboard.write(tmp_path, [row("a", 0.1)])
    leaderboard.write(tmp_path, [row("a", 0.2, **change)])
    found = leaderboard.read(tmp_path)
    assert [r["top_2"] for r in found] == [0.1, 0.2]
    [(name, value)] = change.items()
    assert list(leaderboard.leaderboard(found)[name]) == [value, row("a")[name]]


def test_rows_of_several_seeds_become_one_with_means_and_the_spread():
    rows = [row("a", 0.1), row("a", 0.4, seed=1, low=0.2, high=0.8), row("b", 0.2)]
    table = leaderboard.leaderboard(rows)
    assert list(table.index) == ["a", "b"]
    assert list(table["top-2"]) == ["0.250", "0.200"]
    assert list(table["95 %"]) == ["0.300–0.700", "0.400–0.600"]
    assert list(table["seeds"]) == ["0.100–0.400 (2)", ""]
    assert "seeds" not in leaderboard.leaderboard(rows[1:])


def test_of_run_takes_one_seed_if_told(tmp_path):
    leaderboard.write(tmp_path, [row("a"), row("a", seed=1)])
    assert len(leaderboard.of_run(tmp_path, data="tll", profile="cpu")) == 2
    [found] = leaderboard.of_run(tmp_path, data="tll", profile="cpu", seed=1)
    assert found["seed"] == 1


def test_rows_say_which_program_made_them(tmp_path):
    leaderboard.write(tmp_path, [row("a")])
    [found] = leaderboard.read(tmp_path)
    assert found["version"] == tll_utils.__version__
    assert found["keras"].split(".")[0] == "3"
    assert {"commit", "tensorflow", "weights"} <= set(found)


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', "[3]", '[{"system": "a"}]'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(TllError, match=r"results\.json: expected a list of result rows"):
        leaderboard.read(tmp_path)
