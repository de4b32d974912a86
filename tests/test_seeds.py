"""What holds the sentences of a run against its results: it must be able to fail."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from tll_utils import notebooks, plan

SCRIPT = Path(__file__).parents[1] / ".ci" / "test-seeds"
ROWS = [{"system": "edges", "top_2": 0.35}, {"system": "colors", "top_2": 0.3}]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize(
    ("right", "false"),
    [
        ("The best of all is `edges` with 0.35.", "The best of all is `colors` with 0.30."),
        ("edges: 0.350 [0.292, 0.423], n = 200", "edges: 0.360 [0.292, 0.423], n = 200"),
        ("edges − colors: +0.050, a gain", "edges − colors: -0.050, a gain"),
        ("whitening helps (+0.100 [+0.05, +0.15])", "whitening hurts (+0.100 [+0.05, +0.15])"),
        ("it cannot be told to help (-0.020)", "it helps (-0.020)"),
        ("the fitted blend is worse (-0.010)", "the fitted blend is better (-0.010)"),
    ],
)
def test_wrong_tells_a_false_sentence_from_a_right_one(script, right, false):
    assert not list(script["wrong"](right, ROWS))
    assert list(script["wrong"](false, ROWS))


def notebook_that_says(text):
    output = nbformat.v4.new_output("stream", text=text)
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])


def test_compare_reads_rows_of_the_same_notebook_only(script, tmp_path, capsys):
    rows = [{**row, "notebook": "01_look"} for row in ROWS]
    rows.append({"system": "network", "top_2": 0.9, "notebook": "02_learn"})
    (tmp_path / "results.json").write_text(json.dumps(rows))
    nbformat.write(notebook_that_says("Best: `edges`."), tmp_path / "01_look.ipynb")
    assert script["compare"](tmp_path, tmp_path) == 0
    nbformat.write(notebook_that_says("Best: `colors`."), tmp_path / "01_look.ipynb")
    assert script["compare"](tmp_path, tmp_path) == 1
    assert "`colors` is called best" in capsys.readouterr().err


def test_sentences_leave_out_what_was_recorded_elsewhere(script):
    text = "1. it helps (+0.1).\n*On photographs (recorded):* it hurts (+0.2).\n2. more"
    assert "hurts" not in "".join(script["sentences"](notebook_that_says(text)))


def test_with_solutions_puts_folded_code_behind_the_lesson(script):
    folded = "<details><summary>Solution</summary>\n\n```python\nx = 1\n```\n\n</details>"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(folded)])
    assert script["with_solutions"](notebook).cells[-1].source == "x = 1"


def test_run_executes_the_lessons_with_their_solutions(script, tmp_path, monkeypatch):
    executed = {}
    found = SimpleNamespace(data_dir=tmp_path / "data")
    monkeypatch.setattr(plan, "check", lambda config, paths: found)
    monkeypatch.setattr(
        notebooks, "execute", lambda paths, out, environ, **o: executed.update(environ, paths=paths)
    )
    folder = script["run"](tmp_path, "01,04")
    assert [path.stem[:2] for path in executed["paths"]] == ["01", "04"]
    assert executed["TLL_DATA_DIR"] == str(found.data_dir)
    assert folder.name == f"notebooks_seed{executed['TLL_SEED']}" != "notebooks_seed0"
