"""The figure that explains a score: which cells of two images agree."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import ConnectionPatch, Rectangle

from tll_utils import scoring
from tll_utils.plots import style
from tll_utils.plots.maps import colored_cells
from tll_utils.plots.mosaics import show
from tll_utils.plots.picture import Picture, finish

_NUM_LINES = 4
_CELL_SIZE = 0.55  # side of a cell as a share of the image's; cells overlap
_NAMES = [
    "upper left", "upper middle", "upper right", "middle left", "center", "middle right",
    "lower left", "lower middle", "lower right",
]  # fmt: skip


@style.styled
def why_match(query: np.ndarray, candidate: np.ndarray, cell_cosines: np.ndarray) -> Picture:
    """Shows which cells of a query agree with which of a candidate: lines, and a heat map.

    Each of the numbered lines joins the cells that agree most, a cell being used once. The heat
    map says how much each cell agrees with the cell at the same place.

    Args:
        query, candidate: Images, (h, w) or (h, w, 3) in [0, 255].
        cell_cosines: Float (9, 9), cosine of each cell of the query (rows) with each of the
            candidate; 3 × 3 cells, row by row from the upper left.
    """
    cosines = np.asarray(cell_cosines, float)
    if cosines.shape != (9, 9):
        raise ValueError(
            f"cell_cosines must be (9, 9), for 3 × 3 cells. Received: shape {cosines.shape}"
        )
    figure, (axes,) = style.new(height=4.4, columns=3, width_ratios=[1, 1, 1.15])
    left, right, heat = axes
    show(left, query, title="query")
    show(right, candidate, title="candidate")
    words = []
    for number, (row, column) in enumerate(scoring.best_pairs(cosines, _NUM_LINES)):
        look = style.series(number)
        starts = _cell(left, query, row, look, number)
        ends = _cell(right, candidate, column, look, number)
        figure.add_artist(ConnectionPatch(starts, ends, "data", "data", axesA=left, axesB=right,
                                          color=look.color, linewidth=3, zorder=6))  # fmt: skip
        place = (
            f"{_NAMES[row]} of both" if row == column else f"{_NAMES[row]} with {_NAMES[column]}"
        )
        words.append(f"{place}, {style.share(cosines[row, column])}")
    same = np.diag(cosines).reshape(3, 3)
    colored_cells(heat, same, style.share, high=1)
    heat.set(xticks=[], yticks=[])
    heat.set_title("same place: cosine", fontsize=style.SMALL, loc="center")
    heat.spines[:].set_visible(False)
    title = f"The cells that agree most: {words[0]}"
    text = (
        f"Cells that agree most, query with candidate: {style.listing(words)}. Same place: "
        + style.listing(f"{n} {style.share(v)}" for n, v in zip(_NAMES, same.ravel(), strict=True))
    )
    return finish(figure, title, f"{text}.", photo=True)


def _cell(
    ax: Axes, image: np.ndarray, cell: int, look: style.Series, number: int
) -> tuple[float, float]:
    """Outlines a cell, numbers its center and returns it."""
    image_size = np.array(np.shape(image)[1::-1])  # width, height
    row, column = divmod(cell, 3)
    width, height = size = _CELL_SIZE * image_size
    corner = (1 - _CELL_SIZE) / 2 * np.array([column, row]) * image_size - 0.5
    ax.add_patch(Rectangle(corner, width, height, fill=False, linewidth=2.5, edgecolor=look.color,
                           linestyle=("-", "--", "-.", ":")[number % 4],
                           clip_on=False))  # fmt: skip
    center = tuple(corner + size / 2)
    # Of the figure, not the axes: it has to lie over the lines between them.
    ax.figure.text(*center, str(number + 1), transform=ax.transData, color="white",
                   fontsize=13, fontweight="bold", ha="center", va="center", zorder=8,
                   bbox={"boxstyle": "circle", "facecolor": look.color,
                         "edgecolor": "white"})  # fmt: skip
    return center
