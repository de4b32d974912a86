"""What a data set is, whichever layout it was read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

MIN_PAIRS = 20
SIDES = ("left", "right")

EXPECTED = (
    "Expected train.csv, test_candidates.csv, train/left, train/right, test/left and test/right "
    "(course edition), or left and right as folders or zip files (original release)."
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pairs to learn from, and queries with their candidates, with the paths of all images.

    Attributes:
        name: `"sample"` (drawn), `"release"` (original layout) or `"tll"` (course layout).
        root: The data folder.
        pairs: Columns `left`, `right`: ids, str. Shape `(num_pairs, 2)`.
        left_paths, right_paths: Aligned with the rows of `pairs`.
        candidates: Columns `left`, `c0` … `c{m-1}`: ids, str.
        query_paths: Aligned with the rows of `candidates`.
        gallery_paths: Each candidate image once, sorted by id.
        candidate_index: int `(num_queries, m)`: positions in `gallery_paths`.
        true_place: int `(num_queries,)`: column of the match in its row; None if not known.
    """

    name: str
    root: Path
    pairs: pd.DataFrame
    left_paths: tuple[Path, ...]
    right_paths: tuple[Path, ...]
    candidates: pd.DataFrame
    query_paths: tuple[Path, ...]
    gallery_paths: tuple[Path, ...]
    candidate_index: np.ndarray
    true_place: np.ndarray | None

    @property
    def num_pairs(self) -> int:
        return len(self.pairs)

    @property
    def num_queries(self) -> int:
        return len(self.candidates)

    @property
    def m(self) -> int:
        """Candidates per query."""
        return self.candidate_index.shape[1]


def index_gallery(
    candidates: pd.DataFrame, gallery_files: dict[str, Path]
) -> tuple[tuple[Path, ...], np.ndarray]:
    """Lists each candidate image once.

    Args:
        candidates: Columns `left`, `c0` … `c{m-1}`: ids.
        gallery_files: The file of each id.

    Returns:
        `gallery_paths` and `candidate_index` of a `Dataset`.
    """
    ids = candidates.iloc[:, 1:].to_numpy(dtype=str)
    gallery_ids, index = np.unique(ids, return_inverse=True)
    return tuple(gallery_files[name] for name in gallery_ids), index.reshape(ids.shape)
