"""Runs Keras models over many rows: fast where weights are fixed, right where they still change."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

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
    call = _compiled(encoder, inputs.shape[1:]) if isinstance(encoder, keras.Model) else encoder
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


def constant(model: keras.Model) -> Callable[[np.ndarray], dict[str, Any]]:
    """Makes a model with a dict of outputs as fast as its backend can, for weights as they are now.

    Another inference engine would be put in here.
    """
    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch
    import tensorflow as tf

    trainable, frozen = (
        [np.asarray(variable) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    )

    def call(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        # Made inside, a constant becomes part of the graph, which can then be simplified: batch
        # normalization is folded into the convolutions.
        weights = [[tf.constant(value) for value in values] for values in (trainable, frozen)]
        return model.stateless_call(*weights, batch, training=False)[0]

    signature = tf.TensorSpec(model.input_shape, tf.float32)
    return tf.function(call, input_signature=[signature], autograph=False)


def suitable_batch_size(network: keras.Model) -> int:
    """As large as a GPU likes; on a CPU, so small that every feature map stays below 32 MiB.

    From there on the C library returns memory to the system after each use, and getting it back,
    page by page, takes as long as the convolutions.
    """
    if _has_accelerator():
        return 32
    largest = max(
        math.prod(operation.output.shape[1:])
        for operation in network.operations
        if isinstance(operation.output, keras.KerasTensor)
    )
    return max(1, min(32, 2**25 // (4 * largest)))


def suitable_num_threads() -> int:
    """Two on a CPU: many operations keep one core busy, and the other batch uses the rest.

    One keeps a GPU busy. With JAX, nothing says that a model may be called from two threads.
    """
    return 2 if keras.backend.backend() == "tensorflow" and not _has_accelerator() else 1


def _has_accelerator() -> bool:
    return not all(name.startswith("cpu") for name in keras.distribution.list_devices())


def _compiled(model: keras.Model, shape: tuple[int, ...]) -> Callable[[np.ndarray], Any]:
    """The model as one graph that reads its weights anew at each call; kept as long as it is."""
    if keras.backend.backend() != "tensorflow":
        return model.predict_on_batch
    graphs = _graphs.setdefault(model, {})
    if shape not in graphs:
        import tensorflow as tf

        reference: Any = weakref.ref(model)  # or the graph would keep its own key alive
        graphs[shape] = tf.function(
            lambda batch: reference()(batch, training=False),
            input_signature=[tf.TensorSpec((None, *shape), tf.float32)],
            autograph=False,
        )
    return graphs[shape]
