"""Fronts: how an image becomes the features that a system takes, written down and built as a model.

What is stored on disk are numbers; a saved system must start from pixels. So features remember
where they come from, in a few small records, and `build` turns these into one Keras model.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import keras

from tll_utils import layers
from tll_utils.features import backbones, building, pooling

MIRRORED_AXIS = {True: 2, "vertical": 1}  # of (batch, height, width, channels)


@dataclasses.dataclass(frozen=True)
class Tap:
    """Pooled features of one layer of a backbone.

    Attributes:
        backbone: A key of `backbones.REGISTRY`.
        weights: As `backbones.build` takes them.
        size: `(height, width)` to resize images to.
        flip: `False`; `True`, images are mirrored left–right; `"vertical"`, upside down.
        key: `"tap/pooling"`.
        seed: Of random weights.
        crop: Share of the side from eyes to mouth in a face cut out; 0 = the whole image.
    """

    backbone: str
    weights: str
    size: tuple[int, int]
    flip: bool | str
    key: str
    seed: int = 0
    crop: float = 0.0


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The image itself, as `features.pixels` gives it."""

    size: tuple[int, int]
    gray: bool = False
    antialias: bool = True


@dataclasses.dataclass(frozen=True)
class Joined:
    """Features side by side, along the last axis."""

    parts: tuple[Front, ...]


@dataclasses.dataclass(frozen=True)
class Mean:
    """The mean of features of equal shape."""

    parts: tuple[Front, ...]


@dataclasses.dataclass(frozen=True)
class Stacked:
    """Features of equal shape, one per row: a new axis 1."""

    parts: tuple[Front, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Then:
    """What a Keras layer or model makes of features."""

    part: Front
    layer: keras.Layer


Front = Tap | Pixels | Joined | Mean | Stacked | Then


def build(front: Front) -> keras.Model:
    """Builds the model of a front.

    Each network is in it once, whatever is tapped and mirrored, and is shared with other models
    built in this process; don't train them.

    Args:
        front: Such as `views.front`.

    Returns:
        A `keras.Model` from RGB images `(batch, height, width, 3)` in [0, 255], of any height and
        width, to what the arrays of the features hold. It can be saved.

    Raises:
        WeightsNotFound: If the weights of a backbone can't be had any more.
    """
    with building.float32():
        images = keras.Input((None, None, 3), name="images")
        return keras.Model(images, _Builder(images, front).output_of(front), name="front")


class _Builder:
    """Resizes once per size, runs each network once per mirroring, each layer once per input."""

    def __init__(self, images: keras.KerasTensor, front: Front) -> None:
        self.images = images
        self.layers: dict[str, keras.Layer] = {}
        self.resized: dict[Any, keras.KerasTensor] = {}
        self.outputs: dict[Front, keras.KerasTensor] = {}
        by_network = defaultdict(list)
        for tap in dict.fromkeys(_taps_of(front)):
            by_network[tap.backbone, tap.weights, tap.size, tap.seed].append(tap)
        for (name, weights, size, seed), taps in by_network.items():
            layer_names = list(dict.fromkeys(pooling.split(tap.key)[0] for tap in taps))
            network = backbones.frozen(name, layer_names, weights=weights, size=size, seed=seed)
            self._run(building.distinct(network, self.layers), taps)

    def _run(self, network: keras.Model, taps: list[Tap]) -> None:
        for flip, crop in dict.fromkeys((tap.flip, tap.crop) for tap in taps):
            inputs = self._seen(taps[0].size, crop)
            if flip:
                inputs = keras.ops.flip(inputs, axis=MIRRORED_AXIS[flip])
            mine = [tap for tap in taps if (tap.flip, tap.crop) == (flip, crop)]
            features = pooling.pooled(network(inputs), [tap.key for tap in mine])
            self.outputs.update({tap: features[tap.key] for tap in mine})

    def _resize(self, size: tuple[int, int], **options: bool) -> keras.KerasTensor:
        key = (size, *options.items())
        if key not in self.resized:
            self.resized[key] = layers.Resize(size, **options)(self.images)
        return self.resized[key]

    def _seen(self, size: tuple[int, int], crop: float) -> keras.KerasTensor:
        """The whole image, or the face in it."""
        if not crop:
            return self._resize(size)
        if "faces" not in self.resized:  # found once, cut out twice or more
            self.resized["faces"] = layers.FindFaces()(self.images)
        if (size, crop) not in self.resized:
            cut = layers.AlignFaces(size, share=crop)
            self.resized[size, crop] = cut([self.images, self.resized["faces"]])
        return self.resized[size, crop]

    def output_of(self, front: Front) -> keras.KerasTensor:
        """The symbolic features of a front."""
        if front not in self.outputs:
            self.outputs[front] = self._make(front)
        return self.outputs[front]

    def _make(self, front: Front) -> keras.KerasTensor:
        match front:
            case Pixels(size, gray, antialias):
                return self._resize(size, gray=gray, antialias=antialias, rounded=True)
            case Then(part, layer):
                return building.distinct(layer, self.layers)(self.output_of(part))
            case Joined(parts):
                return keras.layers.Concatenate()([self.output_of(part) for part in parts])
            case Mean(parts):
                return keras.layers.Average()([self.output_of(part) for part in parts])
            case Stacked(parts):
                return keras.ops.stack([self.output_of(part) for part in parts], axis=1)
        raise TypeError(f"Not a front: {front!r}")


def _taps_of(front: Front) -> Iterator[Tap]:
    match front:
        case Tap():
            yield front
        case Then(part, _):
            yield from _taps_of(part)
        case Joined(parts) | Mean(parts) | Stacked(parts):
            for part in parts:
                yield from _taps_of(part)
