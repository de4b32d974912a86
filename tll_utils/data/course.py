"""Reads the course edition.

train.csv                left,right             one pair per row
test_candidates.csv      left,c0,…,c{m-1}       one query and its m candidates per row
test_truth.csv           left,right             optional: the match of each query
train/left, train/right, test/left, test/right  <id>.jpg
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tll_utils.data.dataset import EXPECTED, MIN_PAIRS, SIDES, Dataset, index_gallery
from tll_utils.data.sample import MARKER
from tll_utils.data.tables import Table, counted, read_table
from tll_utils.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def load_course(root: Path) -> Dataset:
    """Reads and validates the tables and the names of the images, not the pixels.

    Raises:
        DataError: If anything is missing, malformed or contradictory.
    """
    pairs = _read_pairs(root / "train.csv", unique=SIDES)
    if len(pairs.rows) < MIN_PAIRS:
        raise DataError(
            f"{pairs.path}: expected at least {MIN_PAIRS} pairs. Received: {len(pairs.rows)}"
        )
    candidates = _read_candidates(root / "test_candidates.csv")
    left_files, right_files = (list_images(root / "train" / side) for side in SIDES)
    query_files, gallery_files = (list_images(root / "test" / side) for side in SIDES)
    for column in candidates.header[1:]:
        _paths_of(candidates, column, gallery_files, root / "test/right")

    truth_csv = root / "test_truth.csv"
    true_place = read_truth(truth_csv, candidates.frame()) if truth_csv.exists() else None
    gallery_paths, candidate_index = index_gallery(candidates.frame(), gallery_files)
    return Dataset(
        name="sample" if true_place is not None and (root / MARKER).exists() else "tll",
        root=root,
        pairs=pairs.frame(),
        left_paths=_paths_of(pairs, "left", left_files, root / "train/left"),
        right_paths=_paths_of(pairs, "right", right_files, root / "train/right"),
        candidates=candidates.frame(),
        query_paths=_paths_of(candidates, "left", query_files, root / "test/left"),
        gallery_paths=gallery_paths,
        candidate_index=candidate_index,
        true_place=true_place,
    )


def read_truth(path: Path | str, candidates: pd.DataFrame) -> np.ndarray:
    """Reads the match of each query, `left,right`, and finds its place in the candidate list.

    Args:
        path: The CSV file, rows in any order.
        candidates: The candidate lists, columns `left`, `c0` … `c{m-1}`: ids.

    Returns:
        Int `(num_queries,)` in [0, m), in the order of `candidates`.

    Raises:
        DataError: If a query has no match, two matches, or one that is not in its list.
    """
    truth = _read_pairs(Path(path), unique=("left",))
    advice = "Use the truth that belongs to these candidates."
    options = {query: listed for query, *listed in candidates.itertuples(index=False, name=None)}
    places = {}
    for line, (query, match) in zip(truth.lines, truth.rows, strict=True):
        if query not in options:
            raise DataError(
                f"{path}, row {line}: {query!r} is not a query of the candidate lists. {advice}"
            )
        if match not in options[query]:
            raise DataError(
                f"{path}, row {line}: {match!r} is not among the candidates of {query!r}. {advice}"
            )
        places[query] = options[query].index(match)
    missing = [query for query in options if query not in places]
    if missing:
        raise DataError(
            f"{path}: no row for {missing[0]!r}; expected one for each query of the candidate "
            f"lists, {counted(len(missing), 'row')} missing. {advice}"
        )
    return np.array([places[query] for query in options], dtype=int)


def list_images(folder: Path) -> dict[str, Path]:
    """Maps ids to image paths, from one listing of the folder: a stat per file would be slow.

    Raises:
        DataError: If the folder cannot be listed, or two files could be the same image.
    """
    files: dict[str, Path] = {}
    folders = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                stem, suffix = os.path.splitext(entry.name)
                if suffix.lower() not in IMAGE_SUFFIXES or entry.name.startswith("."):
                    continue  # Thumbs.db, .DS_Store, ._name.jpg
                if entry.is_dir():
                    folders.append(entry.name)
                elif stem in files:
                    raise DataError(
                        f"{folder}: both {files[stem].name} and {entry.name} could be image "
                        f"{stem!r}. Remove one of them."
                    )
                else:
                    files[stem] = folder / entry.name
    except FileNotFoundError:
        raise DataError(f"{folder}: no such folder. {EXPECTED}") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}). {EXPECTED}") from None
    if folders:
        raise DataError(
            f"{folder / min(folders)}: a folder, expected an image file. Remove or rename it."
        )
    return files


def _read_pairs(path: Path, *, unique: Sequence[str]) -> Table:
    pairs = read_table(path, SIDES)
    pairs.require_ids()
    for side in unique:
        pairs.refuse_repeats(side)
    return pairs


def _read_candidates(path: Path) -> Table:
    table = read_table(path)
    table.require_ids()
    if not table.rows:
        raise DataError(f"{path}: no rows; expected one query per row.")
    table.refuse_repeats("left")
    for line, row in zip(table.lines, table.rows, strict=True):
        if len(set(row)) < len(row):
            twice, _ = Counter(row).most_common(1)[0]
            raise DataError(
                f"{path}, row {line}: {twice!r} appears twice; expected one query and "
                f"{len(row) - 1} different candidates, the query not among them. Correct the row."
            )
    return table


def _paths_of(table: Table, column: str, files: dict[str, Path], folder: Path) -> tuple[Path, ...]:
    ids = table.column(column)
    missing = [place for place, name in enumerate(ids) if name not in files]
    if missing:
        raise DataError(
            f"{table.path}, row {table.lines[missing[0]]}: {column} is {ids[missing[0]]!r}, but "
            f"there is no {ids[missing[0]]}.jpg in {folder} ({counted(len(missing), 'such row')}). "
            "Add the files or remove the rows."
        )
    return tuple(files[name] for name in ids)
