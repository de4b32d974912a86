"""The neighbors of very many vectors, found along a graph (usearch) in place of a look at each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tll_utils import files, progress

EXPANSION = 512  # candidates kept while searching: recall for time
_BLOCK = 8192  # vectors that are added at once


def is_installed() -> bool:
    """Whether `usearch` is there."""
    return importlib.util.find_spec("usearch") is not None


class Graph:
    """A graph over vectors that are named by content hashes; kept in a file, brought up to date.

    Args:
        hashes: Of all vectors, hexadecimal.
        vectors: Gives float vectors `(n, width)` of some places in `hashes`.
        width: Int.
        path: The file; None = in memory alone.
    """

    def __init__(
        self,
        hashes: Sequence[str],
        vectors: Callable[[np.ndarray], np.ndarray],
        width: int,
        path: Path | None = None,
    ) -> None:
        self.hashes = {_key(name): name for name in hashes}
        wanted = np.array([_key(name) for name in hashes], np.uint64)
        self._graph = _stored(path, width, view=True)
        known = np.asarray(self._graph.keys[:], np.uint64)
        gone, missing = np.setdiff1d(known, wanted), np.flatnonzero(~np.isin(wanted, known))
        if not (len(gone) or len(missing)):
            return
        self._graph = _stored(path, width, view=False)
        if len(gone):
            self._graph.remove(gone)
        with progress.bar(total=len(missing), desc="link", unit=" images") as bar:
            for start in range(0, len(missing), _BLOCK):
                some = missing[start : start + _BLOCK]
                self._graph.add(wanted[some], vectors(some).astype(np.float16))
                bar.update(len(some))
        if path is not None:
            with files.replacing(path) as draft:
                self._graph.save(str(draft))

    def nearest(self, vector: np.ndarray) -> Iterator[tuple[str, float]]:
        """Hashes and cosines from the most alike down; one in twenty of the first may be missing.

        All others follow, so that whoever leaves many aside finds enough.
        """
        seen: set[int] = set()
        count = 0
        while count < len(self.hashes):
            count = min(max(8 * count, EXPANSION), len(self.hashes))
            matches = self._graph.search(vector.astype(np.float16), count)
            for key, distance in zip(matches.keys.tolist(), matches.distances, strict=True):
                if key not in seen:
                    seen.add(key)
                    yield self.hashes[key], 1 - float(distance)


def _key(name: str) -> int:
    return int(name[:16], 16)


def _stored(path: Path | None, width: int, *, view: bool) -> Any:
    from usearch.index import Index

    graph = Index(ndim=width, metric="ip", dtype="f16", expansion_search=EXPANSION)
    if path is not None and path.is_file():
        try:
            (graph.view if view else graph.load)(str(path))
        except RuntimeError:  # damaged, or of another version: made anew
            graph = Index(ndim=width, metric="ip", dtype="f16", expansion_search=EXPANSION)
    return graph
