"""Figures on two axes of the same standing: tables in color, dots, maps of an embedding."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Ellipse, Rectangle
from matplotlib.patheffects import withStroke

from tll_utils.plots import style
from tll_utils.plots.mosaics import as_pixels
from tll_utils.plots.picture import Picture, finish

_SHADES = "cividis"  # even steps of brightness, also for color-blind eyes and in gray


@style.styled
def scatter(x: np.ndarray, y: np.ndarray, *, xlabel: str, ylabel: str) -> Picture:
    """Draws one dot per pair, on equal axes, with the diagonal on which both agree.

    Args:
        x, y: (n,), of the same kind.
    """
    correlation = style.share(np.corrcoef(x, y)[0, 1])
    figure, ((ax,),) = style.new(width=7.5, height=6.2)
    low, high = min(np.min(x), np.min(y)), max(np.max(x), np.max(y))
    ax.plot([low, high], [low, high], color=style.CHANCE_COLOR, linestyle=":", label="both equal")
    ax.scatter(x, y, 42, color=style.BLUE, alpha=0.7, linewidths=0)
    ax.set(xlabel=xlabel, ylabel=ylabel, aspect="equal")
    style.legend_below(figure)
    text = f"{ylabel} against {xlabel}: {len(x)} pairs, correlation {correlation}."
    return finish(figure, f"The two sides correlate by {correlation}", text)


@style.styled
def heat_map(table: pd.DataFrame, *, label: str, title: str, frame_best: bool = False) -> Picture:
    """Draws a table of numbers, each cell colored and written out.

    Args:
        table: Shares, or counts if they are integers. The names of its index and columns, where
            they have some, name the axes.
        label: What the numbers are.
        title: What to see.
        frame_best: Whether to frame the largest number of each row.
    """
    values, names, columns = table.to_numpy(), list(table.index), list(table.columns)
    form = "{:,}".format if values.dtype.kind == "i" else style.share
    figure, ((ax,),) = style.new(height=2.2 + 0.6 * len(table))
    shades = colored_cells(ax, values, form, high=values.max())
    ax.set_aspect("auto")
    bar = figure.colorbar(shades, ax=ax, label=style.wrap(label, 3.2, 13), shrink=0.9)
    style.share_axis(bar.ax.yaxis)
    ax.set_xticks(range(len(columns)), style.wrap_rows(columns, 5.2 / len(columns)))
    ax.set_yticks(range(len(names)), style.wrap_rows(names))
    ax.set(xlabel=table.columns.name or "", ylabel=table.index.name or "")
    for row, column in enumerate(values.argmax(axis=1) if frame_best else ()):
        ax.add_patch(Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False,
                               edgecolor=style.VERMILION, linewidth=3.5))  # fmt: skip
    words = [
        f"{name}: {', '.join(f'{form(v)} at {c}' for v, c in zip(row, columns, strict=True))}"
        for name, row in zip(names, values, strict=True)
    ]
    return finish(figure, title, f"{label.capitalize()}: {style.listing(words)}.")


@style.styled
def covariance_scatter(
    before: np.ndarray,
    after: np.ndarray,
    *,
    title: str,
    labels: tuple[str, str],
) -> Picture:
    """Draws points before and after whitening, each with its ellipse of two standard deviations.

    Args:
        before, after: (n, 2).
        title: What to see.
        labels: Titles of the two panels.
    """
    figure, (axes,) = style.new(height=5.4, columns=2)
    words = []
    for index, (ax, points, label) in enumerate(zip(axes, (before, after), labels, strict=True)):
        points = np.asarray(points, float)
        look = style.series(index)
        variances, directions = np.linalg.eigh(np.cov(points.T))
        wide, narrow = np.sqrt(np.maximum(variances[::-1], 0))
        ax.scatter(*points.T, 26, color=look.color, marker=look.marker, alpha=0.5, linewidths=0)
        angle = np.degrees(np.arctan2(directions[1, 1], directions[0, 1]))
        ax.add_patch(Ellipse(points.mean(axis=0), 4 * wide, 4 * narrow, angle=angle, fill=False,
                             edgecolor="black", linewidth=2.5))  # fmt: skip
        reach = np.abs(points - points.mean(axis=0)).max() * 1.08
        for limits, center in zip((ax.set_xlim, ax.set_ylim), points.mean(axis=0), strict=True):
            limits(center - max(reach, 2.2 * wide), center + max(reach, 2.2 * wide))
        ax.set(aspect="equal", xlabel="first direction", ylabel="second direction")
        text = f"standard deviations {style.number(wide)} and {style.number(narrow)}"
        ax.set_title(f"{label}\n{text}")
        words.append(f"{label}: {len(points)} points, {text}")
    text = f"{style.listing(words)}. The ellipses reach two standard deviations."
    return finish(figure, title, text)


@style.styled
def embedding_map(
    points: Mapping[str, np.ndarray],
    thumbnails: Sequence[np.ndarray],
    pairs: np.ndarray,
) -> Picture:
    """Draws images where their embeddings lie, a line between the two of each pair.

    Args:
        points: For each panel, as before and after whitening, (n, 2).
        thumbnails: n images, (h, w) or (h, w, 3) in [0, 255]; about 30 remain readable.
        pairs: Int (pairs, 2), places among the n.
    """
    pairs = np.asarray(pairs, int).reshape(-1, 2)
    small = [as_pixels(image) for image in thumbnails]
    columns = min(len(points), 2)
    rows = -(-len(points) // columns)
    figure, grid = style.new(height=0.8 + rows * 4.9, rows=rows, columns=columns)
    for ax in grid.flat:
        ax.axis("off")
    distances = {}
    for ax, (name, places) in zip(grid.flat, points.items(), strict=False):
        places = np.asarray(places, float)
        if places.shape != (len(small), 2):
            raise ValueError(
                f"points of {name!r} must be ({len(small)}, 2), one row per thumbnail. "
                f"Received: {places.shape}"
            )
        distances[name] = _pair_distance(places, pairs)
        _map_panel(ax, places, small, pairs)
        ax.set_title(f"{name}: pairs {style.share(distances[name])} of the usual distance")
    said = [f"{name} {style.share(value)}" for name, value in distances.items()]
    title = "Pairs lie at this share of the usual distance: " + ", ".join(said)
    words = (
        f"Map of {len(small)} images with {len(pairs)} lines between pairs. Median distance "
        f"within pairs as a share of the median distance of all: {style.listing(said)}."
    )
    return finish(figure, title, words, photo=True)


def _map_panel(
    ax: Axes, places: np.ndarray, small: Sequence[np.ndarray], pairs: np.ndarray
) -> None:
    center = (places.min(axis=0) + places.max(axis=0)) / 2
    span = max(np.ptp(places, axis=0).max(), 1e-12)
    places = (places - center) / span  # in [−.5, .5], both axes alike
    halo = [withStroke(linewidth=5, foreground="white")]
    for (x, y), image in zip(places, small, strict=True):
        height, width = np.array(image.shape[:2]) / max(image.shape[:2]) * 0.072
        ax.imshow(image, cmap="gray", vmin=0, vmax=255, zorder=2,
                  extent=(x - width, x + width, y - height, y + height))  # fmt: skip
    for first, second in pairs:
        ax.plot(*places[[first, second]].T, color=style.VERMILION, linewidth=2.2, zorder=3,
                marker="o", markersize=6, path_effects=halo)  # fmt: skip
    ax.axis("on")
    ax.set(xlim=(-0.58, 0.58), ylim=(-0.58, 0.58), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set(visible=True, color=style.OTHER_COLOR)


def _pair_distance(places: np.ndarray, pairs: np.ndarray) -> float:
    """Median distance within pairs, as a share of the median distance of all."""
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
    usual = np.median(gaps[np.triu_indices(len(places), 1)])
    return float(np.median(gaps[pairs[:, 0], pairs[:, 1]]) / max(usual, 1e-12))


def colored_cells(
    ax: Axes, values: np.ndarray, form: Callable[[float], str], *, high: float
) -> AxesImage:
    """Colors the cells of a table, and writes each number in what its color sets off."""
    low = min(0, values.min())
    shades = ax.imshow(values, cmap=_SHADES, vmin=low, vmax=high)
    for (row, column), value in np.ndenumerate(values):
        # The scale is even in brightness: the upper half is light.
        light = value > (low + high) / 2
        ax.text(column, row, form(value), ha="center", va="center", fontsize=14,
                color="black" if light else "white")  # fmt: skip
    return shades
