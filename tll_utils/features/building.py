"""Two needs of whoever builds models out of parts that others made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras


def distinct(layer: keras.Layer, taken: dict[str, keras.Layer]) -> keras.Layer:
    """Gives a layer a name of its own: in one model, every name stands for one layer.

    Args:
        layer: A layer about to be used in a model.
        taken: The layers in it by name; the result is added.

    Returns:
        The layer itself; or, if another one has its name, a model around it.
    """
    name = layer.name
    while taken.get(name, layer) is not layer:
        name += "_again"
    if name != layer.name:
        layer = keras.Sequential([layer], name=name)
    taken[name] = layer
    return layer


@contextlib.contextmanager
def float32() -> Iterator[None]:
    """Layers made within compute in float32, whatever the policy is outside."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
