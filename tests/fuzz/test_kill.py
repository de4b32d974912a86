"""Killed at any moment, by a signal that nobody can catch: the next run ends as if nothing had
happened, and leaves nothing behind."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fuzzing import FULL, SEED, case

WORK = Path(__file__).parents[1] / "killed.py"
# What is killed how often, in `make test` and in `make fuzz`.
KILLS = {
    "csv": (2, 12),
    "sample": (1, 8),
    "index": (1, 8),
    "run": (1, 2),
    "training": (0, 1),
    "features": (0, 1),
    "lesson": (0, 3),
}
# Lock files stay, logs of times and paths differ, a database lays out its pages as it likes.
UNEQUAL = (".lock", ".owner", ".index", ".index-journal", ".npz", ".ipynb", "results.json")
UNEQUAL += (".made_from.json",)


def begin(work, folder):
    """Starts some work in a session of its own, and comes back when it has begun."""
    folder.mkdir(exist_ok=True)
    environ = {**os.environ, "TQDM_DISABLE": "1", "PYTHONPATH": str(WORK.parents[1])}
    child = subprocess.Popen(
        [sys.executable, str(WORK), work, str(folder)],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=environ,
    )
    assert child.stdout.readline() == b"start\n"
    return child


def finish(child):
    child.stdout.read()
    assert child.wait() == 0


def contents(folder):
    """The bytes of all that lies in a folder, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(UNEQUAL)
    }


def names(folder):
    """What lies in a folder, the hidden names too; a killed write left the journal, not a draft."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {name for name in found if not name.endswith(("-journal", ".owner"))}


def wait_for_the_end_of_all(session):
    """Waits until no process of a session is left: kernels end when they lose their parent."""
    for _ in range(300):
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.killpg(session, signal.SIGKILL)
    raise AssertionError("a process outlived the one that had started it by half a minute")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What each kind of work leaves when nobody kills it, and how long it takes."""
    found = {}

    def result(work):
        if work not in found:
            folder = tmp_path_factory.mktemp("undisturbed") / "work"
            child, started = begin(work, folder), time.monotonic()
            finish(child)
            found[work] = folder, time.monotonic() - started
        return found[work]

    return result


@pytest.mark.parametrize(
    ("work", "place"),
    [(work, place) for work, counts in KILLS.items() for place in range(counts[FULL])],
)
def test_after_a_kill_the_next_run_ends_as_one_undisturbed(work, place, undisturbed, tmp_path):
    whole, seconds = undisturbed(work)
    folder = tmp_path / "work"
    folder.mkdir()
    expected = contents(whole)
    moment = random.Random(f"{SEED} {work} {place}").uniform(0, seconds)
    with case(f"kills: {work}", seconds=300 if work == "lesson" else 100):
        child = begin(work, folder)
        time.sleep(moment)
        child.kill()
        child.wait()
        wait_for_the_end_of_all(child.pid)
        halves = {name: text for name, text in contents(folder).items() if ".draft" not in name}
        done = {n for n in halves if n in expected and work in ("csv", "sample", "run", "lesson")}
        assert {n: halves[n] for n in done} == {n: expected[n] for n in done}, "half a file"
        finish(begin(work, folder))
        assert contents(folder) == expected
        assert names(folder) - names(whole) == set()
