"""Features on disk, addressed by content: a row belongs to the bytes of an image file.

A changed image, a changed weight file, another size or a mirrored image simply find nothing there
and are embedded. `<backbone>-<hash of the recipe>/<hash of the shard>.npz` each hold the hashes of
some images and, per key, their features in 16 bits.
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

_STEPS = 2**15 - 1  # of a whole number of 16 bits, on either side of 0
_KNEE = 2.0**10  # above a thousandth of a row's largest number, steps grow with the numbers
_DENSITY = _STEPS / np.log1p(_KNEE)
_LEVELS = np.expm1(np.arange(_STEPS + 1) / _DENSITY) / _KNEE
_LEVELS = np.concatenate([-_LEVELS[:0:-1], _LEVELS]).astype(np.float32)  # of −_STEPS … _STEPS


def coded(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features in half the space: logarithmic steps, like those of a telephone line.

    A number is off by at most 1.1e-4 of itself and 1.1e-7 of the largest one of its row: a
    quarter of what float16 would cost. What becomes of a row does not depend on the others.

    Args:
        rows: Float32 `(n, d)`, finite.

    Returns:
        int16 `(n, d)`, and the largest absolute number of each row, float32 `(n,)`.

    Reference:
        The μ-law of ITU-T G.711, with μ = 1024.
    """
    largest = np.abs(rows).max(axis=1, initial=0.0)
    parts = rows / np.where(largest > 0, largest, 1)[:, None]
    steps = np.log1p(np.abs(parts) * np.float32(_KNEE)) * np.float32(_DENSITY)
    return np.rint(np.copysign(steps, parts)).astype(np.int16), largest


def decoded(codes: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The features that `coded` was given, float32 `(n, d)`, to its precision."""
    return _LEVELS[codes.astype(np.intp) + _STEPS] * largest[:, None]


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
        for path in sorted(self.folder.glob("[!.]*.npz")):  # a draft's name begins with a dot
            try:
                shard = files.read_arrays(path, only={"hashes", *keys, *map(_scale_of, keys)})
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

    def write(
        self, hashes: np.ndarray, features: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Adds a shard.

        Returns:
            What it holds per key, as of `coded`; decoded, this is what will be read.

        Raises:
            TllError: If the folder cannot be written.
        """
        content = hashes.tobytes() + json.dumps(list(features)).encode()
        name = hashlib.blake2b(content, digest_size=8).hexdigest()
        parts = {key: coded(block) for key, block in features.items()}
        arrays: dict[str, Any] = {"hashes": hashes}
        for key, (codes, largest) in parts.items():
            arrays |= {key: codes, _scale_of(key): largest}
        with files.replacing(self.folder / f"{name}.npz") as draft:
            np.savez(draft, **arrays)
        return parts


def _scale_of(key: str) -> str:
    """Under which name a shard holds the largest numbers of a key's rows."""
    return f"{key} largest"


def _checked(
    shard: Mapping[str, np.ndarray], keys: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The hashes of a shard and what is wanted of it, float32, once all of it fits."""
    hashes = shard.get("hashes", np.empty(()))
    if hashes.ndim != 1 or hashes.dtype.kind != "S":
        raise ValueError("no hashes")
    blocks = {}
    for key in keys:
        if key not in shard:
            continue
        codes, largest = shard[key], shard.get(_scale_of(key), np.empty(()))
        if codes.ndim != 2 or codes.dtype != np.int16 or codes.min(initial=0) < -_STEPS:
            raise ValueError(f"{key} holds no features")
        if not len(codes) == len(hashes) or largest.shape != hashes.shape:
            raise ValueError(f"{key} does not fit the hashes")
        if largest.dtype != np.float32 or not (np.isfinite(largest) & (largest >= 0)).all():
            raise ValueError(f"{key} has rows whose largest number is none")
        blocks[key] = decoded(codes, largest)
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
