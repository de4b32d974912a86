"""Running notebooks: what is saved, and how a failure reads."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tll_utils import notebooks as runner
from tll_utils.errors import NotebookError


def write_notebook(path, *sources):
    cells = [new_markdown_cell("# Title"), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


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


def test_what_is_printed_with_a_pause_between_is_one_output(tmp_path):
    cell = "import time; print('first', flush=True); time.sleep(0.5); print('second')"
    paused = write_notebook(tmp_path / "01_paused.ipynb", cell)
    runner.execute([paused], tmp_path / "out", {})
    made = nbformat.read(tmp_path / "out" / "notebooks" / "01_paused.ipynb", as_version=4)
    assert [output.text for output in made.cells[1].outputs] == ["first\nsecond\n"]


def test_execute_says_so_when_the_kernel_dies(tmp_path):
    dead = write_notebook(tmp_path / "01_dead.ipynb", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(NotebookError, match=r"(?s)01_dead: code cell 1 of 1.*the kernel died"):
        runner.execute([dead], tmp_path / "out", {})


RUNNER = """
import pathlib, signal, sys
from tll_utils import notebooks
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started us without
paths = [pathlib.Path(path) for path in sys.argv[2:]]
try: notebooks.execute(paths, sys.argv[1], {}, jobs=len(paths))
except KeyboardInterrupt: sys.exit(130)
"""


def run_until(flags, number, out_dir, *paths, times=1):
    """Runs notebooks in a process of its own, stops it once all flags are there; what it said."""
    command = [sys.executable, "-c", RUNNER, out_dir, *paths]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not all(flag.exists() for flag in flags):
        assert process.poll() is None
        time.sleep(0.05)
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.2)
    return process.communicate(timeout=60)[1], process.returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_execute_can_be_stopped_and_keeps_what_ran(tmp_path, number):
    flag = tmp_path / "reached"
    wait = f"import pathlib, time; pathlib.Path({str(flag)!r}).touch(); time.sleep(60)"
    slow = write_notebook(tmp_path / "01_slow.ipynb", "print('done')", wait)
    _, code = run_until([flag], number, tmp_path / "out", slow)
    assert code == 130
    kept = nbformat.read(tmp_path / "out" / "notebooks" / "01_slow.ipynb", as_version=4)
    assert kept.cells[1].outputs[0].text == "done\n"


@pytest.mark.parametrize(("gib", "jobs"), [(3, 1), (9, 1), (17, 2), (100, 2)])
def test_memory_and_cores_decide_how_many_notebooks_run_at_once(gib, jobs, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=gib * 2**30))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert runner.suitable_jobs("full") == jobs


def test_jobs_run_side_by_side_but_a_reader_waits(tmp_path):
    """The first two wait for each other; the third finds what both have left."""
    meet = """
import pathlib, time
folder = pathlib.Path({folder!r})
folder.joinpath({own!r}).touch()
while not folder.joinpath({other!r}).exists():
    time.sleep(0.05)
"""
    paths = [
        write_notebook(
            tmp_path / f"{own}_a.ipynb", meet.format(folder=str(tmp_path), own=own, other=other)
        )
        for own, other in [("01", "02"), ("02", "01")]
    ]
    look = (
        f"import pathlib; print(sorted(p.name for p in pathlib.Path({str(tmp_path)!r}).glob('0?')))"
    )
    paths.append(write_notebook(tmp_path / "08_c.ipynb", look.format(str(tmp_path))))
    runner.execute(paths, tmp_path / "out", {}, jobs=3)
    last = nbformat.read(tmp_path / "out" / "notebooks" / "08_c.ipynb", as_version=4)
    assert last.cells[1].outputs[0].text == "['01', '02']\n"


def story_of_readers(folder, first=""):
    """01 and 03 leave a file each; 08 and 09 look which are there, in their second cell."""
    begin = f"""
import pathlib, time
from types import SimpleNamespace
folder = pathlib.Path({str(folder)!r})
run = SimpleNamespace(recorded=lambda: sorted(path.name for path in folder.glob("0?")))
"""
    paths = []
    for name in ("01", "03"):
        own = f"folder.joinpath({name!r}).touch()"
        paths.append(write_notebook(folder / f"{name}_a.ipynb", begin + first, own))
    for name in ("08", "09"):
        begun = f"folder.joinpath('begun_{name}').touch()"
        paths.append(write_notebook(folder / f"{name}_a.ipynb", begin + begun, READ.format(name)))
    return paths


READ = "print(run.recorded())\nfolder.joinpath({!r}).touch()"
UNTIL_08_BEGINS = """
while not folder.joinpath("begun_08").exists():
    time.sleep(0.05)
