"""What holds for every figure: readable from the last row, small, described, traceless."""

import inspect
import io
import itertools
import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from tll_utils import plots

RNG = np.random.default_rng(0)
IMAGES = list(RNG.integers(0, 256, (30, 24, 20, 3), dtype=np.uint8))
LONG = "a network with all its taps, whitened within pairs, three by three cells"
NAMES = ["color histogram", LONG, "siamese_contrastive_with_augmentation", "HOG"]
HITS = {name: np.arange(40) < 8 * (n + 1) for n, name in enumerate(NAMES)}
HISTORY = {
    "loss": list(np.linspace(0.7, 0.1, 30)),
    "val_loss": list(np.linspace(0.7, 0.4, 30)),
    "val_top_2": list(np.linspace(0.1, 0.6, 30)),
}
KINDS = ["color", "shape", "the same thing in another style", "face"]
LAYERS = ["block_1_expand_relu", "block_6_expand_relu", "out_relu"]

EXAMPLES = {
    "pair_grid": lambda: plots.pair_grid(IMAGES[:5], IMAGES[5:10], title="5", titles=[LONG] * 5),
    "image_mosaic": lambda: plots.image_mosaic(
        IMAGES[:13], title="Images " * 20, titles=[str(n) for n in range(13)]
    ),
    "candidate_rows": lambda: plots.candidate_rows(
        IMAGES[:3], [IMAGES[:20]] * 3, list(RNG.random((3, 20))), [0, 1, 2], numbers=True,
        title="Three",
    ),
    "histograms": lambda: plots.histograms(
        {"left": RNG.normal(size=99), "right": RNG.normal(size=99)}, xlabel="score", title="Alike"
    ),
    "scatter": lambda: plots.scatter(
        RNG.random(30), RNG.random(30), xlabel="left", ylabel="right"
    ),
    "top_2_bars": lambda: plots.top_2_bars(HITS, num_candidates=20, title="Colors win", guess=0.3),
    "top_2_by_group": lambda: plots.top_2_by_group(
        dict.fromkeys(KINDS, HITS), num_candidates=20, title="Color finds color"
    ),
    "training_curves": lambda: plots.training_curves(
        dict.fromkeys(NAMES, HISTORY), ylabel="loss", title="Four runs"
    ),
    "training_curves, panels": lambda: plots.training_curves(
        dict.fromkeys(NAMES[::3], HISTORY), ylabel="squared distance, with a penalty", panels=True,
        title="Two runs",
    ),
    "loss_and_metric_curves": lambda: plots.loss_and_metric_curves(
        dict.fromkeys(NAMES[::3], HISTORY), title="Two runs"
    ),
    "lines": lambda: plots.lines(
        {name: {"match": np.arange(50.0), "no match": np.arange(50.0)[::-1]} for name in "abc"},
        np.linspace(0, 2, 50), xlabel="distance between the embeddings", ylabel="loss",
        title="Losses",
    ),
    "heat_map": lambda: plots.heat_map(
        pd.DataFrame(RNG.random((4, 3)), NAMES, LAYERS), label="likeness", title="Alike",
        frame_best=True,
    ),
    "covariance_scatter": lambda: plots.covariance_scatter(
        RNG.normal(size=(99, 2)) * [3, 1], RNG.normal(size=(99, 2)), title="Round",
        labels=("before whitening", "after"),
    ),
    "embedding_map": lambda: plots.embedding_map(
        {"before": RNG.normal(size=(12, 2)), "after": RNG.normal(size=(12, 2))},
        IMAGES[:12], np.arange(12).reshape(6, 2),
    ),
    "fold_bars": lambda: plots.fold_bars(
        pd.DataFrame([[0.1, 0.2, 0.3]] * 4, NAMES), xlabel="weight", title="Even"
    ),
    "why_match": lambda: plots.why_match(IMAGES[0], IMAGES[1], RNG.random((9, 9))),
}  # fmt: skip


@pytest.fixture(scope="module", params=EXAMPLES)
def picture(request):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = EXAMPLES[request.param]()
        assert drawn.data
    return drawn


