"""A data set from people: they say which pictures of a folder look alike.

Choices are kept one by one in `pairs.csv`; `build` makes the course layout of them.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tll_utils import data, files
from tll_utils.data.folders import draft_folder
from tll_utils.errors import DataError, TllError
from tll_utils.tools import report, sheet
from tll_utils.tools.pictures import list_pictures
from tll_utils.tools.server import Server

NUM_QUERIES, NUM_CANDIDATES = 5, 20  # a fifth of the pairs, at least so many; per list at most
LEAST = data.MIN_PAIRS + NUM_QUERIES
SIZE = 400  # pixels of a picture's longer side in the data set


def build(pairs: Sequence[tuple[Path, Path]], target: Path, *, seed: int = 0) -> None:
    """Writes a data set in the course layout: four fifths to train on, the others as queries.

    Args:
        pairs: Which two pictures look alike; each picture in one pair only.
        target: The data set, there whole or not at all; must not exist yet.
        seed: Of the order and the candidate lists.

    Raises:
        DataError: If there are fewer than `LEAST` pairs, or the target exists.
    """
    if len(pairs) < LEAST:
        raise DataError(f"Expected at least {LEAST} pairs. Received: {len(pairs)}. Go on choosing.")
    if target.exists():
        raise DataError(f"{target}: exists already. Move it away to write the data set anew.")
    rng = np.random.default_rng(seed)
    num_queries = max(NUM_QUERIES, len(pairs) // 5)
    # Names are drawn: one must not tell which two belong together.
    names = [[f"{a:05d}", f"{b:05d}"] for a, b in rng.permutation(2 * len(pairs)).reshape(-1, 2)]
    with draft_folder(target) as draft:
        for place, row in enumerate(rng.permutation(len(pairs))):
            split = "test" if place < num_queries else "train"
            for side, name, path in zip(data.SIDES, names[place], pairs[row], strict=True):
                folder = draft / split / side
                folder.mkdir(parents=True, exist_ok=True)
                small = sheet.as_jpeg(sheet.thumbnail(path, SIZE), quality=92)
                (folder / f"{name}.jpg").write_bytes(small)
        queries = sorted(names[:num_queries])
        rights = np.array([right for _, right in queries])
        lists = []
        for place, (left, right) in enumerate(queries):
            others = rng.permutation(np.delete(rights, place))[: NUM_CANDIDATES - 1]
            lists.append([left, *rng.permutation([right, *others])])
        header = ["left", *(f"c{place}" for place in range(len(lists[0]) - 1))]
        _write(draft / "train.csv", data.SIDES, sorted(names[num_queries:]))
        _write(draft / "test_truth.csv", data.SIDES, queries)
        _write(draft / "test_candidates.csv", header, lists)
        os.rename(draft, target)


def serve(folder: Path, target: Path) -> Server:
    """Makes the server of the page on which people choose.

    Args:
        folder: Pictures, in folders of any depth.
        target: The data set to be; choices and small pictures are kept in `target`_choices.

    Raises:
        TllError: If the folder is not there, or holds too few pictures.
    """
    beside = target.with_name(f"{target.name}_choices")
    names, shown = _readable(folder, beside / "pictures")
    if len(names) < 2 * LEAST:
        raise TllError(
            f"{folder}: expected at least {2 * LEAST} different pictures, for {LEAST} pairs. "
            f"Received: {len(names)}"
        )
    place_of = {name: place for place, name in enumerate(names)}
    chosen_csv = beside / "pairs.csv"
    rows = data.read_table(chosen_csv, data.SIDES).rows if chosen_csv.is_file() else []
    chosen = [[place_of[n] for n in row] for row in rows if set(row) <= set(place_of)]

    def choose(asked: dict[str, Any]) -> dict[str, Any]:
        pair = [asked["left"], asked["right"]]
        if not all(type(one) is int and 0 <= one < len(names) for one in pair):
            raise DataError("Expected two pictures of this folder.")
        if len({*pair}) < 2 or {*pair} & {one for row in chosen for one in row}:
            raise DataError("Each picture belongs to one pair only. Load the page anew.")
        chosen.append(pair)
        _write(chosen_csv, data.SIDES, [[names[one] for one in row] for row in chosen])
        return {"pairs": len(chosen)}

    def finish(asked: dict[str, Any]) -> dict[str, Any]:
        build([(folder / names[a], folder / names[b]) for a, b in chosen], target)
        return {"message": f"Written: {target}. Check it with: tll check {target}"}

    def page() -> str:
        return report.page({"mode": "pairs", "right": shown, "names": names, "pairs": chosen})

    return Server(page, beside / "pictures", {"pairs": choose, "finish": finish})


def _readable(folder: Path, small: Path) -> tuple[list[str], list[str]]:
    """Names below the folder, and their small pictures; damaged ones are said, equal ones once."""
    found: dict[str, str] = {}
    paths = list_pictures([folder])[1]
    files.require_writable(small)
    for path in paths:
        try:
            found.setdefault(sheet.keep_thumbnail(Path(path), small), path)
        except DataError as error:
            print(f"skipped {error}", file=sys.stderr)
        except OSError as error:
            print(f"skipped {path}: {error.strerror}", file=sys.stderr)
    root = os.path.abspath(folder)
    return [os.path.relpath(path, root) for path in found.values()], list(found)


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    files.write_text(path, text.getvalue())
