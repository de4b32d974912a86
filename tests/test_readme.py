"""The README: its table comes from a file, its commands and links exist."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from tll_utils import __main__ as command_line

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def benchmark(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def leaderboard():
    return benchmark("leaderboard")


def test_reliability_is_the_table_of_the_last_fuzzing():
    fuzz = benchmark("fuzz")
    if not fuzz.FOUND.is_file():
        pytest.skip("make fuzz has not been run to its end yet")
    found = json.loads(fuzz.FOUND.read_text(encoding="utf-8"))
    assert fuzz.with_table(README, found) == README
    tried = {area: counts["tried"] for area, counts in found["areas"].items()}
    kills = sum(count for area, count in tried.items() if area.startswith("kills"))
    assert kills >= 30 and sum(tried.values()) - kills >= 10_000


def test_leaderboard_is_the_one_of_the_stored_results(leaderboard):
    rows = json.loads(leaderboard.RESULTS.read_text(encoding="utf-8"))
    rows = sorted(rows, key=lambda row: -row["top_2"])
    for page, count in leaderboard.PAGES.items():
        text = page.read_text(encoding="utf-8")
        assert leaderboard.with_table(text, rows[:count]) == text
        assert all(f"`{row['system']}`" in text for row in rows[:count])
    assert all(row["data"] == "tll" and row["profile"] == "cpu" for row in rows)


def test_stored_results_hold_what_a_number_needs(leaderboard):
    for row in json.loads(leaderboard.RESULTS.read_text(encoding="utf-8")):
        assert row["low"] <= row["top_2"] <= row["high"]
        assert row["top_1"] <= row["top_2"] <= row["top_5"]
        assert row["n"] >= 100 and row["split"] and row["weights"] != "random"


def test_links_to_files_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_notebook_stands_in_the_readme():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"notebooks/{path.name}" in README


def test_minutes_of_a_notebook_are_the_same_in_the_readme_and_in_its_introduction():
    table = dict(re.findall(r"\(notebooks/(\w+\.ipynb)\) \|[^|]+\| (\d+) \|", README))
    said = {}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        introduction = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
        if minutes := re.search(r"`cpu` about (\d+)", " ".join("".join(introduction).split())):
            said[path.name] = minutes[1]
    assert len(said) == len(table) - 1  # the last is a game
    assert said == {name: table[name] for name in said}


def test_commands_parse():
    commands = re.findall(r"^(?:\S*/)?python -m tll_utils ([^\n#`]+)", README, re.M)
    assert commands
    for command in commands:
        arguments = re.sub(r"<[^>]+>", "x", command).split()
        command_line._parser().parse_args(arguments)  # exits on a command that does not exist
