"""Running notebooks: what is saved, and how a failure reads."""

import os
import signal
import threading
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tll_utils import runner
from tll_utils.runner import NotebookError


def write_notebook(path, *sources):
    cells = [new_markdown_cell("# Title"), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_find_notebooks_selects_by_first_letters(tmp_path):
    for name in ("02_b", "01_a", "draft"):
        write_notebook(tmp_path / f"{name}.ipynb")
    names = [path.stem for path in runner.find_notebooks(directory=tmp_path)]
    assert names == ["01_a", "02_b"]
    assert [p.stem for p in runner.find_notebooks(["02"], directory=tmp_path)] == ["02_b"]
    with pytest.raises(NotebookError, match="one of 01_a, 02_b. Received: '09'"):
        runner.find_notebooks(["09"], directory=tmp_path)
    with pytest.raises(NotebookError, match="no notebooks here"):
        runner.find_notebooks(directory=tmp_path / "none")


def test_execute_saves_what_ran_and_names_the_cell_that_failed(tmp_path):
    good = write_notebook(tmp_path / "01_good.ipynb", "import os; print(os.environ['GREETING'])")
    bad = write_notebook(tmp_path / "02_bad.ipynb", "x = 1", "y = x / 0", "print('never')")
    with pytest.raises(NotebookError) as caught:
        runner.execute([good, bad], tmp_path / "out", {"GREETING": "hello"})
    message = str(caught.value)
    assert "02_bad: code cell 2 of 3 failed" in message
    assert "y = x / 0" in message and "ZeroDivisionError: division by zero" in message
    done = nbformat.read(tmp_path / "out" / "notebooks" / "01_good.ipynb", as_version=4)
    assert done.cells[1].outputs[0].text == "hello\n"
    half = nbformat.read(tmp_path / "out" / "notebooks" / "02_bad.ipynb", as_version=4)
    assert [cell.execution_count for cell in half.cells[1:]] == [1, 2, None]


def test_execute_says_so_when_the_kernel_dies(tmp_path):
    dead = write_notebook(tmp_path / "01_dead.ipynb", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(NotebookError, match=r"(?s)01_dead: code cell 1 of 1.*the kernel died"):
        runner.execute([dead], tmp_path / "out", {})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_execute_can_be_stopped_and_keeps_what_ran(tmp_path, number):
    flag = tmp_path / "reached"
    slow = write_notebook(
        tmp_path / "01_slow.ipynb",
        "print('done')",
        f"import pathlib, time; pathlib.Path({str(flag)!r}).touch(); time.sleep(20)",
    )

    def stop_when_reached():
        while not flag.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop_when_reached, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        runner.execute([slow], tmp_path / "out", {})
    kept = nbformat.read(tmp_path / "out" / "notebooks" / "01_slow.ipynb", as_version=4)
    assert kept.cells[1].outputs[0].text == "done\n"
