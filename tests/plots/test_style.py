"""Numbers by kind, wrapped labels, axes that say where they are cut."""

import numpy as np
import pytest

from tll_utils.plots import style


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.42, ".42"), (1.0, "1.00"), (0.0, ".00"), (-0.05, "−.05"), (-0.001, ".00"), (10.04, "10.04"),
     (float("nan"), "–")],
)  # fmt: skip
def test_share_leaves_out_the_zero(value, text):
    assert style.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.012345, "0.0123"), (4.567, "4.57"), (217.6, "218"), (12400, "12,400"),
     (-1.5, "−1.50")],
)  # fmt: skip
def test_number_keeps_three_digits(value, text):
    assert style.number(value) == text


def test_wrap_breaks_at_blanks_and_underscores_only():
    lines = style.wrap("block_13_expand_relu of network", 1.2).split("\n")
    assert "".join(lines) == "block_13_expand_reluof network"
    assert max(map(len, lines)) <= 1.2 * 72 / (0.6 * 12)


def test_series_are_told_apart_without_color():
    looks = [style.series(index, 8) for index in range(8)]
    assert len({look.color for look in looks}) == len({look.marker for look in looks}) == 8
    widths = [look.linewidth for look in looks]
    assert widths == sorted(widths, reverse=True)


def test_from_zero_starts_at_zero_or_marks_the_cut():
    _, ((whole, cut),) = style.new(columns=2)
    style.from_zero(whole, np.array([0.1, 0.7]))
    style.from_zero(cut, np.array([0.66, 0.7]))
    assert whole.get_ylim()[0] == 0 and not whole.texts
    assert cut.get_ylim()[0] > 0.6
    assert [text.get_text() for text in cut.texts] == ["axis cut"]
    assert min(cut.get_yticks()) > cut.get_ylim()[0]


@pytest.mark.parametrize("num_epochs", [1, 2, 8, 9, 40, 300])
def test_epoch_axis_counts_from_one_in_whole_numbers(num_epochs):
    _, ((ax,),) = style.new()
    style.epoch_axis(ax, num_epochs)
    ticks = ax.get_xticks()
    assert ticks[0] == 1 and len(ticks) <= 9
    assert all(tick == int(tick) for tick in ticks)
