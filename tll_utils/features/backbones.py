"""Builds pretrained networks that take RGB images in [0, 255], whatever they were trained on."""

from __future__ import annotations

import contextlib
import difflib
import functools
import pickle
import random
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tll_utils.errors import WeightsDamaged
from tll_utils.features import building
from tll_utils.features.registry import REGISTRY, Backbone, get  # noqa: F401
from tll_utils.features.weights import (  # noqa: F401
    available,
    damaged,
    find_weights,
    resolve_weights,
    weights_fingerprint,
)


def build(
    name: str,
    *,
    weights: str | Path = "imagenet",
    size: tuple[int, int] | None = None,
    taps: Sequence[str] | None = None,
    trainable: bool | str = False,
    seed: int = 0,
) -> keras.Model:
    """Builds a backbone that takes RGB images in [0, 255].

    Batch normalization stays in inference mode, also while other layers are trained: batches are
    too small to estimate statistics, and some releases have them folded into the convolutions.
    Setting `model.trainable = True` afterwards would undo that; use the argument.

    Args:
        name: A key of `REGISTRY`.
        weights: `"imagenet"`, `"random"` or the path of a weight file.
        size: `(height, width)` of the images. Defaults to the backbone's own.
        taps: Layer names. Defaults to the last one alone, the network's output.
        trainable: Bool; `"last_stage"`; or the start of a layer's name, from which on layers are
            trained (`"conv5"` of a ResNet). Defaults to `False`: frozen.
        seed: Int, for `weights="random"`.

    Returns:
        A `keras.Model` from images `(batch, height, width, 3)` to the last feature map
        `(batch, h, w, channels)`, or to a dict of one map per tap if `taps` is given.
        `model.get_layer(name)` is the network inside, whose layers have their original names.

    Raises:
        UnknownBackbone: If the registry doesn't hold it.
        ValueError: If a tap or the layer in `trainable` is unknown, or `size` is too small.
        WeightsNotFound: If the weights can't be had, or the file is damaged or of another net.
    """
    backbone = get(name)
    path = None if weights == "random" else find_weights(name, weights)
    base = _construct(backbone, path, _checked_size(backbone, size), seed)
    _set_trainable(base, backbone, trainable)
    return _on_rgb(base, backbone, path, taps)


def frozen(
    name: str,
    taps: Sequence[str],
    *,
    weights: str | Path = "imagenet",
    size: tuple[int, int] | None = None,
    seed: int = 0,
) -> keras.Model:
    """Builds a backbone for reading features: as `build`, but float32 under any dtype policy.

    The networks built last are kept: asking for other taps of one costs next to nothing, and all
    models made from it share its weights. So don't train them.

    Args:
        name, taps, weights, size, seed: As in `build`.

    Returns:
        A model from images to a dict of one map per tap.
    """
    backbone = get(name)
    path = None if weights == "random" else find_weights(name, weights)
    fingerprint = weights_fingerprint(name, path or "random", seed=seed)
    with building.float32():
        base = _kept(backbone, path, _checked_size(backbone, size), seed, fingerprint)
        return _on_rgb(base, backbone, path, taps)


def architecture(name: str) -> keras.Model:
    """Builds a backbone to count its parameters and look at its shapes: without their values.

    That takes a fifth of the time of drawing them, and no memory. It cannot be called.

    Returns:
        A model from preprocessed images of the backbone's size to its last feature map.

    Raises:
        UnknownBackbone: If the registry doesn't hold it.
    """
    backbone = get(name)
    with keras.StatelessScope(initialize_variables=False):
        return backbone.constructor(
            include_top=False, weights=None, input_shape=(*backbone.size, 3)
        )


def _checked_size(backbone: Backbone, size: Sequence[int] | None) -> tuple[int, int]:
    height, width = size or backbone.size
    if min(height, width) < backbone.min_size:
        raise ValueError(
            f"{backbone.name} takes images of at least {backbone.min_size} pixels a side. "
            f"Received: size={(height, width)}"
        )
    return int(height), int(width)


