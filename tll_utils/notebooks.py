"""Executes the notebooks as a build: skips what is unchanged, says what failed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from tqdm.auto import tqdm

from tll_utils import files
from tll_utils.errors import NotebookError
from tll_utils.scoring import leaderboard

# Whose results a notebook reads; it waits for these, and is made anew when they change.
_READS = {"06": ("04",), "08": ("01", "02", "03", "04", "05", "06", "07"), "09": ("0",)}
# In which cell it begins to; up to there it need not wait.
_READING = re.compile(r"\brun\.(recorded|load_scores|table)\(")
_LONGEST = "04 05 02 07 06 03 08 01 09"  # they start first: whoever starts late ends alone
_GIB_PER_JOB = {"quick": 2, "cpu": 3, "full": 8}
# Of TensorFlow, NumPy and scikit-learn. Kernels side by side share the cores: with two threads one
# takes a sixth more processor time for the same work than with one.
_THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Large arrays come and go. TensorFlow's own allocator never gives any back; glibc's does, if it has
# one pool for all threads and an early end of small arrays. Large ones cost a page fault every
# 4 KiB on Linux; so it is 2 MiB.
_GLIBC = {"hugetlb": 1, "arena_max": 1, "mmap_threshold": 2**23, "trim_threshold": 2**26}
_MEMORY = {
    "TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1",
    "GLIBC_TUNABLES": ":".join(f"glibc.malloc.{key}={value}" for key, value in _GLIBC.items()),
}
# What a row says about the making of a result, not about the result.
_NOT_THE_RESULT = {"seconds", "version", "commit", "keras", "tensorflow"}


def suitable_jobs(profile: str) -> int:
    """How many notebooks this machine takes at once, by its cores and available memory.

    One where there is a GPU or a TPU: the first kernel takes all of its memory.
    """
    if shutil.which("nvidia-smi") or {"TPU_NAME", "TPU_WORKER_ID"} & set(os.environ):
        return 1
    # What files have left in memory is available: it gives way.
    gib = psutil.virtual_memory().available / 2**30
    return int(max(1, min(os.cpu_count() or 1, gib // _GIB_PER_JOB[profile], 4)))


def execute(
    notebooks: Sequence[Path],
    out_dir: Path,
    environ: Mapping[str, str],
    *,
    ingredients: Mapping[str, Any] | None = None,
    fresh: bool = False,
    seed: int = 0,
    jobs: int = 1,
) -> list[str]:
    """Runs each notebook in a kernel of its own and saves it, executed, in `out_dir/notebooks`.

    A notebook is skipped if its executed copy was made from the same code cells, package, results
    that it reads and `ingredients`, and what it recorded is still there. So a run that was stopped
    goes on with the first notebook that is not done. A notebook that fails is saved as far as it
    got; what earlier ones wrote stays.

    Args:
        notebooks: Paths, in the order to run.
        out_dir: The output folder.
        environ: Variables for the kernels, on top of those of this process.
        ingredients: What else the results depend on: settings, data, weights; goes into JSON.
        fresh: Runs every notebook, unchanged or not.
        seed: Of what the notebooks record; seeds but 0 have a folder of executed notebooks each.
        jobs: How many notebooks run at the same time. One that reads the results of others waits
            for them, in the cell that does.

    Returns:
        The names of those that were skipped.

    Raises:
        NotebookError: Names the notebook, the cell and the error.
        TllError: If another run writes into this folder.
    """
    out_dir = Path(out_dir).absolute()
    build = _Build(
        out_dir,
        out_dir / leaderboard.stem("notebooks", seed),
        # Bars inside notebooks would end up as text in their outputs: one bar speaks for all.
        {**os.environ, **environ, "TQDM_DISABLE": "1"},
        {"package": _package_fingerprint(), "ingredients": ingredients},
        seed,
        fresh,
    )
    try:
        with files.locked(out_dir / "run", wait=False):
            return asyncio.run(build.run(notebooks, jobs))
    except ExceptionGroup as group:  # the first to fail stopped the others
        error = group.exceptions[0]
        raise (KeyboardInterrupt if isinstance(error, _Stopped) else error) from None


class _Stopped(Exception):
    """At a signal; several tasks raise it, and a group collects no `KeyboardInterrupt`."""


@dataclasses.dataclass
class _Build:
    out_dir: Path
    folder: Path
    environ: dict[str, str]
    common: dict[str, Any]
    seed: int
    fresh: bool
    read: dict[str, set[str]] = dataclasses.field(default_factory=dict)  # whose results
    ended: dict[str, asyncio.Event] = dataclasses.field(default_factory=dict)
    clients: list[Any] = dataclasses.field(default_factory=list)  # whose kernels run
    stops: list[Any] = dataclasses.field(default_factory=list)  # what shuts them down

    async def run(self, notebooks: Sequence[Path], jobs: int) -> list[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        loaded = {path.stem: nbformat.read(path, as_version=4) for path in notebooks}
        num_cells = sum(len(_code_cells(notebook)) for notebook in loaded.values())
        left = sorted(loaded, key=lambda name: jobs > 1 and _LONGEST.find(name[:2]))
        self.read = {name: {other for other in left if _reads(name, other)} for name in left}
        self.ended = {name: asyncio.Event() for name in left}
        early = {name for name in left if self._can_begin(name, loaded[name])}
        running: set[asyncio.Task[bool]] = set()
        skipped: list[str] = []
        with tqdm(total=num_cells, unit="cell", disable=False, smoothing=0) as bar:
            async with asyncio.TaskGroup() as group:
                while left or running:
                    while len(running) < jobs and (ready := self._ready(left, early, jobs)):
                        left.remove(name := ready[0])
                        # Who waits for the others goes on when they have ended.
                        kernels = 1 if self._missing(name) else len(running) + len(ready)
                        threads = max(1, (os.cpu_count() or 1) // min(jobs, kernels))
                        made = self._make(name, loaded[name], bar, threads)
                        running.add(group.create_task(made, name=name))
                    done, running = await asyncio.wait(running, return_when="FIRST_COMPLETED")
                    for task in done:
                        if not task.result():
                            skipped.append(task.get_name())
                        self.ended[task.get_name()].set()
        return sorted(skipped)

    def _ready(self, left: Sequence[str], early: set[str], jobs: int) -> list[str]:
        """Those that can be started: nothing is waited for, or they begin and wait later on."""
        missing = {name: self._missing(name) for name in self.read}
        num_waiting = sum(bool(missing[name]) for name in self.read if name not in left)
        return [
            name
            for name in left
            if not missing[name]
            # Who is waited for has a place among the jobs, or will find one.
            or (name in early and (not missing[name] & {*left} or num_waiting + 1 < jobs))
        ]

    def _missing(self, name: str) -> set[str]:
        """Whom a notebook has to wait for."""
        return {other for other in self.read[name] if not self.ended[other].is_set()}

    def _can_begin(self, name: str, notebook: Any) -> bool:
        """Whether it will run, whatever the others' results, and reads them in a later cell."""
        known, now = self._stamp(name), self._state(name, notebook)
        is_stale = self.fresh or any(known.get(of) != now[of] for of in ("code", "left"))
        return is_stale and _reading_cell(notebook) > 0

    def _state(self, name: str, notebook: Any) -> dict[str, str]:
        """What a notebook is made from, and what it left behind."""
        return {
            "code": _fingerprint(self.common, [cell.source for cell in _code_cells(notebook)]),
            "read": _fingerprint(self._results(reader=name)),
            "left": _fingerprint(self._results(of=name)),
        }

    def _stamp(self, name: str) -> dict[str, str]:
        """The state in which it was executed last; empty if it was not, or not to the end."""
        saved = self.folder / f"{name}.ipynb"
        try:
            return dict(files.read_json(_stamp_path(saved))) if saved.is_file() else {}
        except (OSError, ValueError, TypeError):
            return {}

    async def _make(self, name: str, notebook: Any, bar: tqdm, threads: int) -> bool:
        """Executes one notebook; returns False if there was nothing to do."""
        saved, started = self.folder / f"{name}.ipynb", time.monotonic()
        if not self.fresh and self._stamp(name) == self._state(name, notebook):
            bar.total -= len(_code_cells(notebook))
            bar.write(f"{name}: unchanged, skipped", file=sys.stderr)
            return False
        _stamp_path(saved).unlink(missing_ok=True)
        try:
            started += await self._execute(name, notebook, bar, threads)
        finally:
            with files.replacing(saved) as draft:
                nbformat.write(notebook, draft)
        files.write_json(_stamp_path(saved), self._state(name, notebook))
        bar.write(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        return True

    async def _execute(self, name: str, notebook: Any, bar: tqdm, threads: int) -> float:
        """Executes all cells; returns how many seconds it waited for other notebooks."""
        code_cells, first_reading = _code_cells(notebook), _reading_cell(notebook)
        started: list[Any] = []
        waited = 0.0

        async def on_start(cell: Any, cell_index: int) -> None:
            nonlocal waited
            if cell_index >= first_reading:
                waited += await self._wait(name, bar)
            if cell.cell_type == "code":
                started.append(cell)
                bar.set_description(f"{name} cell {len(started)} of {len(code_cells)}")

        for cell in code_cells:
            cell.outputs, cell.execution_count = [], None
        client: Any = NotebookClient(
            notebook,
            timeout=None,
            startup_timeout=600,  # a busy machine may not start a kernel within Jupyter's minute
            kernel_name="python3",
            resources={"metadata": {"path": str(self.folder)}},
            record_timing=False,  # wall times would change the file on every run
            store_widget_state=False,  # nor does a bar that is long done belong into it
            coalesce_streams=True,  # what is printed after a pause is no output of its own
            extra_arguments=["--log-level=ERROR"],  # else each kernel warns that it listens locally
            on_notebook_start=lambda notebook: self._stop_on_signals(),
            on_cell_start=on_start,
            on_cell_executed=lambda cell, cell_index, execute_reply: bar.update(),
        )
        self.clients.append(client)
        try:
            shares = dict.fromkeys(_THREADS, str(threads))
            await client.async_execute(env={**_MEMORY, **shares, **self.environ})
        except (CellExecutionError, DeadKernelError) as error:
            if self.stops:
                raise _Stopped from None
            what = (
                f"{error.ename}: {error.evalue}"
                if isinstance(error, CellExecutionError)
                else "the kernel died, most often because memory ran out"
            )
            raise NotebookError(
                f"{name}: code cell {len(started)} of {len(code_cells)} failed.\n"
                f"{textwrap.indent(started[-1].source, '    ')}\n{what}"
            ) from error
        finally:
            self.clients.remove(client)
            self._stop_on_signals()  # the client took its handlers along
        return waited

    async def _wait(self, name: str, bar: tqdm) -> float:
        """Waits for those whose results a notebook reads; returns how many seconds."""
        since = time.monotonic()
        if missing := self._missing(name):
            bar.set_description(f"{name} waits for {', '.join(sorted(missing))}")
            await asyncio.gather(*(self.ended[other].wait() for other in missing))
        return time.monotonic() - since

    def _stop_on_signals(self) -> None:
        """Kills all kernels at Ctrl-C and SIGTERM; their clients then clean up, each its own.

        Nbclient would take Ctrl-C for the death of the kernel, and call that a failure.
        """

        def stop() -> None:
            # Once: who is stopped along with its starter gets the signal twice. And kept in a list.
            if not self.stops:
                # Or who waits for a killed kernel complains that nobody listens any more.
                asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
                self.stops.extend(
                    asyncio.ensure_future(client.km.signal_kernel(signal.SIGKILL))
                    for client in self.clients
                )

        with contextlib.suppress(NotImplementedError):  # Windows has no such handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stop)

    def _results(self, *, of: str = "", reader: str = "") -> list[Any]:
        """What one notebook recorded, or what a reader reads: rows and the bytes of their CSVs."""
        found = []
        for row in leaderboard.read(self.out_dir):
            if row["seed"] != self.seed:  # what another seed recorded is not read
                continue
            if row["notebook"] == of or _reads(reader, row["notebook"]):
                csv = self.out_dir / f"{leaderboard.stem(row['system'], self.seed)}.csv"
                result = {k: v for k, v in row.items() if k not in _NOT_THE_RESULT}
                found.append([result, files.content_hash(csv) if csv.is_file() else ""])
        return found


def _reads(reader: str, other: str) -> bool:
    return other < reader and other.startswith(_READS.get(reader[:2], ("-",)))


def data_fingerprint(directory: Path) -> str:
    """Names the state of a data folder by its files' names, sizes and times, without reading."""
    entries = [
        (str(path.relative_to(directory)), path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    ]
    return _fingerprint(entries)


def _reading_cell(notebook: Any) -> int:
    """The first cell that reads results; 0, which is to wait from the start, if there is none."""
    found = (
        place
        for place, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and _READING.search(cell.source)
    )
    return next(found, 0)


def _code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


# What a notebook was made from -------------------------------------------------------------------


def _package_fingerprint() -> str:
    sources = sorted(Path(__file__).resolve().parent.rglob("*.py"))
    versions = [leaderboard.version_of(name) for name in ("keras", "tensorflow", "numpy")]
    return _fingerprint([path.read_text(encoding="utf-8") for path in sources], versions)


def _fingerprint(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _stamp_path(saved: Path) -> Path:
    return saved.with_name(f".{saved.stem}.made_from.json")
