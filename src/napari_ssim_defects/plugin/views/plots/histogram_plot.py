"""A histogram that thresholds are dragged over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import QEvent, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QFontMetricsF, QHelpEvent, QKeyEvent, QPainter
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from ..widgets.colours import small
from .histogram import Histogram
from .histogram_picture import HistogramPicture
from .ticks import decimals_for

if TYPE_CHECKING:
    from qtpy.QtGui import QMouseEvent, QPaintEvent, QWheelEvent

__all__ = ["HistogramPlot", "Line"]

STEPS = 200  # arrow keys across the range
PAGES = 20
GRIP = 6  # pixels beside a line that still count as on it
NOTCH = 120  # Qt's wheel units
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


class HistogramPlot(QWidget):
    """Shows histograms, thresholds and a marker; asks for another threshold when one is moved.

    The plot does not move its lines by itself: it emits ``asked`` with the line and the wanted
    value, inside the range, and whoever owns the value sets ``threshold`` or ``review``.

    The mouse moves the line that is nearer; keys and wheel move the threshold for defects, and with
    Shift the one for review.

    Parameters
    ----------
    parent
        Qt's parent.
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

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Move a step per notch; touchpads send fractions of one."""
        assert event is not None
        delta = event.angleDelta()
        self._wheel += delta.y() or delta.x()
        steps = int(self._wheel / NOTCH)
        self._wheel -= steps * NOTCH
        if steps:
            self._ask_steps("review" if event.modifiers() & SHIFT else "threshold", steps)
        event.accept()

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
