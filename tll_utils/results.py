"""What the systems of a run reached: `results.json`, and the leaderboard made from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tll_utils import submission

FILE_NAME = "results.json"


def read(out_dir: Path) -> list[dict]:
    """The rows of `results.json`, oldest system first; none if there is no file."""
    path = Path(out_dir) / FILE_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def write(out_dir: Path, rows: Sequence[dict]) -> None:
    """Adds rows to `results.json`; a row replaces the one of the same system."""
    kept = {row["system"]: row for row in read(out_dir)}
    kept.update({row["system"]: row for row in rows})
    ordered = sorted(kept.values(), key=lambda row: row["notebook"])
    text = json.dumps(ordered, indent=1, ensure_ascii=False) + "\n"
    submission.replace_text(Path(out_dir) / FILE_NAME, text)


def of_run(out_dir: Path, *, data: str, profile: str) -> list[dict]:
    """The rows measured on a data set under a profile; a folder may hold those of others too."""
    return [row for row in read(out_dir) if (row["data"], row["profile"]) == (data, profile)]


def leaderboard(rows: Sequence[dict]) -> pd.DataFrame:
    """Formats result rows for people: best top-2 first, one interval column, no timings."""
    columns = ["system", "top-1", "top-2", "95 %", "top-5", "n", "m", "weights", "protocol"]
    table = pd.DataFrame(
        [
            {
                "system": row["system"],
                "top-1": f"{row['top_1']:.3f}",
                "top-2": f"{row['top_2']:.3f}",
                "95 %": f"{row['low']:.3f}–{row['high']:.3f}",
                "top-5": f"{row['top_5']:.3f}",
                "n": row["n"],
                "m": row["m"],
                "weights": row["weights"],
                "protocol": row["protocol"],
            }
            for row in sorted(rows, key=lambda row: -row["top_2"])
        ],
        columns=columns,
    )
    return table.set_index("system")
