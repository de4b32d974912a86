"""Figures of accuracies, counts and weights: horizontal bars, so that labels have room."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from tll_utils import scoring
from tll_utils.plots import style
from tll_utils.plots.picture import Picture, finish

_ERROR = {"linewidth": 1.6, "capsize": 4, "ecolor": style.BLACK}


@style.styled
def top_2_bars(
    hits: Mapping[str, np.ndarray],
    *,
    num_candidates: int,
    title: str,
    guess: float | Mapping[str, float] | None = None,
) -> Picture:
    """Draws the top-2 accuracy of each named system with its 95 % Wilson interval.

    Args:
        hits: For each system, bool (queries,): did the match rank first or second?
        num_candidates: How many candidates a query has; says what chance is.
        title: What to see.
        guess: The reader's own guess, made before: one for the best of all, a line
            between diamonds, or one for each of some systems, diamonds.
    """
    names = list(hits)
    labels = style.wrap_rows(names)
    figure, ((ax,),) = style.new(height=1.7 + style.row_height(labels, 0.52) * len(hits))
    words = []
    for row, (name, hit) in enumerate(hits.items()):
        words.append(f"{name} {_bar(ax, row, hit, style.series(0), written=True)}")
    if guess is not None and not isinstance(guess, Mapping):
        ax.plot([guess, guess], [-0.5, len(hits) - 0.5], "-.", color=style.VERMILION, linewidth=2.5,
                marker="D", markersize=9, markeredgecolor="black", zorder=4,
                label=f"your guess {style.share(guess)}")  # fmt: skip
        words.append(f"your guess {style.share(guess)}")
    guesses = guess if isinstance(guess, Mapping) else {}
    for index, (name, value) in enumerate(guesses.items()):
        ax.plot(value, names.index(name), "D", color=style.ORANGE, markersize=11, zorder=4,
                markeredgecolor="black", label="your guess" if index == 0 else None)  # fmt: skip
        words.append(f"your guess for {name} {style.share(value)}")
    ax.set_yticks(range(len(hits)), labels)
    _finish_accuracy(ax, num_candidates)
    style.legend_below(figure)
    return finish(figure, title, _accuracy_words(words, num_candidates))


@style.styled
def top_2_by_group(
    hits: Mapping[str, np.ndarray],
    groups: np.ndarray,
    *,
    num_candidates: int,
    title: str,
) -> Picture:
    """Draws top-2 accuracy group by group, one hatched bar with a 95 % interval per system.

    Args:
        hits: For each system, bool (queries,).
        groups: (queries,), the name of each query's group. The easiest for the first system
            comes first.
        title: What to see.
    """
    groups = np.asarray(groups)
    first = next(iter(hits.values()))
    names = sorted(np.unique(groups), key=lambda name: -np.mean(first[groups == name]))
    height = 0.82 / len(hits)
    figure, ((ax,),) = style.new(height=1.7 + 0.34 * len(names) * len(hits) + 0.1 * len(names))
    words = []
    for index, (system, hit) in enumerate(hits.items()):
        for row, name in enumerate(names):
            place = row + (index - (len(hits) - 1) / 2) * height
            text = _bar(ax, place, hit[groups == name], style.series(index), height=height,
                        label=system if row == 0 else None)  # fmt: skip
            words.append(f"{name}, {system} {text}")
    counts = [np.sum(groups == name) for name in names]
    labels = [f"{name} ({n})" for name, n in zip(names, counts, strict=True)]
    ax.set_yticks(range(len(names)), style.wrap_rows(labels))
    _finish_accuracy(ax, num_candidates)
    style.legend_below(figure)
    return finish(figure, title, _accuracy_words(words, num_candidates))


@style.styled
def top_2_by_layer(
    hits: Mapping[tuple[str, str], Mapping[str, np.ndarray]],
    *,
    num_candidates: int,
    title: str,
) -> Picture:
    """Draws top-2 accuracy with 95 % intervals from the shallowest layer, on top, to the deepest.

    Args:
        hits: For each (backbone, layer), per way of using it bool (queries,). A panel each for
            the backbones.
        title: What to see.
    """
    names = list(dict.fromkeys(backbone for backbone, _ in hits))
    columns = min(len(names), 2)
    rows = -(-len(names) // columns)
    most = max(sum(backbone == name for backbone, _ in hits) for name in names)
    ways = len(next(iter(hits.values())))
    height = rows * (1.3 + most * (0.3 + 0.15 * ways))
    figure, grid = style.new(height=height + 0.8, rows=rows, columns=columns, sharex=True)
    words = []
    for ax in list(grid.flat)[len(names) :]:
        ax.axis("off")
    for ax, name in zip(grid.flat, names, strict=False):
        layers = {layer: by_way for (backbone, layer), by_way in hits.items() if backbone == name}
        words += [f"{name}, {text}" for text in _layer_dots(ax, layers)]
        ax.set_title(name)
        _finish_accuracy(ax, num_candidates)
    style.legend_below(figure)
    return finish(figure, title, _accuracy_words(words, num_candidates))


@style.styled
def histograms(
    values: Mapping[str, np.ndarray],
    *,
    xlabel: str,
    title: str,
    ylabel: str = "images",
    bins: int = 30,
) -> Picture:
    """Draws one outlined and hatched histogram per named array of numbers, on shared bins.

    Args:
        values: Arrays of any shape.
        xlabel: What the numbers are, with their unit.
        title: What to see.
    """
    arrays = {name: np.ravel(numbers) for name, numbers in values.items()}
    edges = np.histogram_bin_edges(np.concatenate([*arrays.values()]), bins)
    figure, ((ax,),) = style.new()
    words = []
    for index, (name, numbers) in enumerate(arrays.items()):
        look = style.series(index)
        hatch = ("//", "..", "\\\\", "xx")[index % 4] if len(arrays) > 1 else ""
        ax.hist(numbers, edges, histtype="stepfilled", facecolor="none", edgecolor=look.color,
                hatch=hatch, linewidth=0, alpha=0.45)  # fmt: skip
        ax.hist(numbers, edges, histtype="stepfilled", facecolor=(*_rgb(look.color), 0.15),
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
def tap_shares(shares: Sequence[Mapping[str, float]], *, title: str | None = None) -> Picture:
    """Draws how much each tap adds to the likeness of matches: the mean as a bar, a dot per fold.

    Args:
        shares: For each fold, tap → share, shallow to deep; they sum to 1.
        title: What to see. Defaults to the largest share.
    """
    names = list(shares[0])
    values = np.array([[fold[name] for fold in shares] for name in names])
    largest = int(values.mean(axis=1).argmax())
    default = (
        f"{names[largest]} carries most: {style.share(values[largest].mean())} of the likeness"
    )
    return _mean_bars(
        names, values, xlabel="share of the similarity of matched images", title=title or default,
        even=1 / len(names), even_label="all alike",
    )  # fmt: skip


@style.styled
def weights(
    table: style.Table, *, title: str | None = None, xlabel: str = "weight in the vote"
) -> Picture:
    """Draws the weight of each member of an ensemble: the mean as a bar, a dot per fold.

    Args:
        table: Data frame or mapping, a row per member, a number per fold.
        title: What to see. Defaults to the heaviest member.
    """
    rows = style.rows_of(table)
    rows.sort(key=lambda row: -row[1].mean())
    names = [name for name, _ in rows]
    values = np.array([np.atleast_1d(numbers) for _, numbers in rows])
    default = f"{names[0]} weighs most: {style.share(values[0].mean())}"
    total = values.mean(axis=1).sum()
    return _mean_bars(
        names, values, xlabel=xlabel, title=title or default, even=total / len(names),
        even_label="equal weights",
    )  # fmt: skip


def _mean_bars(
    names: Sequence[str], values: np.ndarray, *, xlabel: str, title: str, even: float,
    even_label: str,
) -> Picture:  # fmt: skip
    """values: (names, folds)."""
    means = values.mean(axis=1)
    labels = style.wrap_rows(names)
    figure, ((ax,),) = style.new(height=1.7 + style.row_height(labels, 0.46) * len(names))
    ax.barh(range(len(names)), means, 0.62, color=style.SKY, label="mean")
    if values.shape[1] > 1:
        places = np.repeat(np.arange(len(names)), values.shape[1])
        ax.scatter(values.ravel(), places, 42, facecolor="white", edgecolor="black", zorder=3,
                   label="one fold")  # fmt: skip
    ax.axvline(0, color="black", linewidth=1)
    ax.axvline(even, color=style.CHANCE_COLOR, linestyle=":", linewidth=2, label=even_label)
    ax.set_yticks(range(len(names)), labels)
    reach = np.maximum(values.max(axis=1), 0)
    room = 0.02 * max(reach.max(), 1e-9)
    for row, (mean, right) in enumerate(zip(means, reach, strict=True)):
        ax.text(right + room, row, style.share(mean), va="center", fontsize=style.SMALL,
                bbox=style.ON_WHITE, zorder=6)  # fmt: skip
    ax.set_xlim(min(values.min() * 1.05, 0), reach.max() * 1.12)
    ax.invert_yaxis()
    ax.set_xlabel(xlabel)
    style.share_axis(ax.xaxis)
    style.legend_below(figure)
    words = [
        f"{name} {style.share(mean)}"
        + (f" (folds {style.share(row.min())} to {style.share(row.max())})" if len(row) > 1 else "")
        for name, mean, row in zip(names, means, values, strict=True)
    ]
    return finish(figure, title, f"{xlabel.capitalize()}: {style.listing(words)}.")


def _layer_dots(ax: Axes, layers: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """A line per way through the layers; the ways stand beside each other, none on another."""
    ways = list(next(iter(layers.values())))
    words = []
    for index, way in enumerate(ways):
        look = style.series(index)
        series = [by_way[way] for by_way in layers.values()]
        means = np.array([np.mean(hit) for hit in series])
        bounds = np.array([scoring.wilson_interval(hit) for hit in series])
        places = np.arange(len(series)) + (index - (len(ways) - 1) / 2) * 0.2
        ax.errorbar(means, places, xerr=np.abs(bounds.T - means), fmt=look.marker, label=way,
                    color=look.color, markersize=8, capsize=3, linewidth=1.6)  # fmt: skip
        ax.plot(means, places, color=look.color, linewidth=1, alpha=0.6)
        words += [
            f"{layer}, {way} {style.share(mean)}" for layer, mean in zip(layers, means, strict=True)
        ]
    ax.set_yticks(range(len(layers)), style.wrap_rows(list(layers), 1.9))
    return words


def _bar(
    ax: Axes, place: float, hits: np.ndarray, look: style.Series, *, label: str | None = None,
    height: float = 0.62, written: bool = False,
) -> str:  # fmt: skip
    """Draws an accuracy with its interval, and returns both in words."""
    value, (low, high) = float(np.mean(hits)), scoring.wilson_interval(hits)
    error = [[max(value - low, 0)], [max(high - value, 0)]]
    ax.barh(place, value, height, xerr=error, color=look.color, alpha=0.75, hatch=look.hatch,
            edgecolor="white", label=label, error_kw=_ERROR)  # fmt: skip
    if written:
        ax.text(min(high, 1) + 0.012, place, style.share(value), va="center",
                fontsize=style.SMALL, fontweight="bold", bbox=style.ON_WHITE, zorder=6)  # fmt: skip
    return f"{style.share(value)} ({style.share(low)} to {style.share(high)})"


def _finish_accuracy(ax: Axes, num_candidates: int) -> None:
    chance = min(1.0, 2 / num_candidates)
    ax.axvline(chance, color=style.CHANCE_COLOR, linestyle=":", linewidth=2,
               label=f"chance {style.share(chance)}")  # fmt: skip
    ax.set(xlim=(0, 1.06), xlabel="top-2 accuracy, 95 % interval")
    ax.set_xticks(np.linspace(0, 1, 6))
    style.share_axis(ax.xaxis)
    ax.invert_yaxis()


def _accuracy_words(words: Sequence[str], num_candidates: int) -> str:
    chance = style.share(min(1.0, 2 / num_candidates))
    return f"Top-2 accuracy with 95 % interval: {style.listing(words)}. Chance {chance}."


def _rgb(color: str) -> tuple[float, ...]:
    return tuple(int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
