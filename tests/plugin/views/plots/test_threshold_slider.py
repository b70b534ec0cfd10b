from __future__ import annotations

import time

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QCoreApplication, QEvent, QPoint, Qt
from qtpy.QtGui import QColor, QHelpEvent, QImage, QKeyEvent, QPixmap
from qtpy.QtWidgets import QDoubleSpinBox, QLabel, QToolTip, QWidget

from napari_ssim_defects.plugin.views.plots.histogram import Histogram, percent
from napari_ssim_defects.plugin.views.plots.histogram_plot import HistogramPlot
from napari_ssim_defects.plugin.views.plots.threshold_slider import ThresholdSlider
from napari_ssim_defects.plugin.views.widgets.colours import plot_colours

LEFT = Qt.MouseButton.LeftButton
EDGES = np.linspace(0, 1, 257)
COUNTS = np.histogram(np.random.default_rng(0).beta(2, 9, 50_000), EDGES)[0]


@pytest.fixture
def slider(qtbot: QtBot) -> ThresholdSlider:
    """A slider from 0 to 1, at 0.5, with a histogram."""
    slider = ThresholdSlider()
    qtbot.addWidget(slider)
    slider.set_histogram(COUNTS, EDGES)
    slider.resize(350, 140)
    slider.show()
    return slider


@pytest.fixture
def emitted(slider: ThresholdSlider) -> list[float]:
    """What value_changed has emitted since."""
    values: list[float] = []
    slider.value_changed.connect(values.append)
    return values


def plot(slider: ThresholdSlider) -> HistogramPlot:
    return slider.findChild(HistogramPlot)


def spin(slider: ThresholdSlider) -> QDoubleSpinBox:
    return slider.findChild(QDoubleSpinBox)


def at(slider: ThresholdSlider, value: float) -> QPoint:
    return QPoint(round(plot(slider).place(value)), 50)


def picture_of(widget: QWidget) -> np.ndarray:
    """Return what a widget looks like, RGB of shape (H, W, 3)."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    bits = image.constBits()
    if hasattr(bits, "setsize"):  # PyQt
        bits.setsize(image.sizeInBytes())
    pixels = np.frombuffer(bytes(bits), np.uint8).reshape(image.height(), image.width(), 4)
    return pixels[..., 2::-1].astype(int)


def colours_of(widget: QWidget, colour: QColor) -> np.ndarray:
    """Return where exactly this colour is in a widget's picture, (H, W)."""
    return (np.abs(picture_of(widget) - colour.getRgb()[:3]) <= 1).all(axis=-1)


def test_setting_anything_from_code_emits_nothing(
    slider: ThresholdSlider, emitted: list[float]
) -> None:
    slider.set_value(0.25)
    slider.set_range(0, 0.2)
    slider.set_marker(0.1, "automatic")
    slider.set_histogram(COUNTS, EDGES)
    slider.set_reference_histogram(COUNTS, EDGES)
    assert emitted == []


def test_the_value_is_in_the_range_whatever_is_set_first(slider: ThresholdSlider) -> None:
    slider.set_value(3.0)
    assert slider.value() == 1.0
    slider.set_range(0, 10)
    assert slider.value() == 3.0
    slider.set_range(5, 10)
    assert slider.value() == 5.0


def test_the_value_set_from_code_is_kept_exactly(slider: ThresholdSlider) -> None:
    slider.set_value(1 / 3)
    assert slider.value() == 1 / 3
    assert spin(slider).value() == pytest.approx(1 / 3, abs=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(slider: ThresholdSlider, value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        slider.set_value(value)
    with pytest.raises(ValueError, match="finite"):
        slider.set_range(0, value)
    with pytest.raises(ValueError, match="increasing"):
        slider.set_range(1, 0)


def test_dragging_emits_live_and_each_value_once(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float]
) -> None:
    target = plot(slider)
    qtbot.mousePress(target, LEFT, pos=at(slider, 0.5))
    assert emitted == []
    for value in (0.6, 0.7, 0.7, 0.8):
        qtbot.mouseMove(target, at(slider, value))
    qtbot.mouseRelease(target, LEFT, pos=at(slider, 0.8))
    assert emitted == pytest.approx([0.6, 0.7, 0.8], abs=0.005)
    assert slider.value() == emitted[-1]
    qtbot.mouseMove(target, at(slider, 0.2))
    assert len(emitted) == 3


def test_a_line_grabbed_beside_its_middle_does_not_jump(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float]
) -> None:
    target = plot(slider)
    beside = at(slider, 0.5) + QPoint(4, 0)
    qtbot.mousePress(target, LEFT, pos=beside)
    qtbot.mouseMove(target, beside + QPoint(1, 0))
    qtbot.mouseRelease(target, LEFT, pos=beside)
    assert all(abs(value - 0.5) < 0.007 for value in emitted)


