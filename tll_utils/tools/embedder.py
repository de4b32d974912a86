"""Images to embeddings, with the preprocessing inside: a saved model, or a frozen network."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tll_utils
from tll_utils import files, images, progress
from tll_utils.errors import DataError, TllError

if TYPE_CHECKING:
    import keras

# An image: a file, or RGB in [0, 255] of shape (height, width, 3).
Picture = str | os.PathLike[str] | np.ndarray

DEFAULT_BACKBONE = "efficientnet_lite0"
BATCH, AT_ONCE = 16, 256  # images in a forward pass, and between two saves of an index


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
                model = tll_utils.load_model(self.source)
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise TllError(f"{self.source}: cannot be read as a model ({error}).") from error
        else:
            model = _frozen(self.source, self.weights)
        if isinstance(model.input_shape, list | dict) or len(model.output_shape) != 2:
            raise TllError(
                f"{self.source}: takes two images and gives a score; expected a model of one image "
                "that gives an embedding. Choose another one with --model."
            )
        return model

    @functools.cached_property
    def _resizing(self) -> tuple[tuple[int, int], bool] | None:
        """The one `(size, antialias)` to which the model resizes; None if there are several."""
        found = set(_resizings(self.model))
        return found.pop() if len(found) == 1 else None

    @property
    def size(self) -> tuple[int, int] | None:
        """`(height, width)` that the model resizes to; None if it has several."""
        return self._resizing[0] if self._resizing else None

    @functools.cached_property
    def _call(self) -> Callable[[np.ndarray], Mapping[str, Any]]:
        import keras

        from tll_utils.features import engines

        model = self.model
        named = keras.Model(model.input, {"vector": model.output})
        return engines.compile_model(lambda: named, ["vector"], "keras").call

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
        done = [np.empty((0, self.model.output_shape[-1]), np.float32)]
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
        vectors = np.zeros((len(pictures), self.model.output_shape[-1]), np.float32)
        problems: dict[int, DataError] = {}

        def work(start: int) -> None:
            prepared = {}
            for place in range(start, min(start + BATCH, len(pictures))):
                try:
                    prepared[place] = self._prepared(pictures[place])
                except DataError as error:
                    problems[place] = error
            for _, equal in itertools.groupby(prepared, key=lambda place: prepared[place].shape):
                places = list(equal)
                batch = np.stack([prepared[place] for place in places])
                vectors[places] = np.asarray(self._call(batch)["vector"])

        _ = self._call, self._resizing  # made once, before threads ask for them
        with ThreadPoolExecutor(2) as pool:  # one decodes while the other one multiplies
            list(pool.map(work, range(0, len(pictures), BATCH)))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.maximum(norms, 1e-12), problems

    def _prepared(self, picture: Picture) -> np.ndarray:
        """An image as the model takes it, resized to where the model's own resizing has no work."""
        if isinstance(picture, np.ndarray):
            image = picture
            if image.ndim != 3 or image.shape[2] != 3:
                raise DataError(f"Expected RGB (height, width, 3). Received: shape {image.shape}")
        else:
            image = images.decode(picture)
        if self._resizing is None:
            return image.astype(np.float32)
        size, antialias = self._resizing
        return images.resize(image, size, antialias=antialias)


def _frozen(backbone: str, weights: str) -> keras.Model:
    from tll_utils.features import backbones, fronts

    entry = backbones.get(backbone)
    found = backbones.resolve_weights(backbone, weights=weights)
    return fronts.build(fronts.Tap(backbone, found, entry.size, False, f"{entry.taps[-1]}/avg"))


def _resizings(model: keras.Model) -> Iterator[tuple[tuple[int, int], bool]]:
    from tll_utils import layers

    for layer in model.layers:
        if isinstance(layer, layers.Resize):
            yield layer.size, layer.antialias
        elif isinstance(layer, layers.AlignFaces):  # looks at the image as it is
            yield (0, 0), False
        elif hasattr(layer, "layers"):
            yield from _resizings(layer)
