"""A histogram that thresholds are dragged over, and how it is painted."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

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

from ..widgets.colours import PlotColours, plot_colours, small
from .histogram import Histogram
from .ticks import decimals_for, linear_ticks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QMouseEvent, QPaintEvent

__all__ = [
    "HistogramPicture",
    "HistogramPlot",
    "Line",
]

STEPS = 200  # arrow keys across the range
PAGES = 20
GRIP = 6  # pixels beside a line that still count as on it
LEFT = Qt.MouseButton.LeftButton
SHIFT = Qt.KeyboardModifier.ShiftModifier
STEP_KEYS: dict[int, int] = {
    Qt.Key.Key_Left: -1,
    Qt.Key.Key_Down: -1,
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_Up: 1,
    Qt.Key.Key_PageDown: -STEPS // PAGES,
    Qt.Key.Key_PageUp: STEPS // PAGES,
}
END_KEYS = (Qt.Key.Key_Home, Qt.Key.Key_End)

Line = Literal["threshold", "review"]
"""What can be dragged: the threshold for defects, and the one for review."""

BESIDE = 9  # pixels from a line to its text, which a handle may need


class HistogramPlot(QWidget):
    """Shows histograms, thresholds and a marker; asks for another threshold when one is moved.

    The plot does not move its lines by itself: it emits ``asked`` with the line and the wanted
    value, inside the range, and whoever owns the value sets ``threshold`` or ``review``.

    The mouse moves the line that is nearer; keys move the threshold for defects, and with Shift the
    one for review. The wheel is left to the panel, which scrolls.
    """

    asked = Signal(str, float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.low, self.high, self.threshold = 0.0, 1.0, 0.5
        self.review: float | None = None
        self.histogram: Histogram | None = None
        self.reference: Histogram | None = None
        self.marker: float | None = None
        self.marker_text = ""
        self.near: Line | None = None
        self._picture = HistogramPicture(self)
        self._grabbed: tuple[Line, float] | None = None
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

    def forget_paths(self) -> None:
        """Have the histograms laid out again, and painted."""
        self._picture.forget()
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint everything."""
        self._picture.paint(QPainter(self))

    def _span(self) -> float:
        return self.high - self.low or 1.0

    def _value(self, x: float) -> float:
        field = self.field()
        return self.low + (x - field.left()) / field.width() * self._span()

    def _values(self) -> dict[Line, float]:
        lines: dict[Line, float] = {"threshold": self.threshold}
        if self.review is not None:
            lines["review"] = self.review
        return lines

    def _nearest(self, x: float) -> tuple[Line, float]:
        """Return the line that is nearest to an x coordinate, and how far it is, with its sign.

        Of two lines in one place it is the one on this side, so that they come apart again.
        """
        away: dict[Line, float] = {
            line: self.place(value) - x for line, value in self._values().items()
        }
        if len(set(away.values())) < len(away):
            line: Line = "threshold" if away["threshold"] <= 0 else "review"
        else:
            line = min(away, key=lambda name: abs(away[name]))
        return line, away[line]

    def _ask(self, line: Line, value: float) -> None:
        """Emit a value as it is displayed, so that what is read is what is used."""
        self._ask_exactly(line, round(value, decimals_for(self._span())))

    def _ask_exactly(self, line: Line, value: float) -> None:
        self.asked.emit(line, min(max(value, self.low), self.high))

    def _ask_steps(self, line: Line, steps: int) -> None:
        if line in self._values():
            self._ask(line, self._values()[line] + steps * (self.high - self.low) / STEPS)

    # -- mouse and keyboard ----------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Grab a line, or move it here first."""
        assert event is not None
        if event.button() != LEFT:
            super().mousePressEvent(event)
            return
        line, away = self._nearest(event.position().x())
        # Grabbed beside its centre, the line keeps that distance instead of jumping.
        on_line = abs(away) <= GRIP
        self._grabbed = line, away if on_line else 0.0
        if not on_line:
            self._ask(line, self._value(event.position().x()))
        self.update()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Drag a line."""
        assert event is not None
        x = event.position().x()
        if self._grabbed is not None:
            line, away = self._grabbed
            self._ask(line, self._value(x + away))
            self._set_near(line)
        else:
            line, away = self._nearest(x)
            self._set_near(line if abs(away) <= GRIP else None)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """Let a line go."""
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
            self._ask_exactly("threshold", self.marker)

    def leaveEvent(self, event: QEvent | None) -> None:
        """Forget that the pointer was near a line."""
        self._set_near(None)
        super().leaveEvent(event)

    def _set_near(self, near: Line | None) -> None:
        if near != self.near:
            self.near = near
            self.setCursor(Qt.CursorShape.SplitHCursor if near else Qt.CursorShape.ArrowCursor)
            self.update()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Move by steps, pages and to the ends."""
        assert event is not None
        key = event.key()
        line: Line = "review" if event.modifiers() & SHIFT else "threshold"
        if key in STEP_KEYS:
            self._ask_steps(line, STEP_KEYS[key])
        elif key in END_KEYS and line in self._values():
            self._ask_exactly(line, self.low if key == Qt.Key.Key_Home else self.high)
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent | None) -> bool:
        """Claim the keys before napari's shortcuts, and show the meaning of the marker."""
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


