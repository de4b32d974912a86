"""Embeds every image once, in one pass for all layers and poolings, and keeps the result on disk.

The store is addressed by content: a row belongs to the bytes of an image file. A changed image, a
changed weight file, another size or a mirrored image simply find nothing there and are embedded.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
import json
import math
import os
import time
import warnings
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tll_utils import backbones, data, images
from tll_utils import progress as progress_bars

STORE_VERSION = 2  # raise it when the way from file to features changes
MIRRORED_AXIS = {True: 2, "vertical": 1}  # of (batch, height, width, channels)
SHARD_IMAGES = 256  # a killed run loses at most the features of so many images


class Views(NamedTuple):
    """One array per role; the first axes are pairs, pairs, queries and gallery images."""

    left: Any
    right: Any
    query: Any
    gallery: Any

    def map(self, f: Callable) -> Views:
        """Applies `f` to each of the four arrays."""
        return Views(*map(f, self))


def embed_dataset(dataset: data.Dataset, backbone: str, **options) -> dict[str, Views]:
    """Embeds all images of a data set; options and keys as in `embed`.

    Whatever is asked for, all `standard_keys` are stored in the same pass: the next who asks, for
    another layer or pooling, finds them.

    Returns:
        Per key, the features of the left, right, query and gallery images.
    """
    parts = (dataset.left_paths, dataset.right_paths, dataset.query_paths, dataset.gallery_paths)
    options.setdefault("also", standard_keys(backbone, flip=options.get("flip", False)))
    features = embed([*itertools.chain(*parts)], backbone, **options)
    bounds = np.cumsum([len(part) for part in parts])[:-1]
    return {key: Views(*np.split(rows, bounds)) for key, rows in features.items()}


def standard_keys(backbone: str, *, flip: bool | str = False) -> tuple[str, ...]:
    """What the notebooks use of a backbone: every tap, and the cells of the middle and last one.

    Mirrored features are only ever averaged with, or trained beside, those of the images.
    """
    entry = backbones.get(backbone)
    whole = ("avg",) if flip else ("avg", "max")
    cells = {entry.middle: ("halves", "grid2", "grid3"), entry.taps[-1]: ("halves",)}
    return tuple(f"{tap}/{pool}" for tap in entry.taps for pool in (*whole, *cells.get(tap, ())))


def embed(
    paths: Sequence[Path | str],
    backbone: str,
    *,
    store_dir: Path | str,
    weights: str = "imagenet",
    taps: Sequence[str] | None = None,
    pooling: Sequence[str] = ("avg",),
    keys: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    flip: bool | str = False,
    also: Sequence[str] = (),
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, np.ndarray]:
    """Embeds image files with a frozen backbone.

    What the store holds is read; the rest is computed, each image decoded and embedded once for
    all taps and poolings together, and stored as it goes: a killed run is resumed.

    Args:
        paths: Image files, n of them; repeated or equal files are embedded once.
        backbone: A key of `backbones.REGISTRY`.
        store_dir: Folder of the store; made if it isn't there.
        weights: As `backbones.resolve_weights` returns them.
        taps: Layer names. Defaults to the backbone's own `taps`, the last being its output.
        pooling: Any of `POOLINGS`.
        keys: Exactly these `"tap/pooling"`, in place of every tap with every pooling.
        size: `(height, width)` to resize to. Defaults to the backbone's own.
        flip: Bool, embed the images mirrored left–right; or `"vertical"`, upside down.
        also: Further keys `"tap/pooling"`, stored where an image has to be embedded anyway.
        batch_size: Int, images per forward pass. Defaults to what suits network and device.
        seed: Int, for `weights="random"`.
        progress: Bool, show a bar.

    Returns:
        Per key `"tap/pooling"`, features of shape `(n, d)`, float32, in the order of `paths`.

    Raises:
        data.DataError: If a file is missing or can't be decoded; names it.
        ValueError: If a backbone, tap or pooling is unknown, or features aren't finite.
        backbones.WeightsNotFound: If the weights can't be had.
    """
    entry = backbones.get(backbone)
    size = tuple(size or entry.size)
    if keys is None:
        keys = [f"{tap}/{pool}" for tap in taps or entry.taps for pool in _checked(pooling)]
    else:
        _checked([key.rpartition("/")[2] for key in keys])
    recipe = {
        "version": STORE_VERSION,
        "backbone": backbone,
        "weights": backbones.weights_fingerprint(backbone, weights, seed=seed),
        "size": size,
        "flip": flip,
    }
    hashes, first, inverse = np.unique(_hash_files(paths), return_index=True, return_inverse=True)
    store = _Store(Path(store_dir), recipe)
    stored_keys = list(dict.fromkeys([*keys, *also]))
    table = store.read(hashes, keys, stored_keys)

    missing = np.stack([~table.filled[key] for key in stored_keys], axis=1)  # (images, keys)
    missing &= missing[:, : len(keys)].any(axis=1, keepdims=True)
    with progress_bars.bar(
        total=int(missing.any(axis=1).sum()),
        desc=f"embed with {backbone}",
        unit=" images",
        shown=progress and missing.any(),
    ) as bar:
        # Images that lack the same keys go through the network together.
        for pattern in np.unique(missing, axis=0):
            if not pattern.any():
                continue
            rows = np.flatnonzero((missing == pattern).all(axis=1))
            rows = rows[np.argsort(first[rows])]  # in the order of `paths`
            wanted = list(itertools.compress(stored_keys, pattern))
            embed_batch = BatchEmbedder(
                backbone, wanted, weights=weights, size=size, flip=flip, seed=seed
            )
            todo = [str(paths[first[row]]) for row in rows]
            done = 0
            for shard in embed_files(todo, embed_batch, size=size, batch_size=batch_size, bar=bar):
                shard_rows = rows[done : done + len(shard[wanted[0]])]
                done += len(shard_rows)
                store.write(hashes[shard_rows], shard)
                table.fill(shard_rows, {key: shard[key] for key in wanted if key in keys})
    return {key: table.pop(key)[inverse] for key in keys}


class BatchEmbedder:
    """A frozen backbone, its taps and their pooling as one graph with constant weights.

    Constant weights let TensorFlow fold batch normalisation into the convolutions.

    Args:
        backbone: A key of `backbones.REGISTRY`.
        keys: Of the form `"tap/pooling"`.
        weights, size, flip, seed: As in `embed`.

    Attributes:
        batch_size: Int, how many images to embed at a time.
        num_threads: Int, how many batches to embed side by side.

    Call arguments:
        batch: RGB in [0, 255], float32 of shape `(batch, height, width, 3)`.

    Returns:
        Per key, features of shape `(batch, d)`.
    """

    def __init__(self, backbone, keys, *, weights="imagenet", size=None, flip=False, seed=0):
        wanted = {key: key.rsplit("/", 1) for key in keys}
        taps = list(dict.fromkeys(tap for tap, _ in wanted.values()))
        network = backbones.build(backbone, weights=weights, size=size, taps=taps, seed=seed)
        pixels = keras.Input(network.input_shape[1:])
        maps = network(ops.flip(pixels, axis=MIRRORED_AXIS[flip]) if flip else pixels)
        model = keras.Model(
            pixels, {key: POOLINGS[pool](maps[tap]) for key, (tap, pool) in wanted.items()}
        )
        self.batch_size = _suitable_batch_size(network.get_layer(backbone))
        self.num_threads = _suitable_num_threads()
        self._call = _with_constant_weights(model)

    def __call__(self, batch) -> dict[str, Any]:
        return self._call(batch)


def _with_constant_weights(model: keras.Model) -> Callable:
    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch
    trainable, frozen = (
        [variable.numpy() for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    )

    def call(batch):
        # Made inside, a constant becomes part of the graph, which can then be simplified.
        weights = [[tf.constant(value) for value in values] for values in (trainable, frozen)]
        return model.stateless_call(*weights, batch, training=False)[0]

    signature = tf.TensorSpec(model.input_shape, tf.float32)
    return tf.function(call, input_signature=[signature], autograph=False)


def _suitable_batch_size(network: keras.Model) -> int:
    """As large as a GPU likes; on a CPU, so small that every feature map stays below 32 MiB.

    From there on the C library returns memory to the system after each use, and getting it back,
    page by page, takes as long as the convolutions.
    """
    if tf.config.list_physical_devices("GPU"):
        return 32
    largest = max(math.prod(layer.output.shape[1:]) for layer in network.layers)
    return max(1, min(32, 2**25 // (4 * largest)))


def _suitable_num_threads() -> int:
    """Two on a CPU: many operations keep one core busy, and the other batch uses the rest.

    One keeps a GPU busy. With JAX, nothing says that a model may be called from two threads.
    """
    is_cpu = not tf.config.list_physical_devices("GPU")
    return 2 if is_cpu and keras.backend.backend() == "tensorflow" else 1


# ---------------------------------------------------------------------------------------------
# Pooling of a feature map (batch, h, w, c) to (batch, cells · c)


def _cells(rows: int, columns: int) -> Callable:
    """Averages each cell of a grid. Cells are a little over half as long as the map and overlap.

    An eye is seldom in the same ninth of both pictures; in cells that overlap so much it is in
    the same one often enough, and in few enough to say where it was.
    """

    def bounds(length, parts):
        size = length if parts == 1 else length // 2 + 1
        starts = [i * (length - size) // max(parts - 1, 1) for i in range(parts)]
        return [(start, start + size) for start in starts]

    def pool(maps):
        _, height, width, _ = maps.shape
        return ops.concatenate(
            [
                ops.mean(maps[:, top:bottom, left:right], axis=(1, 2))
                for top, bottom in bounds(height, rows)
                for left, right in bounds(width, columns)
            ],
            axis=-1,
        )

    return pool


POOLINGS: dict[str, Callable] = {
    "avg": lambda maps: ops.mean(maps, axis=(1, 2)),
    "max": lambda maps: ops.max(maps, axis=(1, 2)),
    "halves": _cells(2, 1),  # upper and lower half
    "grid2": _cells(2, 2),
    "grid3": _cells(3, 3),
}


def _checked(pooling: Sequence[str]) -> Sequence[str]:
    unknown = sorted(set(pooling) - set(POOLINGS))
    if isinstance(pooling, str) or unknown:
        raise ValueError(
            f"pooling must be a sequence of {', '.join(POOLINGS)}. Received: pooling={pooling!r}"
        )
    return pooling


# ---------------------------------------------------------------------------------------------
# From files to features


def embed_files(paths, embed_batch, *, size, batch_size=None, bar=None):
    """Decodes and embeds files in order; what `embed` does between reading and writing the store.

    Args:
        paths: Image files.
        embed_batch: A `BatchEmbedder`.
        size: `(height, width)` that it takes.
        batch_size: Int. Defaults to the embedder's own.
        bar: A tqdm bar to move on, or `None`.

    Yields:
        Per key, the features of the next `SHARD_IMAGES` images or so, float32 `(count, d)`.
    """
    batch_size = batch_size or embed_batch.batch_size
    dataset = images.read(paths, lambda path: images.decode(path, size=size))
    dataset = dataset.batch(batch_size).prefetch(4)
    done, pending = 0, []

    def to_features(batch):
        return {key: np.asarray(rows) for key, rows in embed_batch(batch).items()}

    try:
        for features in _map_in_threads(to_features, dataset, embed_batch.num_threads):
            count = len(next(iter(features.values())))
            _require_finite(features, paths[done : done + count])
            done += count
            pending.append(features)
            if bar is not None:
                bar.update(count)
            if len(pending) * batch_size >= SHARD_IMAGES:
                yield _joined(pending)
                pending = []
    except tf.errors.OpError:
        # TensorFlow does not say which file it was; the strict reader does.
        for path in paths[done:]:
            data.read_image(path)
        raise
    if pending:
        yield _joined(pending)


def _map_in_threads(function, items, num_threads):
    """Yields `function(item)` in order; like `Executor.map`, but takes few items ahead."""
    with ThreadPoolExecutor(num_threads) as pool:
        running = collections.deque()
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) > num_threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _joined(batches):
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}


def _require_finite(features, paths):
    for rows in features.values():
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise ValueError(
                f"{paths[bad[0]]}: its features are not finite. The weights are damaged or belong "
                "to another network."
            )


def _hash_files(paths: Sequence[Path | str]) -> np.ndarray:
    """Content hashes, bytes `(n,)`.

    In threads, because a file on another machine is waited for; in chunks, because handing a
    thread its work takes as long as hashing one file.
    """

    def hash_chunk(start):
        return [_content_hash(path) for path in paths[start : start + 64]]

    with ThreadPoolExecutor(4) as pool:
        chunks = pool.map(hash_chunk, range(0, len(paths), 64))
        return np.array([*itertools.chain.from_iterable(chunks)], dtype="S32")


def _content_hash(path: Path | str) -> str:
    try:
        return data.content_hash(path)
    except OSError:
        data.read_image(path)  # says what is wrong with it
        raise


# ---------------------------------------------------------------------------------------------
# The store: <backbone>-<recipe hash>/<shard hash>.npz, each with its image hashes and its keys


class _Table:
    """Features being put together: per key, one row per image and which rows are there."""

    def __init__(self, num_images: int, keys: Sequence[str]):
        self.filled = {key: np.zeros(num_images, bool) for key in keys}
        self._rows: dict[str, np.ndarray] = {}

    def fill(self, rows: np.ndarray, features: dict[str, np.ndarray]) -> None:
        for key, block in features.items():
            if key not in self._rows:
                shape = (len(self.filled[key]), block.shape[1])
                self._rows[key] = np.empty(shape, np.float32)
            self._rows[key][rows] = block
            self.filled[key][rows] = True

    def pop(self, key: str) -> np.ndarray:
        assert self.filled[key].all()
        return self._rows.pop(key)


class _Store:
    """Features on disk under one recipe. Shards appear whole or not at all and never change."""

    def __init__(self, store_dir: Path, recipe: dict):
        digest = hashlib.blake2b(json.dumps(recipe).encode(), digest_size=8).hexdigest()
        self.folder = store_dir / f"{recipe['backbone']}-{digest}"

    def read(self, hashes: np.ndarray, keys: Sequence[str], known_keys: Sequence[str]) -> _Table:
        """Collects `keys` of the images `hashes` (sorted, unique); of the others, which exist."""
        table = _Table(len(hashes), known_keys)
        for path in sorted(self.folder.glob("*.npz")):
            try:
                with np.load(path) as shard:
                    stored = shard["hashes"]
                    places = np.searchsorted(hashes, stored).clip(max=len(hashes) - 1)
                    known = hashes[places] == stored
                    if known.any():
                        found = {key: shard[key][known] for key in keys if key in shard}
                        table.fill(places[known], found)
                        for key in set(known_keys).difference(keys).intersection(shard):
                            table.filled[key][places[known]] = True
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                warnings.warn(f"{path} is damaged ({error}); embedding again.", stacklevel=3)
                path.unlink(missing_ok=True)
        return table

    def write(self, hashes: np.ndarray, features: dict[str, np.ndarray]) -> None:
        """Adds a shard: written beside, then renamed, so that a reader never sees half of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        name = hashlib.blake2b(
            hashes.tobytes() + json.dumps(list(features)).encode(), digest_size=8
        ).hexdigest()
        beside = self.folder / f"{name}.{os.getpid()}.part"
        try:
            with open(beside, "wb") as file:
                np.savez(file, hashes=hashes, **features)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.folder / f"{name}.npz")
        finally:
            beside.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Removes what killed runs left half-written an hour ago or earlier."""
        for part in self.folder.glob("*.part"):
            if time.time() - part.stat().st_mtime > 3600:
                part.unlink(missing_ok=True)
