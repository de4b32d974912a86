"""You against the machine: what people chose, kept as CSV, and held against the systems.

A file of answers is a submission on the training pairs: `left,c0,…`, a row per query answered, 2
for the first choice, 1 for the second, 0 for the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tll_utils import data, files, scoring
from tll_utils.errors import DataError
from tll_utils.tools import report
from tll_utils.tools.server import Server

FOLDER = "answers"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,30}")

# Per query (a row of the candidate lists) the places of the first and the second choice.
Picks = dict[int, tuple[int, int]]


def write_answers(path: Path, picks: Picks, queries: list[str], m: int) -> None:
    """Writes one person's answers, whole or not at all; `queries` are the ids of all, by row."""
    lines = [",".join(["left", *(f"c{place}" for place in range(m))])]
    for row, chosen in sorted(picks.items()):
        scores = ["0"] * m
        scores[chosen[0]], scores[chosen[1]] = "2", "1"
        lines.append(",".join([queries[row], *scores]))
    files.write_text(path, "\n".join(lines) + "\n")


def read_answers(path: Path, queries: list[str], m: int) -> Picks:
    """Reads one person's answers.

    Raises:
        DataError: If a row is not one query with one 2, one 1, and zeros.
    """
    table = data.read_table(path, ["left", *(f"c{place}" for place in range(m))])
    rows = {query: row for row, query in enumerate(queries)}
    picks: Picks = {}
    for line, (query, *scores) in zip(table.lines, table.rows, strict=True):
        if query not in rows or sorted(scores) != ["0"] * (m - 2) + ["1", "2"]:
            raise DataError(
                f"{path}, row {line} ({query!r}): expected a query of this data set, 2 for the "
                "first choice, 1 for the second, 0 for the others. Correct or remove the row."
            )
        picks[rows[query]] = scores.index("2"), scores.index("1")
    return picks


def read_people(folder: Path, queries: list[str], m: int) -> dict[str, Picks]:
    """Reads the answers of all people in a folder, by the name of their file."""
    paths = sorted(folder.glob("[!.]*.csv"))
    return {path.stem: read_answers(path, queries, m) for path in paths}


def scores_of(picks: Picks, num_queries: int, m: int) -> np.ndarray:
    """One person as a system: float `(queries, m)`, NaN where nothing was answered."""
    scores = np.full((num_queries, m), np.nan)
    for row, chosen in picks.items():
        scores[row] = 0
        scores[row, list(chosen)] = 2, 1
    return scores


def pooled(people: Mapping[str, Picks], num_queries: int, m: int) -> np.ndarray:
    """All people as one system: the mean over those who answered a query."""
    every = np.stack([scores_of(picks, num_queries, m) for picks in people.values()])
    answered = np.isfinite(every).sum(axis=0)
    return np.where(answered > 0, np.nansum(every, axis=0) / np.maximum(answered, 1), np.nan)


def table(scores: Mapping[str, np.ndarray], true_place: np.ndarray) -> pd.DataFrame:
    """Top-2 of people and systems, each on the rows where all of them have scores.

    Args:
        scores: By name, float `(queries, m)`; NaN where there is none.
        true_place: Int `(queries,)`.

    Returns:
        `top-2`, `95 %` and `n` by name, the best first; empty if they share no row.
    """
    rows = np.all([np.isfinite(one).all(axis=1) for one in scores.values()], axis=0)
    lines = {}
    for name, one in scores.items():
        if rows.any():
            hits = scoring.top_k_hits(one[rows], true_place[rows])
            low, high = scoring.wilson_interval(hits)
            lines[name] = (hits.mean(), f"{low:.3f}–{high:.3f}", len(hits))
    found = pd.DataFrame.from_dict(lines, orient="index", columns=["top-2", "95 %", "n"])
    return found.sort_values("top-2", ascending=False, kind="stable").round(3)


def serve(out_dir: Path, dataset: data.Dataset) -> Server:
    """Makes the server of the game; answers go to `OUT/answers/NAME.csv` one by one.

    Raises:
        TllError: If there are no results to play against.
    """
    content = report.collect(out_dir, dataset) | {"mode": "play"}
    queries, m = content["queries"], len(content["candidates"][0])
    folder = out_dir / FOLDER
    people = read_people(folder, queries, m)

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        name, row, picks = str(asked["name"]), asked["row"], asked["picks"]
        whole = all(type(number) is int for number in (row, *picks))
        if not (_NAME.fullmatch(name) and whole and 0 <= row < len(queries)):
            raise DataError("Expected a name of letters, digits, _ and -, and a query of this set.")
        if len(set(picks)) != 2 or not all(0 <= place < m for place in picks):
            raise DataError("Expected two different candidates.")
        mine = people.setdefault(name, {})
        mine[row] = (picks[0], picks[1])
        write_answers(folder / f"{name}.csv", mine, queries, m)
        return {"saved": len(mine)}

    def page() -> str:
        return report.page(content | {"people": people})

    return Server(page, out_dir / report.PICTURES, {"answers": answer})
