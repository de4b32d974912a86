"""Images to embeddings, with the preprocessing inside: a saved model, or a frozen network."""

from __future__ import annotations

import functools
import itertools
import os
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import tll_utils
from tll_utils import engines, files, images, progress
from tll_utils.errors import DataError, TllError
from tll_utils.settings import Settings

if TYPE_CHECKING:
    import keras

# An image: a file, or RGB in [0, 255] of shape (height, width, 3).
Picture = str | os.PathLike[str] | np.ndarray

DEFAULT_BACKBONE = "efficientnet_lite0"
BATCH, AT_ONCE = 32, 256  # images that are decoded together, and between two saves of an index
MANY = 64  # images for which the fastest engine is worth the seconds that it takes to be made


class Look(NamedTuple):
    """What a model first makes of an image: it resizes it, or cuts out its face and resizes that.

    Attributes:
        size: `(height, width)`.
        antialias: Whether it is smoothed before.
        share: As of `images.align_face`; 0 = the whole image.
    """

    size: tuple[int, int]
    antialias: bool
    share: float

    def of(self, image: np.ndarray, face: np.ndarray | None) -> np.ndarray:
        """The image `(height, width, 3)` as it is seen, float32 `(*size, 3)`."""
        if face is not None and self.share:
            image = images.align_face(image, face, share=self.share, size=self.size)
        return images.resize(image, self.size, antialias=self.antialias)


class Outline(NamedTuple):
    """What has to be known of a network to prepare images for it, and to hold its vectors.

    Attributes:
        looks: Those at each image; none where the network takes images as they are.
        width: Int, numbers per vector.
    """

    looks: list[Look]
    width: int


