"""Fits transforms of features in closed form; each is a built Keras layer, features to features.

All of it is fitted on training pairs and applied to anything: `left` and `right` are features
`(pairs, d)`, row i of one being the match of row i of the other. `features.encode(layer, rows)`
or `views.then(layer)` applies a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from scipy import linalg

from tll_utils import layers
from tll_utils.features import building


def standardiser(left: np.ndarray, right: np.ndarray) -> layers.Standardise:
    """Gives each feature mean 0 and deviation 1 over both sides; constant ones become 0.

    Args:
        left, right: Float `(pairs, d)`.

    Returns:
        The layer `(x − mean) · scale`.
    """
    images = np.concatenate([left, right]).astype(np.float32, copy=False)
    deviation = images.std(axis=0)
    varies = deviation > 1e-6 * max(deviation.max(), 1e-12)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    return _built(layers.Standardise(), images.shape[1], [images.mean(axis=0), scale])


def principal_components(left: np.ndarray, right: np.ndarray, dim: int) -> keras.layers.Dense:
    """Keeps the `dim` directions in which the images differ most.

    Args:
        left, right: Float `(pairs, d)`.
        dim: Int, width of the result; at most `d`, and at most the number of images.

    Returns:
        A linear layer whose weights may be trained further. Where the images differ in fewer
        directions, what is beyond them is 0.
    """
    images = np.concatenate([left, right]).astype(np.float32, copy=False)
    mean = images.mean(axis=0)
    images -= mean
    width = min(dim, *images.shape)
    _, kernel = _spectrum(images, width)
    del images  # with all cells, much of the memory there is
    is_flipped = kernel.max(axis=0) < -kernel.min(axis=0)  # the sign is free: the same everywhere
    kernel *= np.where(is_flipped, np.float32(-1), np.float32(1))
    if kernel.shape[1] < width:
        kernel = np.pad(kernel, ((0, 0), (0, width - kernel.shape[1])))
    layer = keras.layers.Dense(kernel.shape[1], dtype="float32")
    return _built(layer, len(kernel), [kernel, -mean @ kernel])


def within_pair_whitening(
    left: np.ndarray, right: np.ndarray, *, shrinkage: float = 0.9
) -> keras.Layer:
    """Shrinks the directions in which the two images of a pair differ, in closed form.

    With the differences `d = left − right` of the training pairs, features are centered and
    multiplied by `((1 − shrinkage) · cov(d) + shrinkage · tr(cov(d)) / dim)^(−½)`; cosine
    follows. What differs within pairs cannot be what makes them look alike.

    Args:
        left, right: Float `(pairs, d)`.
        shrinkage: Float in (0, 1], the weight of the identity; 1 leaves the cosines as they are,
            small values trust the covariance, which takes many pairs.

    Returns:
        A linear layer that is not trained: `layers.Whitening` where pairs are few, else `Dense`.
        Its matrix is symmetric.

    Raises:
        ValueError: If `shrinkage` is outside (0, 1].

    Reference:
        Mikolajczyk and Matas, 2007, Improving descriptors by optimal linear projection; the
        shrinkage is Ledoit and Wolf's, 2004.
    """
    return _whitenings(left, right, [shrinkage])[0]


def closed_form(left: np.ndarray, right: np.ndarray, shrinkage: float = 0.9) -> keras.Sequential:
    """Fits standardizing, then within-pair whitening.

    Args:
        left, right: Float `(pairs, d)`.
        shrinkage: As in `within_pair_whitening`.
    """
    return closed_forms(left, right, [shrinkage])[shrinkage]


def closed_forms(
    left: np.ndarray, right: np.ndarray, shrinkages: Sequence[float]
) -> dict[float, keras.Sequential]:
    """What `closed_form` fits, for several shrinkages at the price of one decomposition."""
    standardise = standardiser(left, right)
    left, right = (np.asarray(standardise(side)) for side in (left, right))
    whitenings = _whitenings(left, right, shrinkages)
    return {s: chain(standardise, w) for s, w in zip(shrinkages, whitenings, strict=True)}


def _whitenings(
    left: np.ndarray, right: np.ndarray, shrinkages: Sequence[float]
) -> list[keras.Layer]:
    for shrinkage in shrinkages:
        if not 0 < shrinkage <= 1:
            raise ValueError(f"`shrinkage` must be in (0, 1]. Received: shrinkage={shrinkage}")
    left, right = np.asarray(left, np.float32), np.asarray(right, np.float32)
    difference = (left - right) / np.float32(np.sqrt(len(left)))
    variances, basis = _spectrum(difference)
    mean_variance = max(float((difference**2).sum()) / left.shape[1], 1e-12)
    mean = (left.mean(axis=0) + right.mean(axis=0)) / 2
    return [
        _whitening(mean, basis, variances, shrinkage * mean_variance, share=1 - shrinkage)
        for shrinkage in shrinkages
    ]


def _whitening(
    mean: np.ndarray, basis: np.ndarray, variances: np.ndarray, floor: float, *, share: float
) -> keras.Layer:
    """Divides each direction by its deviation, after `share · variance + floor`."""
    gains, rest = (share * variances + floor) ** -0.5, floor**-0.5
    dim, rank = basis.shape
    if 2 * rank < dim:  # there and back again is shorter than one whole matrix
        return _built(layers.Whitening(rank), dim, [mean, basis, gains, rest])
    kernel = rest * np.eye(dim) + (basis * (gains - rest)) @ basis.T
    layer = keras.layers.Dense(dim, trainable=False, dtype="float32")
    return _built(layer, dim, [kernel, -mean @ kernel])


def whiten_cells(
    left: np.ndarray, right: np.ndarray, *, cells: int, shrinkage: float = 0.23
) -> keras.Sequential:
    """Fits a signed root, standardizing, and one within-pair whitening for all cells of a grid.

    Every cell of every pair is an example, nine times as many as there are pairs, for a matrix
    of a ninth of the width: enough to trust the covariance almost as it is.

    Args:
        left, right: Float `(pairs, cells · channels)`, training pairs.
        cells: Int, number of cells: 9 for `"grid3"`, as `pooling.num_cells` says.
        shrinkage: As in `within_pair_whitening`. The default adds 0.3 mean variances to the
            covariance.

    Returns:
        A model of features, same shape in and out.

    Raises:
        ValueError: If the width is not a multiple of `cells`.
    """
    width = left.shape[1]
    if cells < 1 or width % cells:
        raise ValueError(
            f"The features must be {cells} cells of equal width. Received: cells={cells}, "
            f"features of width {width}"
        )
    root = layers.SignedRoot()
    left, right = (np.asarray(root(side)) for side in (left, right))
    standardise = standardiser(left, right)
    by_cell = [np.asarray(standardise(side)).reshape(-1, width // cells) for side in (left, right)]
    return chain(
        root,
        standardise,
        keras.layers.Reshape((cells, width // cells), dtype="float32"),
        within_pair_whitening(*by_cell, shrinkage=shrinkage),
        keras.layers.Reshape((width,), dtype="float32"),
    )


def chain(*transforms: keras.Layer) -> keras.Sequential:
    """Joins layers into one that applies them from first to last.

    Args:
        *transforms: Layers or models of features; those of a chain within are taken one by one.

    Returns:
        A model; it is built if its first layer is.
    """
    taken: dict[str, keras.Layer] = {}
    flat: list[keras.Layer] = []
    with building.float32():  # or the chain would round what comes in
        for transform in transforms:
            parts = transform.layers if isinstance(transform, keras.Sequential) else [transform]
            flat.extend(building.distinct(part, taken) for part in parts)
        model = keras.Sequential(flat)
        shape = _input_shape(flat[0])
        if shape is not None and not model.built:
            model.build((None, *shape[1:]))
        return model


def _input_shape(layer: keras.Layer) -> Sequence[int | None] | None:
    """What a layer was built for, the batch included, if it was."""
    if isinstance(layer, keras.Model):
        return getattr(layer, "input_shape", None)
    return (layer.get_build_config() or {}).get("input_shape")


def _built(layer: Any, width: int, weights: Sequence[np.ndarray | float]) -> Any:
    layer.build((None, width))
    layer.set_weights([np.asarray(weight, np.float32) for weight in weights])
    return layer


def _spectrum(rows: np.ndarray, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Non-zero eigenvalues of `rowsᵀ rows`, largest first, and their vectors as columns.

    The smaller of the two Gram matrices has the same eigenvalues.

    Args:
        rows: Float `(n, d)`.
        count: Int, at most so many, no more than either side of `rows`. Defaults to all.
    """
    is_wide = rows.shape[1] > len(rows)
    gram = rows @ rows.T if is_wide else rows.T @ rows
    size = len(gram)
    if count is None:
        values, vectors = linalg.eigh(gram, driver="evd")  # twice as fast as the driver for some
    else:
        values, vectors = linalg.eigh(gram, subset_by_index=(size - count, size - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > 1e-6 * max(values[0], 1e-12)
    values, vectors = values[kept], vectors[:, kept]
    if is_wide:
        vectors = rows.T @ vectors
        vectors /= np.sqrt(values)  # in place: with all cells they are as large as the images
    return values, vectors
