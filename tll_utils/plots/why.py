"""Figures that explain a score: agreeing cells, classical descriptors as pictures, hubs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import ConnectionPatch, Rectangle

from tll_utils import scoring
from tll_utils.plots import style
from tll_utils.plots.mosaics import show
from tll_utils.plots.picture import Picture, finish


@style.styled
def why_match(
    query: np.ndarray,
    candidate: np.ndarray,
    cell_cosines: np.ndarray,
    *,
    title: str | None = None,
    num_lines: int = 4,
    cell_size: float = 0.55,
) -> Picture:
    """Shows which cells of a query agree with which of a candidate: lines, and a heat map.

    Each of the numbered lines joins the cells that agree most, a cell being used once. The heat
    map says how much each cell agrees with the cell at the same place.

    Args:
        query, candidate: Images, (h, w) or (h, w, 3) in [0, 255].
        cell_cosines: Float (cells, cells), cosine of each cell of the query (rows) with each of
            the candidate; cells row by row from the upper left, a square number of them.
        title: What to see. Defaults to the pair of cells that agrees most.
        num_lines: How many pairs of cells to join.
        cell_size: Side of a cell as a share of the image's; cells overlap.
    """
    cosines = np.asarray(cell_cosines, float)
    side = round(len(cosines) ** 0.5)
    if cosines.shape != (side * side, side * side):
        raise ValueError(
            "cell_cosines must be (cells, cells) with 4, 9 or another square number of cells. "
            f"Received: shape {cosines.shape}"
        )
    figure, (axes,) = style.new(height=4.4, columns=3, width_ratios=[1, 1, 1.15])
    left, right, heat = axes
    show(left, query, title="query")
    show(right, candidate, title="candidate")
    names = cell_names(side)
    words = []
    for number, (row, column) in enumerate(scoring.best_pairs(cosines, num_lines)):
        look = style.series(number)
        starts = _cell(left, query, row, side, cell_size, look, number)
        ends = _cell(right, candidate, column, side, cell_size, look, number)
        figure.add_artist(ConnectionPatch(starts, ends, "data", "data", axesA=left, axesB=right,
                                          color=look.color, linewidth=3, zorder=6))  # fmt: skip
        place = f"{names[row]} of both" if row == column else f"{names[row]} with {names[column]}"
        words.append(f"{place}, {style.share(cosines[row, column])}")
    same = np.diag(cosines).reshape(side, side)
    _heat(heat, same, names)
    default = f"The cells that agree most: {words[0]}"
    text = (
        f"Cells that agree most, query with candidate: {style.listing(words)}. Same place: "
        + style.listing(f"{n} {style.share(v)}" for n, v in zip(names, same.ravel(), strict=True))
    )
    return finish(figure, title or default, f"{text}.", photo=True)


@style.styled
def descriptor_pictures(
    image: np.ndarray, hog: np.ndarray, lbp: np.ndarray, *, title: str
) -> Picture:
    """Shows what HOG and LBP keep of an image: strokes along its edges, codes of its texture.

    Args:
        image: (h, w) or (h, w, 3) in [0, 255].
        hog: (rows, columns, orientations), how strong each direction of gradient is in each
            cell, over 180° from 0°; or (h, w), a picture of it as scikit-image draws.
        lbp: (h, w), the code of each pixel, from 0.
        title: What to see.
    """
    hog, lbp = np.asarray(hog, float), np.asarray(lbp)
    figure, (axes,) = style.new(height=4.3, columns=3)
    show(axes[0], image, title="image")
    if hog.ndim == 3:
        aspect = np.shape(image)[0] / np.shape(image)[1] * hog.shape[1] / hog.shape[0]
        _strokes(axes[1], hog, aspect)
        size = f"{hog.shape[0]} × {hog.shape[1]} cells, {hog.shape[2]} directions"
    else:
        show(axes[1], hog / max(hog.max(), 1e-12) * 255)
        size = f"{hog.shape[0]} × {hog.shape[1]} pixels"
    axes[1].set_title("HOG: edges", fontsize=style.SMALL, loc="center")
    codes = int(lbp.max()) + 1
    show(axes[2], lbp.astype(float) / max(codes - 1, 1) * 255, title="LBP: texture")
    text = f"An image, its HOG ({size}) and its local binary patterns ({codes} codes)."
    return finish(figure, title, text, photo=True)


@style.styled
def hubs(
    counts: np.ndarray,
    thumbnails: Sequence[np.ndarray],
    *,
    title: str | None = None,
    num_shown: int = 7,
) -> Picture:
    """Shows the candidates that attract everybody, and how many candidates attract how many.

    Args:
        counts: Int (candidates,), for how many queries each candidate ranks first.
        thumbnails: Their images, in the same order.
        title: What to see. Defaults to the share that the hubs shown take.
        num_shown: How many hubs to show.
    """
    counts = np.asarray(counts, int)
    if len(counts) != len(thumbnails):
        raise ValueError(
            f"one thumbnail per count: {len(counts)} expected. Received: {len(thumbnails)}"
        )
    num_shown = min(num_shown, len(counts))
    order = np.argsort(-counts, kind="stable")[:num_shown]
    figure, _ = style.new(height=5.6)
    figure.clear()
    grid = figure.add_gridspec(2, num_shown, height_ratios=[1, 1.35])
    for column, place in enumerate(order):
        queries = "query" if counts[place] == 1 else "queries"
        ax = figure.add_subplot(grid[0, column])
        show(ax, thumbnails[place], title=f"{counts[place]} {queries}")
    ax = figure.add_subplot(grid[1, :])
    spread = np.bincount(counts)
    ax.bar(range(len(spread)), spread, 0.8, color=style.SKY, edgecolor=style.BLUE)
    for place, count in enumerate(spread):
        if count and len(spread) <= 25:
            ax.text(place, count, f"{count:,}", ha="center", va="bottom", fontsize=style.SMALL,
                    bbox=style.ON_WHITE, zorder=6)  # fmt: skip
    ax.axvline(counts.mean(), color=style.CHANCE_COLOR, linestyle=":", linewidth=2,
               label=f"mean {style.number(counts.mean())}")  # fmt: skip
    ax.set(xlabel="queries for which a candidate ranks first", ylabel="candidates")
    ax.set_ylim(0, spread.max() * 1.15)
    ax.xaxis.get_major_locator().set_params(integer=True)
    style.legend_below(figure)
    taken = counts[order].sum() / max(counts.sum(), 1)
    default = f"{num_shown} of {len(counts)} candidates win {style.share(taken)} of the queries"
    largest = ", ".join(str(counts[place]) for place in order)
    spoken = ", ".join(f"{n} attract {queries}" for queries, n in enumerate(spread) if n)
    text = f"Largest counts: {largest}. Of {len(counts)} candidates {spoken} queries."
    return finish(figure, title or default, text, photo=True)


def cell_names(side: int) -> list[str]:
    """Names of the cells of a grid, row by row: `upper left`, `upper middle`, …"""
    if side > 3:
        return [f"row {row + 1} column {column + 1}" for row, column in np.ndindex(side, side)]
    rows = {1: ("",), 2: ("upper", "lower"), 3: ("upper", "middle", "lower")}[side]
    columns = {1: ("whole",), 2: ("left", "right"), 3: ("left", "middle", "right")}[side]
    return [
        f"{row} {column}".strip() if row != column else "center"
        for row in rows
        for column in columns
    ]


def _cell(
    ax: Axes, image: np.ndarray, cell: int, side: int, size: float, look: style.Series, number: int
) -> tuple[float, float]:
    """Outlines a cell, numbers its center and returns it."""
    height, width = np.shape(image)[:2]
    row, column = divmod(cell, side)
    step = (1 - size) / max(side - 1, 1) if side > 1 else 0
    share = size if side > 1 else 1.0
    x, y = column * step * width - 0.5, row * step * height - 0.5
    ax.add_patch(Rectangle((x, y), share * width, share * height, fill=False, linewidth=2.5,
                           edgecolor=look.color, linestyle=("-", "--", "-.", ":")[number % 4],
                           clip_on=False))  # fmt: skip
    center = (x + share * width / 2, y + share * height / 2)
    # Of the figure, not the axes: it has to lie over the lines between them.
    ax.figure.text(*center, str(number + 1), transform=ax.transData, color="white",
                   fontsize=13, fontweight="bold", ha="center", va="center", zorder=8,
                   bbox={"boxstyle": "circle", "facecolor": look.color,
                         "edgecolor": "white"})  # fmt: skip
    return center


def _heat(ax: Axes, same: np.ndarray, names: Sequence[str]) -> None:
    """Cosine of cells at the same place, written out."""
    ax.imshow(same, cmap="cividis", vmin=min(0, same.min()), vmax=1)
    for (row, column), value in np.ndenumerate(same):
        ax.text(column, row, style.share(value), ha="center", va="center", fontsize=14,
                color="black" if value > 0.55 else "white")  # fmt: skip
    ax.set(xticks=[], yticks=[])
    ax.set_title("same place: cosine", fontsize=style.SMALL, loc="center")
    ax.spines[:].set_visible(False)


def _strokes(ax: Axes, hog: np.ndarray, aspect: float) -> None:
    """Draws each direction of each cell as a stroke along the edge, across the gradient."""
    rows, columns, orientations = hog.shape
    angles = np.pi * (np.arange(orientations) + 0.5) / orientations + np.pi / 2
    reach = 0.5 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    centers = np.indices((columns, rows)).T[:, :, None]  # (rows, columns, 1, 2), x first
    strokes = np.stack([centers - reach, centers + reach], axis=-2).reshape(-1, 2, 2)
    strength = np.clip(hog / max(hog.max(), 1e-12), 0, 1).ravel()
    seen = strength > 0.05
    colors = np.ones((seen.sum(), 4))
    colors[:, 3] = strength[seen]
    ax.add_collection(LineCollection(strokes[seen], colors=colors, linewidths=2.2))
    ax.set(xlim=(-0.6, columns - 0.4), ylim=(rows - 0.4, -0.6), xticks=[], yticks=[])
    ax.set(facecolor="black", aspect=aspect)
