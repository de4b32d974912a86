"""Kaggle CSVs: `left,c0,…,c19`, one row of scores per query, written whole or not at all."""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd


class SubmissionError(ValueError):
    """A submission or truth file cannot be used; the message names file and row."""


def write(path: Path, candidates: pd.DataFrame, scores: np.ndarray) -> Path:
    """Writes the scores of every candidate list in the order of `test_candidates.csv`.

    Args:
        path: The CSV to write; its folder is made. An existing file is replaced as a whole.
        candidates: The candidate lists, columns `left, c0, …`, one row per query.
        scores: Finite numbers `(queries, m)`, higher = more alike.

    Returns:
        `path`.

    Raises:
        SubmissionError: If the scores do not fit the lists or are not finite, or the folder
            cannot be written.
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
    replace_text(path, table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))
    return path


def replace_text(path: Path, text: str) -> None:
    """Writes beside `path`, then renames: readers see the old file or the new one, never half.

    Raises:
        SubmissionError: If the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise SubmissionError(
            f"{path}: the folder cannot be written ({error.strerror}). Choose another with --out "
            "or TLL_OUT_DIR."
        ) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


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
    path = Path(path)
    header, *rows = _rows(path)
    columns = list(candidates.columns)
    if header != columns:
        raise SubmissionError(
            f"{path}: expected the header {_shorten(columns)}. Received: {_shorten(header)}"
        )
    queries = candidates["left"].tolist()
    scores = np.empty((len(queries), len(columns) - 1))
    for place, query in enumerate(queries):
        line = place + 2  # the header is line 1
        if place >= len(rows):
            raise SubmissionError(
                f"{path}: expected {len(queries)} rows. Received: {len(rows)}; the first one "
                f"missing is {query!r}"
            )
        row = rows[place]
        if not row or row[0] != query:
            found = row[0] if row else "an empty line"
            known = "a query out of its place" if found in set(queries) else "not a query"
            raise SubmissionError(
                f"{path}: line {line}: expected {query!r}, as in test_candidates.csv. "
                f"Received: {found!r} ({known})"
            )
        if len(row) != len(columns):
            raise SubmissionError(
                f"{path}: line {line} ({query}): expected {len(columns) - 1} scores. "
                f"Received: {len(row) - 1}"
            )
        scores[place] = [
            _number(text, f"{path}: line {line} ({query}), {column}")
            for text, column in zip(row[1:], columns[1:], strict=True)
        ]
    if len(rows) > len(queries):
        raise SubmissionError(
            f"{path}: expected {len(queries)} rows. Received: {len(rows)}; line "
            f"{len(queries) + 2} is one too many"
        )
    return scores


def read_truth(path: Path, candidates: pd.DataFrame) -> np.ndarray:
    """Reads `left,right` and finds the place of the match in each candidate list.

    Returns:
        Int `(queries,)`, in the order of `candidates`.

    Raises:
        SubmissionError: If a query has no truth, two truths, or one that is not in its list.
    """
    path = Path(path)
    header, *rows = _rows(path)
    if header != ["left", "right"]:
        raise SubmissionError(f"{path}: expected the header left,right. Received: {header}")
    matches: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        if len(row) != 2:
            raise SubmissionError(f"{path}: line {line}: expected left,right. Received: {row}")
        if row[0] in matches:
            raise SubmissionError(f"{path}: line {line}: {row[0]!r} stands twice")
        matches[row[0]] = row[1]
    places = np.empty(len(candidates), np.int64)
    for place, (query, *listed) in enumerate(candidates.itertuples(index=False, name=None)):
        if query not in matches:
            raise SubmissionError(f"{path}: the query {query!r} has no row")
        if matches[query] not in listed:
            raise SubmissionError(
                f"{path}: the match of {query!r} must be one of its candidates. "
                f"Received: {matches[query]!r}"
            )
        places[place] = listed.index(matches[query])
    return places


def _rows(path: Path) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SubmissionError(f"{path}: expected a CSV in UTF-8. Received: {error}") from error
    if not rows:
        raise SubmissionError(f"{path}: expected a CSV with a header. Received: an empty file")
    return rows


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise SubmissionError(f"{where}: expected a finite number. Received: {text!r}")
    return number


def _shorten(names: list[str]) -> str:
    return ",".join(names if len(names) <= 6 else [*names[:3], "…", names[-1]])
