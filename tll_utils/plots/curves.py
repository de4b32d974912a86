"""Figures over a running quantity: epochs, sizes, distances. No curve hides another."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tll_utils.plots import style
from tll_utils.plots.picture import Picture, finish

History = Mapping[str, Sequence[float]]


@style.styled
def training_curves(
    histories: Mapping[str, History],
    *,
    ylabel: str | Mapping[str, str],
    title: str,
    panels: bool = False,
) -> Picture:
    """Draws the loss by epoch, from 1: training dashed, validation solid, a marker per run.

    Args:
        histories: For each run `loss` and, if there was a validation part, `val_loss`.
        ylabel: What the loss is, with its unit; with panels also one per run.
        title: What to see.
        panels: Whether each run gets a panel and axis of its own, as losses in different units
            must.
    """
    names = list(histories)
    groups = [[name] for name in names] if panels else [names]
    figure, grid = _panel_grid(len(groups))
    for ax, group in zip(grid.flat, groups, strict=False):
        unit = ylabel[group[0]] if isinstance(ylabel, Mapping) else ylabel
        ax.set_ylabel(style.wrap(unit, 3.0 if panels else 3.6, 13))
        ax.set_title(group[0] if panels else "")
        _losses(ax, {name: histories[name] for name in group})
    _run_legend(figure, [] if panels else names, histories)
    words = [_fall(name, history) for name, history in histories.items()]
    return finish(figure, title, f"Loss by epoch: {style.listing(words)}.")


@style.styled
def loss_and_metric_curves(histories: Mapping[str, History], *, title: str) -> Picture:
    """Draws the loss beside validation top-2, by epoch, with a large dot on the best epoch.

    Args:
        histories: For each run `loss`, `val_loss` if measured, and `val_top_2`, a list each.
        title: What to see.
    """
    names = list(histories)
    best = {name: int(np.nanargmax(history["val_top_2"])) for name, history in histories.items()}
    figure, ((left, right),) = style.new(columns=2)
    _losses(left, histories)
    left.set_ylabel("loss")
    words, labels = [], []
    for index, (name, history) in enumerate(histories.items()):
        look, values = style.series(index, len(names)), history["val_top_2"]
        epoch, top = best[name] + 1, values[best[name]]
        _epochs(right, values, look, "-")
        right.plot(epoch, top, look.marker, color=look.color,
                   markersize=look.markersize + 6, zorder=5)  # fmt: skip
        labels.append(f"{name}: {style.share(top)}")
        words.append(
            f"{_fall(name, history)}; validation top-2 {style.share(values[0])} in epoch 1, "
            f"{style.share(top)} in epoch {epoch}, which is kept"
        )
    metrics = [value for history in histories.values() for value in history["val_top_2"]]
    style.epoch_axis(right, max(len(history["val_top_2"]) for history in histories.values()))
    right.set_ylabel("validation top-2")
    style.share_axis(right.yaxis)
    right.set_ylim(0, max(metrics) * 1.18)
    _run_legend(figure, labels, histories, kept=True)
    return finish(figure, title, f"Loss and metric: {style.listing(words)}.")


@style.styled
def lines(
    panels: Mapping[str, Mapping[str, np.ndarray]],
    x: np.ndarray,
    *,
    xlabel: str,
    ylabel: str,
    title: str,
) -> Picture:
    """Draws named lines over one quantity, in one panel or several.

    Args:
        panels: For each panel, per line its values, (n,).
        x: (n,), rising or falling.
        title: What to see.
    """
    x = np.asarray(x, float)
    figure, grid = _panel_grid(len(panels), sharex=True)
    words, step = [], max(len(x) // 7, 1)
    for ax, (panel, curves) in zip(grid.flat, panels.items(), strict=False):
        for index, (name, values) in enumerate(curves.items()):
            look = style.series(index, len(curves))
            ax.plot(x, values, color=look.color, marker=look.marker, markersize=look.markersize,
                    markevery=(index * 2 % step, step), linewidth=look.linewidth,
                    label=name)  # fmt: skip
            first, last = (
                f"{style.number(float(values[end]))} at {style.number(x[end])}" for end in (0, -1)
            )
            words.append(f"{panel}, {name}: {first}, {last}")
        style.from_zero(ax, np.concatenate([np.ravel(values) for values in curves.values()]))
        ax.set(title=panel, ylabel=ylabel)
        ax.set_xlabel(style.wrap(xlabel, figure.get_figwidth() / 3.2, 13))
    if x[0] > x[-1]:
        ax.invert_xaxis()  # of all panels: they share it
    style.legend_below(figure)
    return finish(figure, title, f"{ylabel.capitalize()} by {xlabel}: {style.listing(words)}.")


def _losses(ax: Axes, histories: Mapping[str, History]) -> None:
    """Training and validation loss of some runs on one axis."""
    for index, history in enumerate(histories.values()):
        look = style.series(index, len(histories))
        for key, line in (("loss", "--"), ("val_loss", "-")):
            if key in history:
                _epochs(ax, history[key], look, line)
    values = [v for h in histories.values() for key in ("loss", "val_loss") for v in h.get(key, ())]
    style.epoch_axis(ax, max(len(history["loss"]) for history in histories.values()))
    style.from_zero(ax, np.array(values))


def _epochs(ax: Axes, values: Sequence[float], look: style.Series, line: str) -> None:
    ax.plot(
        range(1, len(values) + 1),
        values,
        linestyle=line,
        color=look.color,
        marker=look.marker,
        markersize=look.markersize,
        markerfacecolor=look.color if line == "-" else "white",
        markevery=max(len(values) // 10, 1),
        linewidth=look.linewidth,
    )


def _panel_grid(count: int, **options: Any) -> tuple[Figure, np.ndarray]:
    columns = min(count, 3)
    rows = -(-count // columns)
    figure, grid = style.new(height=0.8 + 3.4 * rows, rows=rows, columns=columns, **options)
    for ax in list(grid.flat)[count:]:
        ax.axis("off")
    return figure, grid


def _run_legend(
    figure: Figure,
    names: Sequence[str],
    histories: Mapping[str, History],
    *,
    kept: bool = False,
) -> None:
    """Runs by color and marker; what is dashed and what is solid is said once."""
    handles = []
    for index in range(len(names)):
        look = style.series(index)
        handles.append(Line2D([], [], color=look.color, marker=look.marker, linestyle="",
                              markersize=9))  # fmt: skip
    labels = list(names)
    parts = [("loss", "--", "white", "training"), ("val_loss", "-", "black", "validation")]
    for key, line, face, label in parts:
        if any(key in history for history in histories.values()) or (kept and line == "-"):
            handles.append(Line2D([], [], color="black", linestyle=line, marker="o",
                                  markerfacecolor=face, markersize=6))  # fmt: skip
            labels.append(label)
    if kept:
        handles.append(Line2D([], [], color="black", marker="o", linestyle="", markersize=14))
        labels.append("epoch kept")
    style.legend_below(figure, handles, labels)


def _fall(name: str, history: History) -> str:
    """The numbers of a loss curve in words."""
    parts = []
    for key, part in (("loss", "training"), ("val_loss", "validation")):
        values = list(history.get(key, ()))
        if values:
            low = int(np.nanargmin(values))
            parts.append(
                f"{part} loss {style.number(values[0])} in epoch 1, "
                f"{style.number(values[-1])} in epoch {len(values)}"
                + (f", least {style.number(values[low])} in epoch {low + 1}"
                   if low not in (0, len(values) - 1) else "")
            )  # fmt: skip
    return f"{name}: {', '.join(parts)}"
