"""Every figure of the notebooks: takes arrays, returns a Matplotlib figure, loads nothing.

The returned figure is closed already, so that a notebook shows it once, as a cell's value.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tll_utils import scoring

COLORS = ("#2f8583", "#e8755a", "#4a7fa7", "#e3a93c", "#6b3f5c", "#8a8b4a", "#dd8fa0", "#55505c")
_IMAGE_DPI = 80  # images are small; a notebook full of them should be, too
MATCH_COLOR, OTHER_COLOR, CHANCE_COLOR = COLORS[0], "#c9c4bc", COLORS[-1]


def pair_grid(
    lefts: Sequence[np.ndarray],
    rights: Sequence[np.ndarray],
    *,
    titles: Sequence[str] = (),
    columns: int = 5,
) -> Figure:
    """Shows pairs of images, left and right side by side, `columns` pairs in a row.

    lefts, rights: equally many images, uint8 (h, w) or (h, w, 3).
    """
    columns = min(columns, len(lefts))
    rows = -(-len(lefts) // columns)
    figure, axes = plt.subplots(
        rows,
        3 * columns,
        width_ratios=[1, 1, 0.12] * columns,  # the two of a pair stand close, pairs apart
        figsize=(2.4 * columns, (1.6 if titles else 1.42) * rows),
        dpi=_IMAGE_DPI,
        layout="constrained",
        squeeze=False,
    )
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.03, wspace=0, hspace=0)
    for ax in axes.flat:
        ax.axis("off")
    for index in range(len(lefts)):
        pair = axes.reshape(-1, 3)[index]
        _show(pair[0], lefts[index])
        _show(pair[1], rights[index])
        if titles:
            pair[0].set_title(titles[index], fontsize=9, loc="left")
    return _finish(figure)


def image_mosaic(
    images: Sequence[np.ndarray], *, titles: Sequence[str] = (), columns: int = 10
) -> Figure:
    """Shows images, uint8 (h, w) or (h, w, 3), `columns` in a row."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(1.25 * columns, (1.75 if titles else 1.55) * rows),
        dpi=_IMAGE_DPI,
        layout="constrained",
        squeeze=False,
    )
    for index, ax in enumerate(axes.flat):
        if index < len(images):
            _show(ax, images[index], title=titles[index] if titles else "")
        else:
            ax.axis("off")
    return _finish(figure)


def candidate_row(
    query: np.ndarray,
    candidates: Sequence[np.ndarray],
    scores: np.ndarray,
    true_place: int | None,
    *,
    num_shown: int = 8,
) -> Figure:
    """Shows a query and its candidates by score, best first; see `candidate_rows`."""
    places = None if true_place is None else [true_place]
    return candidate_rows([query], [candidates], [scores], places, num_shown=num_shown)


def candidate_rows(
    queries: Sequence[np.ndarray],
    candidates: Sequence[Sequence[np.ndarray]],
    scores: Sequence[np.ndarray],
    true_places: Sequence[int] | None,
    *,
    num_shown: int = 8,
    labels: Sequence[str] = (),
) -> Figure:
    """Shows queries leftmost, then their candidates by score, titled `rank · score`.

    The match is framed and labelled. Where it ranks below what is shown, it takes the last
    place of the row, under its own rank.

    Args:
        queries: Images, uint8 (h, w) or (h, w, 3).
        candidates: For each query its m candidate images.
        scores: (queries, m), higher = more alike. Ties count against the match.
        true_places: For each query the place of its match among the candidates, if known.
        labels: Titles of the queries. Defaults to "query".
    """
    num_shown = min(num_shown, len(candidates[0]))
    figure, axes = plt.subplots(
        len(queries),
        num_shown + 1,
        figsize=(1.25 * (num_shown + 1), 1.95 * len(queries)),
        dpi=_IMAGE_DPI,
        layout="constrained",
        squeeze=False,
    )
    for index, row in enumerate(axes):
        _show(row[0], queries[index], title=labels[index] if labels else "query")
        _frame(row[0], CHANCE_COLOR)
        match = None if true_places is None else int(true_places[index])
        order = _by_score(scores[index], match)
        shown = list(range(num_shown))
        if match is not None and order.index(match) >= num_shown:
            shown[-1] = order.index(match)
        for ax, rank in zip(row[1:], shown, strict=True):
            place = order[rank]
            _show(ax, candidates[index][place], title=f"{rank + 1} · {scores[index][place]:.2f}")
            if place == match:
                _frame(ax, MATCH_COLOR)
                ax.set_xlabel("match", color=MATCH_COLOR, fontsize=9, fontweight="bold")
    return _finish(figure)


