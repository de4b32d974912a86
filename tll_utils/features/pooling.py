"""Names for ways to pool a feature map, as they appear in keys such as `"conv5_block3_out/avg"`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import keras

from tll_utils import layers

# Rows and columns of a grid of overlapping cells, and how each is pooled.
POOLINGS = {
    "avg": (1, 1, "avg"),
    "max": (1, 1, "max"),
    "halves": (2, 1, "avg"),  # upper and lower half
    "grid2": (2, 2, "avg"),
    "grid3": (3, 3, "avg"),
}


def num_cells(pooling: str) -> int:
    """How many cells a pooling gives: 9 for `"grid3"`."""
    rows, columns, _ = POOLINGS[_checked(pooling)]
    return rows * columns


def split(key: str) -> tuple[str, str]:
    """Splits a key into tap and pooling.

    Raises:
        ValueError: If there is no such pooling; the message lists what there is.
    """
    tap, _, pooling = key.rpartition("/")
    if not tap:
        raise ValueError(f"A key is `tap/pooling`, such as 'out_relu/avg'. Received: {key!r}")
    return tap, _checked(pooling)


def keys_of(taps: Iterable[str], poolings: Sequence[str]) -> tuple[str, ...]:
    """Every tap with every pooling, as keys."""
    if isinstance(poolings, str):
        raise ValueError(
            f"pooling must be a sequence of {', '.join(POOLINGS)}. Received: pooling={poolings!r}"
        )
    return tuple(f"{tap}/{_checked(pooling)}" for tap in taps for pooling in poolings)


def pooled(
    maps: Mapping[str, keras.KerasTensor], keys: Iterable[str]
) -> dict[str, keras.KerasTensor]:
    """Pools feature maps while a model is built.

    Args:
        maps: Per tap, a map `(batch, h, w, c)`, or an embedding `(batch, d)`, which only `"avg"`
            takes, as it is.
        keys: Of the form `"tap/pooling"`.

    Returns:
        Per key, features of shape `(batch, cells · c)`.
    """
    outputs = {}
    for key in keys:
        tap, pooling = split(key)
        tensor = maps[tap]
        if len(tensor.shape) == 4:
            rows, columns, mode = POOLINGS[pooling]
            tensor = layers.CellPooling(rows, columns, mode=mode)(tensor)
        elif pooling != "avg":
            raise ValueError(f"{tap} has no places to pool: use '{tap}/avg'. Received: {key!r}")
        outputs[key] = tensor
    return outputs


def _checked(pooling: str) -> str:
    if pooling not in POOLINGS:
        raise ValueError(
            f"A pooling is one of {', '.join(POOLINGS)}. Received: pooling={pooling!r}"
        )
    return pooling
