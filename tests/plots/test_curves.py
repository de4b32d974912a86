"""Figures over epochs, sizes and distances."""

import numpy as np

from tll_utils import plots


def curves(ax):
    return [line for line in ax.lines if len(line.get_xdata()) > 2]


def test_training_curves_count_epochs_from_one_and_dash_training():
    history = {"loss": [3, 2, 1], "val_loss": [4, 3, 3.5]}
    picture = plots.training_curves({"run": history}, ylabel="loss", title="Loss")
    training, validation = curves(picture.figure.axes[0])
    assert list(training.get_xdata()) == [1, 2, 3]
    assert (training.get_linestyle(), validation.get_linestyle()) == ("--", "-")
    assert "validation loss 4.00 in epoch 1, 3.50 in epoch 3, least 3.00 in epoch 2" in repr(
        picture
    )


def test_training_curves_with_panels_keep_each_unit_on_its_own_axis():
    runs = {"small": {"loss": [1, 0.5, 0]}, "large": {"loss": [300, 200, 100]}}
    units = {"small": "nats", "large": "squared distance"}
    left, right = plots.training_curves(runs, ylabel=units, panels=True, title="Two").figure.axes
    assert [left.get_ylabel(), right.get_ylabel()] == ["nats", "squared distance"]
    assert [left.get_title(loc="left"), right.get_title(loc="left")] == ["small", "large"]
    assert left.get_ylim()[1] < 2 < 300 < right.get_ylim()[1]


def test_curves_that_meet_differ_in_width_and_marker():
    history = {"loss": [3, 2, 1]}
    runs = {"a": history, "b": history}
    below, above = curves(plots.training_curves(runs, ylabel="", title="Alike").figure.axes[0])
    assert below.get_linewidth() > above.get_linewidth()
    assert below.get_markersize() > above.get_markersize()
    assert below.get_marker() != above.get_marker()


def test_loss_and_metric_curves_dot_the_best_epoch():
    history = {"loss": [3, 2, 1], "val_top_2": [0.2, 0.6, 0.4]}
    picture = plots.loss_and_metric_curves({"run": history}, title="Best in the middle")
    right = picture.figure.axes[1]
    dot = next(line for line in right.lines if len(line.get_xdata()) == 1)
    assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([2], [0.6])
    assert "validation top-2 .20 in epoch 1, .60 in epoch 2, which is kept" in repr(picture)
    assert picture.figure.legends[0].get_texts()[0].get_text() == "run: .60"


def test_lines_draw_a_panel_per_name_and_a_line_per_kind():
    x = np.linspace(0, 2, 5)
    losses = {"squared": {"match": x**2, "no match": np.maximum(1 - x, 0)}}
    picture = plots.lines(losses, x, xlabel="distance", ylabel="loss", title="Pull and push")
    (ax,) = picture.figure.axes
    match, other = curves(ax)
    assert match.get_marker() != other.get_marker()
    np.testing.assert_allclose(match.get_ydata(), x**2)
    assert not ax.xaxis_inverted()
    assert "Loss by distance: squared, match: 0 at 0, 4.00 at 2.00" in picture.description


def test_lines_over_falling_numbers_start_with_the_largest():
    ranks = {"first fold": {"pixels": [2, 5, 9]}}
    picture = plots.lines(ranks, [100, 80, 50], xlabel="side, %", ylabel="rank", title="Shrunk")
    assert picture.figure.axes[0].xaxis_inverted()
