"""Which cells of two images agree, where a system compares cell with cell: why it chose a match."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tll_utils.features import encode, fronts, pooling
from tll_utils.scoring.ranking import best_pairs, unit_norm

NUM_LINES = 4  # pairs of cells that agree most
UNKNOWN = 255


def agreeing_cells(scores: Any, folds: np.ndarray, candidates: np.ndarray) -> dict[str, np.ndarray]:
    """Says of each left and candidate which cells agree, by the model that saw neither.

    A system compares cells if its features are `"tap/grid3"` and its encoders begin with
    `transforms.whiten_cells`, one for each part. Parts that see faces cut out are left aside.

    Args:
        scores: What `Run.cross_validate` returned.
        folds: Int `(pairs,)`.
        candidates: Int `(pairs, m)`.

    Returns:
        `{"why": uint8 (pairs, m, cells + 3 · 4)}`: per cent of cosine, mean over the parts, of
        each cell with the one at the same place, then row, column and per cent of the pairs of
        cells that agree most; 255 where no model was fitted. Empty for systems of other kinds.
    """
    chosen = np.unique(folds[scores.rows])
    encoders = [getattr(scorer, "encoder", None) for scorer in scores.scorers]
    whole = [_whole_parts(scores.front, encoder) for encoder in encoders]
    if scores.views is None or not all(whole) or len(whole) != len(chosen):
        return {}
    num_cells = pooling.num_cells("grid3")
    found = np.full((*candidates.shape, num_cells + 3 * NUM_LINES), UNKNOWN, np.uint8)
    left, right = np.asarray(scores.views.left), np.asarray(scores.views.right)
    for fold, parts in zip(chosen, whole, strict=True):
        rows = np.flatnonzero(folds == fold)
        # Of the rights, a fold's lists name a fraction: the others need no second look.
        listed, places = np.unique(candidates[rows], return_inverse=True)
        places = places.reshape(candidates[rows].shape)
        cosines = np.zeros((*places.shape, num_cells, num_cells), np.float32)
        for columns, model in parts:
            ours, theirs = (
                unit_norm(encode(model, side[:, columns]).reshape(len(side), num_cells, -1))
                for side in (left[rows], right[listed])
            )
            for place, those in enumerate(places):
                cosines[place] += ours[place] @ theirs[those].swapaxes(1, 2) / len(parts)
        found[rows] = summarized(cosines)
    return {"why": found}


def summarized(cosines: np.ndarray) -> np.ndarray:
    """Float `(…, cells, cells)` → uint8, as `agreeing_cells` says."""
    percent = np.rint(100 * np.clip(cosines, 0, 1)).astype(np.uint8)
    pairs = best_pairs(cosines, NUM_LINES)
    rows, columns = pairs[..., 0], pairs[..., 1]
    flat = percent.reshape(*percent.shape[:-2], -1)
    values = np.take_along_axis(flat, rows * cosines.shape[-1] + columns, axis=-1)
    lines = np.stack([rows, columns, values], axis=-1).astype(np.uint8)
    same = np.diagonal(percent, axis1=-2, axis2=-1)
    return np.concatenate([same, lines.reshape(*same.shape[:-1], -1)], axis=-1)


def _whole_parts(front: fronts.Front | None, encoder: Any) -> list[tuple[slice, keras.Model]]:
    """The columns of the parts that see whole images, and what whitens their cells."""
    taps = front.parts if isinstance(front, fronts.Joined) else (front,)
    models = list(_whitenings(encoder))
    if len(taps) != len(models) or not all(isinstance(tap, fronts.Tap) for tap in taps):
        return []
    found, end = [], 0
    for tap, model in zip(taps, models, strict=True):
        start, end = end, end + model.output_shape[-1]
        if isinstance(tap, fronts.Tap) and tap.key.endswith("/grid3") and not tap.crop:
            found.append((slice(start, end), model))
    return found


def _whitenings(model: Any) -> Iterator[keras.Model]:
    """Models within a model that reshape features to cells, from first to last."""
    parts = getattr(model, "layers", ())
    shapes = [part.target_shape for part in parts if isinstance(part, keras.layers.Reshape)]
    if any(len(shape) == 2 and shape[0] == pooling.num_cells("grid3") for shape in shapes):
        yield model
    else:
        for part in parts:
            yield from _whitenings(part)
