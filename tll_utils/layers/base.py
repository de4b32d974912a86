"""What the layers have in common."""

from __future__ import annotations

from typing import Any

import keras

Tensor = Any  # a tensor of whichever backend Keras runs on, or an array where a layer is called
Shape = tuple[Any, ...]  # of ints; None where a size is not known yet

# Keeps the slope of a square root finite at 0.
TINY = 1e-12


class Float32Layer(keras.layers.Layer):
    """A layer that takes, computes and gives float32 under every dtype policy."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})


def whole_number(name: str, value: int, *, least: int = 1) -> int:
    """Checks an option that counts something.

    Raises:
        ValueError: If it is not a whole number, or below `least`.
    """
    if value != int(value) or value < least:
        raise ValueError(
            f"`{name}` must be a whole number of at least {least}. Received: {name}={value!r}"
        )
    return int(value)