def histograms(
    values: Mapping[str, np.ndarray], *, xlabel: str, ylabel: str = "images", bins: int = 30
) -> Figure:
    """Draws one outlined histogram per named array of numbers, on shared bins."""
    edges = np.histogram_bin_edges(np.concatenate([*map(np.ravel, values.values())]), bins)
    figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
    for (name, numbers), color in zip(values.items(), COLORS, strict=False):
        ax.hist(np.ravel(numbers), edges, histtype="stepfilled", color=color, alpha=0.25)
        ax.hist(np.ravel(numbers), edges, histtype="step", color=color, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(frameon=False)
    return _finish(figure)


def scatter(x: np.ndarray, y: np.ndarray, *, xlabel: str, ylabel: str) -> Figure:
    """Draws one dot per pair, on equal axes, with the diagonal on which both agree."""
    figure, ax = plt.subplots(figsize=(3.8, 3.8), layout="constrained")
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    ax.plot([low, high], [low, high], color=OTHER_COLOR, zorder=0)
    ax.scatter(x, y, s=10, color=COLORS[0], alpha=0.6, linewidths=0)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=f"r = {np.corrcoef(x, y)[0, 1]:.2f}")
    return _finish(figure)


def swatches(palettes: Sequence[np.ndarray], *, titles: Sequence[str] = ()) -> Figure:
    """Shows palettes, each uint8 (colours, 3), as strips of colour."""
    strips = [np.asarray(palette, np.uint8)[None] for palette in palettes]
    figure, axes = plt.subplots(
        len(strips), 1, figsize=(6, 0.55 * len(strips)), layout="constrained", squeeze=False
    )
    for index, ax in enumerate(axes[:, 0]):
        ax.imshow(strips[index], aspect="auto")
        ax.set(xticks=[], yticks=[])
        if titles:
            ax.set_ylabel(titles[index], rotation=0, ha="right", va="center", fontsize=9)
    return _finish(figure)


def top_2_bars(hits: Mapping[str, np.ndarray], *, num_candidates: int, title: str = "") -> Figure:
    """Draws the top-2 accuracy of each named system with its 95 % Wilson interval.

    hits: for each system, bool (queries,): did the match rank first or second?
    """
    figure, ax = plt.subplots(figsize=(6, 0.5 + 0.42 * len(hits)), layout="constrained")
    for row, (name, hit) in enumerate(hits.items()):
        _bar(ax, row, hit, color=COLORS[0], label=name)
    ax.set_yticks(range(len(hits)), list(hits))
    ax.invert_yaxis()
    _mark_chance(ax, num_candidates)
    ax.set(xlabel="top-2 accuracy", title=title)
    return _finish(figure)


def top_2_by_group(
    hits: Mapping[str, np.ndarray], groups: np.ndarray, *, num_candidates: int
) -> Figure:
    """Draws top-2 accuracy group by group, one bar with a 95 % interval per named system.

    hits: for each system, bool (queries,). groups: (queries,), the name of each one's group.
    """
    names = sorted(
        set(groups), key=lambda name: -np.mean(next(iter(hits.values()))[groups == name])
    )
    height = 0.8 / len(hits)
    figure, ax = plt.subplots(
        figsize=(6, 0.8 + 0.25 * len(names) * len(hits)), layout="constrained"
    )
    for index, (system, hit) in enumerate(hits.items()):
        for row, name in enumerate(names):
            label = system if row == 0 else None
            place = row + (index - (len(hits) - 1) / 2) * height
            _bar(ax, place, hit[groups == name], color=COLORS[index], label=label, height=height)
    counts = [np.sum(groups == name) for name in names]
    ax.set_yticks(
        range(len(names)), [f"{name} ({n})" for name, n in zip(names, counts, strict=True)]
    )
    ax.invert_yaxis()
    _mark_chance(ax, num_candidates)
    ax.set_xlabel("top-2 accuracy")
    ax.legend(frameon=False, loc="lower right")
    return _finish(figure)


