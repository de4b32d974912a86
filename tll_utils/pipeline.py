"""The batches of `generators` as what Keras's `fit` iterates."""

from __future__ import annotations

import weakref
from typing import Any

import keras
import numpy as np

from tll_utils import machine
from tll_utils.generators import Batches

_BYTES_AT_ONCE = 2**22  # of inputs that are looked up in one call


class EvenBatches(keras.utils.PyDataset):
    """Batches without the rows that replicas cannot share evenly.

    Args:
        batches: Of `generators`.
        replicas: Int, the length of what is left of each batch is a multiple of this.
    """

    def __init__(self, batches: Batches, replicas: int):
        super().__init__()
        self._batches, self._replicas = batches, replicas

    @property
    def num_batches(self) -> int:
        whole = self._batches
        size_of_last = whole.size - (whole.num_batches - 1) * whole.batch_size
        return whole.num_batches - (size_of_last < self._replicas)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        inputs, targets = self._batches[index]
        rows = len(inputs) // self._replicas * self._replicas
        return inputs[:rows], targets[:rows]


def as_dataset(model: keras.Model, batches: Batches) -> Any:
    """What `model.fit` iterates: with TensorFlow a `tf.data` pipeline, else the batches.

    On several replicas each gets its rows of every batch, so that together they see just what one
    would. (Of a validation batch, rows that cannot be shared evenly are left out.)
    """
    even = EvenBatches(batches, machine.num_replicas_of(model))
    if keras.backend.backend() != "tensorflow":
        return even
    import tensorflow as tf

    first = even[0]
    rows = len(first[0]) if batches.drop_remainder else None
    # To call Python takes TensorFlow as long as a small step: it asks for some batches at once.
    whole, at_once = batches.size // batches.batch_size, max(1, _BYTES_AT_ONCE // first[0].nbytes)
    bounds = np.array([*range(0, whole, at_once), *range(whole, even.num_batches + 1)])
    # What it calls it never forgets, nor what that refers to: these are not to be all images.
    reference: Any = weakref.ref(even)

    def look_up(start: int, stop: int) -> list[np.ndarray]:
        some = [reference()[index] for index in range(start, stop)]
        columns = zip(*some, strict=True)
        return [np.stack(parts) if len(parts) > 1 else parts[0][None] for parts in columns]

    def stream(start: Any, stop: Any) -> Any:
        columns = tf.numpy_function(look_up, (start, stop), [array.dtype for array in first])
        for column, array in zip(columns, first, strict=True):
            column.set_shape((None, rows, *array.shape[1:]))
        return tf.data.Dataset.from_tensor_slices(tuple(columns))

    options = tf.data.Options()
    # With autotuning, the end of an epoch can take ten seconds, until the tuning thread wakes up.
    options.autotune.enabled = False
    data_policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = data_policy
    count = tf.data.experimental.assert_cardinality(even.num_batches)
    dataset = tf.data.Dataset.from_tensor_slices((bounds[:-1], bounds[1:])).flat_map(stream)
    dataset = dataset.apply(count).prefetch(2).with_options(options)
    dataset.batches = even  # they live as long as somebody can iterate
    return dataset
