"""Figures over epochs, sizes and distances."""

import math

import numpy as np
import pytest

from tll_utils import plots


def curves(ax):
    return [line for line in ax.lines if len(line.get_xdata()) > 2]


def test_training_curves_count_epochs_from_one_and_dash_training():
    history = {"loss": [3, 2, 1], "val_loss": [4, 3, 3.5]}
    picture = plots.training_curves({"run": history}, ylabel="loss")
    training, validation = curves(picture.axes[0])
    assert list(training.get_xdata()) == [1, 2, 3]
    assert (training.get_linestyle(), validation.get_linestyle()) == ("--", "-")
    assert picture.figure.get_suptitle() == "Validation loss is least in epoch 2"
    assert "validation loss 4.00 in epoch 1, 3.50 in epoch 3, least 3.00 in epoch 2" in repr(
        picture
    )


def test_training_curves_of_two_epochs_are_dots_with_numbers():
    (ax,) = plots.training_curves({"run": {"loss": [3, 2]}}, ylabel="loss").axes
    assert ax.lines[0].get_linestyle() == "None"
    assert {"3.00", "2.00"} <= {text.get_text() for text in ax.texts}


def test_training_curves_with_panels_keep_each_unit_on_its_own_axis():
    runs = {"small": {"loss": [1, 0.5, 0]}, "large": {"loss": [300, 200, 100]}}
    units = {"small": "nats", "large": "squared distance"}
    left, right = plots.training_curves(runs, ylabel=units, panels=True).axes
    assert [left.get_ylabel(), right.get_ylabel()] == ["nats", "squared distance"]
    assert [left.get_title(loc="left"), right.get_title(loc="left")] == ["small", "large"]
    assert left.get_ylim()[1] < 2 < 300 < right.get_ylim()[1]


def test_training_curves_of_log_n_put_guessing_at_one():
    loss = [math.log(32), math.log(32) / 2, 0.1]
    picture = plots.training_curves({"run": {"loss": loss}}, ylabel="loss", num_choices=32)
    (ax,) = picture.axes
    np.testing.assert_allclose(curves(ax)[0].get_ydata()[:2], [1, 0.5])
    assert ax.get_ylabel() == "loss / log n"
    both = {"loss": loss, "val_loss": [math.log(8)] * 3}
    (ax,) = plots.training_curves({"run": both}, ylabel="loss", num_choices=(32, 8)).axes
    np.testing.assert_allclose(curves(ax)[1].get_ydata(), 1)
    with pytest.raises(ValueError, match="num_choices must be at least 2. Received: 1"):
        plots.training_curves({"run": {"loss": loss}}, ylabel="loss", num_choices=1)


def test_curves_that_meet_differ_in_width_and_marker():
    history = {"loss": [3, 2, 1]}
    below, above = curves(plots.training_curves({"a": history, "b": history}, ylabel="").axes[0])
    assert below.get_linewidth() > above.get_linewidth()
    assert below.get_markersize() > above.get_markersize()
    assert below.get_marker() != above.get_marker()


def test_loss_and_metric_curves_dot_the_best_epoch():
    history = {"loss": [3, 2, 1], "val_top_2": [0.2, 0.6, 0.4]}
    picture = plots.loss_and_metric_curves({"run": history}, chance=0.1)
    right = picture.axes[1]
    dot = next(line for line in right.lines if len(line.get_xdata()) == 1)
    assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([2], [0.6])
    assert "validation top-2 .20 in epoch 1, .60 in epoch 2, which is kept" in repr(picture)
    kept = plots.loss_and_metric_curves({"run": history}, best_epochs={"run": 3})
    assert ".40 in epoch 3, which is kept" in repr(kept)


def test_loss_and_metric_curves_of_many_runs_write_the_numbers_into_the_legend():
    runs = {name: {"loss": [3, 2, 1], "val_top_2": [0.2, 0.6, 0.4]} for name in "abc"}
    picture = plots.loss_and_metric_curves(runs)
    assert not picture.axes[1].texts
    labels = [text.get_text() for text in picture.figure.legends[0].get_texts()]
    assert labels[:3] == ["a: .60", "b: .60", "c: .60"]


def test_rank_by_scale_puts_rank_one_on_top_and_large_on_the_left():
    picture = plots.rank_by_scale(
        {"pixels": [2, 5, 9]}, [1, 0.8, 0.5], num_candidates=20, title="Shrunk"
    )
    (ax,) = picture.axes
    assert ax.yaxis_inverted() and ax.xaxis_inverted()
    assert list(curves(ax)[0].get_xdata()) == [100, 80, 50]
    assert "pixels: 2.0 at 100 %, 5.0 at 80 %, 9.0 at 50 %; chance 10.5" in picture.description


def test_loss_curve_over_distance_draws_a_panel_per_loss_and_a_line_per_kind():
    distances = np.linspace(0, 2, 5)
    losses = {"squared": {"match": distances**2, "no match": np.maximum(1 - distances, 0)}}
    picture = plots.loss_curve_over_distance(losses, distances, title="Pull and push")
    (ax,) = picture.axes
    match, other = curves(ax)
    assert (match.get_linestyle(), other.get_linestyle()) == ("-", "--")
    np.testing.assert_allclose(match.get_ydata(), distances**2)
    assert "squared, match: 0 at 0, 4.00 at 2.00" in picture.description
