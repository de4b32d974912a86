"""The committed notebooks: executed, short-celled, in the house's form. nbval runs them."""

import json
import re
from pathlib import Path

import nbformat
import pytest

DIRECTORY = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(DIRECTORY.glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]


@pytest.fixture(params=NOTEBOOKS, ids=NAMES)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def texts(notebook):
    """Every text that a reader sees under a code cell."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if "text" in output:
                yield output.text
            yield from (v for k, v in output.get("data", {}).items() if k.startswith("text/"))


def test_the_story_is_numbered_without_a_gap():
    assert [name[:2] for name in NAMES] == [f"{i:02d}" for i in range(1, len(NAMES) + 1)]


def test_notebook_is_saved_executed_in_order_and_without_errors(notebook):
    # nbval compares nothing where a cell was never executed.
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    kinds = {output.output_type for cell in code_cells(notebook) for output in cell.outputs}
    assert "error" not in kinds
    names = {o.name for c in code_cells(notebook) for o in c.outputs if o.output_type == "stream"}
    assert "stderr" not in names, "a warning or a log line reached the page"


def test_notebook_cells_are_short_and_define_nothing_reusable(notebook):
    for cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert 1 <= len(lines) <= 20, cell.source
        assert not re.search(r"^\s*(class) ", cell.source, re.M), cell.source


def test_notebook_has_the_parts_of_a_lesson(notebook):
    text = prose(notebook)
    assert notebook.cells[0].source.startswith("# ")
    assert "colab.research.google.com" in text
    assert "## Setup" in text and "## What we learned" in text


def test_notebook_has_outputs_that_nbval_compares(notebook):
    checked = [
        c for c in code_cells(notebook) if re.search(r"^# NBVAL_CHECK_OUTPUT$", c.source, re.M)
    ]
    assert len(checked) >= 2
    assert all(cell.outputs for cell in checked)


def test_notebook_was_executed_on_the_sample_and_says_so(notebook):
    assert any("synthetic sample" in text for text in texts(notebook))


def test_notebook_shows_no_path_of_one_machine(notebook):
    for text in texts(notebook):
        assert not re.search(r"/(home|Users|root|work|tmp|content)/", text), text


def test_notebook_figures_are_shown_once_and_fit_the_page(notebook):
    for cell in code_cells(notebook):
        images = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
        assert len(images) == len(set(images)), "the same figure twice under one cell"
    assert len(json.dumps(notebook)) < 4_000_000
