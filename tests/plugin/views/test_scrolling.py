"""What scrolls the panel, and what scrolls into view by itself."""

from __future__ import annotations

from typing import Any

import pytest
from qtpy.QtCore import QCoreApplication, QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QScrollArea, QWidget

from napari_ssim_defects.plugin.views.panel import DefectPanel
from napari_ssim_defects.plugin.views.plots.histogram_plot import HistogramPlot

pytestmark = pytest.mark.usefixtures("make_napari_viewer")  # a window


@pytest.fixture
def panel(viewer: Any, qtbot: Any) -> DefectPanel:
    """The panel in its window, lower than its sections."""
    panel = DefectPanel(viewer)
    viewer.window.add_dock_widget(panel, name="SSIM defects")
    viewer.window._qt_window.resize(1000, 600)
    viewer.window._qt_window.show()
    qtbot.waitExposed(viewer.window._qt_window)
    return panel


def turn(target: QWidget, notches: int, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
    """Turn the wheel over a widget, as Qt tells of it: outwards until one takes it."""
    there, accepted = target.mapToGlobal(target.rect().center()), False
    while target is not None and not accepted:
        event = QWheelEvent(
            QPointF(target.mapFromGlobal(there)),
            QPointF(there),
            QPoint(),
            QPoint(0, 120 * notches),
            Qt.MouseButton.NoButton,
            modifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QCoreApplication.sendEvent(target, event)
        target, accepted = target.parentWidget(), event.isAccepted()


def test_the_wheel_over_the_histogram_scrolls_the_panel_and_moves_no_threshold(
    panel, viewer, images, detected, state, qtbot
):
    detected(viewer.add_image(images.spoilt(1), name="bad"))
    state.segmentation = state.segmentation.replace(review_threshold=state.threshold / 2)
    bar = panel.findChild(QScrollArea).verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 0)
    before, review = state.threshold, state.segmentation.review_threshold
    bar.setValue(0)
    for modifier in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier):
        turn(panel.segment.findChild(HistogramPlot), -3, modifier)
    assert bar.value() > 0
    assert (state.threshold, state.segmentation.review_threshold) == (before, review)


@pytest.mark.parametrize("focused", [False, True])
def test_the_wheel_changes_no_field_of_the_panel(
    panel, viewer, images, detected, state, qtbot, focused
):
    detected(viewer.add_image(images.spoilt(1), name="bad"))
    for section in panel._sections.values():
        section.set_expanded(True)
    scroll = panel.findChild(QScrollArea)
    fields = [each for kind in (QAbstractSpinBox, QComboBox) for each in scroll.findChildren(kind)]
    fields = [each for each in fields if each.isVisible()]
    assert len(fields) > 15
    for field in fields:
        before = field.currentIndex() if isinstance(field, QComboBox) else field.text()
        if focused:
            field.setFocus()
        turn(field, 1)
        turn(field, -2)
        after = field.currentIndex() if isinstance(field, QComboBox) else field.text()
        assert after == before, field.accessibleName()


def in_sight(panel: DefectPanel, title: str) -> bool:
    """Whether the title of a section and what is below it are in sight."""
    scroll, section = panel.findChild(QScrollArea), panel._sections[title]
    top = section.mapTo(scroll.viewport(), QPoint(0, 0)).y()
    return 0 <= top < scroll.viewport().height() / 2 or (
        top >= 0 and top + section.height() <= scroll.viewport().height()
    )


def test_what_a_detection_found_is_scrolled_into_sight(
    panel, viewer, images, detected, controller, state, wait_idle, qtbot
):
    bar = panel.findChild(QScrollArea).verticalScrollBar()
    detected(viewer.add_image(images.spoilt(1), name="bad"))
    qtbot.waitUntil(lambda: in_sight(panel, "Segment"), timeout=5000)
    bar.setValue(bar.maximum())
    controller.detection.start()
    wait_idle()
    qtbot.waitUntil(lambda: in_sight(panel, "Segment"), timeout=5000)
    controller.labelling.start()
    wait_idle()
    qtbot.waitUntil(lambda: in_sight(panel, "Regions"), timeout=5000)


@pytest.mark.parametrize("width", [350, 300])
def test_the_longest_usual_messages_are_whole(panel, state, qtbot, width):
    panel.setFixedWidth(width)
    state.status = (
        "Trained, not saved yet. Reliable: it finds 93 % of painted defects of 123 px or more and "
        "67 % of smaller ones, and at most one spot is outlined by mistake in a good image."
    )
    label = panel.footer.status
    qtbot.waitUntil(lambda: panel.footer.width() == width, timeout=5000)
    assert label.heightForWidth(label.width()) <= label.height()
