"""A histogram that a threshold is dragged over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QFontMetricsF,
    QHelpEvent,
    QKeyEvent,
    QPainter,
    QPainterPath,
    QPen,
    QPolygonF,
)
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from .colours import PlotColours, plot_colours, small
from .histogram import Histogram
from .ticks import decimals_for, linear_ticks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QMouseEvent, QPaintEvent, QWheelEvent

__all__ = ["HistogramPlot"]

STEPS = 200  # arrow keys across the range
PAGES = 20
GRIP = 6  # pixels beside a line that still count as on it
NOTCH = 120  # Qt's wheel units
LEFT = Qt.MouseButton.LeftButton
STEP_KEYS: dict[int, int] = {
    Qt.Key.Key_Left: -1,
    Qt.Key.Key_Down: -1,
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_Up: 1,
    Qt.Key.Key_PageDown: -STEPS // PAGES,
    Qt.Key.Key_PageUp: STEPS // PAGES,
}
END_KEYS = (Qt.Key.Key_Home, Qt.Key.Key_End)


class HistogramPlot(QWidget):
    """Paints histograms, a threshold and a marker; asks for another threshold when it is moved.

    The plot does not move its threshold by itself: it emits ``asked`` with the wanted value, inside
    the range, and whoever owns the value sets ``threshold``.

    Parameters
    ----------
    parent
        Qt's parent.
    """

    asked = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.low, self.high, self.threshold = 0.0, 1.0, 0.5
        self.histogram: Histogram | None = None
        self.reference: Histogram | None = None
        self.marker: float | None = None
        self.marker_text = ""
        self._paths: tuple[object, QPainterPath, QPainterPath] | None = None
        self._grabbed: float | None = None
        self._near = False
        self._wheel = 0
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setMinimumHeight(70)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)

    def sizeHint(self) -> QSize:
        """Return a size that suits a dock widget."""
        return QSize(320, 110)

    def field(self) -> QRectF:
        """Return the rectangle of the histogram, without the axis."""
        below = QFontMetricsF(small(self.font())).height() + 2
        return QRectF(8, 7, max(self.width() - 16, 1), max(self.height() - 7 - below, 1))

    def place(self, value: float) -> float:
        """Return the x coordinate of a value."""
        field = self.field()
        return field.left() + (value - self.low) / self._span() * field.width()

    def _span(self) -> float:
        return self.high - self.low or 1.0

    def _value(self, x: float) -> float:
        field = self.field()
        return self.low + (x - field.left()) / field.width() * self._span()

    def _ask(self, value: float) -> None:
        """Emit a value as it is displayed, so that what is read is what is used."""
        value = round(value, decimals_for(self._span()))
        self.asked.emit(min(max(value, self.low), self.high))

    def _ask_steps(self, steps: int) -> None:
        self._ask(self.threshold + steps * (self.high - self.low) / STEPS)

    # -- mouse and keyboard ----------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Grab the threshold, or move it here first."""
        assert event is not None
        if event.button() != LEFT:
            super().mousePressEvent(event)
            return
        x, line = event.position().x(), self.place(self.threshold)
        # Grabbed beside its centre, the line keeps that distance instead of jumping.
        on_line = abs(line - x) <= GRIP
        self._grabbed = line - x if on_line else 0.0
        if not on_line:
            self._ask(self._value(x))
        self.update()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Drag the threshold."""
        assert event is not None
        x = event.position().x()
        if self._grabbed is not None:
            self._ask(self._value(x + self._grabbed))
        self._set_near(self._grabbed is not None or abs(x - self.place(self.threshold)) <= GRIP)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """Let the threshold go."""
        assert event is not None
        if event.button() == LEFT:
            self._grabbed = None
            self.update()
        else:
            super().mouseReleaseEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        """Take the marker's value, exactly."""
        assert event is not None
        if event.button() == LEFT and self.marker is not None:
            self.asked.emit(min(max(self.marker, self.low), self.high))

    def leaveEvent(self, event: QEvent | None) -> None:
        """Forget that the pointer was near the threshold."""
        self._set_near(False)
        super().leaveEvent(event)

    def _set_near(self, near: bool) -> None:
        if near != self._near:
            self._near = near
            self.setCursor(Qt.CursorShape.SplitHCursor if near else Qt.CursorShape.ArrowCursor)
            self.update()

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Move a step per notch; touchpads send fractions of one."""
        assert event is not None
        delta = event.angleDelta()
        self._wheel += delta.y() or delta.x()
        steps = int(self._wheel / NOTCH)
        self._wheel -= steps * NOTCH
        if steps:
            self._ask_steps(steps)
        event.accept()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Move by steps, pages and to the ends."""
        assert event is not None
        key = event.key()
        if key in STEP_KEYS:
            self._ask_steps(STEP_KEYS[key])
        elif key in END_KEYS:
            self.asked.emit(self.low if key == Qt.Key.Key_Home else self.high)
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent | None) -> bool:
        """Claim the keys before napari's shortcuts, and show what the marker stands for."""
        if (
            isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.ShortcutOverride
            and (event.key() in STEP_KEYS or event.key() in END_KEYS)
        ):
            event.accept()
            return True
        if (
            isinstance(event, QHelpEvent)
            and event.type() == QEvent.Type.ToolTip
            and self.marker is not None
            and abs(event.pos().x() - self.place(self.marker)) <= GRIP
        ):
            text = f"{self.marker_text}\n" if self.marker_text else ""
            text += f"{self.marker:.4g} (double-click to use it)"
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)

    # -- painting --------------------------------------------------------------------------

    def forget_paths(self) -> None:
        """Have the histograms laid out again, and painted."""
        self._paths = None
        self.update()

    def _layout(self) -> tuple[QPainterPath, QPainterPath]:
        """Return the outlines of both histograms on one logarithmic scale, kept until changed."""
        field = self.field()
        key = (field.width(), field.height(), self.low, self.high)
        if self._paths is None or self._paths[0] != key:
            number = max(int(field.width()), 1)
            heights = [
                np.zeros(number) if h is None else h.columns(self.low, self.high, number)
                for h in (self.histogram, self.reference)
            ]
            if self.histogram is not None and self.reference is not None:
                # As high as the same number of values of defect-free images would be.
                unit = self.histogram.density_unit()
                heights[1] *= self.reference.density_unit() / unit if unit > 0 else 1.0
            heights = [np.log1p(height) for height in heights]
            top = max(height.max() for height in heights) or 1.0
            paths = [_outline(height / top, field) for height in heights]
            self._paths = (key, paths[0], paths[1])
        return self._paths[1], self._paths[2]

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint histograms, axis, marker and threshold."""
        colours = plot_colours(self.palette(), enabled=self.isEnabled())
        painter = QPainter(self)
        field = self.field()
        painter.fillRect(field, colours.field)
        self._paint_histograms(painter, field, colours)
        self._paint_axis(painter, field, colours)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.marker is not None and self.low <= self.marker <= self.high:
            x = self.place(self.marker)
            painter.setPen(QPen(colours.second, 1.5, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x, field.top()), QPointF(x, field.bottom()))
        self._paint_threshold(painter, field, colours)
        if self.hasFocus():
            painter.setPen(QPen(colours.text, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)

    def _paint_histograms(self, painter: QPainter, field: QRectF, colours: PlotColours) -> None:
        """Fill the histogram in two colours, left and right of the threshold."""
        if self.histogram is None and self.reference is None:
            painter.setPen(colours.muted)
            painter.drawText(field, Qt.AlignmentFlag.AlignCenter, "No histogram yet")
            return
        path, reference = self._layout()
        x = round(self.place(self.threshold))
        left, right = QRectF(field), QRectF(field)
        left.setRight(x)
        right.setLeft(x)
        wash = QColor(colours.defective)
        wash.setAlphaF(0.12)
        painter.fillRect(right, wash)
        painter.fillPath(reference, colours.faint)
        for side, colour in ((left, colours.bulk), (right, colours.defective)):
            painter.setClipRect(side)
            painter.fillPath(path, colour)
        painter.setClipping(False)
        if self.reference is not None and self.histogram is not None:
            painter.setClipRect(field.adjusted(0, 0, 0, -1))
            painter.setPen(QPen(colours.muted, 1))
            painter.drawPath(reference)
            painter.setClipping(False)

    def _paint_axis(self, painter: QPainter, field: QRectF, colours: PlotColours) -> None:
        font = small(painter.font())
        painter.setFont(font)
        metrics = painter.fontMetrics()
        painter.setPen(colours.muted)
        for tick in linear_ticks(self.low, self.high, max(2, int(field.width() / 45))):
            text = f"{tick:.6g}"
            width = metrics.horizontalAdvance(text) + 2
            x = self.place(tick)
            painter.drawLine(QPointF(x, field.bottom()), QPointF(x, field.bottom() + 2))
            left = min(max(x - width / 2, 0), self.width() - width)
            painter.drawText(
                QRectF(left, field.bottom() + 2, width, metrics.height()),
                Qt.AlignmentFlag.AlignCenter,
                text,
            )

    def _paint_threshold(self, painter: QPainter, field: QRectF, colours: PlotColours) -> None:
        """Draw the line with a handle at its top, larger while it can be dragged."""
        x = round(self.place(self.threshold))
        side = 7 if self._near or self._grabbed is not None else 5.5
        if self.histogram is not None or self.reference is not None:
            painter.setPen(QPen(colours.text, 2))
            painter.drawLine(QPointF(x, field.top()), QPointF(x, field.bottom()))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colours.text)
        top = field.top() - 6
        handle = [(-side, top), (side, top), (side, top + 4), (0, top + 4 + side), (-side, top + 4)]
        painter.drawPolygon(QPolygonF([QPointF(x + dx, y) for dx, y in handle]))


def _outline(heights: NDArray[np.float64], field: QRectF) -> QPainterPath:
    """Return the area under columns, 0 to 1 high; columns of equal height become one."""
    path = QPainterPath()
    starts = np.flatnonzero(np.diff(heights, prepend=-1.0))
    xs = np.append(starts, len(heights)) * (field.width() / len(heights)) + field.left()
    ys = field.bottom() - heights[starts] * (field.height() - 2)
    points = [QPointF(field.left(), field.bottom())]
    for left, right, y in zip(xs[:-1].tolist(), xs[1:].tolist(), ys.tolist(), strict=True):
        points += (QPointF(left, y), QPointF(right, y))
    points.append(QPointF(field.right(), field.bottom()))
    path.addPolygon(QPolygonF(points))
    return path
