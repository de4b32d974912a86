"""The result of a run as one page: leaderboard, curves, agreement, a gallery, and the game.

Everything is inside the page but the small pictures, which lie in a folder beside it and are named
after the contents of their originals. Names from files go into the page as JSON in which `<` is
escaped, and the script puts them there as text; the page's own policy lets no other script run and
nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
import string
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tll_utils import data, files, progress
from tll_utils.data import sample
from tll_utils.errors import TllError
from tll_utils.scoring import leaderboard, stored
from tll_utils.tools import sheet

FILE_NAME, PICTURES = "report.html", "report_pictures"
MAX_QUERIES = 2000  # in the page; of more, the first ones
_WHY_WIDTH = 9 * 2 + 4 * 4  # digits per pair of pictures
_WHY_NUMBERS = 9 + 3 * 4  # of `scoring.agreeing_cells`: cells at the same place, and four lines
SHOWN = 8  # candidates of each system that the page knows in order
_DIGITS = string.digits + string.ascii_lowercase + " "  # per place in a candidate list; -1: " "
_SYSTEM = ("system", "notebook", "top_1", "top_2", "top_5", "low", "high", "n", "protocol")
_TEMPLATE = Path(__file__).with_name("page.html")


def write(
    out_dir: Path, dataset: data.Dataset, *, profile: str | None = None, seed: int | None = None
) -> Path:
    """Writes `report.html` of a run, and the small pictures that it shows.

    Args:
        out_dir: Where the run left `results.json` and `scores/`.
        dataset: What the run was made on.
        profile, seed: Of the run. Default to those of the latest one on this data set.

    Returns:
        The page.

    Raises:
        TllError: If there are no results of this data set.
    """
    content = collect(out_dir, dataset, profile=profile, seed=seed)
    path = out_dir / FILE_NAME
    files.write_text(path, page(content))
    return path


def page(content: dict[str, Any]) -> str:
    """Puts what `collect` found into the page, under a policy that knows its script by hash."""
    text = _TEMPLATE.read_text(encoding="utf-8")
    script = text[text.index("<script>") + 8 : text.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # As JSON allows it; `<` alone could end the element, the others are for old readers.
    written = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    for sign in "<>&":
        written = written.replace(sign, f"\\u{ord(sign):04x}")
    return text.replace("__SCRIPT__", digest, 1).replace("__DATA__", written, 1)


def collect(
    out_dir: Path, dataset: data.Dataset, *, profile: str | None = None, seed: int | None = None
) -> dict[str, Any]:
    """What the page shows, as plain values; makes the small pictures.

    Raises:
        TllError: As `write`.
    """
    if profile is None or seed is None:
        row = latest(out_dir, dataset.name)
        profile, seed = row["profile"], row["seed"]
    rows = leaderboard.of_run(out_dir, data=dataset.name, profile=profile, seed=seed)
    rows = sorted(rows, key=lambda row: -row["top_2"])
    folder = out_dir / "scores" / f"{dataset.name}_{profile}_seed{seed}"
    candidates, scores = read_scores(folder, [row["system"] for row in rows], dataset)
    shown = np.arange(min(len(candidates), MAX_QUERIES))
    candidates = candidates[shown]
    rights = np.unique(candidates)
    place_of = {int(right): place for place, right in enumerate(rights)}
    small = out_dir / PICTURES
    is_sample = dataset.name == "sample"
    what = "Synthetic sample" if is_sample else f"Data {dataset.name!r}"
    kinds = sample.kinds(dataset.root) if is_sample else {}
    lefts = dataset.pairs["left"].tolist()
    ordered = {name: _ordered(one[shown], candidates, shown) for name, one in scores.items()}
    return {
        "mode": "report",
        "caption": f"{what}: n = {len(lefts)}, m = {candidates.shape[1]} candidates, "
        f"profile {profile}, seed {seed}",
        "sample": is_sample,
        "systems": [{name: row[name] for name in _SYSTEM} for row in rows],
        "ranked": {
            name: "".join(_DIGITS[place] for place in places.ravel())
            for name, places in ordered.items()
        },
        "why": _why(folder, ordered, (candidates == shown[:, None]).argmax(axis=1)),
        "queries": [lefts[row] for row in shown],
        "kinds": [kinds.get(lefts[row], "") for row in shown] if kinds else [],
        "candidates": [[place_of[int(one)] for one in row] for row in candidates],
        "truth": [place_of[int(row)] for row in shown],
        "left": _thumbnails([dataset.left_paths[row] for row in shown], small),
        "right": _thumbnails([dataset.right_paths[row] for row in rights], small),
        "game": np.random.default_rng(seed).permutation(shown).tolist(),
        "people": {},
    }


def latest(out_dir: Path, name: str | None = None) -> dict[str, Any]:
    """A row of the latest run: on the data set of this name, or on any.

    Raises:
        TllError: If there is none; says on which data there are results.
    """
    folders = {
        out_dir / "scores" / f"{row['data']}_{row['profile']}_seed{row['seed']}": row
        for row in leaderboard.read(out_dir)
    }
    there = {folder: row for folder, row in folders.items() if folder.is_dir()}
    wanted = [folder for folder, row in there.items() if name in (None, row["data"])]
    if not wanted:
        known = ", ".join(sorted({row["data"] for row in there.values()}))
        advice = (
            f"Results here are on: {known}. Name that data with --data, or run" if known else "Run"
        )
        raise TllError(
            f"{out_dir}: no results{f' on {name!r}' if name else ''} here. {advice} the notebooks "
            "first: tll run"
        )
    return there[max(wanted, key=lambda folder: folder.stat().st_mtime)]


def read_scores(
    folder: Path, systems: Sequence[str], dataset: data.Dataset
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Reads what `Run.record` stored; systems of another data set are left out.

    Returns:
        The candidate lists, int `(pairs, m)`, and per system its scores, float `(pairs, m)`, NaN
        where it has none.

    Raises:
        TllError: If there is none at all.
    """
    candidates, found = np.empty((0, 0), int), {}
    for system in systems:
        path = folder / f"{system}.npz"
        if not path.is_file():
            continue
        one = stored.read(path)
        lists, scores = one["candidates"], one["oof"].astype(np.float64)
        own = np.arange(len(dataset.pairs))[:, None]
        if not np.array_equal(one["candidate_index"], dataset.candidate_index):
            continue
        if len(lists) != len(own) or not (lists == own).any(axis=1).all():
            continue
        if len(candidates) and not np.array_equal(lists, candidates):
            continue
        scores[np.setdiff1d(own, one["rows"])] = np.nan
        candidates, found[system] = lists, scores
    if not found:
        raise TllError(
            f"{folder}: no scores that belong to {dataset.root}. Name the data of the run with "
            "--data, or run the notebooks first: tll run"
        )
    return candidates, found


