"""Look-alikes among one's own pictures: an index of embeddings, searched exactly up to a size.

One SQLite file holds a vector per different image, in float16, and the files that show it. What is
committed survives any kill; nothing in it can run code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import sqlite3
import warnings
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tll_utils import files, progress
from tll_utils.errors import TllError
from tll_utils.images.decode import MAX_BYTES
from tll_utils.tools import graph
from tll_utils.tools.embedder import AT_ONCE, Embedder, Picture
from tll_utils.tools.pictures import list_pictures

MAX_WIDTH = 1408  # numbers per image: 2.8 KB; wider embeddings are sketched
EXACT_UP_TO = 200_000  # images; of more, usearch looks at some, if it is installed
_BLOCK = 8192  # rows that are multiplied at once
_TABLES = """
    PRAGMA page_size = 65536;
    PRAGMA trusted_schema = OFF;
    CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT);
    CREATE TABLE IF NOT EXISTS vectors (hash TEXT UNIQUE, vector BLOB);
    CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INT, mtime INT, hash TEXT)
        WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS by_hash ON files (hash);
"""


class Match(NamedTuple):
    """A picture that was found, and its likeness: a cosine, 1 = the same."""

    path: str
    similarity: float


@dataclasses.dataclass
class Changes:
    """What `Index.add` did.

    Attributes:
        new: Images that were embedded.
        moved: Files whose image was known from another place, a copy or the old one.
        unchanged: Files that were there before.
        gone: Files that are no longer in the folders.
        skipped: Why a file was left out, by path.
    """

    new: int = 0
    moved: int = 0
    unchanged: int = 0
    gone: int = 0
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.new} new, {self.moved} moved or copied, {self.unchanged} unchanged, "
            f"{self.gone} gone, {len(self.skipped)} skipped"
        )


class Index:
    """Embeddings of image files, to search in.

    Args:
        embedder: Makes the vectors. Defaults to the one that the file was made with.
        path: A file that every change is written to at once. Defaults to memory alone; see `save`.

    Raises:
        TllError: If the file is no index or was made with another model, or if the embedder's model
            cannot be had.
    """

    def __init__(
        self, embedder: Embedder | None = None, path: str | os.PathLike[str] | None = None
    ) -> None:
        self.path = Path(path) if path is not None else None
        self._cached: tuple[list[str], np.ndarray] | None = None
        self._graph: graph.Graph | None = None
        with self._explained():
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._sql = sqlite3.connect(path or ":memory:", timeout=60, check_same_thread=False)
            weakref.finalize(self, self._sql.close)  # in whatever thread; a refused file, too
            self._refuse_foreign()
            self._sql.executescript(_TABLES)
            noted = dict(self._rows("SELECT name, value FROM about", str, str))
            if noted and not noted.keys() >= {"source", "weights", "fingerprint"}:
                raise sqlite3.DatabaseError("it does not say which model it was made with")
        if not noted:
            embedder = embedder or Embedder()
        if embedder is not None and embedder.fingerprint != noted.get("fingerprint"):
            embedder.load()  # one that does not exist is neither noted nor called another one
            if noted:
                raise TllError(
                    f"{self.path}: made with another model ({noted['source']}) than "
                    f"{embedder.source}. Name another index with --index, or make it anew with "
                    "--fresh."
                )
            noted = {name: getattr(embedder, name) for name in ("source", "weights", "fingerprint")}
            with self._writing() as sql:
                sql.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", noted.items())
        self._noted, self._embedder = noted, embedder

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Index:
        """Opens an index that is there.

        Raises:
            TllError: If it is not there, or is none.
        """
        if not Path(path).is_file():
            raise TllError(f"{path}: no index here. Make one first: tll index DIR")
        return cls(path=path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a copy of the index, whole or not at all."""
        with files.replacing(path) as draft, contextlib.closing(sqlite3.connect(draft)) as target:
            self._sql.backup(target)

    def __len__(self) -> int:
        return int(self._rows("SELECT count(*) FROM vectors", int)[0][0])

    @property
    def embedder(self) -> Embedder:
        """What makes the vectors, read anew if need be; its model is loaded with the first image.

        Raises:
            TllError: If the model is not what it was when the index was made.
        """
        if self._embedder is None:
            embedder = Embedder(self._noted["source"], weights=self._noted["weights"])
            if embedder.fingerprint != self._noted["fingerprint"]:
                raise TllError(
                    f"{embedder.source} has changed since this index was made. Make it anew: "
                    "tll index --fresh"
                )
            self._embedder = embedder
        return self._embedder

    def add(
        self, places: Iterable[str | os.PathLike[str]], *, show_progress: bool = False
    ) -> Changes:
        """Takes in folders, with all that is in them, and single files.

        Only new and changed images are embedded, and each `AT_ONCE` of them are kept as they are
        done. Files that have gone from a folder are forgotten, and so are images without a file.

        Raises:
            TllError: If a place does not exist, or the index cannot be written.
        """
        changes, known = Changes(), {}
        for path, size, mtime, digest in self._rows("SELECT * FROM files", str, int, int, str):
            known[path] = (size, mtime, digest)
        folders, found = list_pictures(places)
        fresh: list[tuple[str, int, int, str]] = []
        for path in progress.bar(found, desc="look", unit=" files", shown=show_progress):
            try:
                path.encode()  # the database holds text
                status = os.stat(path)
                if known.get(path, ())[:2] == (status.st_size, status.st_mtime_ns):
                    changes.unchanged += 1
                elif status.st_size > MAX_BYTES:
                    changes.skipped[path] = f"a file of more than {MAX_BYTES >> 20} MB"
                else:
                    digest = files.content_hash(path)
                    fresh.append((path, status.st_size, status.st_mtime_ns, digest))
            except (OSError, UnicodeEncodeError) as error:
                changes.skipped[path] = getattr(error, "strerror", "a name that is not UTF-8")
        self._take_in(fresh, changes, show_progress=show_progress)
        there = set(found) - set(changes.skipped)
        gone = [path for path in known if path not in there and path.startswith(folders)]
        changes.gone = len(gone)
        with self._writing() as sql:
            sql.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in gone])
            sql.execute("DELETE FROM vectors WHERE hash NOT IN (SELECT hash FROM files)")
        return changes

    def _take_in(
        self, fresh: Sequence[tuple[str, int, int, str]], changes: Changes, *, show_progress: bool
    ) -> None:
        """Embeds what no vector is known of, and notes all files."""
        stored = {digest for (digest,) in self._rows("SELECT hash FROM vectors", str)}
        new: dict[str, list[tuple[str, int, int, str]]] = {}
        for row in fresh:
            if row[3] not in stored:
                new.setdefault(row[3], []).append(row)
        old = [row for row in fresh if row[3] in stored]
        with self._writing() as sql:
            sql.executemany("REPLACE INTO files VALUES (?, ?, ?, ?)", old)
        changes.moved = len(old)
        todo = list(new.items())
        with progress.bar(
            total=len(todo), desc="embed", unit=" images", shown=show_progress and bool(todo)
        ) as bar:
            for start in range(0, len(todo), AT_ONCE):
                part = todo[start : start + AT_ONCE]
                vectors, problems = self.embedder.embed_what_can_be([r[0][0] for _, r in part])
                good = [i for i in range(len(part)) if i not in problems]
                halves = self._narrow(vectors).astype(np.float16)
                with self._writing() as sql:
                    sql.executemany(
                        "REPLACE INTO vectors VALUES (?, ?)",
                        [(part[i][0], halves[i].tobytes()) for i in good],
                    )
                    rows = [row for i in good for row in part[i][1]]
                    sql.executemany("REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
                for i, error in problems.items():
                    changes.skipped |= {row[0]: str(error) for row in part[i][1]}
                changes.new += len(good)
                bar.update(len(part))

    def search(
        self, query: Picture, *, top: int = 20, without: Iterable[str | os.PathLike[str]] = ()
    ) -> list[Match]:
        """Finds the pictures most like one, or like a vector of `vector_of`.

        Args:
            query: A file, an RGB array `(height, width, 3)`, or a vector `(d,)`.
            top: How many to give.
            without: Files and folders that are not looked at.

        Returns:
            The most alike first, equal files once. The query itself is not among them.
        """
        skipped = [os.path.abspath(place) for place in without]
        if not isinstance(query, np.ndarray):
            skipped.append(os.path.abspath(query))
        vector = query if isinstance(query, np.ndarray) and query.ndim == 1 else None
        vector = self.vector_of(query) if vector is None else vector
        under = tuple(os.path.join(place, "") for place in skipped)
        found: list[Match] = []
        for digest, similarity in self._nearest(vector):
            if len(found) >= top:
                break
            shown = self._rows("SELECT path FROM files WHERE hash = ?", str, given=(digest,))
            paths = [path for (path,) in shown]
            if not isinstance(query, np.ndarray) and skipped[-1] in paths:
                continue  # the query, and copies of it
            left = [p for p in paths if p not in skipped and not p.startswith(under)]
            if left:
                found.append(Match(left[0], similarity))
        return found

    def _nearest(self, vector: np.ndarray) -> Iterator[tuple[str, float]]:
        """Content hashes and cosines, from the most alike down."""
        if len(self) > EXACT_UP_TO and graph.is_installed():
            if self._graph is None:
                self._graph = self._linked(len(vector))
            yield from self._graph.nearest(vector)
            return
        if len(self) > EXACT_UP_TO:
            warnings.warn(
                f"{len(self):,} images are compared one by one, which takes seconds: pip install "
                '"tll-utils[search]"',
                stacklevel=3,
            )
        hashes, matrix = self._vectors()
        if len(matrix) and matrix.shape[1] != len(vector):
            raise TllError(
                f"{self.path}: holds vectors of {matrix.shape[1]} numbers. Received: {len(vector)}"
            )
        blocks = range(0, len(matrix), _BLOCK)
        scores = [matrix[start : start + _BLOCK].astype(np.float32) @ vector for start in blocks]
        joined = np.concatenate([np.empty(0, np.float32), *scores])
        with self._explained():
            if not np.isfinite(joined).all():  # of all vectors at once it would take long
                raise sqlite3.DatabaseError("a vector that is not finite")
        for row in np.argsort(-joined, kind="stable"):
            yield hashes[row], float(joined[row])

    def _linked(self, width: int) -> graph.Graph:
        """The graph of all vectors, in a file beside the index that names the model, too."""
        model = hashlib.blake2b(self._noted["fingerprint"].encode(), digest_size=4).hexdigest()
        path = self.path and self.path.with_name(f"{self.path.name}.{model}.graph")
        hashes = [name for (name,) in self._sql.execute("SELECT hash FROM vectors ORDER BY rowid")]

        def vectors(places: np.ndarray) -> np.ndarray:
            wanted = "SELECT vector FROM vectors WHERE hash = ?"
            blobs = [self._sql.execute(wanted, (hashes[place],)).fetchone()[0] for place in places]
            return np.frombuffer(b"".join(blobs), np.float16).reshape(-1, width)

        return graph.Graph(hashes, vectors, width, path)

    def vector_of(self, picture: Picture) -> np.ndarray:
        """The vector of a picture, float32 `(d,)` of length 1; one that is known is looked up."""
        if not isinstance(picture, np.ndarray):
            try:
                digest = files.content_hash(picture)
            except OSError as error:
                raise TllError(f"{picture}: cannot be read ({error.strerror}).") from error
            known = self._rows("SELECT vector FROM vectors WHERE hash = ?", bytes, given=(digest,))
            if known and len(known[0][0]) % 2 == 0:
                vector = np.frombuffer(known[0][0], np.float16).astype(np.float32)
                if np.isfinite(vector).all():
                    return vector
        return self._narrow(self.embedder.embed([picture], show_progress=False))[0]

    def _narrow(self, vectors: np.ndarray) -> np.ndarray:
        """Sketches vectors that are wider than `MAX_WIDTH`, keeping their products about equal.

        Each number is added to a random one of fewer places under a random sign; the error of a
        cosine is about 1/√1408. No fitting, so that an index can grow from nothing.

        Reference:
            Weinberger et al., 2009, Feature hashing for large scale multitask learning.
        """
        width = vectors.shape[1]
        if width <= MAX_WIDTH:
            return vectors
        from scipy import sparse

        draw = np.random.RandomState(0)  # its numbers are promised never to change
        signs, places = draw.choice([-1.0, 1.0], width), draw.randint(0, MAX_WIDTH, width)
        sketch = sparse.csr_matrix(
            (signs.astype(np.float32), (places, np.arange(width))), shape=(MAX_WIDTH, width)
        )
        narrow = (sketch @ vectors.T).T
        return narrow / np.maximum(np.linalg.norm(narrow, axis=1, keepdims=True), 1e-12)

    def _vectors(self) -> tuple[list[str], np.ndarray]:
        if self._cached is None:
            rows = self._rows("SELECT hash, vector FROM vectors", str, bytes)
            widths = {len(blob) for _, blob in rows}
            joined = b"".join(blob for _, blob in rows)
            with self._explained():
                if len(widths) > 1 or any(width == 0 or width % 2 for width in widths):
                    raise sqlite3.DatabaseError("vectors of different widths")
                matrix = np.frombuffer(joined, np.float16).reshape(len(rows), sum(widths) // 2)
            self._cached = [digest for digest, _ in rows], matrix
        return self._cached

    def _refuse_foreign(self) -> None:
        """Refuses all but our own tables: a view or trigger of a stranger's file would be run."""
        query, kinds = "SELECT type, name, coalesce(sql, '') FROM sqlite_master", (str, str, str)
        with contextlib.closing(sqlite3.connect(":memory:")) as ours:
            ours.executescript(_TABLES)
            if not set(self._rows(query, *kinds)) <= set(ours.execute(query)):
                raise sqlite3.DatabaseError("it holds other tables than an index has")

    def _rows(self, query: str, *kinds: type, given: tuple[str, ...] = ()) -> list[tuple]:
        """What a query finds, once each value has the type that belongs in its column."""
        with self._explained():
            rows = self._sql.execute(query, given).fetchall()
            if any(type(v) is not kind for row in rows for v, kind in zip(row, kinds, strict=True)):
                raise sqlite3.DatabaseError("a value of another type")
            return rows

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """All of a block is written, or nothing of it."""
        self._cached = self._graph = None
        with self._explained(), self._sql:
            yield self._sql

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise TllError(
                f"{self.path}: cannot be used as an index ({error}). If another process writes it, "
                "wait; else move it away and make it anew: tll index DIR"
            ) from error