"""


@pytest.mark.parametrize("jobs", [2, 3, 5])
def test_a_reader_begins_early_and_waits_where_it_reads(tmp_path, jobs):
    paths = story_of_readers(tmp_path, first=UNTIL_08_BEGINS)  # or nothing would ever end
    runner.execute(paths, tmp_path / "out", {}, jobs=jobs)
    for name, seen in (("08", ["01", "03"]), ("09", ["01", "03", "08"])):
        made = nbformat.read(tmp_path / "out" / "notebooks" / f"{name}_a.ipynb", as_version=4)
        assert made.cells[2].outputs[0].text == f"{seen}\n"


def test_a_reader_that_begins_early_has_all_cores_for_it_will_be_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    *_, reader, _ = paths = story_of_readers(tmp_path, first=UNTIL_08_BEGINS)
    changed = nbformat.read(reader, as_version=4)
    changed.cells[2].source = "import os; run.recorded(); print(os.environ['OMP_NUM_THREADS'])"
    nbformat.write(changed, reader)
    runner.execute(paths, tmp_path / "out", {}, jobs=2)
    made = nbformat.read(tmp_path / "out" / "notebooks" / reader.name, as_version=4)
    assert made.cells[2].outputs[0].text == "6\n"


def test_alone_a_reader_does_not_begin_early(tmp_path):
    paths = story_of_readers(tmp_path, first="assert not folder.joinpath('begun_08').exists()")
    runner.execute(paths, tmp_path / "out", {}, jobs=1)


def test_a_reader_that_waits_ends_with_what_it_waits_for(tmp_path):
    paths = story_of_readers(tmp_path, first=UNTIL_08_BEGINS + "1 / 0")
    with pytest.raises(NotebookError, match=r"(?s)0[13]_a: code cell 1 of 2.*ZeroDivisionError"):
        runner.execute(paths, tmp_path / "out", {}, jobs=2)
    assert not (tmp_path / "08").exists()


def test_a_reader_that_may_be_skipped_waits_before_it_begins(tmp_path):
    paths = story_of_readers(tmp_path)
    runner.execute(paths, tmp_path / "out", {}, jobs=2)
    (tmp_path / "begun_08").unlink()
    changed = nbformat.read(paths[0], as_version=4)
    changed.cells[2].source += "\n1 + 1"  # it leaves what it left before
    nbformat.write(changed, paths[0])
    skipped = runner.execute(paths, tmp_path / "out", {}, jobs=2)
    assert skipped == ["03_a", "08_a", "09_a"] and not (tmp_path / "begun_08").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_of_several_at_a_time_the_longest_start_first(tmp_path, jobs):
    begin = "import pathlib; folder = pathlib.Path({!r}); folder.joinpath({!r}).touch()"
    look = "print(sorted(path.name for path in folder.glob('0?')))"
    paths = [
        write_notebook(tmp_path / f"{name}_a.ipynb", begin.format(str(tmp_path), name), look)
        for name in ("01", "04", "05")
    ]
    runner.execute(paths, tmp_path / "out", {}, jobs=jobs)
    first = nbformat.read(tmp_path / "out" / "notebooks" / "01_a.ipynb", as_version=4)
    assert (first.cells[2].outputs[0].text == "['01']\n") == (jobs == 1)


def test_kernels_side_by_side_share_the_cores_and_a_lone_one_has_them_all(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    show = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS'])"
    paths = [write_notebook(tmp_path / f"{name}_a.ipynb", show) for name in ("01", "02", "08")]
    environ = {"OPENBLAS_NUM_THREADS": "5"}  # what the user asks for is left alone
    runner.execute(paths, tmp_path / "out", environ, jobs=2)
    for name, threads in (("01", 3), ("02", 3), ("08", 6)):
        made = nbformat.read(tmp_path / "out" / "notebooks" / f"{name}_a.ipynb", as_version=4)
        assert made.cells[1].outputs[0].text == f"{threads} 5\n"


BIG = """
import numpy as np, psutil, tensorflow as tf
tf.zeros(1)
before = (used := psutil.Process().memory_info)().rss
kept = [tf.Variable(np.ones(2**24, np.float32)) for _ in range(4)]
most = used().rss
del kept
print(most - before > 2e8, used().rss - before < 1e8)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is not glibc's")
def test_kernels_give_back_the_memory_of_large_arrays_of_tensorflow(tmp_path):
    pytest.importorskip("tensorflow")
    runner.execute([write_notebook(tmp_path / "01_big.ipynb", BIG)], tmp_path / "out", {})
    made = nbformat.read(tmp_path / "out" / "notebooks" / "01_big.ipynb", as_version=4)
    assert made.cells[1].outputs[-1].text == "True True\n"