class HistogramPicture:
    """Paints the histograms, the lines and the marker of a plot."""

    def __init__(self, plot: HistogramPlot) -> None:
        self._plot = plot
        self._paths: tuple[object, QPainterPath, QPainterPath] | None = None

    def forget(self) -> None:
        """Lay the histograms out again when they are painted next."""
        self._paths = None

    def paint(self, painter: QPainter) -> None:
        """Paint histograms, axis, marker and lines."""
        plot = self._plot
        colours = plot_colours(plot.palette(), enabled=plot.isEnabled())
        field = plot.field()
        painter.fillRect(field, colours.field)
        self._paint_histograms(painter, field, colours)
        self._paint_axis(painter, field, colours)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_marker(painter, field, colours)
        if plot.review is not None:
            self._paint_review(painter, field, colours)
        self._paint_threshold(painter, field, colours)
        self._paint_marker_text(painter, field, colours)
        if plot.hasFocus():
            painter.setPen(QPen(colours.text, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(plot.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)

    def _layout(self) -> tuple[QPainterPath, QPainterPath]:
        """Return the outlines of both histograms on one logarithmic scale, kept until changed."""
        plot = self._plot
        field = plot.field()
        key = (field.width(), field.height(), plot.low, plot.high)
        if self._paths is None or self._paths[0] != key:
            number = max(int(field.width()), 1)
            heights = [
                np.zeros(number) if h is None else h.columns(plot.low, plot.high, number)
                for h in (plot.histogram, plot.reference)
            ]
            if plot.histogram is not None and plot.reference is not None:
                # As high as the same number of values of defect-free images would be.
                unit = plot.histogram.density_unit()
                heights[1] *= plot.reference.density_unit() / unit if unit > 0 else 1.0
            heights = [np.log1p(height) for height in heights]
            top = max(height.max() for height in heights) or 1.0
            paths = [_outline(height / top, field) for height in heights]
            self._paths = (key, paths[0], paths[1])
        return self._paths[1], self._paths[2]

    def _paint_histograms(self, painter: QPainter, field: QRectF, colours: PlotColours) -> None:
        """Fill the histogram in a colour for what is good, to be reviewed and defective."""
        plot = self._plot
        if plot.histogram is None and plot.reference is None:
            painter.setPen(colours.muted)
            painter.drawText(field, Qt.AlignmentFlag.AlignCenter, "No histogram yet")
            return
        path, reference = self._layout()
        high = round(plot.place(plot.threshold))
        low = high if plot.review is None else min(round(plot.place(plot.review)), high)
        ends = (field.left(), low, high, field.right())
        parts = [
            QRectF(QPointF(left, field.top()), QPointF(right, field.bottom()))
            for left, right in pairwise(ends)
        ]
        fills = (colours.bulk, colours.review, colours.defective)
        for part, colour in zip(parts[1:], fills[1:], strict=True):
            wash = QColor(colour)
            wash.setAlphaF(0.12)
            painter.fillRect(part, wash)
        painter.fillPath(reference, colours.faint)
        for part, colour in zip(parts, fills, strict=True):
            painter.setClipRect(part)
            painter.fillPath(path, colour)
        painter.setClipping(False)
        if plot.reference is not None and plot.histogram is not None:
            painter.setClipRect(field.adjusted(0, 0, 0, -1))
            painter.setPen(QPen(colours.muted, 1))
            painter.drawPath(reference)
            painter.setClipping(False)

    def _paint_axis(self, painter: QPainter, field: QRectF, colours: PlotColours) -> None:
        plot = self._plot
        painter.setFont(small(painter.font()))
        metrics = painter.fontMetrics()
        painter.setPen(colours.muted)
        for tick in linear_ticks(plot.low, plot.high, max(2, int(field.width() / 45))):
            text = f"{tick:.6g}"
            width = metrics.horizontalAdvance(text) + 2
            x = plot.place(tick)
            painter.drawLine(QPointF(x, field.bottom()), QPointF(x, field.bottom() + 2))
            left = min(max(x - width / 2, 0), plot.width() - width)
            painter.drawText(
                QRectF(left, field.bottom() + 2, width, metrics.height()),
                Qt.AlignmentFlag.AlignCenter,
                text,
            )

    def _paint_marker(self, painter: QPainter, field: QRectF, colours: PlotColours) -> None:
        marker = self._plot.marker
        if marker is not None and self._plot.low <= marker <= self._plot.high:
            x = self._plot.place(marker)
            painter.setPen(QPen(colours.second, 1.5, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x, field.top()), QPointF(x, field.bottom()))

    def _paint_marker_text(self, painter: QPainter, field: QRectF, colours: PlotColours) -> None:
        """Write the meaning of the marker on the side that has room, over all lines."""
        plot = self._plot
        if not plot.marker_text or plot.marker is None or not plot.low <= plot.marker <= plot.high:
            return
        x = plot.place(plot.marker)
        metrics = painter.fontMetrics()
        width = metrics.horizontalAdvance(plot.marker_text) + 4
        right = x + BESIDE + width <= field.right()
        place = QRectF(
            x + BESIDE if right else x - BESIDE - width, field.top() + 1, width, metrics.height()
        )
        if place.left() >= field.left():
            behind = QColor(colours.field)
            behind.setAlphaF(0.8)
            painter.fillRect(place, behind)
            painter.setPen(colours.text)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, plot.marker_text)

    def _paint_threshold(self, painter: QPainter, field: QRectF, colours: PlotColours) -> None:
        """Draw the line with a handle at its top, larger while it can be dragged."""
        x = round(self._plot.place(self._plot.threshold))
        if self._plot.histogram is not None or self._plot.reference is not None:
            painter.setPen(QPen(colours.text, 2))
            painter.drawLine(QPointF(x, field.top()), QPointF(x, field.bottom()))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colours.text)
        painter.drawPolygon(_handle(x, field.top() - 6, self._side("threshold"), 1))

    def _paint_review(self, painter: QPainter, field: QRectF, colours: PlotColours) -> None:
        """Draw the line with a handle at its bottom; hollow while the threshold is not above it."""
        review = self._plot.review
        assert review is not None
        x = round(self._plot.place(review))
        painter.setPen(QPen(colours.review, 2))
        painter.drawLine(QPointF(x, field.top()), QPointF(x, field.bottom()))
        counts = review < self._plot.threshold
        # Its own colour would vanish before the bars.
        painter.setPen(QPen(colours.text if counts else colours.review, 1.5))
        painter.setBrush(colours.review if counts else colours.field)
        painter.drawPolygon(_handle(x, field.bottom() - 1, self._side("review"), -1))

    def _side(self, line: str) -> float:
        return 7.0 if self._plot.near == line else 5.5


def _handle(x: float, y: float, side: float, down: int) -> QPolygonF:
    """Return a handle that hangs from (x, y), or stands on it if ``down`` is -1."""
    corners = [(-side, 0), (side, 0), (side, 4), (0, 4 + side), (-side, 4)]
    return QPolygonF([QPointF(x + dx, y + down * dy) for dx, dy in corners])


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
