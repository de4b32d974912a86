"""Kaggle CSVs: `left,c0,…,c19`, one row of scores per query, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tll_utils import data, files
from tll_utils.errors import SubmissionError


def write(path: Path, candidates: pd.DataFrame, scores: np.ndarray) -> Path:
    """Writes the scores of every candidate list in the order of `test_candidates.csv`.

    Args:
        path: The CSV to write; its folder is made. An existing file is replaced as a whole.
        candidates: The candidate lists, columns `left, c0, …`, one row per query.
        scores: Finite numbers `(queries, m)`, higher = more alike.

    Returns:
        `path`.

    Raises:
        SubmissionError: If the scores do not fit the lists or are not finite.
        TllError: If the folder cannot be written.
    """
    path, scores = Path(path), np.asarray(scores)
    expected = (len(candidates), candidates.shape[1] - 1)
    if scores.shape != expected:
        raise SubmissionError(
            f"{path.name}: expected scores of shape {expected}. Received: {scores.shape}"
        )
    if not np.isfinite(scores).all():
        row, column = np.argwhere(~np.isfinite(scores))[0]
        raise SubmissionError(
            f"{path.name}: row {row + 1} ({candidates['left'].iloc[row]}), c{column} must be a "
            f"finite number. Received: {scores[row, column]}"
        )
    table = pd.DataFrame(scores, columns=candidates.columns[1:])
    table.insert(0, "left", candidates["left"].to_numpy())
    # Nine digits keep any two float32 scores apart: rounding must not make ties.
    files.write_text(path, table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))
    return path


def read(path: Path, candidates: pd.DataFrame) -> np.ndarray:
    """Reads a submission and holds it to what Kaggle takes.

    Args:
        path: The CSV.
        candidates: The candidate lists of the data set, columns `left, c0, …`.

    Returns:
        Float64 `(queries, m)`.

    Raises:
        SubmissionError: Names the file, the row, what was expected and what was found.
    """
    columns, queries = list(candidates.columns), candidates["left"].tolist()
    table = data.read_table(path, columns, error=SubmissionError)
    scores = np.empty((len(queries), len(columns) - 1))
    for place, query in enumerate(queries):
        if place >= len(table.rows):
            raise SubmissionError(
                f"{path}: expected {len(queries)} rows; the first one missing is {query!r}. "
                f"Received: {len(table.rows)} rows"
            )
        where, (found, *row) = f"{path}, row {table.lines[place]}", table.rows[place]
        if found != query:
            known, advice = "a query out of its place", ""
            if found not in set(queries):
                known, advice = "not a query", ". Is this the data set the submission was made on?"
            raise SubmissionError(
                f"{where}: expected {query!r}, as in test_candidates.csv. "
                f"Received: {found!r} ({known}){advice}"
            )
        scores[place] = [
            _number(text, f"{where} ({query}), {column}")
            for text, column in zip(row, columns[1:], strict=True)
        ]
    if len(table.rows) > len(queries):
        raise SubmissionError(
            f"{path}, row {table.lines[len(queries)]}: one row too many; expected {len(queries)}. "
            f"Received: {len(table.rows)} rows"
        )
    return scores


def _number(text: str, where: str) -> float:
    try:
        # Python alone takes 1_000 and digits of other scripts for numbers.
        number = float(text) if text.isascii() and "_" not in text else np.nan
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise SubmissionError(f"{where}: expected a finite number. Received: {text!r}")
    return number
