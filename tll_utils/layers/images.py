"""Layers on images and feature maps: sizes, cells, oriented gradients."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tll_utils.layers.base import TINY, Float32Layer, Shape, Tensor, whole_number

# Weights of R, G and B in the luma of ITU-R BT.601, as in `images.grayscale`.
LUMA = (0.299, 0.587, 0.114)


@keras.saving.register_keras_serializable(package="tll_utils")
class Resize(Float32Layer):
    """Resizes RGB images of any size, bilinear; the aspect ratio is not kept.

    Gives the numbers of `images.resize`, which are those of `tf.image.resize`, and with `rounded`
    those of `images.load_all`; so a saved model sees what was seen in training.

    Args:
        size: `(height, width)`.
        gray: Bool, give the luma alone.
        antialias: Bool, smooth before shrinking, as PIL does.
        rounded: Bool, round to whole gray levels, as stored bytes are.

    Call arguments:
        images: RGB in [0, 255], any dtype, shape `(batch, any height, any width, 3)`.

    Returns:
        In [0, 255], float32 of shape `(batch, height, width, 3)`, or 1 for gray.

    Raises:
        ValueError: If `size` is not two positive whole numbers, or images are not RGB.
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        gray: bool = False,
        antialias: bool = False,
        rounded: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(size, (tuple, list)) or len(size) != 2:
            raise ValueError(f"`size` must be (height, width). Received: size={size!r}")
        self.size = (whole_number("height", size[0]), whole_number("width", size[1]))
        self.gray, self.antialias, self.rounded = bool(gray), bool(antialias), bool(rounded)

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 4 or input_shape[-1] != 3:
            raise ValueError(
                "Resize takes RGB images of shape (batch, height, width, 3). "
                f"Received: shape={tuple(input_shape)}"
            )

    def call(self, images: Tensor) -> Tensor:
        # Channels first: each side is then one product of matrices, much faster than `einsum`.
        planes = ops.transpose(ops.cast(images, "float32"), (0, 3, 1, 2))
        height, width = ops.shape(planes)[2:]
        down = _resize_matrix(height, self.size[0], self.antialias)
        across = _resize_matrix(width, self.size[1], self.antialias)
        planes = ops.matmul(down, ops.matmul(planes, ops.transpose(across)))
        images = self._whole_levels(ops.transpose(planes, (0, 2, 3, 1)))
        if self.gray:
            red, green, blue = (weight * images[..., i : i + 1] for i, weight in enumerate(LUMA))
            images = self._whole_levels(red + green + blue)
        return images

    def _whole_levels(self, images: Tensor) -> Tensor:
        return ops.clip(ops.round(images), 0.0, 255.0) if self.rounded else images

    def get_config(self) -> dict[str, Any]:
        options = {"gray": self.gray, "antialias": self.antialias, "rounded": self.rounded}
        return {**super().get_config(), "size": self.size, **options}


def _resize_matrix(length_in: Any, length_out: int, antialias: bool) -> Tensor:
    """Weights of the old pixels in each new one, `(length_out, length_in)`; rows sum to 1.

    A new pixel lies at the place of its middle among the old ones, and each old one counts less
    with its distance, nothing from `support` on. Smoothing widens the support to a new pixel.
    """
    scale = ops.cast(length_in, "float32") / length_out
    support = ops.maximum(scale, 1.0) if antialias else 1.0
    middle = (ops.arange(length_out, dtype="float32") + 0.5) * scale
    old = ops.cast(ops.arange(length_in), "float32") + 0.5
    weights = ops.maximum(1.0 - ops.abs(middle[:, None] - old) / support, 0.0)
    return weights / ops.sum(weights, axis=1, keepdims=True)


