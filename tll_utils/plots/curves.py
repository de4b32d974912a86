"""Figures over a running quantity: epochs, sizes, distances. No curve hides another."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tll_utils.plots import style
from tll_utils.plots.picture import Picture, finish

History = Mapping[str, Sequence[float]]
Choices = int | tuple[int, int]


@style.styled
def training_curves(
    histories: Mapping[str, History],
    *,
    ylabel: str | Mapping[str, str],
    title: str | None = None,
    panels: bool = False,
    num_choices: Choices | Mapping[str, Choices] | None = None,
) -> Picture:
    """Draws the loss by epoch, from 1: training dashed, validation solid, a marker per run.

    Args:
        histories: For each run `loss` and, if there was a validation part, `val_loss`.
        ylabel: What the loss is, with its unit; with panels also one per run.
        title: What to see. Defaults to where each loss is least.
        panels: Whether each run gets a panel and axis of its own, as losses in different units
            must.
        num_choices: For softmax losses how many they choose from, n, or a pair of n for training
            and n for validation; one for all runs or one per run. Losses are then divided by
            log n, the loss of a guess, so that 1 = guessing.
    """
    choices = (
        num_choices if isinstance(num_choices, Mapping) else dict.fromkeys(histories, num_choices)
    )
    histories = {name: _relative(history, choices[name]) for name, history in histories.items()}
    names, guessing = list(histories), num_choices is not None
    groups = [[name] for name in names] if panels else [names]
    figure, grid = _panel_grid(len(groups))
    for ax, group in zip(grid.flat, groups, strict=False):
        unit = ylabel[group[0]] if isinstance(ylabel, Mapping) else ylabel
        unit += " / log n" if guessing else ""
        ax.set_ylabel(style.wrap(unit, 3.0 if panels else 3.6, 13))
        ax.set_title(group[0] if panels else "")
        _losses(ax, {name: histories[name] for name in group}, guessing=guessing)
    _run_legend(figure, [] if panels else names, histories, guessing=guessing)
    words = [_fall(name, history) for name, history in histories.items()]
    return finish(figure, title or _least(histories), f"Loss by epoch: {style.listing(words)}.")


@style.styled
def loss_and_metric_curves(
    histories: Mapping[str, History],
    *,
    metric: str = "val_top_2",
    metric_label: str = "validation top-2",
    title: str | None = None,
    best_epochs: Mapping[str, int] | None = None,
    chance: float | None = None,
) -> Picture:
    """Draws the loss beside a metric, by epoch, with a large dot on the epoch that is kept.

    Args:
        histories: For each run `loss`, `val_loss` if measured, and `metric`, a list each.
        metric: Key of the metric; higher = better.
        title: What to see. Defaults to the best epochs.
        best_epochs: For each run the epoch kept, from 1. Defaults to where the metric is highest.
        chance: What guessing would reach in the metric.
    """
    names = list(histories)
    best = {
        name: (best_epochs or {}).get(name, int(np.nanargmax(history[metric])) + 1)
        for name, history in histories.items()
    }
    figure, ((left, right),) = style.new(columns=2)
    _losses(left, histories)
    left.set_ylabel("loss")
    for index, (name, history) in enumerate(histories.items()):
        look = style.series(index, len(names))
        _epochs(right, history[metric], look, "-")
        top = history[metric][best[name] - 1]
        right.plot(best[name], top, look.marker, color=look.color,
                   markersize=look.markersize + 6, zorder=5)  # fmt: skip
        if len(names) <= 2:  # more would lie on each other; then the legend says the number
            right.annotate(style.share(top), (best[name], top), xytext=(0, 11),
                           textcoords="offset points", ha="center", fontweight="bold",
                           fontsize=style.SMALL, color=look.color, zorder=6)  # fmt: skip
    metrics = [value for history in histories.values() for value in history[metric]]
    style.epoch_axis(right, max(len(history[metric]) for history in histories.values()))
    right.set_ylabel(metric_label)
    style.share_axis(right.yaxis)
    right.set_ylim(0, max([*metrics, chance or 0]) * 1.18)
    if chance is not None:
        right.axhline(chance, color=style.CHANCE_COLOR, linestyle=":")
    shares = [style.share(history[metric][best[name] - 1]) for name, history in histories.items()]
    labels = names if len(names) <= 2 else list(map("{}: {}".format, names, shares))
    _run_legend(figure, labels, histories, guessing=chance is not None, kept=True)
    words = [
        f"{_fall(name, history)}; {metric_label} {style.share(history[metric][0])} in epoch 1, "
        f"{share} in epoch {best[name]}, which is kept"
        for (name, history), share in zip(histories.items(), shares, strict=True)
    ]
    default = "Best on validation: " + ", ".join(f"{n} in epoch {best[n]}" for n in names)
    return finish(figure, title or default, f"Loss and metric: {style.listing(words)}.")


@style.styled
def rank_by_scale(
    mean_ranks: style.Table, scales: Sequence[float], *, num_candidates: int, title: str
) -> Picture:
    """Draws the mean rank of the match against the side it was shrunk to, a line per row.

    Args:
        mean_ranks: Data frame or mapping, a row per system, a column per scale; 1 = best.
        scales: Side of the shrunk match, as a share.
        title: What to see.
    """
    rows = style.rows_of(mean_ranks)
    percent = np.multiply(scales, 100)
    guess = (num_candidates + 1) / 2
    figure, ((ax,),) = style.new()
    for index, (name, values) in enumerate(rows):
        look = style.series(index, len(rows))
        ax.plot(percent, values, marker=look.marker, color=look.color, label=name,
                linewidth=look.linewidth, markersize=look.markersize)  # fmt: skip
    ax.axhline(guess, color=style.CHANCE_COLOR, linestyle=":", label=f"chance, {guess:g}")
    ax.set(xlabel="side of the shrunk match, %", ylabel="mean rank, 1 = best")
    ax.set_xticks(percent, [f"{value:g}" for value in percent])
    ax.invert_xaxis()
    highest = max(guess, *(values.max() for _, values in rows))
    ax.set_ylim(highest + 0.8, 0.5)  # rank 1 at the top, where the best belongs
    style.legend_below(figure)
    words = [
        f"{name}: {', '.join(f'{v:.1f} at {p:g} %' for v, p in zip(values, percent, strict=True))}"
        for name, values in rows
    ]
    words.append(f"chance {guess:g}")
    return finish(figure, title, f"Mean rank of the match: {style.listing(words)}.")


@style.styled
def loss_curve_over_distance(
    losses: Mapping[str, Mapping[str, np.ndarray]],
    distances: np.ndarray,
    *,
    title: str,
    xlabel: str = "distance between the two embeddings",
) -> Picture:
    """Draws what each loss charges for a distance, in a panel per loss.

    Args:
        losses: For each loss, per kind of pair (`match`, `no match`) the loss, (d,).
        distances: (d,), rising.
        title: What to see.
    """
    distances = np.asarray(distances, float)
    figure, grid = _panel_grid(len(losses), sharex=True)
    words = []
    for ax, (name, kinds) in zip(grid.flat, losses.items(), strict=False):
        for index, (kind, values) in enumerate(kinds.items()):
            look = style.series(index, len(kinds))
            ax.plot(distances, values, ("-", "--", "-.", ":")[index % 4], color=look.color,
                    marker=look.marker, markersize=look.markersize, label=kind,
                    markevery=(index * 2, max(len(distances) // 7, 1)),
                    linewidth=look.linewidth)  # fmt: skip
            words.append(
                f"{name}, {kind}: {style.number(float(values[0]))} at "
                f"{style.number(distances[0])}, {style.number(float(values[-1]))} at "
                f"{style.number(distances[-1])}"
            )
        style.from_zero(ax, np.concatenate([np.ravel(values) for values in kinds.values()]))
        ax.set(
            title=name, ylabel="loss", xlabel=style.wrap(xlabel, figure.get_figwidth() / 3.2, 13)
        )
    style.legend_below(figure)
    return finish(figure, title, f"Loss by distance: {style.listing(words)}.")


def _losses(ax: Axes, histories: Mapping[str, History], *, guessing: bool = False) -> None:
    """Training and validation loss of some runs on one axis."""
    for index, history in enumerate(histories.values()):
        look = style.series(index, len(histories))
        for key, line in (("loss", "--"), ("val_loss", "-")):
            if key in history:
                _epochs(ax, history[key], look, line)
    if guessing:
        ax.axhline(1, color=style.CHANCE_COLOR, linestyle=":")
    values = [v for h in histories.values() for key in ("loss", "val_loss") for v in h.get(key, ())]
    style.epoch_axis(ax, max(len(history["loss"]) for history in histories.values()))
    style.from_zero(ax, np.array([*values, 1.0] if guessing else values))


def _epochs(ax: Axes, values: Sequence[float], look: style.Series, line: str) -> None:
    """One curve; of one or two epochs only dots with their numbers, for they make no curve."""
    epochs = range(1, len(values) + 1)
    validation = line == "-"
    ax.plot(
        epochs,
        values,
        linestyle=line if len(values) > 2 else "None",
        color=look.color,
        marker=look.marker,
        markersize=look.markersize,
        markerfacecolor=look.color if validation else "white",
        markevery=max(len(values) // 10, 1),
        linewidth=look.linewidth,
    )
    if len(values) <= 2:
        for epoch, value in zip(epochs, values, strict=True):
            ax.annotate(style.number(value), (epoch, value), xytext=(10, 0), va="center",
                        textcoords="offset points", fontsize=style.SMALL)  # fmt: skip


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
    guessing: bool,
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
    if guessing:
        handles.append(Line2D([], [], color=style.CHANCE_COLOR, linestyle=":"))
        labels.append("guessing")
    style.legend_below(figure, handles, labels)


def _relative(history: History, choices: Choices | None) -> dict[str, list[float]]:
    """The losses of a history, as shares of log n where n is given."""
    sizes = choices if isinstance(choices, tuple) else (choices, choices)
    for size in sizes:
        if size is not None and size < 2:
            raise ValueError(f"num_choices must be at least 2. Received: {size}")
    return {
        key: [float(value) / (math.log(size) if size else 1.0) for value in history[key]]
        for key, size in zip(("loss", "val_loss"), sizes, strict=True)
        if key in history
    }


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


def _least(histories: Mapping[str, History]) -> str:
    """Default title: where each loss that can judge a run is least."""
    key = "val_loss" if all("val_loss" in h for h in histories.values()) else "loss"
    part = "Validation" if key == "val_loss" else "Training"
    places = {name: int(np.nanargmin(h[key])) + 1 for name, h in histories.items()}
    if len(places) == 1:
        return f"{part} loss is least in epoch {next(iter(places.values()))}"
    return f"{part} loss is least in epoch " + ", ".join(f"{e} ({n})" for n, e in places.items())
