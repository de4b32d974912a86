"""Figures on two axes of the same standing: tables in color, dots, maps of an embedding."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from tll_utils.plots import style
from tll_utils.plots.mosaics import as_pixels
from tll_utils.plots.picture import Picture, finish

_SHADES = "cividis"  # even steps of brightness, also for color-blind eyes and in gray
_THUMBNAIL = 72  # pixels of the longer side


@style.styled
def scatter(
    x: np.ndarray,
    y: np.ndarray,
    *,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
    highlight: Mapping[str, np.ndarray] | None = None,
) -> Picture:
    """Draws one dot per pair, on equal axes, with the diagonal on which both agree.

    Args:
        x, y: (n,), of the same kind.
        title: What to see. Defaults to the correlation.
        highlight: Named groups to set apart by color and marker, bool (n,) each.
    """
    x, y = np.ravel(x), np.ravel(y)
    figure, ((ax,),) = style.new(width=7.5, height=6.2)
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    ax.plot([low, high], [low, high], color=style.CHANCE_COLOR, linestyle=":", label="both equal")
    groups = dict(highlight or {})
    rest = ~np.any(list(groups.values()), axis=0) if groups else np.ones(len(x), bool)
    color = style.OTHER_COLOR if groups else style.BLUE
    ax.scatter(x[rest], y[rest], 42, color=color, alpha=0.7, linewidths=0,
               label="others" if groups else None)  # fmt: skip
    words = [f"{len(x)} pairs, correlation {style.share(_correlation(x, y))}"]
    for index, (name, chosen) in enumerate(groups.items()):
        look = style.series(index)
        chosen = np.asarray(chosen, bool)
        ax.scatter(x[chosen], y[chosen], 95, color=look.color, marker=look.marker,
                   edgecolor="white", label=f"{name} ({chosen.sum()})", zorder=3)  # fmt: skip
        words.append(
            f"{name}: {chosen.sum()} pairs"
            + (f", correlation {style.share(_correlation(x[chosen], y[chosen]))}"
               if chosen.sum() > 2 else "")
        )  # fmt: skip
    ax.set(xlabel=xlabel, ylabel=ylabel, aspect="equal")
    style.legend_below(figure)
    default = f"The two sides correlate by {style.share(_correlation(x, y))}"
    text = f"{ylabel} against {xlabel}: {style.listing(words)}."
    return finish(figure, title or default, text)


@style.styled
def heat_map(
    values: np.ndarray,
    names: Sequence[str],
    *,
    label: str,
    title: str,
    limits: tuple[float, float] = (0, 1),
) -> Picture:
    """Draws a square table of numbers between named systems, each cell colored and written out.

    Args:
        values: Float (systems, systems).
        names: Systems; columns bear the numbers that stand before their names.
        label: What the numbers are.
        title: What to see.
        limits: Ends of the color scale.
    """
    values = np.asarray(values, float)
    side = 0.72 * len(names)
    figure, ((ax,),) = style.new(width=min(side + 4.6, style.WIDTH), height=side + 1.6)
    _table(figure, ax, values, limits, label)
    numbered = [f"{name}  {place + 1}" for place, name in enumerate(names)]
    ax.set_xticks(range(len(names)), range(1, len(names) + 1))
    ax.set_yticks(range(len(names)), style.wrap_rows(numbered))
    words = [
        f"{names[row]} and {names[column]} {style.share(values[row, column])}"
        for row in range(len(names))
        for column in range(row)
    ]
    return finish(figure, title, f"{label.capitalize()}: {style.listing(words)}.")


@style.styled
def likeness_by_depth(
    table: np.ndarray,
    kinds: Sequence[str],
    depths: Sequence[str],
    *,
    title: str | None = None,
    label: str = "top-2 accuracy",
    limits: tuple[float, float] | None = None,
) -> Picture:
    """Draws which depth of a network sees which kind of likeness; each row's best is framed.

    Args:
        table: Float (kinds, depths), higher = better.
        kinds: Rows: what the images of a pair share.
        depths: Columns, shallow to deep.
        title: What to see. Defaults to the best depth of the first and last kind.
        label: What the numbers are.
        limits: Ends of the color scale. Defaults to 0 and the largest number.
    """
    values = np.asarray(table, float)
    if values.shape != (len(kinds), len(depths)):
        raise ValueError(
            f"table must hold {len(kinds)} kinds × {len(depths)} depths. "
            f"Received: shape {values.shape}"
        )
    figure, ((ax,),) = style.new(height=2.4 + 0.55 * len(kinds))
    _table(figure, ax, values, limits or (0, float(np.nanmax(values))), label)
    style.column_labels(ax, depths, 5.2 / len(depths))
    ax.set_yticks(range(len(kinds)), style.wrap_rows(kinds, 2.2))
    ax.set_xlabel("shallow → deep")
    best = [int(np.nanargmax(row)) for row in values]
    for row, column in enumerate(best):
        ax.add_patch(Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False,
                               edgecolor=style.VERMILION, linewidth=3.5))  # fmt: skip
    words = [
        f"{kind} {', '.join(f'{style.share(v)} at {d}' for v, d in zip(row, depths, strict=True))}"
        f", best at {depths[column]}"
        for kind, row, column in zip(kinds, values, best, strict=True)
    ]
    default = f"Best depth: {depths[best[0]]} for {kinds[0]}, {depths[best[-1]]} for {kinds[-1]}"
    return finish(figure, title or default, f"{label.capitalize()}: {style.listing(words)}.")


@style.styled
def rank_changes(
    before: np.ndarray, after: np.ndarray, *, num_candidates: int, title: str | None = None
) -> Picture:
    """Draws how many matches went from which rank to which; above the diagonal they rose.

    Args:
        before, after: Int (queries,), rank of the match, 1 = best.
        num_candidates: The last rank.
        title: What to see. Defaults to how many matches enter and leave the top 2.
    """
    before, after = np.asarray(before), np.asarray(after)
    edges = np.array([edge for edge in (1, 2, 3, 6, 11) if edge <= num_candidates])
    last = [*(edges[1:] - 1), num_candidates]
    names = [f"{a}" if a == b else f"{a}–{b}" for a, b in zip(edges, last, strict=True)]
    counts = np.zeros((len(edges), len(edges)), int)
    row, column = (np.searchsorted(edges, ranks, side="right") - 1 for ranks in (after, before))
    np.add.at(counts, (row, column), 1)
    # Most matches stay in the first cell: the shades are for the others.
    brightest = max(np.sort(counts.ravel())[-2] * 1.5, 1)
    figure, ((ax,),) = style.new(width=6.5, height=5.6)
    ax.imshow(counts, cmap=_SHADES, vmin=0, vmax=brightest)
    _write_cells(ax, counts, lambda value: f"{value:,.0f}", (0, brightest))
    for place in range(len(names)):
        ax.add_patch(Rectangle((place - 0.47, place - 0.47), 0.94, 0.94, fill=False,
                               edgecolor="white", linewidth=2.5, linestyle="--"))  # fmt: skip
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="rank of the match before", ylabel="rank after")
    enter, leave = (
        int(np.sum((before > 2) & (after <= 2))),
        int(np.sum((before <= 2) & (after > 2))),
    )
    default = f"{enter} matches enter the top 2, {leave} leave"
    return finish(
        figure,
        title or default,
        f"Of {len(before)} matches {np.sum(after < before)} rise, {np.sum(after > before)} fall "
        f"and {np.sum(after == before)} stay; {enter} enter the top 2, {leave} leave.",
    )


@style.styled
def covariance_scatter(
    before: np.ndarray,
    after: np.ndarray,
    *,
    title: str,
    labels: tuple[str, str] = ("before whitening", "after whitening"),
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
    *,
    title: str | None = None,
) -> Picture:
    """Draws images where their embeddings lie, a line between the two of each pair.

    Args:
        points: For each panel, as before and after whitening, (n, 2).
        thumbnails: n images, (h, w) or (h, w, 3) in [0, 255]; about 30 remain readable.
        pairs: Int (pairs, 2), places among the n.
        title: What to see. Defaults to how far apart pairs are in the first and last panel.
    """
    pairs = np.asarray(pairs, int).reshape(-1, 2)
    small = [_thumbnail(image) for image in thumbnails]
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
    default = "Pairs lie at this share of the usual distance: " + ", ".join(said)
    words = (
        f"Map of {len(small)} images with {len(pairs)} lines between pairs. Median distance "
        f"within pairs as a share of the median distance of all: {style.listing(said)}."
    )
    return finish(figure, title or default, words, photo=True)


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


def _thumbnail(image: np.ndarray) -> np.ndarray:
    small = Image.fromarray(as_pixels(image))
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return np.asarray(small)


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _table(
    figure: Figure, ax: Axes, values: np.ndarray, limits: tuple[float, float], label: str
) -> None:
    low, high = limits
    high = high if high > low else low + 1
    shades = ax.imshow(values, cmap=_SHADES, vmin=low, vmax=high, aspect="auto")
    _write_cells(ax, values, style.share, (low, high))
    bar = figure.colorbar(shades, ax=ax, label=style.wrap(label, 3.2, 13), shrink=0.9)
    style.share_axis(bar.ax.yaxis)


def _write_cells(
    ax: Axes, values: np.ndarray, form: Callable[[float], str], limits: tuple[float, float]
) -> None:
    """Writes each number in black or white, whichever its cell's color sets off."""
    low, high = limits
    shades = mpl.colormaps[_SHADES]
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = shades((value - low) / (high - low))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 and not np.isnan(value)
        ax.text(column, row, form(value), ha="center", va="center", fontsize=13,
                color="white" if dark else "black")  # fmt: skip