@pytest.fixture(autouse=True)
def in_style():
    """Axes choose their ticks anew, by the size of type, whenever they are asked."""
    with matplotlib.rc_context(plots.style.STYLE):
        yield


def shown_texts(figure):
    return [
        text for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text.get_window_extent().width
    ]  # fmt: skip


def boxes_of(texts, figure):
    renderer = FigureCanvasAgg(figure).get_renderer()
    return [text.get_window_extent(renderer) for text in texts]


def test_every_figure_function_has_an_example():
    functions = dict(inspect.getmembers(plots, inspect.isfunction))
    assert functions.keys() - {"network"} == {name.split(",")[0] for name in EXAMPLES}


def test_figure_type_is_at_least_twelve_points(picture):
    assert min(text.get_fontsize() for text in shown_texts(picture.figure)) >= 12


def test_figure_fits_a_page_and_stays_small(picture):
    assert picture.figure.get_figwidth() <= 9.5
    assert len(picture.data) < 200_000
    image = Image.open(io.BytesIO(picture.data))
    assert image.format == ("JPEG" if picture.photo else "PNG")
    assert picture.photo or image.mode == "P"


def test_figure_title_and_numbers_are_in_the_description(picture):
    title, words = ("".join(t.split()) for t in (picture.figure.get_suptitle(), repr(picture)))
    assert title and words.startswith(title)
    assert any(letter.isdigit() for letter in words.removeprefix(title))


def test_figure_shows_gray_images_on_a_fixed_range(picture):
    for image in picture.figure.findobj(matplotlib.image.AxesImage):
        if np.ndim(image.get_array()) == 2 and image.get_cmap().name == "gray":
            assert image.get_clim() == (0, 255)


def drawn_tick_labels(axis):
    """Matplotlib keeps labels of ticks beyond the ends of an axis, and doesn't draw them."""
    low, high = sorted(axis.get_view_interval())
    ticks = zip(axis.get_major_ticks(), axis.get_majorticklocs(), strict=False)
    return [t.label1 for t, place in ticks if low <= place <= high and t.label1.get_visible()]


def test_figure_tick_labels_do_not_collide(picture):
    for ax in picture.figure.axes:
        for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
            texts = [text for text in drawn_tick_labels(axis) if text.get_text()]
            if any(text.get_rotation() for text in texts):
                continue  # slanted labels have boxes that overlap, and letters that don't
            for one, other in itertools.combinations(boxes_of(texts, picture.figure), 2):
                assert not one.overlaps(other)


def test_figure_texts_are_not_cut_off(picture):
    figure = picture.figure
    all_ticks = {id(t) for ax in picture.figure.axes for t in tick_labels(ax)}
    drawn_ticks = {
        id(text)
        for ax in picture.figure.axes
        for axis in ((ax.xaxis, ax.yaxis) if ax.axison else ())
        for text in drawn_tick_labels(axis)
    }
    texts = [t for t in shown_texts(figure) if id(t) in drawn_ticks or id(t) not in all_ticks]
    width, height = figure.canvas.get_width_height()
    for text, box in zip(texts, boxes_of(texts, figure), strict=True):
        inside = box.x0 >= -2 and box.y0 >= -2 and box.x1 <= width + 2 and box.y1 <= height + 2
        assert inside, text.get_text()


def tick_labels(ax):
    ticks = [*ax.xaxis.get_major_ticks(), *ax.yaxis.get_major_ticks()]
    return [label for tick in ticks for label in (tick.label1, tick.label2)]


def test_figure_legends_lie_outside_the_axes(picture):
    renderer = FigureCanvasAgg(picture.figure).get_renderer()
    for legend in picture.figure.legends:
        box = legend.get_window_extent(renderer)
        assert not any(box.overlaps(ax.get_window_extent(renderer)) for ax in picture.figure.axes)
    assert all(ax.get_legend() is None for ax in picture.figure.axes)


def test_figures_leave_the_process_as_it_was():
    before = dict(matplotlib.rcParams)
    EXAMPLES["top_2_bars"]().data  # noqa: B018
    assert dict(matplotlib.rcParams) == before
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []
