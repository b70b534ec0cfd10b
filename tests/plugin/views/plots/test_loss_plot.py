from __future__ import annotations

import math

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtGui import QColor, QImage, QPalette
from qtpy.QtWidgets import QWidget

from napari_ssim_defects.plugin.views.plots.loss_plot import LossPlot
from napari_ssim_defects.plugin.views.plots.ticks import decimals_for, linear_ticks, log_ticks
from napari_ssim_defects.plugin.views.widgets.colours import contrast, plot_colours


@pytest.fixture
def plot(qtbot: QtBot) -> LossPlot:
    plot = LossPlot()
    qtbot.addWidget(plot)
    plot.resize(350, 130)
    return plot


def picture(widget: QWidget) -> np.ndarray:
    """Return what a widget looks like, (H, W, 3)."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    bits = image.constBits()
    if hasattr(bits, "setsize"):  # PyQt
        bits.setsize(image.sizeInBytes())
    pixels = np.frombuffer(bytes(bits), np.uint8).reshape(image.height(), image.width(), 4)
    return pixels[..., 2::-1]


def where(widget: QWidget, colour: QColor) -> np.ndarray:
    """Return the pixels of a colour, up to antialiasing."""
    wanted = np.array(colour.getRgb()[:3])
    return (np.abs(picture(widget).astype(int) - wanted) < 40).all(axis=-1)


def validation_colour(plot: LossPlot) -> QColor:
    return plot_colours(plot.palette()).second


def test_an_empty_plot_says_what_will_appear(plot: LossPlot) -> None:
    assert picture(plot).std() > 0
    assert plot.accessibleDescription() == "No loss yet"


def test_it_is_named_and_described_for_screen_readers(plot: LossPlot) -> None:
    plot.add(12.0, 0.25, 0.3)
    assert plot.accessibleName() == "Loss curve"
    assert plot.accessibleDescription() == "training 0.25, validation 0.3, after 12 s"


def test_clearing_gives_back_the_empty_plot(plot: LossPlot) -> None:
    empty = picture(plot)
    plot.add(0, 0.5, 0.6)
    assert not np.array_equal(picture(plot), empty)
    plot.clear()
    assert np.array_equal(picture(plot), empty)


def test_validation_is_drawn_in_its_own_colour(plot: LossPlot) -> None:
    for second in range(10):
        plot.add(second, 0.5 - 0.01 * second, None)
    assert not where(plot, validation_colour(plot)).any()
    plot.add(10, 0.4, 0.45)
    assert where(plot, validation_colour(plot)).any()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_losses_that_are_not_finite_leave_no_trace(plot: LossPlot, bad: float) -> None:
    for second in range(10):
        plot.add(second, 0.5 - 0.01 * second, 0.5)
    before = picture(plot)
    plot.add(9.5, bad, bad)
    assert np.array_equal(picture(plot), before)
    plot.clear()
    plot.add(1, bad, bad)
    picture(plot)


@pytest.mark.parametrize(("last", "logarithmic"), [(0.15, False), (0.01, True)])
def test_the_axis_is_logarithmic_once_losses_span_more_than_tenfold(
    plot: LossPlot, last: float, logarithmic: bool
) -> None:
    """A geometric fall is straight on a logarithmic axis and sags on a linear one."""
    for step in range(301):
        plot.add(step, 1.0, last ** (step / 300))
    rows, columns = np.nonzero(where(plot, validation_colour(plot))[25:])
    centre = 0.5 * (columns.min() + columns.max())
    at_centre = rows[np.abs(columns - centre) <= 2].mean()
    straight = 0.5 * (rows.min() + rows.max())
    assert (abs(at_centre - straight) < 4) == logarithmic


@pytest.mark.parametrize("losses", [[0.5], [0.5, 0.5], [0.0, 0.0], [-1.0, 100.0], [1e-12, 1e12]])
def test_any_losses_can_be_drawn(plot: LossPlot, losses: list[float]) -> None:
    for second, loss in enumerate(losses):
        plot.add(second, loss, None)
    assert where(plot, plot_colours(plot.palette()).text).any()


@pytest.mark.parametrize("size", [(1, 1), (30, 110), (80, 20), (2000, 600)])
def test_any_size_can_be_drawn(plot: LossPlot, size: tuple[int, int]) -> None:
    plot.setMinimumHeight(1)
    plot.resize(*size)
    for second in range(100):
        plot.add(second, math.exp(-second / 10), 0.5)
    picture(plot)


def test_long_trainings_keep_their_shape_and_their_latest_values(plot: LossPlot) -> None:
    for step in range(20_001):
        plot.add(step, 0.6 - 0.3 * step / 20_000, 0.2)
    _, columns = np.nonzero(where(plot, validation_colour(plot))[25:])
    assert columns.max() > 335
    assert columns.min() < 50
    assert "training 0.3, validation 0.2, after 20000 s" in plot.accessibleDescription()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_colours_follow_naparis_theme(plot: LossPlot, theme: str, qtbot: QtBot) -> None:
    from napari._qt.qt_resources import get_stylesheet
    from napari.utils.theme import get_theme

    background = QColor(*get_theme(theme).background.as_rgb_tuple())
    window = QWidget()
    qtbot.addWidget(window)
    inside = LossPlot(window)
    window.setStyleSheet(get_stylesheet(theme))
    window.show()
    palette = inside.palette()
    assert palette.color(QPalette.ColorRole.Window) == background
    colours = plot_colours(palette)
    for name in ("text", "muted", "second", "defective"):
        assert contrast(getattr(colours, name), background) >= 2.9, name
    assert colours.second.name() != colours.defective.name() != colours.text.name()


def test_it_is_at_least_110_pixels_high(plot: LossPlot) -> None:
    assert plot.minimumHeight() >= 110


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (0, 1, 6, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 1, 5, [0, 0.5, 1]),
        (0.27, 0.51, 5, [0.3, 0.35, 0.4, 0.45, 0.5]),
        (-3, 4, 4, [-2, 0, 2, 4]),
        (0, 65535, 6, [0, 20000, 40000, 60000]),
        (1, 1, 5, []),
    ],
)
def test_linear_ticks_are_few_and_round(
    low: float, high: float, most: int, ticks: list[float]
) -> None:
    assert linear_ticks(low, high, most) == ticks


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (0.03, 0.9, 4, [0.05, 0.1, 0.2, 0.5]),
        (0.009, 1.1, 5, [0.01, 0.03, 0.1, 0.3, 1]),
        (0.009, 1.1, 3, [0.01, 0.1, 1]),
        (1e-9, 1.0, 4, [1e-9, 1e-6, 1e-3, 1]),
        (0, 1, 4, []),
    ],
)
def test_logarithmic_ticks_are_few_and_round(
    low: float, high: float, most: int, ticks: list[float]
) -> None:
    assert log_ticks(low, high, most) == ticks


@pytest.mark.parametrize(
    ("span", "decimals"), [(1.0, 4), (2.0, 4), (65535.0, 0), (0.02, 6), (0.0, 4), (1e-30, 12)]
)
def test_decimals_resolve_a_ten_thousandth_of_the_range(span: float, decimals: int) -> None:
    assert decimals_for(span) == decimals
