"""Finds the notebooks of a run, and tries what they will need before anything starts."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tll_utils import data, files
from tll_utils.errors import NotebookError, WeightsNotFound
from tll_utils.settings import Settings, choose_networks, project_dir


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run will use, as found before anything starts.

    Attributes:
        data_dir: The folder of the data set, drawn if need be.
        weights: Network → the fingerprint of its weights; all that the notebooks need.
        reasons: Notebook → a sentence that says which networks it runs, and why these.
    """

    data_dir: Path
    weights: dict[str, str]
    reasons: dict[str, str]


def find_notebooks(only: Sequence[str] = (), *, directory: Path | None = None) -> list[Path]:
    """Lists the notebooks in story order.

    Args:
        only: Names or their first letters, such as `"01"`. Defaults to all.
        directory: Defaults to the checkout's, else to that which travels in the wheel.

    Raises:
        NotebookError: If a name fits no notebook.
    """
    if directory is None:
        checkout = project_dir() / "notebooks"
        directory = checkout if checkout.is_dir() else Path(__file__).with_name("_notebooks")
    found = sorted(directory.glob("[0-9]*.ipynb"))
    if not found:
        raise NotebookError(
            f"{directory}: no notebooks here. Run from a checkout of the project, or install the "
            "package anew: its wheel carries them."
        )
    for name in only:
        if not name or not any(path.stem.startswith(name) for path in found):
            known = ", ".join(path.stem for path in found)
            raise NotebookError(f"Unknown notebook. Expected one of {known}. Received: {name!r}")
    return [path for path in found if not only or path.stem.startswith(tuple(only))]


def check(settings: Settings, notebooks: Sequence[Path]) -> Plan:
    """Tries data, output folder and all weights, so that nothing fails after an hour.

    In a process of its own: what Keras takes is free again when the notebooks need it.

    Raises:
        SettingsError: If a notebook cannot run with the networks that were asked for.
        UnknownBackbone: If the registry doesn't hold a network that was asked for.
        DataError: If the data set cannot be used.
        WeightsNotFound: If weights are missing; the message names all files and their places.
    """
    # What needs no Keras is refused at once.
    files.require_writable(settings.out_dir)
    if settings.data_dir:
        data.find(settings.data_dir)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool:
        found = pool.submit(_check, settings, [path.stem for path in notebooks])
        import tll_utils.notebooks  # noqa: F401  # meanwhile: it takes two seconds

        return found.result()


def end_with_parent() -> None:
    """Ends this worker when its parent is killed; it would wait for the next task for ever."""

    def watch() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _check(settings: Settings, names: Sequence[str]) -> Plan:
    from tll_utils import engines, run
    from tll_utils.features import backbones, weights

    engines.resolve(settings.engine)
    for name in settings.backbones:
        backbones.get(name)
    choices = {name: choose_networks(name, settings, available=weights.available) for name in names}
    needed = dict.fromkeys(network for choice in choices.values() for network in choice.needed)
    found, missing = {}, []
    for network in needed:
        try:
            found[network] = weights.weights_fingerprint(network, settings.weights)
        except WeightsNotFound as error:
            missing.append(str(error))
    if missing:
        raise WeightsNotFound(
            "\n".join(missing)
            + "\nTLL_WEIGHTS=random (or --weights random) shows that all works, without them."
        )
    reasons = {name: choice.reason for name, choice in choices.items() if choice.needed}
    return Plan(run.data_dir_of(settings), found, reasons)