def test_pressing_elsewhere_brings_the_line_there(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float]
) -> None:
    qtbot.mouseClick(plot(slider), LEFT, pos=at(slider, 0.2))
    assert emitted == pytest.approx([0.2], abs=0.005)


def test_only_the_left_button_moves_the_line(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float]
) -> None:
    qtbot.mouseClick(plot(slider), Qt.MouseButton.RightButton, pos=at(slider, 0.2))
    assert emitted == []


def test_dragging_stops_at_the_ends(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float]
) -> None:
    target = plot(slider)
    qtbot.mousePress(target, LEFT, pos=at(slider, 0.5))
    qtbot.mouseMove(target, QPoint(5000, 0))
    qtbot.mouseMove(target, QPoint(-5000, 0))
    qtbot.mouseRelease(target, LEFT, pos=QPoint(-5000, 0))
    assert emitted == [1.0, 0.0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (Qt.Key.Key_Right, 0.505),
        (Qt.Key.Key_Up, 0.505),
        (Qt.Key.Key_Left, 0.495),
        (Qt.Key.Key_Down, 0.495),
        (Qt.Key.Key_PageUp, 0.55),
        (Qt.Key.Key_PageDown, 0.45),
        (Qt.Key.Key_Home, 0.0),
        (Qt.Key.Key_End, 1.0),
    ],
)
def test_keys_move_by_steps_and_pages_and_to_the_ends(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float], key: Qt.Key, value: float
) -> None:
    qtbot.keyClick(plot(slider), key)
    assert emitted == [value]
    assert slider.value() == spin(slider).value() == value


def test_keys_beyond_an_end_emit_nothing(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float]
) -> None:
    slider.set_value(1.0)
    qtbot.keyClick(plot(slider), Qt.Key.Key_Right)
    qtbot.keyClick(plot(slider), Qt.Key.Key_End)
    assert emitted == []


def test_its_keys_are_claimed_before_the_shortcuts_of_the_window(slider: ThresholdSlider) -> None:
    for key, claimed in ((Qt.Key.Key_Left, True), (Qt.Key.Key_Home, True), (Qt.Key.Key_X, False)):
        event = QKeyEvent(QEvent.Type.ShortcutOverride, key, Qt.KeyboardModifier.NoModifier)
        event.ignore()
        QCoreApplication.sendEvent(plot(slider), event)
        assert event.isAccepted() == claimed


def test_a_typed_value_is_emitted_once_when_it_is_complete(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float]
) -> None:
    box = spin(slider)
    box.selectAll()
    qtbot.keyClicks(box, box.locale().toString(0.125))
    assert emitted == []
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert emitted == [0.125]
    assert slider.value() == 0.125


def test_the_arrows_of_the_box_emit_at_once(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float]
) -> None:
    qtbot.keyClick(spin(slider), Qt.Key.Key_Up)
    assert emitted == [0.505]


def test_leaving_the_box_without_an_edit_keeps_the_exact_value(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float]
) -> None:
    slider.set_value(1 / 3)
    qtbot.keyClick(spin(slider), Qt.Key.Key_Return)
    assert slider.value() == 1 / 3
    assert emitted == []


@pytest.mark.parametrize(("high", "decimals"), [(1.0, 4), (255.0, 2), (65535.0, 0), (1e-3, 7)])
def test_the_box_shows_as_many_decimals_as_the_range_needs(
    slider: ThresholdSlider, high: float, decimals: int
) -> None:
    slider.set_range(0, high)
    assert spin(slider).decimals() == decimals


def test_a_double_click_takes_the_markers_value_exactly(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float]
) -> None:
    slider.set_marker(1 / 3, "automatic")
    qtbot.mouseDClick(plot(slider), LEFT, pos=at(slider, 1 / 3))
    assert slider.value() == emitted[-1] == 1 / 3
    qtbot.mouseMove(plot(slider), at(slider, 0.9))
    assert slider.value() == 1 / 3


def test_the_marker_has_a_tooltip_and_the_rest_that_of_the_slider(slider: ThresholdSlider) -> None:
    slider.set_marker(0.25, "0.1 % false positives")
    slider.setToolTip("drag me")
    target = plot(slider)
    for value, text in ((0.25, "0.1 % false positives"), (0.75, "drag me")):
        place = at(slider, value)
        event = QHelpEvent(QEvent.Type.ToolTip, place, target.mapToGlobal(place))
        QCoreApplication.sendEvent(target, event)
        if not event.isAccepted():  # Qt passes it on to the parent
            QCoreApplication.sendEvent(slider, event)
        assert QToolTip.text().startswith(text)
    QToolTip.hideText()