class Embedder:
    """Makes unit-norm embeddings of images; the product of two is their likeness.

    Args:
        source: A `.keras` file that `tll run` left, or the name of a backbone, whose averaged last
            features are taken as they are. Defaults to a small frozen network.
        weights: Of a backbone: `"imagenet"`, a folder or `"random"`.

    Raises:
        TllError: If the file is not there.

    Example:
        `Embedder("submissions/models/best_per_query.keras").embed(["one.jpg", "other.jpg"])`
    """

    def __init__(
        self, source: str | os.PathLike[str] = DEFAULT_BACKBONE, *, weights: str = "imagenet"
    ) -> None:
        self.source, self.weights = os.fspath(source), weights
        self.is_file = self.source.endswith(".keras")
        if self.is_file:
            self.source = os.path.abspath(self.source)
            if not os.path.isfile(self.source):
                raise TllError(f"{self.source}: no such model. Run the notebook that makes it.")

    @classmethod
    def best(cls, out_dir: Path) -> Embedder:
        """The best model of a run, `best_per_query`; a frozen network if there is none."""
        path = out_dir / "models" / "best_per_query.keras"
        return cls(path) if path.is_file() else cls()

    @functools.cached_property
    def fingerprint(self) -> str:
        """Names the model by its contents; known without loading it."""
        return files.content_hash(self.source) if self.is_file else f"{self.source}/{self.weights}"

    @functools.cached_property
    def model(self) -> keras.Model:
        """From RGB images `(batch, height, width, 3)` of any size to vectors `(batch, d)`."""
        if self.is_file:
            try:
                zipfile.ZipFile(self.source).close()  # Keras calls a file that is none "not found"
                model = tll_utils.load_model(self.source)
            except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
                raise TllError(
                    f"{self.source}: cannot be read as a model ({error}). Run the notebook that "
                    "makes it again."
                ) from error
        else:
            model = _frozen(self.source, self.weights)
        if isinstance(model.input_shape, list | dict) or len(model.output_shape) != 2:
            raise TllError(
                f"{self.source}: takes two images and gives a score; expected a model of one image "
                "that gives an embedding. Choose another one with --model."
            )
        return model

    def load(self) -> None:
        """Gets ready what `embed` needs, so that a wrong model is refused before anything is done.

        Raises:
            TllError: If there is no such model or backbone, its weights cannot be had, or it is
                damaged or of another kind.
        """
        _ = self._outline

    @property
    def size(self) -> tuple[int, int] | None:
        """`(height, width)` that the model resizes to; None if it has several, or none."""
        sizes = {look.size for look in self._outline.looks}
        return sizes.pop() if len(sizes) == 1 else None

    @functools.cached_property
    def _parts(self) -> tuple[list[Look], keras.Model]:
        """What is done to each image, in NumPy, and the network that takes all of that.

        No looks at all mean a network that takes images as they are.
        """
        import keras

        model, looks = self.model, list(dict.fromkeys(_looks_of(self.model)))
        if looks:
            sizes = [3 * look.size[0] * look.size[1] for look in looks]
            flat = keras.Input((sum(sizes),))
            ends = np.cumsum(sizes).tolist()
            pieces = {
                look: keras.ops.reshape(flat[:, end - size : end], (-1, *look.size, 3))
                for look, size, end in zip(looks, sizes, ends, strict=True)
            }
            try:
                return looks, keras.Model(flat, {"vector": _from_pieces(model, flat, pieces)})
            except _NeedsImages:
                pass
        return [], keras.Model(model.input, {"vector": model.output})

    @functools.cached_property
    def _kept(self) -> Path | None:
        """Where OpenVINO's form of a frozen network stays; a file may be another one tomorrow."""
        engine = Settings.from_environment().engine
        if self.is_file or self.weights != "imagenet" or engine == "keras":
            return None
        name = f"{self.source}-{engine}-{tll_utils.__version__}.xml"
        return files.cache_dir() / "networks" / name

    @functools.cached_property
    def _outline(self) -> Outline:
        """Read where it is kept: Keras, which the model needs, takes seconds to load."""
        if self._kept and self._kept.is_file():
            try:
                noted = files.read_json(self._kept.with_suffix(".json"))
                looks = [Look((height, width), *rest) for (height, width), *rest in noted["looks"]]
                return Outline(looks, int(noted["width"]))
            except (TllError, OSError, ValueError, TypeError, KeyError):
                pass  # not there, or damaged
        return Outline(self._parts[0], self.model.output_shape[-1])

    def _is_kept(self) -> bool:
        return bool(self._kept and self._kept.is_file())

    @functools.cached_property
    def _keras(self) -> engines.Engine:
        return engines.compile_model(lambda: self._parts[1], ["vector"], "keras")

    @functools.cached_property
    def _fastest(self) -> engines.Engine:
        engine = engines.resolve(Settings.from_environment().engine, made=self._is_kept())
        # Without looks shapes differ from image to image, which suits Keras alone.
        if not self._outline.looks or engine == "keras":
            return self._keras
        compiled = functools.partial(
            engines.compile_model, lambda: self._parts[1], ["vector"], engine
        )
        try:
            made = compiled(cache=self._kept)
            if self._kept and self._kept.is_file():
                files.write_json(self._kept.with_suffix(".json"), self._outline._asdict())
            return made
        except TllError:  # a cache that cannot be written costs time only
            return compiled()

    def embed(self, pictures: Sequence[Picture], *, show_progress: bool = True) -> np.ndarray:
        """Embeds images.

        Args:
            pictures: Files, or RGB arrays `(height, width, 3)` in [0, 255], of any sizes.
            show_progress: Whether to show a bar.

        Returns:
            Float32 `(n, d)`, each row of length 1.

        Raises:
            DataError: If an image cannot be used; the message names the file.
        """
        done = [np.empty((0, self._outline.width), np.float32)]
        with progress.bar(
            total=len(pictures), unit=" images", desc="embed", shown=show_progress
        ) as bar:
            for start in range(0, len(pictures), AT_ONCE):
                vectors, problems = self.embed_what_can_be(pictures[start : start + AT_ONCE])
                for error in problems.values():
                    raise error
                done.append(vectors)
                bar.update(len(vectors))
        return np.concatenate(done)

    def embed_what_can_be(
        self, pictures: Sequence[Picture]
    ) -> tuple[np.ndarray, dict[int, DataError]]:
        """Embeds those images that can be used.

        Returns:
            Float32 `(n, d)`, zeros for those that cannot, and what is wrong with these by place.
        """
        made = len(pictures) >= MANY or self._is_kept() or "_fastest" in self.__dict__
        engine = self._fastest if made else self._keras
        vectors = np.zeros((len(pictures), self._outline.width), np.float32)
        problems: dict[int, DataError] = {}

        def work(start: int) -> None:
            decoded = {}
            for place in range(start, min(start + BATCH, len(pictures))):
                try:
                    decoded[place] = _decoded(pictures[place])
                except DataError as error:
                    problems[place] = error
            prepared = dict(zip(decoded, self._prepared([*decoded.values()]), strict=True))
            for _, equal in itertools.groupby(prepared, key=lambda place: prepared[place].shape):
                places = list(equal)
                for first in range(0, len(places), engine.batch_size):
                    some = places[first : first + engine.batch_size]
                    batch = np.stack([prepared[place] for place in some])
                    vectors[some] = np.asarray(engine.call(batch)["vector"])

        # One decodes while the other one multiplies.
        with ThreadPoolExecutor(max(2, engine.num_threads)) as pool:
            list(pool.map(work, range(0, len(pictures), BATCH)))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.maximum(norms, 1e-12), problems

    def _prepared(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Images as the network takes them: all looks at each, flat and joined."""
        if not self._outline.looks:
            return [picture.astype(np.float32) for picture in pictures]
        faces: list[np.ndarray | None] = [None] * len(pictures)
        if any(look.share for look in self._outline.looks):
            levels = [np.rint(picture).clip(0, 255).astype(np.uint8) for picture in pictures]
            faces = [*images.find_faces(levels)]
        return [
            np.concatenate([look.of(picture, face).ravel() for look in self._outline.looks])
            for picture, face in zip(pictures, faces, strict=True)
        ]


def _decoded(picture: Picture) -> np.ndarray:
    if isinstance(picture, np.ndarray):
        if picture.ndim != 3 or picture.shape[2] != 3:
            raise DataError(f"Expected RGB (height, width, 3). Received: shape {picture.shape}")
        return picture
    return images.decode(picture)


def _frozen(backbone: str, weights: str) -> keras.Model:
    from tll_utils.features import backbones, fronts

    entry = backbones.get(backbone)
    found = backbones.resolve_weights(backbone, weights=weights)
    return fronts.build(fronts.Tap(backbone, found, entry.size, False, f"{entry.taps[-1]}/avg"))


class _NeedsImages(Exception):
    """A network looks at images in another way than by layers of ours."""


def _looks_of(model: keras.Model) -> Iterator[Look]:
    for layer in model.layers:
        if (look := _look(layer)) is not None:
            yield look
        elif hasattr(layer, "layers"):
            yield from _looks_of(layer)


def _look(layer: keras.Layer) -> Look | None:
    from tll_utils import layers

    if isinstance(layer, layers.Resize):
        return Look(layer.size, layer.antialias, 0.0)
    if isinstance(layer, layers.AlignFaces):
        return Look(layer.size, False, layer.share)
    return None


def _from_pieces(
    model: keras.Model, flat: keras.KerasTensor, pieces: dict[Look, keras.KerasTensor]
) -> keras.KerasTensor:
    """What a model gives, with its own layers, where `pieces` stand for its looks at an image."""
    import keras

    from tll_utils import layers

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        if not any(one is flat for one in keras.tree.flatten(args)):
            return layer(*args, **kwargs)
        if isinstance(layer, layers.FindFaces):
            return flat  # they have been found
        if (look := _look(layer)) is not None:
            changes_more = getattr(layer, "gray", False) or getattr(layer, "rounded", False)
            return layer(pieces[look]) if changes_more else pieces[look]
        if hasattr(layer, "operations"):  # a model of layers
            return _from_pieces(layer, flat, pieces)
        raise _NeedsImages

    with_pieces = keras.models.clone_model(
        model, input_tensors=flat, clone_function=lambda layer: layer, call_function=call
    )
    return with_pieces.output
