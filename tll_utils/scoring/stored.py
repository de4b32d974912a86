"""The scores of one system on disk: what `Run.record` leaves, and page and notebooks read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tll_utils import files
from tll_utils.errors import TllError


def write(path: Path, **arrays: Any) -> None:
    """Writes the arrays that `read` returns, whole or not at all."""
    with files.replacing(path) as draft:
        np.savez_compressed(draft, **arrays)


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the scores of a system and holds them to each other.

    Args:
        path: A file that `write` left.

    Returns:
        `oof`, float `(pairs, m)`, finite in the `rows` that were scored; `rows`, int; `candidates`,
        int `(pairs, m)`, positions of pairs; `test`, finite float, and `candidate_index`, int, of
        one shape `(queries, m_test)`; `seconds`, one number; `why`, where it was noted, as of
        `scoring.agreeing_cells`.

    Raises:
        TllError: If the file is missing, is damaged, or contradicts itself.
    """
    try:
        stored = files.read_arrays(path)
        problem = _problem(stored)
    except KeyError as error:
        problem = f"no array {error}"
    except (OSError, ValueError) as error:
        problem = str(error)
    if problem:
        raise TllError(f"{path}: no usable scores ({problem}). Run the notebook of this system.")
    return stored


def _problem(stored: dict[str, np.ndarray]) -> str:
    oof, test, rows, seconds = (stored[name] for name in ("oof", "test", "rows", "seconds"))
    candidates, candidate_index = stored["candidates"], stored["candidate_index"]
    for name, array in (("oof", oof), ("test", test), ("seconds", seconds)):
        if array.dtype.kind != "f":
            return f"{name} holds no numbers"
    for name, array in (("rows", rows), ("candidates", candidates), ("test", candidate_index)):
        if array.dtype.kind not in "iu":
            return f"{name} holds no positions"
    if oof.ndim != 2 or oof.shape != candidates.shape:
        return f"oof of shape {oof.shape} for candidate lists of shape {candidates.shape}"
    if test.ndim != 2 or test.shape != candidate_index.shape:
        return f"test of shape {test.shape} for candidate lists of shape {candidate_index.shape}"
    if rows.ndim != 1 or seconds.ndim or not np.isfinite(seconds):
        return "rows or seconds of another shape"
    why = stored.get("why")
    if why is not None and (why.dtype != np.uint8 or why.shape[:-1] != oof.shape):
        return f"why of shape {why.shape} and type {why.dtype}"
    for name, places in (("rows", rows), ("candidates", candidates)):
        if places.size and not (places.min() >= 0 and places.max() < len(oof)):
            return f"{name} names pairs that are not there"
    if not (np.isfinite(oof[rows]).all() and np.isfinite(test).all()):
        return "a score is not finite"
    return ""