def test_two_jobs_are_stopped_at_once_and_without_a_trace(tmp_path):
    cell = "import pathlib, time; pathlib.Path({!r}).touch(); time.sleep(60)"
    flags = [tmp_path / "01", tmp_path / "02"]
    paths = [write_notebook(tmp_path / f"{f.name}_a.ipynb", cell.format(str(f))) for f in flags]
    # Twice, as `make` and a terminal do: whoever started it hands the signal on.
    said, code = run_until(flags, signal.SIGTERM, tmp_path / "out", *paths, times=2)
    assert code in (130, -signal.SIGTERM)
    assert "Traceback" not in said and "never retrieved" not in said


def test_a_reader_that_waits_is_stopped_with_the_others(tmp_path):
    first, *_, reader, _ = story_of_readers(tmp_path, first="folder.joinpath('a').touch()\n")
    slow = nbformat.read(first, as_version=4)
    slow.cells[2].source = "time.sleep(60)"
    nbformat.write(slow, first)
    flags = [tmp_path / "a", tmp_path / "begun_08"]
    said, code = run_until(flags, signal.SIGINT, tmp_path / "out", first, reader)
    assert code == 130 and "Traceback" not in said and not (tmp_path / "08").exists()
    kept = nbformat.read(tmp_path / "out" / "notebooks" / reader.name, as_version=4)
    assert kept.cells[2].outputs == []


class TestBuild:
    """A notebook is executed again only when something that it was made from has changed."""

    @pytest.fixture
    def story(self, tmp_path):
        count = "import pathlib; p = pathlib.Path({!r}); p.write_text(p.read_text() + 'x')"
        marks = [tmp_path / name for name in "ab"]
        for mark in marks:
            mark.write_text("")
        paths = [
            write_notebook(tmp_path / f"{number}_{mark.name}.ipynb", count.format(str(mark)))
            for number, mark in zip(("01", "08"), marks, strict=True)
        ]

        def run(**options):
            runner.execute(paths, tmp_path / "out", {}, **options)
            return "".join(f"{mark.name}{len(mark.read_text())}" for mark in marks)

        run.paths, run.out_dir = paths, tmp_path / "out"
        return run

    def test_unchanged_notebooks_are_skipped_and_named(self, story, capsys):
        assert story(ingredients={"seed": 0}) == "a1b1"
        assert story(ingredients={"seed": 0}) == "a1b1"
        assert "01_a: unchanged, skipped" in capsys.readouterr().err
        assert story(ingredients={"seed": 0}, fresh=True) == "a2b2"

    def test_seeds_are_kept_side_by_side(self, story):
        story()
        assert story(seed=1) == "a2b2"
        assert story() == story(seed=1) == "a2b2"
        assert (story.out_dir / "notebooks_seed1" / "08_b.ipynb").is_file()

    def test_other_ingredients_run_all_again(self, story):
        story(ingredients={"seed": 0})
        assert story(ingredients={"seed": 1}) == "a2b2"

    def test_prose_does_not_count_but_code_does(self, story):
        story()
        notebook = nbformat.read(story.paths[0], as_version=4)
        notebook.cells[0].source = "# Another title"
        nbformat.write(notebook, story.paths[0])
        assert story() == "a1b1"
        notebook.cells[1].source += "\n1 + 1"
        nbformat.write(notebook, story.paths[0])
        assert story() == "a2b1"

    def test_a_result_that_changed_runs_what_comes_after_it(self, story):
        row = {"system": "s", "notebook": "01_a", "backbone": "", "data": "d", "profile": "quick"}
        row |= {"weights": "none", "protocol": "per query", "n": 10, "m": 20, "seed": 0}
        row |= dict.fromkeys(("top_1", "top_2", "top_5", "low", "high"), 0.5)
        story.out_dir.mkdir()

        def record(**result):
            text = json.dumps([{**row, **result}])
            (story.out_dir / "results.json").write_text(text)

        record(top_2=0.5, seconds=1)
        story()
        record(top_2=0.5, seconds=2)  # took longer: the same result
        assert story() == "a1b1"
        # What 01 recorded is not what it left: it runs again, and 08, which reads it.
        record(top_2=0.6)
        assert story() == "a2b2"

    def test_a_stopped_run_goes_on_with_the_first_that_is_not_done(self, story):
        story()
        (story.out_dir / "notebooks" / "08_b.ipynb").unlink()
        assert story() == "a1b2"


def test_data_fingerprint_sees_a_changed_file(tmp_path):
    (tmp_path / "train.csv").write_text("left,right\n")
    before = runner.data_fingerprint(tmp_path)
    assert runner.data_fingerprint(tmp_path) == before
    (tmp_path / "train.csv").write_text("left,right\na,b\n")
    assert runner.data_fingerprint(tmp_path) != before