def top_2_by_layer(
    hits: Mapping[tuple[str, str], Mapping[str, np.ndarray]], *, num_candidates: int
) -> Figure:
    """Draws top-2 accuracy from the shallowest to the deepest layer, one panel per backbone.

    hits: for each (backbone, layer), per way of using it bool (queries,). Bands: 95 % Wilson.
    """
    names = list(dict.fromkeys(backbone for backbone, _ in hits))
    figure, axes = plt.subplots(
        1, len(names), figsize=(4.2 * len(names), 3.6), layout="constrained", sharey=True,
        squeeze=False,
    )  # fmt: skip
    for ax, name in zip(axes[0], names, strict=True):
        by_layer = {layer: ways for (backbone, layer), ways in hits.items() if backbone == name}
        places = range(len(by_layer))
        for color, way in zip(COLORS, next(iter(by_layer.values())), strict=False):
            series = [ways[way] for ways in by_layer.values()]
            bounds = np.transpose([scoring.wilson_interval(hit) for hit in series])
            ax.plot(places, [np.mean(hit) for hit in series], "o-", color=color, label=way)
            ax.fill_between(places, *bounds, color=color, alpha=0.15, linewidth=0)
        ax.axhline(min(1.0, 2 / num_candidates), color=CHANCE_COLOR, linestyle=":", label="chance")
        ax.set_xticks(places, list(by_layer), rotation=40, ha="right", fontsize=8)
        ax.set_title(name)
    axes[0, 0].set(ylabel="top-2 accuracy", ylim=(0, None))
    axes[0, -1].legend(frameon=False, fontsize=8)
    return _finish(figure)


def training_curves(
    histories: Mapping[str, Mapping[str, Sequence[float]]], *, ylabel: str
) -> Figure:
    """Draws the loss by epoch, from 1: training dashed, validation solid, a colour per run.

    histories: for each run, `loss` and, if there was a validation part, `val_loss`.
    """
    figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for color, (name, history) in zip(COLORS, histories.items(), strict=False):
        for key, style, part in (("loss", "--", "training"), ("val_loss", "-", "validation")):
            if key in history:
                epochs = range(1, len(history[key]) + 1)
                ax.plot(epochs, history[key], style, color=color, label=f"{name}, {part}")
    ax.set(xlabel="epoch", ylabel=ylabel)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False, fontsize=8)
    return _finish(figure)


