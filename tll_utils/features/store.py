"""Features on disk, addressed by content: a row belongs to the bytes of an image file.

A changed image, a changed weight file, another size or a mirrored image simply find nothing there
and are embedded. `<backbone>-<hash of the recipe>/<hash of the shard>.npz` each hold the hashes of
some images and their features per key.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tll_utils import files, images

STORE_VERSION = 4  # raise it when the way from file to features changes


def rounded(rows: np.ndarray) -> np.ndarray:
    """Features as the store keeps them: 11 binary digits are enough to tell images apart.

    Args:
        rows: Float32 `(n, d)`.

    Returns:
        The same as float16. If a row has numbers too large or all too small for that, so that it
        would be off by more than 2⁻¹⁰ of its largest, float32, with this row as it was: what
        becomes of a row does not depend on the others.
    """
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16)
        error = np.abs(half - rows).max(axis=1, initial=0.0)
    fits = error <= 2**-10 * np.abs(rows).max(axis=1, initial=0.0)
    return half if fits.all() else np.where(fits[:, None], half, rows)


class Table:
    """Features being put together: per key, one row per image and which rows are there."""

    def __init__(self, num_images: int, keys: Sequence[str]) -> None:
        self.filled = {key: np.zeros(num_images, bool) for key in keys}
        self._rows: dict[str, np.ndarray] = {}

    def fill(self, rows: np.ndarray, features: Mapping[str, np.ndarray]) -> None:
        """Sets some rows."""
        for key, block in features.items():
            if key not in self._rows:
                shape = (len(self.filled[key]), block.shape[1])
                self._rows[key] = np.empty(shape, np.float32)
            self._rows[key][rows] = block
            self.filled[key][rows] = True

    def mark(self, rows: np.ndarray, keys: Sequence[str]) -> None:
        """Notes that some rows are stored, without reading them."""
        for key in keys:
            self.filled[key][rows] = True

    def missing(self, keys: Sequence[str]) -> np.ndarray:
        """Marks what is not there, bool (images, all keys), of images that lack one of `keys`."""
        missing = ~np.stack([*self.filled.values()], axis=1)
        complete = np.all([self.filled[key] for key in keys], axis=0)
        return missing & ~complete[:, None]

    def has(self, keys: Sequence[str]) -> bool:
        """Whether all rows of these keys are there."""
        return not self.missing(keys).any()

    def gaps(self, keys: Sequence[str]) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yields all the keys that some images lack, and these images: they go together."""
        missing = self.missing(keys)
        for pattern in np.unique(missing[missing.any(axis=1)], axis=0):
            rows = np.flatnonzero((missing == pattern).all(axis=1))
            yield list(itertools.compress(self.filled, pattern)), rows

    def pop(self, key: str) -> np.ndarray:
        """Hands one key out, all of whose rows are there, and forgets it."""
        assert self.filled[key].all()
        return self._rows.pop(key)


class Store:
    """Features under one recipe. Shards appear whole or not at all and never change.

    Args:
        store_dir: Folder of all recipes; made with the first shard.
        recipe: All that the features depend on besides the image, JSON-like, with `backbone`.
    """

    def __init__(self, store_dir: Path | str, recipe: Mapping[str, Any]) -> None:
        recipe = {"version": STORE_VERSION, **recipe}
        digest = hashlib.blake2b(json.dumps(recipe).encode(), digest_size=8).hexdigest()
        self.folder = Path(store_dir) / f"{recipe['backbone']}-{digest}"

    def read(self, hashes: np.ndarray, keys: Sequence[str], also: Sequence[str]) -> Table:
        """Collects what is stored.

        Args:
            hashes: Of the images, bytes `(n,)`, sorted and unique.
            keys: Features to read.
            also: Further keys of which only has to be known whether they are there.

        Returns:
            A table of all keys.
        """
        table = Table(len(hashes), [*keys, *also])
        for path in self._shards():
            try:
                shard = files.read_arrays(path, only={"hashes", *keys})
                stored, blocks = _checked(shard, keys)
                places = np.searchsorted(hashes, stored).clip(max=len(hashes) - 1)
                known = hashes[places] == stored
                if known.any():
                    some = slice(None) if known.all() else known  # all: without a copy
                    found = {key: blocks[key][some] for key in blocks}
                    table.fill(places[some], found)
                    table.mark(places[some], [key for key in also if key in shard])
            except OSError as error:  # it may be whole, and another's
                warnings.warn(f"{path} cannot be read ({error}); embedding again.", stacklevel=4)
            except ValueError as error:
                warnings.warn(f"{path} is damaged ({error}); embedding again.", stacklevel=4)
                path.unlink(missing_ok=True)
        return table

    def write(self, hashes: np.ndarray, features: Mapping[str, np.ndarray]) -> None:
        """Adds a shard.

        Raises:
            TllError: If the folder cannot be written.
        """
        content = hashes.tobytes() + json.dumps(list(features)).encode()
        name = hashlib.blake2b(content, digest_size=8).hexdigest()
        arrays: dict[str, Any] = {"hashes": hashes, **features}
        with files.replacing(self.folder / f"{name}.npz") as draft:
            np.savez(draft, **arrays)

    def _shards(self) -> Iterator[Path]:
        """Those that are whole; the name of a draft begins with a dot."""
        paths = sorted(self.folder.glob("*.npz"))
        return (path for path in paths if not path.name.startswith("."))


def _checked(
    shard: Mapping[str, np.ndarray], keys: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The hashes of a shard and what is wanted of it, float32, once all of it fits."""
    hashes = shard.get("hashes", np.empty(()))
    if hashes.ndim != 1 or hashes.dtype.kind != "S":
        raise ValueError("no hashes")
    blocks = {}
    for key in keys:
        block = shard.get(key)
        if block is None:
            continue
        if block.ndim != 2 or len(block) != len(hashes) or block.dtype.kind != "f":
            raise ValueError(f"{key} does not fit the hashes")
        blocks[key] = block.astype(np.float32, copy=False)  # first: checking float16 is slow
        if not np.isfinite(blocks[key]).all():
            raise ValueError(f"{key} is not finite")
    return hashes, blocks


def hash_files(paths: Sequence[Path | str]) -> np.ndarray:
    """Content hashes of image files, bytes `(n,)`.

    In threads, because a file on another machine is waited for; in chunks, because handing a
    thread its work takes as long as hashing one file.

    Raises:
        DataError: If a file cannot be read.
    """

    def hash_chunk(start: int) -> list[str]:
        return [_content_hash(path) for path in paths[start : start + 64]]

    with ThreadPoolExecutor(2) as pool:  # more of them take one core from each other
        chunks = pool.map(hash_chunk, range(0, len(paths), 64))
        return np.array([*itertools.chain.from_iterable(chunks)], dtype="S32")


def _content_hash(path: Path | str) -> str:
    try:
        return files.content_hash(path)
    except OSError:
        images.read_image(path)  # says what is wrong with it
        raise
