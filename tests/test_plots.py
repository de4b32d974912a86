"""Figures: what they put where, and that a notebook shows them once."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tll_utils import plots


def images(count, shape=(24, 20, 3)):
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def titles(figure):
    return [ax.get_title() for ax in figure.axes]


def labels(figure):
    return [ax.get_xlabel() for ax in figure.axes]


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    assert plt.get_fignums() == [], "the notebook would show it twice"


def test_candidate_row_sorts_by_score_and_marks_the_match():
    figure = plots.candidate_row(images(1)[0], images(3), np.array([0.1, 0.9, 0.5]), 2)
    assert titles(figure) == ["query", "1 · 0.90", "2 · 0.50", "3 · 0.10"]
    assert labels(figure) == ["", "", "match", ""]
    shown = figure.axes[2].images[0].get_array()
    np.testing.assert_array_equal(shown, images(3)[2])


def test_candidate_row_brings_a_low_match_into_view():
    scores = np.linspace(1, 0, 10)
    figure = plots.candidate_row(images(1)[0], images(10), scores, 9, num_shown=4)
    assert [title.split(" ")[0] for title in titles(figure)] == ["query", "1", "2", "3", "10"]
    assert labels(figure)[-1] == "match"


def test_candidate_row_ranks_the_match_last_among_equals():
    figure = plots.candidate_row(images(1)[0], images(3), np.ones(3), 0)
    assert labels(figure) == ["", "", "", "match"]


def test_candidate_row_marks_nothing_without_truth():
    figure = plots.candidate_row(images(1)[0], images(3), np.arange(3.0), None)
    assert "match" not in labels(figure)


def test_candidate_rows_draw_one_row_per_query():
    figure = plots.candidate_rows(
        images(2), [images(5), images(5)], np.random.default_rng(1).random((2, 5)), [0, 3],
        num_shown=3, labels=["one", "two"],
    )  # fmt: skip
    assert len(figure.axes) == 2 * 4
    assert [titles(figure)[i] for i in (0, 4)] == ["one", "two"]
    assert labels(figure).count("match") == 2


@pytest.mark.parametrize("shape", [(24, 20, 3), (24, 20)])
def test_grids_show_every_image(shape):
    pairs = plots.pair_grid(images(7, shape), images(7, shape), columns=3, titles="abcdefg")
    assert sum(len(ax.images) for ax in pairs.findobj(matplotlib.axes.Axes)) == 14
    mosaic = plots.image_mosaic(images(7, shape), columns=4)
    assert [len(ax.images) for ax in mosaic.axes] == [1] * 7 + [0]


def test_histograms_count_every_value_on_shared_bins():
    figure = plots.histograms({"a": np.arange(10), "b": np.arange(5)}, xlabel="value", bins=5)
    ax = figure.axes[0]
    assert ax.get_xlabel() == "value"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_scatter_states_the_correlation():
    x = np.arange(10.0)
    assert titles(plots.scatter(x, 2 * x + 1, xlabel="left", ylabel="right")) == ["r = 1.00"]


def test_swatches_show_the_colours_given():
    palette = np.array([[255, 0, 0], [0, 0, 255]])
    figure = plots.swatches([palette, palette], titles=["one", "two"])
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array()[0], palette)


def test_top_2_bars_have_the_right_length_and_chance():
    hits = {"half": np.array([True, False] * 10), "none": np.zeros(20, bool)}
    ax = plots.top_2_bars(hits, num_candidates=20).axes[0]
    assert [bar.get_width() for bar in ax.patches] == [0.5, 0.0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["half", "none"]
    chance = next(line for line in ax.lines if "chance" in str(line.get_label()))
    assert chance.get_label() == "chance 0.10"


def test_top_2_by_group_splits_the_hits():
    groups = np.array(["pose"] * 4 + ["colour"] * 4)
    hits = {"x": np.array([0, 0, 0, 1, 1, 1, 1, 1], bool)}
    ax = plots.top_2_by_group(hits, groups, num_candidates=20).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["colour (4)", "pose (4)"]
    assert [bar.get_width() for bar in ax.patches] == [1.0, 0.25]


def test_top_2_by_layer_draws_a_panel_per_backbone_and_a_line_per_way():
    half, none = np.array([True, False] * 10), np.zeros(20, bool)
    hits = {
        ("a", "low"): {"raw": none, "std": half},
        ("a", "high"): {"raw": half, "std": half},
        ("b", "only"): {"raw": none, "std": none},
    }
    left, right = plots.top_2_by_layer(hits, num_candidates=20).axes
    assert [left.get_title(), right.get_title()] == ["a", "b"]
    assert [label.get_text() for label in left.get_xticklabels()] == ["low", "high"]
    assert list(left.lines[0].get_ydata()) == [0, 0.5]
    assert {"raw", "std", "chance"} <= {t.get_text() for t in right.get_legend().get_texts()}


def test_training_curves_count_epochs_from_one_and_dash_training():
    ax = plots.training_curves({"run": {"loss": [3, 2], "val_loss": [4, 3]}}, ylabel="loss").axes[0]
    training, validation = ax.lines
    assert list(training.get_xdata()) == [1, 2]
    assert (training.get_linestyle(), validation.get_linestyle()) == ("--", "-")


def test_tap_shares_draws_the_mean_as_bar_and_every_fold_as_dot():
    ax = plots.tap_shares([{"low": 0.2, "high": 0.8}, {"low": 0.4, "high": 0.6}]).axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [0.3, 0.7])
    dots = ax.collections[0].get_offsets()
    np.testing.assert_allclose(dots, [[0.2, 0], [0.8, 1], [0.4, 0], [0.6, 1]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["low", "high"]


def test_heat_map_writes_every_number_between_the_names():
    ax = plots.heat_map(np.array([[1.0, 0.25], [0.5, 1.0]]), ["a", "b"], label="agreement").axes[0]
    written = {tuple(text.get_position()): text.get_text() for text in ax.texts}
    assert written == {(0, 0): "1.00", (1, 0): "0.25", (0, 1): "0.50", (1, 1): "1.00"}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


def test_rank_changes_counts_matches_from_rank_to_rank():
    before, after = np.array([1, 5, 3, 8]), np.array([1, 1, 1, 2])
    ax = plots.rank_changes(before, after, num_candidates=8).axes[0]
    written = {tuple(text.get_position()): text.get_text() for text in ax.texts}
    bins = [label.get_text() for label in ax.get_xticklabels()]
    assert bins == ["1", "2", "3–5", "6–8"]
    assert {place: text for place, text in written.items() if text != "0"} == {
        (0, 0): "1", (2, 0): "2", (3, 1): "1",
    }  # fmt: skip