def loss_and_top_2_curves(
    histories: Mapping[str, Sequence[Mapping[str, float]]], *, best_epochs: Mapping[str, int]
) -> Figure:
    """Draws training loss (dashed) beside validation top-2 (solid), with a dot on the kept epoch.

    histories: for each run one dict per epoch with `epoch` from 1, `loss`, `val_top_2_accuracy`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    panels = (("loss", "--", "training loss"), ("val_top_2_accuracy", "-", "validation top-2"))
    for color, (name, history) in zip(COLORS, histories.items(), strict=False):
        epochs = [record["epoch"] for record in history]
        for ax, (key, style, ylabel) in zip(axes, panels, strict=True):
            ax.plot(epochs, [record[key] for record in history], style, color=color, label=name)
            ax.set(xlabel="epoch", ylabel=ylabel)
            ax.xaxis.get_major_locator().set_params(integer=True)
        best = best_epochs[name]
        axes[1].plot(best, history[best - 1]["val_top_2_accuracy"], "o", color=color)
    axes[1].legend(frameon=False, fontsize=8)
    return _finish(figure)


def rank_by_scale(mean_ranks, scales: Sequence[float], *, num_candidates: int) -> Figure:
    """Draws the mean rank of the match against the side it was shrunk to, a line per row.

    mean_ranks: data frame, a row per system, a column per scale; 1 = best.
    """
    figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for color, (name, values) in zip(COLORS, mean_ranks.iterrows(), strict=False):
        ax.plot(np.multiply(scales, 100), values, "o-", color=color, label=name)
    ax.axhline((num_candidates + 1) / 2, color=CHANCE_COLOR, linestyle=":", label="chance")
    ax.set(xlabel="side of the shrunk match, %", ylabel="mean rank, 1 = best")
    ax.invert_xaxis()
    ax.legend(frameon=False, fontsize=8)
    return _finish(figure)


def heat_map(
    values: np.ndarray, names: Sequence[str], *, label: str, limits: tuple[float, float] = (0, 1)
) -> Figure:
    """Draws a square table of numbers between named systems, each cell coloured and written out.

    values: float (systems, systems). label: what the numbers are.
    """
    side = 1.6 + 0.5 * len(names)
    figure, ax = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
    shades = ax.imshow(values, cmap="GnBu", vmin=limits[0], vmax=limits[1])
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    _write_cells(ax, values, "{:.2f}", dark_from=limits[0] + 0.6 * (limits[1] - limits[0]))
    figure.colorbar(shades, label=label, shrink=0.8)
    return _finish(figure)


def rank_changes(before: np.ndarray, after: np.ndarray, *, num_candidates: int) -> Figure:
    """Draws how many matches went from which rank to which; above the diagonal they rose.

    before, after: int (queries,), rank of the match, 1 = best.
    """
    edges = np.array([edge for edge in (1, 2, 3, 6, 11) if edge <= num_candidates])
    last = [*(edges[1:] - 1), num_candidates]
    names = [
        f"{low}" if low == high else f"{low}–{high}" for low, high in zip(edges, last, strict=True)
    ]
    counts = np.zeros((len(edges), len(edges)), int)
    row, column = (np.searchsorted(edges, ranks, side="right") - 1 for ranks in (after, before))
    np.add.at(counts, (row, column), 1)
    # Most matches stay in the first cell: the shades are for the others.
    brightest = max(np.sort(counts.ravel())[-2] * 1.5, 1)
    figure, ax = plt.subplots(figsize=(4.2, 3.8), layout="constrained")
    ax.imshow(counts, cmap="GnBu", vmin=0, vmax=brightest)
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    for place in range(len(names)):
        ax.add_patch(plt.Rectangle((place - 0.5, place - 0.5), 1, 1, fill=False, ec=CHANCE_COLOR))
    _write_cells(ax, counts, "{:d}", dark_from=0.6 * brightest)
    ax.set(xlabel="rank of the match before", ylabel="rank after")
    return _finish(figure)


def tap_shares(shares: Sequence[Mapping[str, float]]) -> Figure:
    """Draws how much each tap adds to the likeness of matches: the mean as a bar, a dot per fold.

    shares: for each fold, tap → share, shallow to deep; they sum to 1.
    """
    names = list(shares[0])
    values = np.array([[fold[name] for name in names] for fold in shares])
    figure, ax = plt.subplots(figsize=(6, 0.9 + 0.3 * len(names)), layout="constrained")
    ax.barh(range(len(names)), values.mean(axis=0), 0.6, color=COLORS[0])
    places = np.tile(np.arange(len(names)), len(shares))
    ax.scatter(values.ravel(), places, 12, "#333333", zorder=2, label="one fold")
    ax.axvline(0, color="#333333", linewidth=0.8)
    ax.axvline(1 / len(names), color=CHANCE_COLOR, linestyle=":", label="all alike")
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel("share of the similarity of matched images")
    ax.legend(frameon=False, ncols=2, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1))
    return _finish(figure)


def _write_cells(ax: Axes, values: np.ndarray, form: str, *, dark_from: float) -> None:
    for (row, column), value in np.ndenumerate(values):
        color = "white" if value >= dark_from else "black"
        text = form.format(value)
        ax.text(column, row, text, ha="center", va="center", fontsize=8, color=color)


def _bar(ax: Axes, place: float, hits: np.ndarray, *, color: str, label=None, height=0.6) -> None:
    value, (low, high) = np.mean(hits), scoring.wilson_interval(hits)
    error = [[value - low], [high - value]]
    ax.barh(place, value, height, xerr=error, color=color, ecolor="#333333", label=label,
            error_kw={"linewidth": 1, "capsize": 2})  # fmt: skip


def _mark_chance(ax: Axes, num_candidates: int) -> None:
    chance = min(1.0, 2 / num_candidates)
    ax.axvline(chance, color=CHANCE_COLOR, linestyle=":", label=f"chance {chance:.2f}")
    ax.set_xlim(0, 1)


def _by_score(scores: np.ndarray, match: int | None) -> list[int]:
    """Places from the best score down; the match comes after those it ties with."""
    scores = np.asarray(scores)
    is_match = np.arange(len(scores)) == (-1 if match is None else match)
    return np.lexsort((is_match, -scores)).tolist()


def _show(ax: Axes, image: np.ndarray, *, title: str = "") -> None:
    ax.axis("on")
    ax.imshow(image, cmap="gray" if np.ndim(image) == 2 else None)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=9)
    ax.spines[:].set_visible(False)


def _frame(ax: Axes, color: str) -> None:
    ax.spines[:].set(visible=True, color=color, linewidth=3)


def _finish(figure: Figure) -> Figure:
    """Takes the figure from pyplot, which would show it a second time."""
    plt.close(figure)
    return figure
