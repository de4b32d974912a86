"""Embeds every image once, in one pass for all layers and poolings, and stores the result."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

import keras
import numpy as np

from tll_utils import data, engines, files, images
from tll_utils import progress as progress_bars
from tll_utils.features import backbones, encoding, fronts, store
from tll_utils.features import pooling as pools
from tll_utils.features.views import Views
from tll_utils.images.decode import map_ahead

SHARD_IMAGES = 256  # a killed run loses at most the features of this many images

Features = dict[str, np.ndarray]


class Looks(TypedDict, total=False):
    """How a backbone sees images.

    Attributes:
        weights: As `backbones.resolve_weights` returns them. Defaults to `"imagenet"`.
        size: `(height, width)` to resize to. Defaults to the backbone's own.
        flip: `True` embeds the images mirrored left–right, `"vertical"` upside down. Defaults to
            `False`.
        seed: Int, for `weights="random"`. Defaults to `0`.
        engine: What runs the network, see `engines.resolve`. Defaults to `"auto"`.
        crop: Float, embeds the largest face cut out, with this share of the side from eyes to
            mouth, see `images.align_face`; where none is found, the whole picture. Defaults to
            `0.0`, the whole picture always.
    """

    weights: str
    size: tuple[int, int]
    flip: bool | str
    seed: int
    engine: str
    crop: float


def embed(
    paths: Sequence[Path | str],
    backbone: str,
    *,
    store_dir: Path | str,
    keys: Sequence[str] | None = None,
    also: Sequence[str] = (),
    batch_size: int | None = None,
    progress: bool = True,
    **looks: Unpack[Looks],
) -> Features:
    """Embeds image files with a frozen backbone.

    What the store holds is read; the rest is computed, each image decoded and embedded once for
    all keys together, and stored as it goes: a killed run is resumed.

    Args:
        paths: Image files, n of them; repeated or equal files are embedded once.
        backbone: A key of `backbones.REGISTRY`.
        store_dir: Folder of the store; made if it isn't there.
        keys: Of the form `"tap/pooling"`: a layer's name and one of `pooling.POOLINGS`. Defaults
            to the average of each of the backbone's `taps`.
        also: Further keys, stored where an image has to be embedded anyway.
        batch_size: Int, images per forward pass. Defaults to what suits network and device.
        progress: Bool, show a bar.
        **looks: `weights`, `size`, `flip`, `seed`, `engine` and `crop`; see `Looks`.

    Returns:
        Per key, features of shape `(n, d)`, float32, in the order of `paths`.

    Raises:
        DataError: If a file is missing or can't be decoded; names it.
        ValueError: If a backbone, tap or pooling is unknown, or features aren't finite.
        WeightsNotFound: If the weights can't be had.
    """
    if not len(paths):
        raise ValueError("There must be at least one image to embed. Received: paths=[]")
    tap = _tap(backbone, looks)
    if keys is None:
        keys = pools.keys_of(backbones.get(backbone).taps, ("avg",))
    also = [key for key in dict.fromkeys(also) if key not in keys]
    for key in [*keys, *also]:
        pools.split(key)
    if tap.crop:
        has_face = images.faces_of(paths, store_dir=store_dir, progress=False)[:, 0] > 0
        if not has_face.all():
            options = {"store_dir": store_dir, "keys": keys, "also": also, "progress": progress}
            return _embed_by_face(
                paths, has_face, backbone, batch_size=batch_size, **options, **looks
            )
    engine = engines.resolve(looks.get("engine", "auto"))
    shelf = store.Store(store_dir, {**_recipe(tap), "engine": engine})
    with files.hashes_kept(Path(store_dir) / "hashes.json"):
        all_hashes = store.hash_files(paths)
    hashes, first, inverse = np.unique(all_hashes, return_index=True, return_inverse=True)
    table = shelf.read(hashes, keys, also)
    if not table.has(keys):
        with files.locked(shelf.folder / "features"):
            table = shelf.read(hashes, keys, also)  # another process may have embedded meanwhile
            count = int(table.missing(keys).any(axis=1).sum())
            with progress_bars.bar(
                total=count, desc=f"embed with {backbone}", unit=" images", shown=progress
            ) as bar:
                how: dict[str, Any] = {"batch_size": batch_size, "on_batch": bar.update}
                for wanted, rows in table.gaps(keys):
                    rows = rows[np.argsort(first[rows])]  # in the order of `paths`
                    embedder = Embedder(tap, wanted, engine=engine, store_dir=store_dir)
                    todo = [paths[first[row]] for row in rows]
                    cut = _cutter(tap, todo, store_dir) if tap.crop else None
                    for shard in embed_files(todo, embedder, cut=cut, **how):
                        done, rows = np.split(rows, [len(next(iter(shard.values())))])
                        kept = shelf.write(hashes[done], shard)
                        read = {key: store.decoded(*kept[key]) for key in keys if key in kept}
                        table.fill(done, read)
    return {key: table.pop(key)[inverse] for key in dict.fromkeys(keys)}


def _embed_by_face(
    paths: Sequence[Path | str], has_face: np.ndarray, backbone: str, *, crop: float, **options: Any
) -> Features:
    """Cuts faces out where there are some; the others are whole pictures, most likely stored."""
    features: Features = {}
    for wanted, share in ((has_face, crop), (~has_face, 0.0)):
        if not wanted.any():
            continue
        found = embed([*itertools.compress(paths, wanted)], backbone, crop=share, **options)
        for key, rows in found.items():
            whole = features.setdefault(key, np.empty((len(paths), *rows.shape[1:]), rows.dtype))
            whole[wanted] = rows
    return features


def embed_dataset(
    dataset: data.Dataset,
    backbone: str,
    *,
    taps: Sequence[str] | None = None,
    pooling: Sequence[str] = ("avg",),
    keys: Sequence[str] | None = None,
    **options: Any,
) -> dict[str, Views]:
    """Embeds all images of a data set.

    Whatever is asked for, all `standard_keys` are stored in the same pass: the next who asks, for
    another layer or pooling, finds them.

    Args:
        dataset: Whose left, right, query and gallery images are embedded.
        backbone: A key of `backbones.REGISTRY`.
        taps: Layer names. Defaults to the backbone's own `taps`, the last being its output.
        pooling: How to pool each of them.
        keys: Exactly these `"tap/pooling"`, in place of every tap with every pooling.
        **options: As of `embed`.

    Returns:
        Per key, the features of the left, right, query and gallery images, with their front.
    """
    if keys is None:
        keys = pools.keys_of(taps or backbones.get(backbone).taps, pooling)
    looks = cast(Looks, {k: options[k] for k in Looks.__annotations__ if k in options})
    tap = _tap(backbone, looks)
    options.setdefault("also", standard_keys(backbone, flip=tap.flip, crop=tap.crop))
    roles = _paths_of(dataset)
    features = embed([*itertools.chain(*roles)], backbone, keys=keys, **options)
    return {
        key: _by_role(rows, roles, dataclasses.replace(tap, key=key))
        for key, rows in features.items()
    }


def standard_keys(backbone: str, *, flip: bool | str = False, crop: float = 0.0) -> tuple[str, ...]:
    """What the notebooks use of a backbone: every tap, and the cells of the middle and last one.

    Mirrored features are only ever averaged with, or trained beside, those of the images; of faces
    cut out only the middle cells are used.
    """
    entry = backbones.get(backbone)
    if crop:
        return (f"{entry.middle}/grid3",)
    whole = ("avg",) if flip else ("avg", "max")
    cells = {entry.middle: ("halves", "grid2", "grid3"), entry.taps[-1]: ("halves",)}
    poolings = {tap: (*whole, *cells.get(tap, ())) for tap in entry.taps}
    if entry.embedding:
        poolings[entry.embedding] = ("avg",)
    return tuple(f"{tap}/{pool}" for tap, pools in poolings.items() for pool in pools)


def pixels(
    dataset: data.Dataset,
    *,
    size: tuple[int, int],
    gray: bool = False,
    antialias: bool = True,
    progress: bool = True,
) -> Views:
    """Loads all images of a data set, for networks that are trained from pixels.

    Args:
        dataset: Whose left, right, query and gallery images are loaded.
        size: `(height, width)`.
        gray: Bool, the luma alone.
        antialias: Bool, smooth before shrinking.
        progress: Bool, show a bar.

    Returns:
        uint8 `(n, height, width, 3)` per role, or 1 channel if gray.

    Raises:
        DataError: If a file is missing or can't be decoded; names it.
    """
    front = fronts.Pixels((int(size[0]), int(size[1])), gray, antialias)
    roles = _paths_of(dataset)
    paths = [*itertools.chain(*roles)]
    loaded = images.load_all(paths, size=front.size, antialias=antialias, progress=progress)
    return _by_role(images.grayscale(loaded) if gray else loaded, roles, front)


class Embedder:
    """A frozen backbone, its taps and their pooling, with weights as constants.

    Args:
        tap: How the backbone sees images; its key does not matter.
        keys: Of the form `"tap/pooling"`.
        engine: See `engines.resolve`.
        store_dir: Of the store, which keeps what an engine makes of the network. Defaults to
            `None`: nothing is kept.

    Attributes:
        size: `(height, width)` of the images that it takes.
        batch_size: Int, how many images to embed at a time.
        num_threads: Int, how many batches to embed side by side.

    Call arguments:
        batch: RGB in [0, 255], float32 of shape `(batch, height, width, 3)`.

    Returns:
        Per key, features of shape `(batch, d)`.
    """

    def __init__(
        self,
        tap: fronts.Tap,
        keys: Sequence[str],
        *,
        engine: str = "auto",
        store_dir: Path | str | None = None,
    ) -> None:
        self.size = tap.size
        self._mirrored = fronts.MIRRORED_AXIS[tap.flip] if tap.flip else None
        engine = engines.resolve(engine)
        if store_dir is None or engine == "keras":
            self._engine = engines.compile_model(lambda: _network(tap, keys), keys, engine)
        else:
            self._engine = _kept_engine(tap, keys, engine, store_dir)
        self.batch_size, self.num_threads = self._engine.batch_size, self._engine.num_threads

    def __call__(self, batch: np.ndarray) -> Mapping[str, Any]:
        if self._mirrored is not None:
            batch = np.flip(batch, self._mirrored)
        return self._engine.call(batch)


def _kept_engine(
    tap: fronts.Tap, keys: Sequence[str], engine: str, store_dir: Path | str
) -> engines.Engine:
    """As they are, mirrored or cut out: images go through one network, made once with all keys."""
    plain = dataclasses.replace(tap, flip=False, crop=0.0)
    folder = store.Store(store_dir, {**_recipe(plain), "engine": engine}).folder
    built = list(dict.fromkeys([*standard_keys(tap.backbone), *keys]))
    with files.locked(folder / "network"):  # another process finds what this one makes
        cache = engines.cache_path(folder, built)
        return engines.compile_model(lambda: _network(tap, built), keys, engine, cache=cache)


def _network(tap: fronts.Tap, keys: Sequence[str]) -> keras.Model:
    names = list(dict.fromkeys(pools.split(key)[0] for key in keys))
    network = backbones.frozen(
        tap.backbone, names, weights=tap.weights, size=tap.size, seed=tap.seed
    )
    inputs = keras.Input((*tap.size, 3))
    return keras.Model(inputs, pools.pooled(network(inputs), keys))


def embed_files(
    paths: Sequence[Path | str],
    embedder: Embedder,
    *,
    batch_size: int | None = None,
    on_batch: Callable[[int], Any] = lambda count: None,
    cut: images.Cut | None = None,
) -> Iterator[Features]:
    """Decodes and embeds files in order; what `embed` does between reading and writing the store.

    Args:
        paths: Image files.
        embedder: What embeds a batch.
        batch_size: Int. Defaults to the embedder's own.
        on_batch: Called with the number of images after each batch.
        cut: What is embedded of each image, as of `images.stream`. Defaults to all of it.

    Yields:
        Per key, the features of the next `SHARD_IMAGES` images or so, float32 `(count, d)`.
    """
    batch_size = encoding.even_batch_size(len(paths), batch_size or embedder.batch_size)
    batches = images.stream(paths, size=embedder.size, batch_size=batch_size, cut=cut)

    def to_features(batch: np.ndarray) -> Features:
        features = embedder(encoding.filled(batch, batch_size))
        return {key: np.asarray(rows)[: len(batch)] for key, rows in features.items()}

    done, pending, threads = 0, [], embedder.num_threads
    for features in map_ahead(to_features, batches, num_threads=threads, ahead=threads):
        count = len(next(iter(features.values())))
        _require_finite(features, paths[done : done + count])
        done += count
        pending.append(features)
        on_batch(count)
        if len(pending) * batch_size >= SHARD_IMAGES:
            yield _joined(pending)
            pending = []
    if pending:
        yield _joined(pending)


def _tap(backbone: str, looks: Looks) -> fronts.Tap:
    height, width = looks.get("size") or backbones.get(backbone).size
    return fronts.Tap(
        backbone,
        str(looks.get("weights", "imagenet")),
        (int(height), int(width)),
        looks.get("flip", False),
        "",
        looks.get("seed", 0),
        looks.get("crop", 0.0),
    )


def _recipe(tap: fronts.Tap) -> dict[str, Any]:
    """All that features depend on besides the image and the key."""
    weights = backbones.weights_fingerprint(tap.backbone, tap.weights, seed=tap.seed)
    recipe = {"backbone": tap.backbone, "weights": weights, "size": tap.size, "flip": tap.flip}
    return {**recipe, "crop": tap.crop, "faces": images.DETECTOR} if tap.crop else recipe


def _cutter(tap: fronts.Tap, paths: Sequence[Path | str], store_dir: Path | str) -> images.Cut:
    """Cuts the face out of each of the files."""
    faces = images.faces_of(paths, store_dir=store_dir, progress=False)
    return lambda place, image: images.align_face(
        image, faces[place], share=tap.crop, size=tap.size
    )


def _paths_of(dataset: data.Dataset) -> tuple[Sequence[Path], ...]:
    return dataset.left_paths, dataset.right_paths, dataset.query_paths, dataset.gallery_paths


def _by_role(rows: np.ndarray, roles: Iterable[Sequence[Path]], front: fronts.Front) -> Views:
    bounds = np.cumsum([len(role) for role in roles])[:-1]
    left, right, query, gallery = np.split(rows, bounds)
    return Views(left, right, query, gallery, front)


def _joined(batches: Sequence[Features]) -> Features:
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}


def _require_finite(features: Features, paths: Sequence[Path | str]) -> None:
    for rows in features.values():
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise ValueError(
                f"{paths[bad[0]]}: its features are not finite. The weights are damaged or belong "
                "to another network."
            )