def _ordered(scores: np.ndarray, candidates: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Places in the lists of the best `SHOWN` candidates, then the rank of the match, 0 = best.

    A tie counts against the match. -1 where a system has no scores.
    """
    is_match = candidates == rows[:, None]
    order = np.lexsort((is_match, -scores), axis=1)
    rank = np.take_along_axis(is_match, order, axis=1).argmax(axis=1)
    found = np.concatenate([order[:, :SHOWN], rank[:, None]], axis=1)
    found[~np.isfinite(scores).all(axis=1)] = -1
    return found


def _why(
    folder: Path, ordered: dict[str, np.ndarray], true_place: np.ndarray
) -> dict[str, str] | None:
    """Which cells agree, of the first system that noted it; see `scoring.agreeing_cells`.

    As digits, for each query its best candidates and the match: two per cosine, one per row and
    column. Blanks where nothing is known.
    """
    for name, places in ordered.items():
        noted = stored.read(folder / f"{name}.npz").get("why")
        if noted is None or noted.shape[2] != _WHY_NUMBERS:
            continue
        shown = np.concatenate([places[:, :-1], true_place[:, None]], axis=1)
        why = np.take_along_axis(noted[: len(places)], shown[..., None], axis=1)
        same, lines = why[..., :9], why[..., 9:].reshape(*why.shape[:2], -1, 3)
        known = (same <= 100).all(axis=2) & (places >= 0)
        texts = [
            "".join(f"{min(value, 99):02}" for value in same[at])
            + "".join(f"{row}{column}{min(value, 99):02}" for row, column, value in lines[at])
            if known[at]
            else " " * _WHY_WIDTH
            for at in np.ndindex(known.shape)
        ]
        return {"system": name, "cells": "".join(texts)}
    return None


def _thumbnails(paths: Sequence[Path], folder: Path) -> list[str]:
    """Makes what is not there yet; returns the names of the files."""
    with ThreadPoolExecutor() as pool:
        made = pool.map(lambda path: sheet.keep_thumbnail(path, folder), paths)
        return list(progress.bar(made, total=len(paths), desc="pictures"))
