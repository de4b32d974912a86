"""Runs Keras models over many rows, with weights as they are at each call."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

Shape = tuple[int, ...]

_graphs: weakref.WeakKeyDictionary[keras.Model, dict] = weakref.WeakKeyDictionary()


def encode(encoder: keras.Layer, inputs: Any, *, batch_size: int = 256) -> np.ndarray:
    """Runs a Keras model or layer over an array, in inference mode.

    Works at any time in training, on any backend and within any strategy of devices.

    Args:
        encoder: A Keras model or layer with one input and one output.
        inputs: Array `(n, …)` of features or images; whole numbers become floats.
        batch_size: Int, rows at a time.

    Returns:
        Float32 `(n, …)`.
    """
    inputs = np.asarray(inputs)
    if not encoder.built:
        encoder.build((None, *inputs.shape[1:]))
    call = compiled(encoder, inputs.shape[1:]) if isinstance(encoder, keras.Model) else encoder
    size = even_batch_size(len(inputs), batch_size)
    outputs: Any = None
    # At least one batch: of no rows, so that the width is known.
    for start in range(0, max(len(inputs), 1), size):
        batch = inputs[start : start + size].astype(np.float32, copy=False)
        rows = np.asarray(call(filled(batch, size)))[: len(batch)]
        if outputs is None:
            outputs = np.empty((len(inputs), *rows.shape[1:]), np.float32)
        outputs[start : start + len(rows)] = rows
    return outputs


def even_batch_size(count: int, batch_size: int) -> int:
    """Rows per batch so that all batches are about equal, and the devices share each evenly."""
    distribution = keras.distribution.distribution()
    devices = distribution.device_mesh.devices.size if distribution else 1
    size = math.ceil(count / max(1, math.ceil(count / batch_size)))
    return max(1, math.ceil(size / devices)) * devices


def filled(batch: np.ndarray, size: int) -> np.ndarray:
    """The batch, for JAX with rows of zeros up to `size`: it compiles anew for each new shape."""
    if keras.backend.backend() != "jax" or len(batch) == size:
        return batch
    return np.pad(batch, ((0, size - len(batch)), *[(0, 0)] * (batch.ndim - 1)))


def compiled(model: keras.Model, shape: Shape | Mapping[str, Shape]) -> Callable[[Any], Any]:
    """The model as one graph that reads its weights anew at each call; kept as long as it is.

    Args:
        model: Called in inference mode.
        shape: Of one row of its input, or per name for several inputs.

    Returns:
        A function of one float32 batch, or a dict of them.
    """
    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch
    key = tuple(sorted(shape.items())) if isinstance(shape, Mapping) else shape
    graphs = _graphs.setdefault(model, {})
    if key not in graphs:
        import tensorflow as tf

        def spec(shape: Shape) -> tf.TensorSpec:
            return tf.TensorSpec((None, *shape), tf.float32)

        reference: Any = weakref.ref(model)  # or the graph would keep its own key alive
        graphs[key] = tf.function(
            lambda batch: reference()(batch, training=False),
            input_signature=[
                {name: spec(rows) for name, rows in shape.items()}
                if isinstance(shape, Mapping)
                else spec(shape)
            ],
            autograph=False,
        )
    return graphs[key]