def _on_rgb(
    base: keras.Model, backbone: Backbone, path: Path | None, taps: Sequence[str] | None
) -> keras.Model:
    network = keras.Model(base.input, _outputs(base, backbone, taps), name=backbone.name)
    images = keras.Input(base.input_shape[1:], name="images")
    maps = network(backbone.preprocess_for(path)(images))
    return keras.Model(images, maps, name=f"{backbone.name}_on_rgb")


@functools.lru_cache(maxsize=2)  # as many as a system looks at; a large one takes 250 MB
def _kept(
    backbone: Backbone, path: Path | None, size: tuple[int, int], seed: int, fingerprint: str
) -> keras.Model:
    base = _construct(backbone, path, size, seed)
    base.trainable = False
    return base


def _construct(
    backbone: Backbone, path: Path | None, size: tuple[int, int], seed: int
) -> keras.Model:
    arguments = {"include_top": False, "input_shape": (*size, 3)}
    if path is None:
        with _seeded(seed):
            base = backbone.constructor(weights=None, **arguments)
        _calibrate(base, backbone, seed)
        return base
    try:
        with warnings.catch_warnings():
            # Keras warns that weights of 224 are used for other sizes, which is what is wanted.
            warnings.filterwarnings("ignore", message=".*input_shape. is undefined or non-square")
            return backbone.constructor(weights=str(path), **arguments)
    except (OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsDamaged(damaged(backbone.name, path, error)) from error


def _calibrate(base: keras.Model, backbone: Backbone, seed: int) -> None:
    """Gives the batch normalization of a random network the statistics of noise, fine and coarse.

    With the initial ones, each layer weakens the signal until the last features underflow.
    """
    normalizations = [x for x in base.layers if isinstance(x, keras.layers.BatchNormalization)]
    if not normalizations:
        return
    rng = np.random.default_rng(seed)
    scales = [rng.uniform(0, 127.5, (4, cells, cells, 3)).astype("float32") for cells in (4, 32)]
    noise = sum(ops.image.resize(scale, base.input_shape[1:3]) for scale in scales)
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0  # one batch decides
    base(backbone.preprocess(noise), training=True)
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum


def _outputs(
    base: keras.Model, backbone: Backbone, taps: Sequence[str] | None
) -> keras.KerasTensor | dict[str, keras.KerasTensor]:
    if taps is None:
        return base.output
    # Not every node that has a name is a layer; the first of a name is the one inside.
    outputs = {operation.name: operation.output for operation in reversed(base.operations)}
    outputs |= getattr(base, "maps", {})  # beside the way to the output: towers of tokens
    outputs[backbone.taps[-1]] = base.output
    unknown = sorted(set(taps) - set(outputs))
    if unknown:
        close = difflib.get_close_matches(unknown[0], outputs, n=3)
        raise ValueError(
            f"{backbone.name} has no layer {unknown[0]!r}. Its default taps are "
            f"{', '.join(backbone.taps)}" + (f"; close: {', '.join(close)}." if close else ".")
        )
    return {tap: outputs[tap] for tap in taps}


def _set_trainable(base: keras.Model, backbone: Backbone, trainable: bool | str) -> None:
    first = _first_trainable(base, backbone, trainable)
    for i, layer in enumerate(base.operations):
        if isinstance(layer, keras.Layer):
            # A batch normalization that is not trainable uses its stored statistics.
            is_fixed = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = i >= first and not is_fixed


def _first_trainable(base: keras.Model, backbone: Backbone, trainable: bool | str) -> int:
    names = [operation.name for operation in base.operations]
    if trainable == "last_stage":
        return names.index(backbone.frozen_until) + 1
    if not isinstance(trainable, str):
        return 0 if trainable else len(names)
    matches = [i for i, name in enumerate(names) if name.startswith(trainable)]
    if not matches:
        raise ValueError(
            f"{base.name} has no layer whose name starts with {trainable!r}. "
            'Give a bool, "last_stage" or the start of a layer\'s name.'
        )
    return matches[0]


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Keras draws the seeds of its initializers from Python's generator; lend it one."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
