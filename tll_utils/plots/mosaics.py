"""Figures that show images: pairs, mosaics, candidates by score."""

from collections.abc import Sequence

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
) -> Picture:
    """Shows images, at most 8 in a row.

    Args:
        images: Each (h, w) or (h, w, 3) in [0, 255].
        title: What to see.
        titles: One per image.
    """
    _check_count(images)
    titles = _titles(titles, len(images))
    columns = min(columns, len(images), _MAX_COLUMNS)
    rows = -(-len(images) // columns)
    aspect = _aspect(images)
    side = min(style.WIDTH / columns, 1.9 / min(aspect, 1))
    height = side * aspect + _num_lines(titles, side) * _LINE + 0.1
    figure = _blank(max(side * columns, 6), height * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    for index, ax in enumerate(axes.flat):
        if index >= len(images):
            ax.axis("off")
            continue
        show(ax, images[index], title=style.wrap(titles[index], side) if titles else "")
    words = f"{len(images)} images, {columns} in a row"
    words += f": {style.listing(titles)}." if titles else "."
    return finish(figure, title, words, photo=True)


@style.styled
def candidate_rows(
    queries: Sequence[np.ndarray],
    candidates: Sequence[Sequence[np.ndarray]],
    scores: Sequence[np.ndarray],
    true_places: Sequence[int],
    *,
    title: str,
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
        true_places: For each query the place of its match among the candidates.
        title: What to see.
        labels: Titles of the queries. Defaults to "query".
        numbers: Whether to write each candidate's number, its place in the list from 1.
    """
    _check_count(queries)
    num_shown = min(num_shown, len(candidates[0]))
    names = _titles(labels, len(queries)) or [f"query {n + 1}" for n in range(len(queries))]
    labels = names if labels else ["query"] * len(queries)
    side = min(style.WIDTH / (num_shown + 1.2), 1.6)
    lines = 2 + numbers
    height = side * _aspect([*queries, *candidates[0]]) + lines * _LINE + 0.2
    figure = _blank(max(side * (num_shown + 1.2), 6), height * len(queries))
    grid = figure.add_gridspec(len(queries), num_shown + 2, width_ratios=[1, 0.1] + num_shown * [1])
    words = []
    for row, query in enumerate(queries):
        match = int(true_places[row])
        is_match = np.arange(len(scores[row])) == match  # it comes after those it ties with
        order = np.lexsort((is_match, -np.asarray(scores[row]))).tolist()
        first = figure.add_subplot(grid[row, 0])
        show(first, query, title=style.wrap(labels[row], side))
        frame(first, style.BLACK)
        axes = [figure.add_subplot(grid[row, 2 + column]) for column in range(num_shown)]
        _ranked(axes, candidates[row], scores[row], order, match, numbers)
        best, of_match = _apart([scores[row][order[0]], scores[row][match]])
        words.append(
            f"{names[row]}: best candidate no. {order[0] + 1} with {best}, match no. {match + 1} "
            f"at rank {order.index(match) + 1} with {of_match}"
        )
    return finish(figure, title, f"{style.listing(words)}.", photo=True)


# Parts of figures


def show(ax: Axes, image: np.ndarray, *, title: str = "") -> None:
    """Draws one image without ticks; gray ones on the fixed range 0 to 255."""
    ax.imshow(as_pixels(image), cmap="gray", vmin=0, vmax=255)
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
    match: int,
    numbers: bool,
) -> None:
    """One row of candidates by score."""
    shown = list(range(len(axes)))
    if order.index(match) >= len(axes):
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


def _apart(scores: Sequence[float]) -> list[str]:
    """Scores with as many decimals, two to four, as tell unequal ones apart."""
    texts: list[str] = []
    for decimals in (2, 3, 4):
        texts = [style.share(float(score), decimals) for score in scores]
        if len(set(texts)) == len(set(np.round(scores, 6).tolist())):
            break
    return texts


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
