"""Executes the notebooks in order, with a progress bar, and says where one failed."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from tqdm.auto import tqdm

from tll_utils.settings import Settings, project_dir


class NotebookError(RuntimeError):
    """A notebook cannot be found, or a cell of it failed."""


def find_notebooks(only: Sequence[str] = (), *, directory: Path | None = None) -> list[Path]:
    """Lists the notebooks in story order.

    Args:
        only: Names or their first letters, such as `"01"`. Defaults to all.
        directory: Defaults to the project's `notebooks/`.

    Raises:
        NotebookError: If a name fits no notebook.
    """
    directory = directory or project_dir() / "notebooks"
    found = sorted(directory.glob("[0-9]*.ipynb"))
    if not found:
        raise NotebookError(
            f"{directory}: no notebooks here. Run from a checkout of the project: the notebooks "
            "are not part of the installed package."
        )
    for name in only:
        if not any(path.stem.startswith(name) for path in found):
            known = ", ".join(path.stem for path in found)
            raise NotebookError(f"Unknown notebook. Expected one of {known}. Received: {name!r}")
    return [path for path in found if not only or path.stem.startswith(tuple(only))]


def refuse_early(config: Settings) -> tuple[Path, dict[str, str]]:
    """Tries settings, folders, CSVs and weights as a notebook will, before long work starts.

    In a process of its own: what TensorFlow takes is free again when the notebooks need it.

    Returns:
        The folder of the data set, drawn if need be, and the weights of each backbone.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_start, config).result()


def _start(config):
    from tll_utils import experiment

    run = experiment.start("check", config)
    return run.dataset.root, {name: run.weights_of(name) for name in config.backbones}


def execute(notebooks: Sequence[Path], out_dir: Path, environ: dict[str, str]) -> None:
    """Runs each notebook in a kernel of its own and saves it, executed, in `out_dir/notebooks`.

    A notebook that fails is saved as far as it got; what earlier ones wrote stays.

    Args:
        notebooks: Paths, in the order to run.
        out_dir: The output folder.
        environ: Variables for the kernels, on top of those of this process.

    Raises:
        NotebookError: Names the notebook, the cell and the error.
    """
    executed_dir = Path(out_dir) / "notebooks"
    executed_dir.mkdir(parents=True, exist_ok=True)
    # Bars inside notebooks would end up as text in their outputs: the one below speaks for all.
    environ = {**os.environ, **environ, "TQDM_DISABLE": "1"}
    loaded = [nbformat.read(path, as_version=4) for path in notebooks]
    num_cells = sum(len(_code_cells(notebook)) for notebook in loaded)
    with tqdm(total=num_cells, unit="cell", disable=False, smoothing=0) as bar:
        for path, notebook in zip(notebooks, loaded, strict=True):
            bar.set_description(path.stem)
            try:
                _execute_one(notebook, path, environ, bar)
            finally:
                _save(notebook, executed_dir / path.name)


def _execute_one(notebook, path: Path, environ: dict[str, str], bar: tqdm) -> None:
    code_cells = _code_cells(notebook)
    started, stops = [], []

    def on_start(cell, cell_index):
        if cell.cell_type == "code":
            started.append(cell)

    def stop():
        # Kept in a list, or the task could be collected before it has run.
        stops.append(asyncio.ensure_future(client.km.shutdown_kernel(now=True)))

    def on_notebook_start(notebook):
        # Nbclient would take Ctrl-C for the death of the kernel, and call that a failure.
        with contextlib.suppress(NotImplementedError):  # Windows has no such handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stop)

    for cell in code_cells:
        cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,  # wall times would change the file on every run
        store_widget_state=False,  # nor does a bar that is long done belong into it
        extra_arguments=["--log-level=ERROR"],  # else each kernel warns that it listens locally
        on_notebook_start=on_notebook_start,
        on_cell_start=on_start,
        on_cell_executed=lambda cell, cell_index, execute_reply: bar.update(),
    )
    try:
        client.execute(env=environ)
    except (CellExecutionError, DeadKernelError) as error:
        if stops:
            raise KeyboardInterrupt from None
        what = (
            f"{error.ename}: {error.evalue}"
            if isinstance(error, CellExecutionError)
            else "the kernel died, most often for want of memory"
        )
        raise NotebookError(
            f"{path.stem}: code cell {len(started)} of {len(code_cells)} failed.\n"
            f"{_indented(started[-1].source)}\n{what}"
        ) from error


def _code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def _indented(source: str) -> str:
    return "\n".join(f"    {line}" for line in source.splitlines())


def _save(notebook, path: Path) -> None:
    beside = path.with_name(f".{path.name}")
    nbformat.write(notebook, beside)
    beside.replace(path)
