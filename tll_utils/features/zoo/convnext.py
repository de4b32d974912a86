"""ConvNeXt of `keras.applications`, with a name for the end of each stage."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras


def with_named_stages(constructor: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
    """Wraps a constructor so that the last sum of each stage is called `stage_0` … `stage_3`.

    Keras adds the two branches of a block with `+`, whose result has an accidental name.

    Args:
        constructor: Such as `keras.applications.ConvNeXtTiny`.

    Returns:
        A constructor with the same arguments.
    """

    def construct(**options: Any) -> keras.Model:
        network = constructor(**options)
        last_branches: dict[str, keras.KerasTensor] = {}
        for layer in network.layers:
            if found := re.search(r"_(stage_\d)_block_\d+_identity$", layer.name):
                last_branches[found[1]] = layer.output
        for operation in network.operations:
            inputs = keras.tree.flatten(operation.input)
            for stage, branch in last_branches.items():
                if any(tensor is branch for tensor in inputs):
                    operation.name = stage
        return network

    return construct
