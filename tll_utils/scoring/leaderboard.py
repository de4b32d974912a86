"""What the systems of a run reached: `results.json`, and the table made from it."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import tll_utils
from tll_utils import files
from tll_utils.errors import SettingsError, TllError

FILE_NAME = "results.json"
KEY = ("system", "backbone", "data", "profile", "seed")  # what a row is the result of
FIGURES = ("top_1", "top_2", "top_5", "low", "high")


def read(out_dir: str | Path) -> list[dict[str, Any]]:
    """The rows of `results.json`, those of the first notebook first; none if there is no file.

    Raises:
        TllError: If the file cannot be read as rows.
    """
    path = Path(out_dir) / FILE_NAME
    if not path.is_file():
        return []
    try:
        rows = files.read_json(path)
        problem = _problem(rows)
    except (OSError, ValueError) as error:
        problem = repr(error)
    if problem:
        raise TllError(
            f"{path}: expected a list of result rows. Received: {problem}. Move the file away and "
            "run the notebooks anew."
        )
    return sorted(rows, key=lambda row: row["notebook"])


def write(out_dir: str | Path, rows: Sequence[dict[str, Any]]) -> None:
    """Adds rows to `results.json`; a row replaces the one with the same `KEY`.

    Each new row is stored with the `provenance` of the program that made it.
    """
    path = Path(out_dir) / FILE_NAME
    with files.locked(path):  # notebooks may run side by side
        kept = {_key(row): row for row in read(out_dir)}
        kept.update({_key(row): {**row, **provenance()} for row in rows})
        files.write_json(path, sorted(kept.values(), key=lambda row: row["notebook"]))


def stem(system: str, seed: int) -> str:
    """What the CSV and the model of a system are called; seeds but 0 stand in the name."""
    return system if seed == 0 else f"{system}_seed{seed}"


def of_run(
    out_dir: str | Path, *, data: str, profile: str, seed: int | None = None
) -> list[dict[str, Any]]:
    """The rows of a data set, a profile and, if given, a seed; a folder may hold others too."""
    return [
        row
        for row in read(out_dir)
        if (row["data"], row["profile"]) == (data, profile) and seed in (None, row["seed"])
    ]


def refuse_overwriting(
    out_dir: Path, notebooks: Sequence[str], *, data: str, profile: str, seeds: Sequence[int]
) -> None:
    """Refuses a folder in which notebooks would overwrite CSVs and models of another run.

    These are called after system and seed alone. The sample's may be overwritten by any run.

    Raises:
        SettingsError: If rows of these notebooks and seeds have other data or profile.
    """
    others = {
        f"data {row['data']!r} in profile {row['profile']}"
        for row in read(out_dir)
        if (row["notebook"] in notebooks and row["seed"] in seeds and row["data"] != "sample")
        and (row["data"], row["profile"]) != (data, profile)
    }
    if others:
        raise SettingsError(
            f"{out_dir} holds results on {' and '.join(sorted(others))}. This run, on data "
            f"{data!r} in profile {profile}, would overwrite their CSVs and models. Choose another "
            "folder with --out or TLL_OUT_DIR, or move that one away."
        )


def leaderboard(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Formats result rows for people: best top-2 first, one interval column, no timings.

    Rows of one system are told apart by what differs among them: backbone, data, profile. Those
    of several seeds become one row of means. Its interval is over queries, as that of each seed;
    the column `seeds` has the least and the largest top-2 and their number: the noise of training.
    """
    rows = _over_seeds(rows)
    told_apart = [
        name
        for name in KEY[1:-1]
        if len({(row["system"], row[name]) for row in rows}) > len({row["system"] for row in rows})
    ]
    several = {"seeds"} if any(row["seeds"] for row in rows) else set()
    table = [
        {
            "system": row["system"],
            **{name: row[name] for name in told_apart},
            "top-1": f"{row['top_1']:.3f}",
            "top-2": f"{row['top_2']:.3f}",
            "95 %": f"{row['low']:.3f}–{row['high']:.3f}",
            **{name: row[name] for name in several},
            "top-5": f"{row['top_5']:.3f}",
            "n": row["n"],
            "m": row["m"],
            "weights": row["weights"],
            "protocol": row["protocol"],
        }
        for row in sorted(rows, key=lambda row: -row["top_2"])
    ]
    columns = ["system", "top-1", "top-2", "95 %", "top-5", "n", "m", "weights", "protocol"]
    return pd.DataFrame(table, columns=None if table else columns).set_index("system")


@functools.cache
def provenance() -> dict[str, str]:
    """Which program a result comes from: versions of this package, Keras and TensorFlow, commit.

    The commit is empty outside a git checkout, and ends in `-dirty` where files were changed.
    """
    return {
        "version": tll_utils.__version__,
        "commit": _commit(Path(__file__).parents[2]),
        "keras": version_of("keras"),
        "tensorflow": version_of("tensorflow"),
    }


def _over_seeds(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per result: the means of its seeds' figures, and how far top-2 spreads."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(_key(row)[:-1], []).append(row)
    merged = []
    for same in groups.values():
        means = {name: sum(row[name] for row in same) / len(same) for name in FIGURES}
        top_2 = [row["top_2"] for row in same]
        spread = f"{min(top_2):.3f}–{max(top_2):.3f} ({len(same)})" if len(same) > 1 else ""
        merged.append({**same[0], **means, "seeds": spread})
    return merged


def _problem(rows: Any) -> str:
    """What keeps rows from being those that `write` left; names the row and the field."""
    if not isinstance(rows, list):
        return f"a {type(rows).__name__}"
    for place, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            return f"a {type(row).__name__} as row {place}"
        for name in _FIELDS:
            if name not in row:
                return f"row {place} without {name}"
            if not _FIELDS[name](row[name]):
                return f"row {place}, {name}: {str(row[name])[:100]!r}"
        if row["low"] > row["high"]:
            return f"row {place}, an interval from {row['low']} to {row['high']}"
    return ""


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    """Bare names alone: they become parts of paths."""
    return isinstance(value, str) and re.fullmatch(r"\w[\w-]*", value) is not None


_FIELDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("system", "notebook", "data", "profile"), _is_name),
    **dict.fromkeys(("backbone", "weights", "protocol"), _is_text),
    **dict.fromkeys(("seed", "n", "m"), _is_count),
    **dict.fromkeys(FIGURES, _is_share),
}


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def version_of(package: str) -> str:
    """Of an installed package; empty if there is none of this name."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""  # another backend, or a TensorFlow under another name


def _commit(checkout: Path) -> str:
    if not (checkout / ".git").exists():  # installed elsewhere: a repository above is not ours
        return ""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
