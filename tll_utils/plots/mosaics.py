"""Figures that show images: pairs, mosaics, candidates by score, palettes, first-layer filters."""

from collections.abc import Collection, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tll_utils.plots import style
from tll_utils.plots.picture import Picture, finish

_MAX_COLUMNS = 8  # more would make thumbnails that the last row can't see
_LINE = 0.24  # inches that a line of small type takes


@style.styled
def pair_grid(
    lefts: Sequence[np.ndarray],
    rights: Sequence[np.ndarray],
    *,
    title: str,
    titles: Sequence[str] = (),
    columns: int = 4,
) -> Picture:
    """Shows pairs of images, left and right side by side, numbered, `columns` pairs in a row.

    Args:
        lefts, rights: Equally many images, (h, w) or (h, w, 3) in [0, 255].
        title: What to see.
        titles: One per pair; without them pairs are numbered.
        columns: At most 4.
    """
    _check_count(lefts)
    titles = _titles(titles, len(lefts)) or [str(n) for n in range(1, len(lefts) + 1)]
    columns = min(columns, len(lefts), _MAX_COLUMNS // 2)
    side = min(style.WIDTH / (2.15 * columns), 1.9)
    rows = -(-len(lefts) // columns)
    lines = _num_lines(titles, 2 * side)
    height = side * _aspect([*lefts, *rights]) + lines * _LINE + 0.1
    figure = _blank(max(2.15 * side * columns, 6), height * rows)
    grid = figure.add_gridspec(rows, 3 * columns, width_ratios=[1, 1, 0.15] * columns)
    for index, (left, right) in enumerate(zip(lefts, rights, strict=True)):
        row, column = divmod(index, columns)
        first = figure.add_subplot(grid[row, 3 * column])
        show(first, left)
        show(figure.add_subplot(grid[row, 3 * column + 1]), right)
        first.set_title(style.wrap(titles[index], 2 * side), fontsize=style.SMALL)
    return finish(
        figure, title, f"{len(lefts)} pairs of images: {style.listing(titles)}.", photo=True
    )


@style.styled
def image_mosaic(
    images: Sequence[np.ndarray],
    *,
    title: str,
    titles: Sequence[str] = (),
    columns: int = 6,
    marked: Collection[int] = (),
    mark: str = "match",
) -> Picture:
    """Shows images, at most 8 in a row.

    Args:
        images: Each (h, w) or (h, w, 3) in [0, 255].
        title: What to see.
        titles: One per image.
        marked: Places of images that are framed and labeled with `mark`.
    """
    _check_count(images)
    titles = _titles(titles, len(images))
    columns = min(columns, len(images), _MAX_COLUMNS)
    rows = -(-len(images) // columns)
    side = min(style.WIDTH / columns, 1.9)
    lines = _num_lines(titles, side) + bool(marked)
    height = side * _aspect(images) + lines * _LINE + 0.1
    figure = _blank(max(side * columns, 6), height * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    for index, ax in enumerate(axes.flat):
        if index >= len(images):
            ax.axis("off")
            continue
        show(ax, images[index], title=style.wrap(titles[index], side) if titles else "")
        if index in marked:
            frame(ax, style.MATCH_COLOR, mark)
    words = f"{len(images)} images, {columns} in a row"
    words += f": {style.listing(titles)}." if titles else "."
    if marked:
        names = titles or [f"number {n + 1}" for n in range(len(images))]
        words += f" {mark.capitalize()}: {', '.join(names[n] for n in sorted(marked))}."
    return finish(figure, title, words, photo=True)


def candidate_row(
    query: np.ndarray,
    candidates: Sequence[np.ndarray],
    scores: np.ndarray,
    true_place: int | None,
    *,
    title: str | None = None,
    num_shown: int = 8,
    numbers: bool = False,
) -> Picture:
    """Shows a query and its candidates by score, best first; see `candidate_rows`."""
    return candidate_rows(
        [query],
        [candidates],
        [scores],
        None if true_place is None else [true_place],
        title=title,
        num_shown=num_shown,
        numbers=numbers,
    )


@style.styled
def candidate_rows(
    queries: Sequence[np.ndarray],
    candidates: Sequence[Sequence[np.ndarray]],
    scores: Sequence[np.ndarray],
    true_places: Sequence[int] | None,
    *,
    title: str | None = None,
    num_shown: int = 8,
    labels: Sequence[str] = (),
    numbers: bool = False,
) -> Picture:
    """Shows queries leftmost, then their candidates by score, titled `rank · score`.

    The match is framed and labeled. Where it ranks below what is shown, it takes the last
    place of the row, under its own rank. Ties count against the match.

    Args:
        queries: Images, (h, w) or (h, w, 3) in [0, 255].
        candidates: For each query its m candidate images.
        scores: (queries, m), higher = more alike.
        true_places: For each query the place of its match among the candidates, if known.
        title: What to see. Defaults to how many matches rank first or second.
        labels: Titles of the queries. Defaults to "query".
        numbers: Whether to write each candidate's number, its place in the list from 1.
    """
    _check_count(queries)
    num_shown = min(num_shown, len(candidates[0]))
    names = _titles(labels, len(queries)) or [f"query {n + 1}" for n in range(len(queries))]
    labels = names if labels else ["query"] * len(queries)
    side = min(style.WIDTH / (num_shown + 1.2), 1.6)
    lines = 1 + numbers + (true_places is not None)
    height = side * _aspect([*queries, *candidates[0]]) + lines * _LINE + 0.2
    figure = _blank(max(side * (num_shown + 1.2), 6), height * len(queries))
    grid = figure.add_gridspec(len(queries), num_shown + 2, width_ratios=[1, 0.1] + num_shown * [1])
    words, ranks = [], []
    for row, query in enumerate(queries):
        match = None if true_places is None else int(true_places[row])
        order = _by_score(scores[row], match)
        rank = None if match is None else order.index(match) + 1
        ranks.append(rank)
        first = figure.add_subplot(grid[row, 0])
        show(first, query, title=style.wrap(labels[row], side))
        frame(first, style.BLACK)
        axes = [figure.add_subplot(grid[row, 2 + column]) for column in range(num_shown)]
        _ranked(axes, candidates[row], scores[row], order, match, numbers)
        words.append(f"{names[row]}: {_standing(scores[row], order, match, rank)}")
    default = "Candidates by score, best first"
    if true_places is not None:
        top = sum(rank is not None and rank <= 2 for rank in ranks)
        default = f"{top} of {len(ranks)} matches rank first or second"
    return finish(figure, title or default, f"{style.listing(words)}.", photo=True)


@style.styled
def swatches(palettes: Sequence[np.ndarray], *, title: str, titles: Sequence[str] = ()) -> Picture:
    """Shows palettes, each uint8 (colors, 3), as strips of color."""
    strips = [np.asarray(palette, np.uint8)[None] for palette in palettes]
    figure, axes = style.new(height=0.6 + 0.7 * len(strips), rows=len(strips))
    words = []
    for index, ax in enumerate(axes[:, 0]):
        ax.imshow(strips[index], aspect="auto")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        name = titles[index] if titles else f"palette {index + 1}"
        if titles:
            ax.set_ylabel(style.wrap(name, 2), rotation=0, ha="right", va="center")
        codes = " ".join("#{:02X}{:02X}{:02X}".format(*color) for color in strips[index][0])
        words.append(f"{name}: {codes}")
    return finish(figure, title, f"{style.listing(words)}.")


@style.styled
def filters(kernels: np.ndarray, *, title: str, columns: int = 12) -> Picture:
    """Shows first-layer filters as small images; middle gray = 0, each on its own scale.

    Args:
        kernels: (h, w, channels, filters), as Keras keeps them. Three channels are shown in
            color, any other number as its mean in gray.
    """
    kernels = np.asarray(kernels, float)
    if kernels.ndim != 4:
        raise ValueError(
            "kernels must be (height, width, channels, filters), as Conv2D keeps them. "
            f"Received: shape {kernels.shape}"
        )
    if kernels.shape[2] != 3:
        kernels = kernels.mean(axis=2, keepdims=True)
    strength = np.abs(kernels).max(axis=(0, 1, 2))
    pixels = 127.5 + 127.5 * kernels / np.where(strength > 0, strength, 1)
    count = pixels.shape[-1]
    columns = min(columns, count)
    rows = -(-count // columns)
    side = min(style.WIDTH / columns, 1.0)
    figure = _blank(max(side * columns, 6), side * rows)
    for ax, number in zip(
        figure.subplots(rows, columns, squeeze=False).flat, range(rows * columns), strict=True
    ):
        ax.axis("off")
        if number < count:
            show(ax, pixels[..., number], interpolation="nearest")
    height, width, channels, _ = kernels.shape
    return finish(
        figure,
        title,
        f"{count} filters of {height} × {width} pixels, {'color' if channels == 3 else 'gray'}, "
        f"each on its own scale; largest weights {style.number(strength.min())} to "
        f"{style.number(strength.max())}.",
        photo=True,
    )


# Parts of figures


def show(ax: Axes, image: np.ndarray, *, title: str = "", interpolation: str | None = None) -> None:
    """Draws one image without ticks; gray ones on the fixed range 0 to 255."""
    pixels = as_pixels(image)
    ax.axis("on")
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation=interpolation)
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=style.SMALL, loc="center")
    ax.spines[:].set_visible(False)


def frame(ax: Axes, color: str, label: str = "") -> None:
    """Frames an image, and says under it why."""
    ax.spines[:].set(visible=True, color=color, linewidth=4)
    if label:
        ax.set_xlabel(label, color=color, fontsize=style.SMALL, fontweight="bold")


def as_pixels(image: np.ndarray) -> np.ndarray:
    """Any image in [0, 255] as uint8 (h, w) or (h, w, 3)."""
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[-1] == 3):
        raise ValueError(
            f"an image must be (height, width) or (height, width, 3). Received: {image.shape}"
        )
    if image.dtype == np.uint8:
        return image
    if 0 < image.max() <= 1:
        raise ValueError(
            "an image must hold numbers from 0 to 255. Received: at most "
            f"{image.max():.3g}; multiply pictures in [0, 1] by 255."
        )
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _blank(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height + 0.55), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.04, wspace=0, hspace=0)
    return figure


def _ranked(
    axes: Sequence[Axes],
    candidates: Sequence[np.ndarray],
    scores: np.ndarray,
    order: Sequence[int],
    match: int | None,
    numbers: bool,
) -> None:
    """One row of candidates by score."""
    shown = list(range(len(axes)))
    if match is not None and order.index(match) >= len(axes):
        shown[-1] = order.index(match)
    texts = _apart([scores[order[rank]] for rank in shown])
    for ax, rank, text in zip(axes, shown, texts, strict=True):
        place = order[rank]
        show(ax, candidates[place], title=f"{rank + 1} · {text}")
        name = f"no. {place + 1}" if numbers else ""
        if place == match:
            frame(ax, style.MATCH_COLOR, f"match\n{name}" if numbers else "match")
        elif numbers:
            ax.set_xlabel(name, fontsize=style.SMALL)


def _standing(scores: np.ndarray, order: Sequence[int], match: int | None, rank: int | None) -> str:
    texts = _apart([scores[order[0]], scores[order[0] if match is None else match]])
    best = f"best candidate no. {order[0] + 1} with {texts[0]}"
    if match is None:
        return best
    return f"{best}, match no. {match + 1} at rank {rank} with {texts[1]}"


def _apart(scores: Sequence[float]) -> list[str]:
    """Scores with as many decimals, two to four, as tell unequal ones apart."""
    texts: list[str] = []
    for decimals in (2, 3, 4):
        texts = [style.share(float(score), decimals) for score in scores]
        if len(set(texts)) == len(set(np.round(scores, 6).tolist())):
            break
    return texts


def _by_score(scores: np.ndarray, match: int | None) -> list[int]:
    """Places from the best score down; the match comes after those it ties with."""
    scores = np.asarray(scores)
    is_match = np.arange(len(scores)) == (-1 if match is None else match)
    return np.lexsort((is_match, -scores)).tolist()


def _aspect(images: Sequence[np.ndarray]) -> float:
    """Height by width of the tallest image, within reason."""
    return min(max(np.shape(image)[0] / np.shape(image)[1] for image in images), 2.0)


def _num_lines(titles: Sequence[str], inches: float) -> int:
    return max((style.wrap(title, inches).count("\n") + 1 for title in titles if title), default=0)


def _titles(titles: Sequence[str], count: int) -> list[str]:
    if titles and len(titles) != count:
        raise ValueError(f"one title per image: {count} expected. Received: {len(titles)}")
    return [str(title) for title in titles]


def _check_count(images: Sequence[np.ndarray]) -> None:
    if len(images) == 0:
        raise ValueError("at least one image is needed. Received: none")
