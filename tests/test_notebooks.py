"""The committed notebooks: executed, short-celled, in the house's form. nbval runs them."""

import ast
import builtins
import json
import re
import runpy
from pathlib import Path

import nbformat
import pytest

from tll_utils import notebooks as runner

DIRECTORY = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(DIRECTORY.glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
MAX_BYTES = 1_500_000
TRAINS = [path for path in NOTEBOOKS if "02" <= path.stem[:2] <= "07"]


@pytest.fixture(params=NOTEBOOKS, ids=NAMES)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code(notebook):
    return "\n".join(cell.source for cell in code_cells(notebook))


def tags(cell):
    return set(cell.metadata.get("tags", []))


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
    kinds = {
        output.output_type
        for cell in code_cells(notebook)
        for output in cell.outputs
        if "raises-exception" not in tags(cell)
    }
    assert "error" not in kinds
    names = {o.name for c in code_cells(notebook) for o in c.outputs if o.output_type == "stream"}
    assert "stderr" not in names, "a warning or a log line reached the page"


def test_notebook_cells_are_short(notebook):
    for cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert 1 <= len(lines) <= 20, cell.source


def test_notebook_has_the_parts_of_a_lesson(notebook):
    text = prose(notebook)
    assert notebook.cells[0].source.startswith("# ")
    assert "colab.research.google.com" in text
    assert "## Setup" in text and "## What we learned" in text


@pytest.mark.parametrize("path", TRAINS, ids=lambda path: path.stem)
def test_notebook_compiles_and_fits_in_its_own_cells(path):
    source = code(nbformat.read(path, as_version=4))
    assert re.search(r"\.compile\(", source) and re.search(r"\bfit\(", source)


def test_notebook_expectations_are_cell_tags(notebook):
    assert "NBVAL" not in code(notebook), "expectations belong into cell tags"
    checked = [cell for cell in code_cells(notebook) if "nbval-check-output" in tags(cell)]
    assert len(checked) >= 2
    assert all(cell.outputs for cell in checked)


def test_notebook_was_executed_on_the_sample_and_says_so(notebook):
    assert any("synthetic sample" in text for text in texts(notebook))


def test_notebook_shows_no_path_of_one_machine(notebook):
    for text in texts(notebook):
        assert not re.search(r"/(home|Users|root|work|tmp|content)/", text), text


@pytest.mark.parametrize("mime_type", ["image/png", "image/jpeg"])
def test_notebook_figures_have_a_text_alternative_and_are_shown_once(notebook, mime_type):
    for cell in code_cells(notebook):
        figures = [o for o in cell.outputs if mime_type in o.get("data", {})]
        images = [figure.data[mime_type] for figure in figures]
        assert len(images) == len(set(images)), "the same figure twice under one cell"
        for figure in figures:
            described = figure.data.get("text/plain", "")
            assert len(described) > 20 and "<Figure" not in described, cell.source
            assert figure.metadata[mime_type]["alt"] == described


def test_classic_pages_carry_the_text_alternatives():
    nbconvert = pytest.importorskip("nbconvert")
    for mime_type in ("image/png", "image/jpeg"):
        metadata = {mime_type: {"alt": "Bars: a .30, b < .20."}}
        output = nbformat.v4.new_output("display_data", {mime_type: "AAAA"}, metadata=metadata)
        page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
        html, _ = nbconvert.HTMLExporter(template_name="classic").from_notebook_node(page)
        assert 'alt="Bars: a .30, b &lt; .20."' in html


def test_notebook_tables_have_at_most_fifteen_rows(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            body = output.get("data", {}).get("text/html", "").partition("<tbody>")[2]
            assert body.count("<tr>") <= 15, cell.source


def names_in(code):
    """The names that code binds, and those that it reads, wherever in it."""
    nodes = list(ast.walk(ast.parse(re.sub(r"^( *)%.*$", r"\1pass", code, flags=re.M))))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    for node in nodes:
        if isinstance(node, ast.FunctionDef):
            bound.add(node.name)
        if isinstance(node, ast.arg):
            bound.add(node.arg)
        if isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
    return bound, {name.id for name in names if isinstance(name.ctx, ast.Load)}


def test_notebook_exercises_have_a_hint_and_a_solution_that_fits_the_page(path, notebook):
    text = prose(notebook)
    assert text.count("<summary>Hint</summary>") >= 2
    script = runpy.run_path(str(path.parents[1] / ".ci" / "test-seeds"))
    solutions = script["SOLUTION"].findall(text)
    assert len(solutions) == text.count("<summary>Solution</summary>") >= 2
    known = set(dir(builtins)).union(*(names_in(cell.source)[0] for cell in code_cells(notebook)))
    for solution in solutions:
        bound, read = names_in(solution)
        assert not read - bound - known, solution


def test_notebook_is_light_enough_to_load(path):
    assert path.stat().st_size <= MAX_BYTES


def test_notebooks_that_read_the_results_of_others_are_known_and_begin_without(path, notebook):
    reads = "run.recorded(" in code(notebook)
    assert reads == (path.stem[:2] in runner._READS)
    assert not reads or runner._reading_cell(notebook) > 0


def test_recorded_figures_of_the_best_systems_are_those_of_the_leaderboard():
    results = json.loads((DIRECTORY.parent / "benchmarks" / "results_tll_cpu.json").read_text())
    top_2 = {row["system"]: f"{row['top_2']:.3f}".lstrip("0") for row in results}
    [path] = DIRECTORY.glob("08_*.ipynb")
    text = " ".join(prose(nbformat.read(path, as_version=4)).split())
    best, matched = top_2["best_per_query"], top_2["best_one_to_one"]
    blend, blend_matched = top_2["ensemble_blend"], top_2["ensemble_one_to_one"]
    vote, weighted = top_2["ensemble_vote"], top_2["ensemble_weighted_vote"]
    assert f"matching lifted the best system from {best} to {matched} " in text
    assert f"the blend from {blend} to {blend_matched} " in text
    assert f"the majority vote reached {vote} and the weighted vote {weighted}," in text
    csls = top_2["best_csls"]
    assert f"CSLS lifts the best system from {best} to {csls}," in text
    assert f"the best member ({csls};" in text and f"the fitted blend {blend}," in text


def test_recorded_accuracies_of_all_pairs_or_one_fold_are_rows_of_the_leaderboard(notebook):
    """Where a cell names n = 1600 or n = 400, "accuracy [low, high]" is some system's."""
    results = json.loads((DIRECTORY.parent / "benchmarks" / "results_tll_cpu.json").read_text())
    shown = [
        [f"{row[name]:.3f}".lstrip("0") for name in ("top_2", "low", "high")] for row in results
    ]
    for cell in notebook.cells:
        text = " ".join(re.sub(r'"\s*\n\s*f?"', "", cell.source).split())
        if "recorded" in text and re.search("n = (1600|400)", text):
            found = re.findall(r"(?<![+−\d])(\.\d{3}) \[(\.\d{3}), (\.\d{3})\]", text)
            assert [list(row) for row in found if list(row) not in shown] == []


def test_notebook_embeds_as_the_run_was_told(notebook):
    """With the engine of `TLL_ENGINE`, too: another one would fill a store of its own."""
    for cell in code_cells(notebook):
        assert "features.embed" not in cell.source or "run.looks(" in cell.source, cell.source