@keras.saving.register_keras_serializable(package="tll_utils")
class CellPooling(Float32Layer):
    """Pools each cell of a grid over a feature map; one cell is global pooling.

    Cells are a little over half as long as the map and overlap. An eye is seldom in the same ninth
    of both pictures; in cells that overlap so much it is in the same one often enough, and in few
    enough to say where it was.

    Args:
        rows, columns: Ints, of the grid. Default to `1`.
        mode: `"avg"` or `"max"`. Defaults to `"avg"`.

    Call arguments:
        maps: Shape `(batch, h, w, c)`; h and w are known.

    Returns:
        Float32, shape `(batch, rows · columns · c)`, cell by cell, row after row.

    Raises:
        ValueError: If `rows` or `columns` is below 1, `mode` unknown, or h or w not known.
    """

    def __init__(
        self, rows: int = 1, columns: int = 1, *, mode: str = "avg", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rows, self.columns = whole_number("rows", rows), whole_number("columns", columns)
        if mode not in ("avg", "max"):
            raise ValueError(f'`mode` must be "avg" or "max". Received: mode={mode!r}')
        self.mode = mode

    def build(self, input_shape: Shape) -> None:
        if None in input_shape[1:3]:
            raise ValueError(
                "The height and width of the maps must be known. "
                f"Received: maps of shape {tuple(input_shape)}"
            )

    def call(self, maps: Tensor) -> Tensor:
        _, height, width, channels = maps.shape
        tall, tops = _cells(height, self.rows)
        wide, lefts = _cells(width, self.columns)
        # Pooled where a cell could begin, then picked: engines turn the whole map around for means
        # over an axis and for slices of it, which takes a third as long as the convolutions.
        pool = ops.average_pool if self.mode == "avg" else ops.max_pool
        pooled = pool(ops.cast(maps, "float32"), (tall, wide), strides=1, padding="valid")
        if self.rows == self.columns == 1:
            return ops.reshape(pooled, (-1, channels))
        return ops.concatenate([pooled[:, top, left] for top in tops for left in lefts], axis=-1)

    def get_config(self) -> dict[str, Any]:
        options = {"rows": self.rows, "columns": self.columns, "mode": self.mode}
        return {**super().get_config(), **options}


def _cells(length: int, num_cells: int) -> tuple[int, list[int]]:
    """Size of the cells along one side, and the first place of each."""
    if num_cells == 1:
        return length, [0]
    size = length // 2 + 1
    return size, [i * (length - size) // (num_cells - 1) for i in range(num_cells)]


@keras.saving.register_keras_serializable(package="tll_utils")
class OrientedGradients(Float32Layer):
    """How much edge of which direction, and what color, each cell of an image holds.

    A histogram of oriented gradients (HOG) without anything to learn: the strongest of the three
    colors' slopes at each pixel, its direction shared by the two nearest of `num_directions`,
    averaged over cells, square root against the rule of single edges. Beside it the mean
    brightness, red − green and blue − yellow of each cell.

    Args:
        cell: Int, side of a cell in pixels.
        num_directions: Int, over half a turn: a light-dark edge counts like a dark-light one.

    Call arguments:
        images: RGB in [0, 255], any dtype, shape `(batch, h, w, 3)`, h and w divisible by `cell`.

    Returns:
        Float32, shape `(batch, h/cell · w/cell · (num_directions + 3))`.

    Raises:
        ValueError: If `cell` or `num_directions` is below 1, or the images do not fit.

    Reference:
        Dalal and Triggs, 2005, Histograms of oriented gradients for human detection.
    """

    def __init__(self, *, cell: int = 8, num_directions: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cell = whole_number("cell", cell)
        self.num_directions = whole_number("num_directions", num_directions)

    def build(self, input_shape: Shape) -> None:
        sides = tuple(input_shape[1:3])
        if None in sides or any(side % self.cell for side in sides) or input_shape[-1] != 3:
            raise ValueError(
                f"OrientedGradients(cell={self.cell}) takes RGB images of a fixed height and width "
                f"divisible by {self.cell}. Received: shape={tuple(input_shape)}"
            )

    def call(self, images: Tensor) -> Tensor:
        rgb = ops.cast(images, "float32") / 255.0
        cells = self._cells(self._directions(ops.sqrt(rgb)))
        strength = ops.mean(ops.sum(cells, axis=-1, keepdims=True), axis=(1, 2), keepdims=True)
        # A flat image has no edges: the constant keeps its noise from being blown up.
        cells = ops.sqrt(ops.maximum(cells / (strength + 0.02), TINY))
        red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
        opponents = [ops.mean(rgb, axis=-1), red - green, blue - (red + green) / 2]
        colors = self._cells(ops.stack(opponents, axis=-1))
        flat = [ops.reshape(part, (-1, math.prod(part.shape[1:]))) for part in (cells, colors)]
        return ops.concatenate(flat, axis=-1)

    def _cells(self, maps: Tensor) -> Tensor:
        """Mean of each cell, shape `(batch, h/cell, w/cell, c)`."""
        side = self.cell
        return ops.average_pool(maps, side, strides=side, data_format="channels_last")

    def _directions(self, rgb: Tensor) -> Tensor:
        """Slope of each pixel, shared among the directions: `(batch, h, w, num_directions)`."""
        across = rgb[:, :, 2:] - rgb[:, :, :-2]
        down = rgb[:, 2:] - rgb[:, :-2]
        across = ops.pad(across, ((0, 0), (0, 0), (1, 1), (0, 0)))
        down = ops.pad(down, ((0, 0), (1, 1), (0, 0), (0, 0)))
        squares = ops.square(across) + ops.square(down)
        strongest = ops.one_hot(ops.argmax(squares, axis=-1), 3, dtype=squares.dtype)
        across, down = (ops.sum(strongest * slope, axis=-1) for slope in (across, down))
        slope = ops.sqrt(ops.maximum(ops.square(across) + ops.square(down), TINY))
        place = ops.mod(ops.arctan2(down, across) / math.pi, 1.0) * self.num_directions
        gap = place[..., None] - ops.arange(self.num_directions, dtype=place.dtype)
        half = self.num_directions / 2
        gap = ops.abs(ops.mod(gap + half, self.num_directions) - half)
        return ops.maximum(1.0 - gap, 0.0) * slope[..., None]

    def get_config(self) -> dict[str, Any]:
        options = {"cell": self.cell, "num_directions": self.num_directions}
        return {**super().get_config(), **options}
