"""What `make smoke` promises: a row for every system of the reports, told by name."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "smoke-rows"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def check(folder, names):
    rows = [{"system": name, "notebook": "02_x", "n": 6, "m": 3} for name in names]
    (folder / "results.json").write_text(json.dumps(rows))
    command = [sys.executable, str(SCRIPT), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_braces_are_spelled_out_as_in_a_shell(script):
    assert script["expand"]("a{,_b}_{c,d}") == ["a_c", "a_d", "a_b_c", "a_b_d"]


def test_every_system_of_the_reports_has_rows_or_a_figure(script):
    kinds = {"A": 3, "B": 7, "C": 4, "D": 3, "E": 3}
    promised = script["promised"]()
    assert list(promised) == [f"{kind}{i + 1}" for kind, n in kinds.items() for i in range(n)]
    assert [label for label, names in promised.items() if not names] == ["B7", "E3"]


def test_a_complete_run_passes_and_a_missing_row_is_named(script, tmp_path):
    names = sorted({name for wanted in script["promised"]().values() for name in wanted})
    done = check(tmp_path, names)
    assert done.returncode == 0 and f"{len(names)} rows" in done.stdout
    done = check(tmp_path, [name for name in names if name != "ensemble_resnets"])
    assert done.returncode == 1 and done.stderr == "B6: missing ensemble_resnets\n"