def test_the_defective_side_is_painted_in_the_accent_colour(slider: ThresholdSlider) -> None:
    target = plot(slider)
    accent = plot_colours(target.palette()).defective
    for value in (0.2, 0.4):
        slider.set_value(value)
        _, columns = np.nonzero(colours_of(target, accent))
        assert -2 < columns.min() - target.place(value) < 8


def test_the_reference_is_painted_in_a_fainter_tone(slider: ThresholdSlider) -> None:
    target = plot(slider)
    faint = plot_colours(target.palette()).faint
    before = colours_of(target, faint).sum()
    slider.set_reference_histogram(COUNTS[::-1], EDGES)
    slider.set_value(1.0)
    assert colours_of(target, faint).sum() > before + 1000
    slider.set_reference_histogram(None)
    slider.set_value(0.5)
    assert colours_of(target, faint).sum() == before


def test_the_marker_is_painted_where_its_value_is(slider: ThresholdSlider) -> None:
    target = plot(slider)
    marker = plot_colours(target.palette()).second
    assert not colours_of(target, marker).any()
    slider.set_marker(0.9, "automatic")
    _, columns = np.nonzero(colours_of(target, marker))
    assert np.abs(columns - target.place(0.9)).max() <= 2
    slider.set_marker(None)
    assert not colours_of(target, marker).any()


def test_the_focus_can_be_seen(qtbot: QtBot, slider: ThresholdSlider) -> None:
    spin(slider).setFocus()
    without = colours_of(plot(slider), plot_colours(slider.palette()).text).sum()
    slider.activateWindow()
    slider.setFocus()
    qtbot.waitUntil(plot(slider).hasFocus)
    framed = colours_of(plot(slider), plot_colours(slider.palette()).text).sum()
    assert framed > without + 300


def test_the_share_above_the_threshold_is_shown(slider: ThresholdSlider) -> None:
    slider.set_histogram([900, 90, 10], [0, 0.25, 0.5, 1])
    slider.set_reference_histogram([999, 1, 0], [0, 0.25, 0.5, 1])
    slider.set_value(0.25)
    label = next(found for found in slider.findChildren(QLabel) if "above" in found.text())
    assert label.text() == "10 % above, false positives 0.10 %"
    slider.resize(350, 180)
    assert label.height() < 2 * label.fontMetrics().height()  # one line in a panel of 350 pixels
    assert "0.10 % of defect-free images" in label.toolTip()
    slider.set_reference_histogram([7e5, 3e5, 0], [0.0, 0.1, 0.2, 1.0])
    slider.set_value(0.2)
    assert label.text().endswith(" above, false positives: none of 1,000,000 good pixels")


def test_a_share_is_never_negative() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):  # sums of fractions are not exact
        counts = generator.random(50)
        assert Histogram(counts, np.arange(51.0)).share_above(50.0) >= 0


@pytest.mark.parametrize(
    ("counts", "edges", "span"),
    [
        ([], [0.0], (0, 1)),
        ([5], [0.0, 0.0], (0, 0)),
        ([0, 0], [0, 1, 2], (0, 2)),
        ([1, 2, 3], [5, 6, 7, 8], (0, 1)),
        ([1], [-100, 100], (0, 1e-9)),
    ],
)
def test_any_histogram_can_be_shown(
    slider: ThresholdSlider, counts: list[int], edges: list[float], span: tuple[float, float]
) -> None:
    slider.set_range(*span)
    slider.set_histogram(counts, edges)
    slider.set_reference_histogram(counts, edges)
    slider.grab()
    slider.resize(40, 40)
    slider.grab()


def test_edges_that_do_not_fit_the_counts_are_refused(slider: ThresholdSlider) -> None:
    with pytest.raises(ValueError, match="one edge more"):
        slider.set_histogram([1, 2], [0, 1])


def test_painting_takes_a_small_part_of_a_frame(slider: ThresholdSlider) -> None:
    """Measured at 0.6 ms; the limit leaves room for busy machines."""
    slider.set_reference_histogram(COUNTS[::-1], EDGES)
    target, canvas = plot(slider), QPixmap(350, 110)
    target.resize(350, 110)
    target.render(canvas)
    best = np.inf
    for _ in range(20):
        start = time.perf_counter()
        target.render(canvas)
        best = min(best, time.perf_counter() - start)
    assert best < 2e-3


