"""Figures of accuracies, counts and weights: rows, so that labels have room."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from tll_utils import scoring
from tll_utils.plots import style
from tll_utils.plots.picture import Picture, finish


@style.styled
def top_2_bars(
    hits: Mapping[str, np.ndarray],
    *,
    num_candidates: int,
    title: str,
    guess: float | None = None,
) -> Picture:
    """Draws the top-2 accuracy of each named system with its 95 % Wilson interval.

    Args:
        hits: For each system, bool (queries,): did the match rank first or second?
        num_candidates: How many candidates a query has; says what chance is.
        title: What to see.
        guess: The reader's own guess, made before: a line between diamonds.
    """
    labels = style.wrap_rows(hits)
    figure, ((ax,),) = style.new(height=1.7 + style.row_height(labels, 0.52) * len(hits))
    words = []
    for row, (name, hit) in enumerate(hits.items()):
        value, (low, high) = float(np.mean(hit)), scoring.wilson_interval(hit)
        error = [[max(value - low, 0)], [max(high - value, 0)]]
        ax.barh(row, value, 0.62, xerr=error, color=style.BLUE, alpha=0.75, edgecolor="white",
                error_kw={"linewidth": 1.6, "capsize": 4, "ecolor": style.BLACK})  # fmt: skip
        ax.text(min(high, 1) + 0.012, row, style.share(value), va="center", fontsize=style.SMALL,
                fontweight="bold", bbox=style.ON_WHITE, zorder=6)  # fmt: skip
        words.append(f"{name} {_in_words(value, low, high)}")
    if guess is not None:
        ax.plot([guess, guess], [-0.5, len(hits) - 0.5], "-.", color=style.VERMILION, linewidth=2.5,
                marker="D", markersize=9, markeredgecolor="black", zorder=4,
                label=f"your guess {style.share(guess)}")  # fmt: skip
        words.append(f"your guess {style.share(guess)}")
    ax.set_yticks(range(len(hits)), labels)
    return _finish_accuracy(figure, words, num_candidates, title)


@style.styled
def top_2_by_group(
    hits: Mapping[str, Mapping[str, np.ndarray]], *, num_candidates: int, title: str
) -> Picture:
    """Draws top-2 accuracy group by group, a dot with a 95 % interval per system.

    Args:
        hits: For each group, from the top, per system bool (queries,).
        num_candidates: How many candidates a query has; says what chance is.
        title: What to see.
    """
    systems = list(next(iter(hits.values())))
    figure, ((ax,),) = style.new(height=1.7 + len(hits) * (0.3 + 0.15 * len(systems)))
    words = []
    for index, system in enumerate(systems):
        look = style.series(index)
        means = np.array([np.mean(found[system]) for found in hits.values()])
        bounds = np.array([scoring.wilson_interval(found[system]) for found in hits.values()])
        places = np.arange(len(hits)) + (index - (len(systems) - 1) / 2) * 0.2
        ax.errorbar(means, places, xerr=np.abs(bounds.T - means), fmt=look.marker, label=system,
                    color=look.color, markersize=9, capsize=3, linewidth=1.8)  # fmt: skip
        words += [
            f"{group}, {system} {_in_words(mean, *bound)}"
            for group, mean, bound in zip(hits, means, bounds, strict=True)
        ]
    ax.set_yticks(range(len(hits)), style.wrap_rows(hits))
    ax.set_ylim(-0.5, len(hits) - 0.5)
    return _finish_accuracy(figure, words, num_candidates, title)


@style.styled
def histograms(
    values: Mapping[str, np.ndarray],
    *,
    xlabel: str,
    title: str,
    ylabel: str = "images",
) -> Picture:
    """Draws one outlined and hatched histogram per named array of numbers, on shared bins.

    Args:
        values: Arrays of any shape.
        xlabel: What the numbers are, with their unit.
        title: What to see.
    """
    arrays = {name: np.ravel(numbers) for name, numbers in values.items()}
    edges = np.histogram_bin_edges(np.concatenate([*arrays.values()]), 30)
    figure, ((ax,),) = style.new()
    words = []
    for index, (name, numbers) in enumerate(arrays.items()):
        look = style.series(index)
        ax.hist(numbers, edges, histtype="stepfilled", facecolor="none", edgecolor=look.color,
                hatch=style.HATCHES[index % 4], linewidth=0, alpha=0.45)  # fmt: skip
        ax.hist(numbers, edges, histtype="stepfilled", facecolor=to_rgba(look.color, 0.15),
                edgecolor=look.color, linewidth=look.linewidth, linestyle=("-", "--")[index % 2],
                label=name)  # fmt: skip
        words.append(
            f"{name}: {len(numbers):,} {ylabel}, median {style.number(float(np.median(numbers)))}, "
            f"from {style.number(numbers.min())} to {style.number(numbers.max())}"
        )
    ax.set(xlabel=xlabel, ylabel=ylabel)
    style.legend_below(figure)
    return finish(figure, title, f"Histogram of {xlabel}: {style.listing(words)}.")


@style.styled
def fold_bars(table: pd.DataFrame, *, xlabel: str, title: str) -> Picture:
    """Draws numbers that each fold has for itself: the mean as a bar, a dot per fold.

    Args:
        table: A row per bar, a column per fold.
        xlabel: What the numbers are.
        title: What to see.
    """
    means, even = table.mean(axis=1), table.to_numpy().mean()
    low, high = table.min(axis=1), table.max(axis=1)
    labels = style.wrap_rows(table.index)
    figure, ((ax,),) = style.new(height=1.7 + style.row_height(labels, 0.46) * len(table))
    ax.barh(range(len(table)), means, 0.62, color=style.SKY, label="mean")
    places = np.repeat(np.arange(len(table)), table.shape[1])
    ax.scatter(table.to_numpy().ravel(), places, 42, facecolor="white", edgecolor="black",
               zorder=3, label="one fold")  # fmt: skip
    ax.axvline(0, color="black", linewidth=1)
    ax.axvline(even, color=style.CHANCE_COLOR, linestyle=":", linewidth=2, label="if all were even")
    ax.set_yticks(range(len(table)), labels)
    for row, (mean, right) in enumerate(zip(means, high, strict=True)):
        ax.text(max(right, 0) + 0.02 * high.max(), row, style.share(mean), va="center",
                fontsize=style.SMALL, bbox=style.ON_WHITE, zorder=6)  # fmt: skip
    ax.set_xlim(min(low.min() * 1.05, 0), high.max() * 1.12)
    ax.invert_yaxis()
    ax.set_xlabel(xlabel)
    style.share_axis(ax.xaxis)
    style.legend_below(figure)
    words = [
        f"{name} {style.share(means[name])} (folds {style.share(low[name])} to "
        f"{style.share(high[name])})"
        for name in table.index
    ]
    return finish(figure, title, f"{xlabel.capitalize()}: {style.listing(words)}.")


def _in_words(value: float, low: float, high: float) -> str:
    return f"{style.share(value)} ({style.share(low)} to {style.share(high)})"


def _finish_accuracy(
    figure: Figure, words: Sequence[str], num_candidates: int, title: str
) -> Picture:
    """Scales the axis of accuracies, marks chance, and says all in words."""
    (ax,) = figure.axes
    chance = min(1.0, 2 / num_candidates)
    ax.axvline(chance, color=style.CHANCE_COLOR, linestyle=":", linewidth=2,
               label=f"chance {style.share(chance)}")  # fmt: skip
    ax.set(xlim=(0, 1.06), xlabel="top-2 accuracy, 95 % interval")
    ax.set_xticks(np.linspace(0, 1, 6))
    style.share_axis(ax.xaxis)
    ax.invert_yaxis()
    style.legend_below(figure)
    text = f"Top-2 accuracy with 95 % interval: {style.listing(words)}."
    return finish(figure, title, f"{text} Chance {style.share(chance)}.")
