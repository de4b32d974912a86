"""What every figure has in common: colors, type, legends, numbers by kind, marks on axes.

Colors are those of Okabe and Ito, told apart by color-blind eyes too; each goes with a marker,
and areas that overlap with a hatching, so that no figure needs color to be read.

Reference:
    Okabe and Ito, 2008, Color Universal Design, https://jfly.uni-koeln.de/color/.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, YELLOW = "#E69F00", "#56B4E9", "#000000", "#F0E442"
COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("//", "..", "xx", "\\\\")
MATCH_COLOR, OTHER_COLOR, CHANCE_COLOR = GREEN, "#BBBBBB", "#444444"

WIDTH = 9.5  # inches: 912 CSS pixels, which a notebook shows without shrinking the type
SMALL = 12  # points, the least that the last row of a lecture hall can read
# Behind a number that a mark may run through.
ON_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "figure.titlesize": 15,
    "figure.titleweight": "bold",
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.labelsize": 13,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 2.6,  # long enough for a dash to be seen as one
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "hatch.linewidth": 1.2,
    "text.usetex": False,
}
# A decorator: the style holds while one figure is drawn, and the process keeps its own.
styled = mpl.rc_context(STYLE)


class Series(NamedTuple):
    """How one of several series is drawn: told apart by color and marker."""

    color: str
    marker: str
    linewidth: float
    markersize: float


def series(index: int, curves: int = 1) -> Series:
    """Style of the series at a place.

    Of several `curves` the later ones are thinner, so that none hides another that it meets.
    """
    place, below = index % len(COLORS), max(curves - 1 - index, 0)
    return Series(
        COLORS[place],
        MARKERS[place],
        linewidth=min(2.4 + 2.0 * below, 8.0),
        markersize=min(7.0 + 4.0 * below, 17.0),
    )


# Numbers, by kind


def share(value: float, decimals: int = 2) -> str:
    """A share, correlation or score without its zero: `.42`, `1.00`, `−.05`; `–` for NaN."""
    if np.isnan(value):
        return "–"
    text = f"{value:.{decimals}f}"
    text = text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
    return text.replace("-", "−") if float(f"{value:.{decimals}f}") else text.replace("-", "")


def number(value: float) -> str:
    """A measured number to three digits: `0.0123`, `4.57`, `218`, `12,400`."""
    if np.isnan(value):
        return "–"
    if value == 0:
        return "0"
    digits = int(np.floor(np.log10(abs(value))))
    return f"{value:,.{min(max(2 - digits, 0), 6)}f}".replace("-", "−")


def listing(items: Iterable[str]) -> str:
    """Joins the parts of a description."""
    return "; ".join(items)


# Text


def wrap(text: str, inches: float, points: float = SMALL) -> str:
    """Breaks text into lines that fit, at blanks and underscores; letters are 0.6 em wide."""
    letters = max(int(inches * 72 / (0.6 * points)), 8)
    parts = [line.replace("_", "_ ") for line in text.split("\n")]
    filled = (textwrap.fill(part, letters, break_long_words=False) for part in parts)
    return "\n".join(filled).replace("_ ", "_")


def wrap_rows(names: Iterable[object], inches: float = 2.6) -> list[str]:
    """Labels of rows, in lines of at most `inches`."""
    return [wrap(str(name), inches) for name in names]


def row_height(labels: Sequence[str], least: float) -> float:
    """Inches of a row that its label, of one or several lines, has room in."""
    return max(least, 0.08 + 0.2 * max(label.count("\n") + 1 for label in labels))


# Axes


def share_axis(axis: Any) -> None:
    """Writes the ticks of an axis of shares as `0 .2 .4 … 1`."""
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:.10g}".replace("0.", ".", 1).replace("-", "−"))
    )


def epoch_axis(ax: Axes, num_epochs: int) -> None:
    """Counts epochs from 1, in whole numbers."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if num_epochs <= 8 * step)
    room = 0.03 * num_epochs + 0.1
    ax.set(xlabel="epoch", xlim=(1 - room, max(num_epochs, 2) + room))
    first = step if step > 2 else 1 + step
    ax.set_xticks([1, *range(first, num_epochs + 1, step)])


def from_zero(ax: Axes, values: np.ndarray) -> None:
    """Starts the y axis at 0, or marks the cut where that would flatten what is to be seen."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if len(values) == 0 or values.min() < 0:
        return
    low, high = values.min(), values.max()
    room = 0.12 * (high - low) or 0.05 * high or 1.0
    if low <= 0.6 * high:
        ax.set_ylim(0, high + room)
        return
    bottom = low - 2.2 * room
    ax.set_ylim(bottom, high + room)
    marks = [tick for tick in ax.get_yticks() if low - room <= tick <= high + room]
    ax.set_yticks(marks)
    # Two slanted strokes across the axis, as on paper.
    for height in (0.035, 0.065):
        ax.plot([-0.018, 0.018], [height - 0.015, height + 0.015], transform=ax.transAxes,
                color=BLACK, linewidth=1.5, clip_on=False)  # fmt: skip
    ax.annotate("axis cut", (0, 0.05), xycoords="axes fraction", xytext=(12, 0),
                textcoords="offset points", va="center", fontsize=SMALL,
                color=CHANCE_COLOR)  # fmt: skip


def new(
    width: float = WIDTH, height: float = 4.2, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, np.ndarray]:
    """An empty figure that pyplot doesn't know of, so none stays open, and its axes as a grid."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def legend_below(figure: Figure, handles: Sequence[Any] = (), labels: Sequence[str] = ()) -> None:
    """Puts the legend under the axes, in as few rows as its labels allow."""
    if not handles:
        seen: Mapping[str, Any] = {}
        for ax in figure.axes:
            seen = {**dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True)), **seen}
        # Dotted lines are marks to compare with; what they are compared with comes first.
        labels = sorted(seen, key=lambda label: _is_dotted(seen[label]))
        handles = [seen[label] for label in labels]
    if not handles:
        return
    width = figure.get_figwidth()
    labels = [wrap(label, width - 1) for label in labels]
    # Inches that each entry takes: its letters, the handle and the gap.
    entries = [max(map(len, label.split("\n"))) * 0.56 * SMALL / 72 + 0.85 for label in labels]
    columns = len(labels) if sum(entries) <= width else max(1, int(width / max(entries)))
    rows = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + max(0, rows - 2) * 1.6 * SMALL / 72)
    figure.legend(handles, labels, loc="outside lower left", ncols=columns)


def _is_dotted(handle: Any) -> bool:
    return isinstance(handle, Line2D) and handle.get_linestyle() == ":"
