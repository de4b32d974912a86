"""A small Keras network as boxes and arrows, with Matplotlib alone."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from tll_utils.plots import style
from tll_utils.plots.picture import Picture, finish

if TYPE_CHECKING:
    import keras

_LINE = 0.235  # inches a line of small type takes
_GAP = 0.36  # inches between boxes, which an arrow crosses

Call = tuple[str, int]  # a layer's name, and which of its uses this is


class Box(NamedTuple):
    """One use of a layer."""

    lines: tuple[str, ...]
    inputs: tuple[Call, ...]
    layer: str
    shared: bool
    inner: str  # what a wrapper runs for each image
    frozen: bool


class Layout(NamedTuple):
    """Where each box stands, in inches, and what is written in it."""

    places: dict[Call, tuple[float, float]]
    heights: dict[Call, float]
    texts: dict[Call, str]
    levels: dict[Call, int]
    width: float
    height: float
    box_width: float


@style.styled
def network(model: keras.Model, *, title: str | None = None) -> Picture:
    """Draws a functional or sequential model: a box per use of a layer, from top to bottom.

    Uses of one layer are joined by a dotted line: they share their weights. A box with a shadow
    runs once for each image of its input. Gray boxes are frozen.

    Args:
        model: Keras model whose layers are known before it runs, up to about 20.
        title: What to see. Defaults to the number of weights, and what is shared.

    Raises:
        ValueError: If the model is subclassed and so has no graph to draw.
    """
    boxes = _boxes(model)
    layout = _layout(boxes)
    shared = list(dict.fromkeys(box.layer for box in boxes.values() if box.shared))
    figure = Figure(figsize=(layout.width, layout.height + 0.5), layout="constrained")
    ax = figure.subplots()
    ax.set(xlim=(0, layout.width), ylim=(0, layout.height), aspect="equal")
    ax.axis("off")
    for call, box in boxes.items():
        _draw(ax, box, layout, call)
        for source in box.inputs:
            _connect(ax, layout, source, call)
    for name in shared:
        _join(ax, layout, [call for call in boxes if call[0] == name])
    weights = f"{model.count_params():,} weights" if model.built else "not built"
    once = [*shared, *(box.inner for box in boxes.values() if box.inner)]
    default = f"{model.name}: {weights}"
    default += f", {' and '.join(once)} shared" if once else ""
    words = [
        " · ".join(line.strip() for line in box.lines)
        + (f" ← {' and '.join(source for source, _ in box.inputs)}" if box.inputs else "")
        for box in boxes.values()
    ]
    return finish(figure, title or default, f"Layers from input to output: {style.listing(words)}.")


def _boxes(model: keras.Model) -> dict[Call, Box]:
    """Every use of a layer, in the order of the model, with where its inputs come from."""
    config = model.get_config() if hasattr(model, "get_config") else {}
    entries = config.get("layers")
    if not entries:
        raise ValueError(
            f"{type(model).__name__} {model.name!r} has no graph to draw: make it with "
            "keras.Sequential or keras.Model(inputs, outputs)."
        )
    boxes: dict[Call, Box] = {}
    before: tuple[Call, ...] = ()
    for entry in entries:
        name = entry.get("name") or entry["config"]["name"]
        nodes = entry.get("inbound_nodes") or [None]
        for use, node in enumerate(nodes):
            inputs = before if "inbound_nodes" not in entry else tuple(_sources(node))
            boxes[name, use] = _box(model, name, entry, inputs, len(nodes) > 1)
            before = ((name, use),)
    return boxes


def _box(
    model: keras.Model, name: str, entry: Mapping[str, Any], inputs: tuple[Call, ...], shared: bool
) -> Box:
    kind = entry["class_name"]
    known = {layer.name: layer for layer in getattr(model, "operations", model.layers)}
    layer = known.get(name)
    lines = [name if kind == "InputLayer" else f"{name} · {kind}"]
    shape = _lengths(entry["config"].get("batch_shape") or ()) or _shape(layer)
    inner = getattr(layer, "layer", None)
    nested = layer if hasattr(layer, "layers") else inner if hasattr(inner, "layers") else None
    if nested is not None:
        inside = [layer for layer in nested.layers if type(layer).__name__ != "InputLayer"]
        lines += [f"   {type(layer).__name__} {_shape(layer)}" for layer in inside]
    elif inner is not None:
        lines.append(f"   {inner.name} · {type(inner).__name__}")
    count = layer.count_params() if layer is not None and getattr(layer, "built", False) else 0
    facts = [shape] if shape else []
    if count:
        facts.append(f"{count:,} weights")
    frozen = bool(count) and layer is not None and not layer.trainable_weights
    if frozen:
        facts.append("frozen")
    if facts:
        lines.append(" · ".join(facts))
    return Box(tuple(lines), inputs, name, shared, getattr(inner, "name", ""), frozen)


def _shape(layer: Any) -> str:
    """Output shape without the batch, as `60 × 48 × 3`."""
    import keras

    try:
        output = layer.output
    except (AttributeError, ValueError):  # used in several places, or never called
        return ""
    return " and ".join(_lengths(tensor.shape) for tensor in keras.tree.flatten(output))


def _lengths(shape: Sequence[int | None]) -> str:
    return " × ".join("any" if length is None else str(length) for length in shape[1:])


def _sources(part: Any) -> Iterator[Call]:
    """The uses of layers whose outputs a use takes, wherever in its arguments they are."""
    if isinstance(part, Mapping):
        if "keras_history" in part:
            name, use, _ = part["keras_history"]
            yield name, use
        part = list(part.values())
    if isinstance(part, (list, tuple)):
        for inner in part:
            yield from _sources(inner)


def _levels(boxes: Mapping[Call, Box]) -> list[list[Call]]:
    """Uses by the longest way that leads to them, each level in the order of its inputs."""

    @functools.cache
    def depth(call: Call) -> int:
        return 1 + max(map(depth, boxes[call].inputs), default=-1)

    deepest = max(map(depth, boxes))
    levels = [[call for call in boxes if depth(call) == level] for level in range(deepest + 1)]
    for above, level in itertools.pairwise(levels):
        order = {call: place for place, call in enumerate(above)}
        level.sort(key=lambda c: np.mean([order[s] for s in boxes[c].inputs if s in order] or [0]))
    return levels


def _layout(boxes: Mapping[Call, Box]) -> Layout:
    levels = _levels(boxes)
    most = max(len(level) for level in levels)
    width = style.WIDTH if most > 1 else 6.5
    # Between branches there is room for what joins them.
    box_width = min(width / most - (1.0 if most == 2 else 0.5), 5.2)
    lines = {
        call: [style.wrap(line, box_width - 0.2).replace("\n", "\n   ") for line in box.lines]
        for call, box in boxes.items()
    }
    heights = {c: _LINE * sum(n.count("\n") + 1 for n in lines[c]) + 0.18 for c in boxes}
    rows = [max(heights[call] for call in level) for level in levels]
    total = sum(rows) + _GAP * (len(rows) - 1) + 0.3
    places, top = {}, total - 0.1
    for level, row in zip(levels, rows, strict=True):
        for column, call in enumerate(level):
            places[call] = (width * (column + 0.5) / len(level), top - row / 2)
        top -= row + _GAP
    depth = {call: place for place, level in enumerate(levels) for call in level}
    texts = {call: "\n".join(lines[call]) for call in boxes}
    return Layout(places, heights, texts, depth, width, total, box_width)


def _draw(ax: Axes, box: Box, layout: Layout, call: Call) -> None:
    """A box with its lines; with two shadows where it runs for each of several images."""
    width, height = layout.box_width, layout.heights[call]
    x, y = layout.places[call][0] - width / 2, layout.places[call][1] - height / 2
    face = "#E4E4E4" if box.frozen else "#FDF3DC" if box.shared or box.inner else "#E3F1FA"
    edge = style.ORANGE if box.shared or box.inner else style.BLUE
    for shift in (0.16, 0.08, 0.0) if box.inner else (0.0,):
        ax.add_patch(FancyBboxPatch((x + shift, y - shift), width, height, linewidth=2,
                                    boxstyle="round,pad=0,rounding_size=0.08", facecolor=face,
                                    edgecolor=edge, zorder=2))  # fmt: skip
    top = y + height - 0.09
    for place, line in enumerate(layout.texts[call].split("\n")):
        ax.text(x + 0.12, top - (place + 0.5) * _LINE, line, va="center",
                fontsize=style.SMALL, fontweight="normal" if place else "bold",
                zorder=4)  # fmt: skip


def _connect(ax: Axes, layout: Layout, source: Call, call: Call) -> None:
    """An arrow from box to box; past the boxes between two, in a bow on their right."""
    (x, y), (to_x, to_y) = layout.places[source], layout.places[call]
    half, bow = layout.box_width / 2, "arc3,rad=-0.3"
    start, end = (x + half, y - layout.heights[source] / 2), (to_x + half, to_y)
    if layout.levels[call] - layout.levels[source] == 1:
        start, end = (x, y - layout.heights[source] / 2), (to_x, to_y + layout.heights[call] / 2)
        bow = "arc3"
    ax.annotate("", end, start, zorder=3,
                arrowprops={"arrowstyle": "-|>", "linewidth": 2, "color": "black", "shrinkA": 0,
                            "shrinkB": 0, "connectionstyle": bow})  # fmt: skip


def _join(ax: Axes, layout: Layout, calls: list[Call]) -> None:
    """Joins the uses of one layer by a dotted line that says what they share."""
    half = layout.box_width / 2
    for (x, y), (to_x, to_y) in itertools.pairwise(sorted(layout.places[call] for call in calls)):
        ax.plot([x + half, to_x - half], [y, to_y], linestyle=":", color=style.ORANGE,
                linewidth=3.5, zorder=1)  # fmt: skip
        if to_x - x - 2 * half > 0.7:
            ax.text((x + to_x) / 2, (y + to_y) / 2 + 0.08, "same\nweights", ha="center",
                    va="bottom", fontsize=style.SMALL)  # fmt: skip