def test_columns_show_the_largest_count_they_cover() -> None:
    histogram = Histogram(np.array([1.0, 9.0, 2.0, 3.0]), np.array([0.0, 1, 2, 3, 4]))
    assert histogram.columns(0, 4, 2).tolist() == [9, 3]
    assert histogram.columns(0, 4, 8).tolist() == [1, 1, 9, 9, 2, 2, 3, 3]
    assert histogram.columns(-2, 6, 4).tolist() == [0, 9, 3, 0]


def test_shares_are_interpolated_inside_bins() -> None:
    histogram = Histogram(np.array([80.0, 20.0]), np.array([0.0, 1, 2]))
    assert [histogram.share_above(v) for v in (-1, 0, 1, 1.5, 2, 9)] == pytest.approx(
        [1, 1, 0.2, 0.1, 0, 0]
    )


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1, "100 %"),
        (0.25, "25 %"),
        (0.0123, "1.2 %"),
        (1e-3, "0.10 %"),
        (1e-7, "< 0.01 %"),
        (0, "0 %"),
    ],
)
def test_shares_are_written_with_the_figures_that_matter(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.fixture
def reviewing(slider: ThresholdSlider) -> list[float]:
    """What review_changed emits, with a second line at 0.25."""
    values: list[float] = []
    slider.set_review(0.25)
    slider.review_changed.connect(values.append)
    return values


def test_the_line_for_review_is_dragged_up_to_the_threshold(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float], reviewing: list[float]
) -> None:
    target = plot(slider)
    qtbot.mousePress(target, LEFT, pos=at(slider, 0.25))
    for value in (0.3, 0.4, 0.9, 0.95):
        qtbot.mouseMove(target, at(slider, value))
    qtbot.mouseRelease(target, LEFT, pos=at(slider, 0.95))
    assert reviewing == pytest.approx([0.3, 0.4, 0.5], abs=0.005)
    assert reviewing[-1] == slider.value() == 0.5
    assert emitted == []


def test_lines_in_one_place_come_apart_to_either_side(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float], reviewing: list[float]
) -> None:
    slider.set_review(0.5)
    qtbot.mouseClick(plot(slider), LEFT, pos=at(slider, 0.3))
    slider.set_review(0.5)
    qtbot.mouseClick(plot(slider), LEFT, pos=at(slider, 0.7))
    assert reviewing == pytest.approx([0.3], abs=0.005)
    assert emitted == pytest.approx([0.7], abs=0.005)


@pytest.mark.parametrize(
    ("key", "value"),
    [(Qt.Key.Key_Right, 0.255), (Qt.Key.Key_PageDown, 0.2), (Qt.Key.Key_End, 0.5)],
)
def test_keys_with_shift_move_the_line_for_review(
    qtbot: QtBot,
    slider: ThresholdSlider,
    emitted: list[float],
    reviewing: list[float],
    key: Qt.Key,
    value: float,
) -> None:
    qtbot.keyClick(plot(slider), key, Qt.KeyboardModifier.ShiftModifier)
    assert reviewing == [value]
    assert emitted == []


def test_keys_with_shift_do_nothing_without_a_line_for_review(
    qtbot: QtBot, slider: ThresholdSlider, emitted: list[float]
) -> None:
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Home):
        qtbot.keyClick(plot(slider), key, Qt.KeyboardModifier.ShiftModifier)
    assert emitted == []


def test_what_is_to_be_reviewed_is_painted_between_the_lines(
    slider: ThresholdSlider, reviewing: list[float]
) -> None:
    target = plot(slider)
    colour = plot_colours(target.palette()).review
    _, columns = np.nonzero(colours_of(target, colour))
    assert np.abs(columns.min() - target.place(0.25)) <= 8
    assert columns.max() <= target.place(0.5)
    slider.set_value(0.1)  # below it the line for review counts no more, and stays
    assert colours_of(target, colour).any()
    slider.set_review(None)
    assert not colours_of(target, colour).any()


@pytest.mark.parametrize("value", [0.02, 0.5, 0.97])
def test_what_the_marker_stands_for_is_written_beside_it(
    slider: ThresholdSlider, value: float
) -> None:
    target = plot(slider)
    slider.set_value(0.25)
    slider.set_marker(value)
    before = picture_of(target)
    slider.set_marker(value, "0.50 % of good")
    _, columns = np.nonzero((picture_of(target) != before).any(axis=-1))
    assert 30 < np.ptp(columns) < 150
    assert 7 < np.abs(columns - target.place(value)).min() < 20
