"""The live curve of the training loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from ..widgets.colours import PlotColours, plot_colours, small
from .ticks import linear_ticks, log_ticks

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent

__all__ = ["LossPlot"]

MOST_POINTS = 2000  # per line; more are averaged in pairs
LOG_FROM = 10.0  # ratio of the largest to the smallest loss
TIME_UNITS = (("s", 1.0), ("min", 60.0), ("h", 3600.0))


class LossPlot(QWidget):
    """Plots the training loss, and the validation loss where there is one, over time.

    The loss axis becomes logarithmic once the loss spans more than a factor of ten, so that the
    late, small improvements stay visible. Values that are not finite leave no trace.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumHeight(110)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setAccessibleName("Loss curve")
        self._training = _Line()
        self._validation = _Line()
        self.clear()

    def clear(self) -> None:
        """Start an empty plot."""
        self._training = _Line()
        self._validation = _Line()
        self.setAccessibleDescription("No loss yet")
        self.update()

    def add(self, elapsed_seconds: float, loss: float, validation_loss: float | None) -> None:
        """Append a point to the curves.

        Parameters
        ----------
        elapsed_seconds
            Time since training started, never less than at the point before.
        loss
            Training loss.
        validation_loss
            Loss on held-out patches; None or NaN where it was not measured.
        """
        self._training.add(elapsed_seconds, loss)
        if validation_loss is not None:
            self._validation.add(elapsed_seconds, validation_loss)
        words = [
            f"{name} {_short(line.latest)}"
            for name, line in self._named_lines()
            if line.latest is not None
        ]
        if words:
            self.setAccessibleDescription(", ".join(words) + f", after {elapsed_seconds:.0f} s")
        self.update()

    def sizeHint(self) -> QSize:
        """Return a size that suits a dock widget."""
        return QSize(320, 130)

    def _named_lines(self) -> list[tuple[str, _Line]]:
        return [("training", self._training), ("validation", self._validation)]

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the axes, the lines and the legend."""
        colours = plot_colours(self.palette(), enabled=self.isEnabled())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(small(painter.font()))

        lines = [line.points(max(self.width(), 1)) for _, line in self._named_lines()]
        losses = [loss for line in lines for _, loss in line]
        if not losses:
            field = QRectF(self.rect()).adjusted(1, 1, -1, -1)
            painter.fillRect(field, colours.field)
            painter.setPen(colours.muted)
            painter.drawText(
                field, Qt.AlignmentFlag.AlignCenter, "The loss appears here during training"
            )
            return

        axis = _LossAxis(min(losses), max(losses))
        span = max(time for line in lines for time, _ in line) or 1.0
        field = _draw_losses(painter, QRectF(self.rect()), axis, colours)
        painter.setPen(colours.muted)
        _draw_times(painter, field, span)
        for line, colour in zip(lines, (colours.text, colours.second), strict=True):
            places = [
                QPointF(
                    field.left() + time / span * field.width(),
                    field.bottom() - axis.place(loss) * field.height(),
                )
                for time, loss in line
            ]
            _draw_line(painter, places, colour)
        self._draw_legend(painter, field, colours, axis.logarithmic)

    def _draw_legend(
        self, painter: QPainter, field: QRectF, colours: PlotColours, logarithmic: bool
    ) -> None:
        """Name the lines above the field, with their latest values; right to left."""
        metrics = painter.fontMetrics()
        middle = metrics.height() / 2
        right = field.right()
        entries = zip(self._named_lines(), (colours.text, colours.second), strict=True)
        for (name, line), colour in reversed(list(entries)):
            if line.latest is None:
                continue
            text = f"{name} {_short(line.latest)}"
            left = right - metrics.horizontalAdvance(text)
            painter.setPen(colours.text)
            painter.drawText(QPointF(left, metrics.ascent()), text)
            painter.setPen(QPen(colour, 2))
            painter.drawLine(QPointF(left - 16, middle), QPointF(left - 4, middle))
            right = left - 26
        title = "Loss (log)" if logarithmic else "Loss"
        if metrics.horizontalAdvance(title) < right:
            painter.setPen(colours.muted)
            painter.drawText(QPointF(0, metrics.ascent()), title)


class _Line:
    """A curve of bounded length: when it is full, neighbours are averaged and so are new points."""

    def __init__(self) -> None:
        self.latest: float | None = None
        self._points: list[tuple[float, float]] = []
        self._open: list[tuple[float, float]] = []
        self._stride = 1

    def add(self, time: float, loss: float) -> None:
        if not (math.isfinite(time) and math.isfinite(loss)):
            return
        self.latest = loss
        self._open.append((time, loss))
        if len(self._open) < self._stride:
            return
        self._points.append(_mean(self._open))
        self._open.clear()
        if len(self._points) >= MOST_POINTS:
            pairs = zip(self._points[::2], self._points[1::2], strict=True)
            self._points = [_mean(pair) for pair in pairs]
            self._stride *= 2

    def points(self, most: int) -> list[tuple[float, float]]:
        """Return at most ``most`` points, averages of equally many neighbours each."""
        points = [*self._points, _mean(self._open)] if self._open else self._points
        size = math.ceil(len(points) / most)
        if size < 2:
            return points
        return [_mean(points[start : start + size]) for start in range(0, len(points), size)]


class _LossAxis:
    """Where a loss lies between the bottom (0) and the top (1) of the field."""

    def __init__(self, low: float, high: float) -> None:
        self.logarithmic = low > 0 and high > LOG_FROM * low
        self._low, self._high = self._scaled(low), self._scaled(high)
        margin = 0.05 * (self._high - self._low) or 0.1 * abs(self._high) or 1.0
        self._low -= margin
        self._high += margin
        if low >= 0 and not self.logarithmic:
            self._low = max(self._low, 0.0)

    def _scaled(self, loss: float) -> float:
        return math.log10(loss) if self.logarithmic else loss

    def place(self, loss: float) -> float:
        return (self._scaled(loss) - self._low) / (self._high - self._low)

    def ticks(self, most: int) -> list[float]:
        if self.logarithmic:
            return log_ticks(10**self._low, 10**self._high, most)
        return linear_ticks(self._low, self._high, most)


def _draw_losses(painter: QPainter, rect: QRectF, axis: _LossAxis, colours: PlotColours) -> QRectF:
    """Draw the loss axis and return the field that is left for the lines."""
    metrics = painter.fontMetrics()
    height = metrics.height()
    room = max(rect.height() - 2 * height - 8, 1)
    ticks = axis.ticks(max(2, int(room / (1.8 * height))))
    # The topmost label would run into the title.
    ticks = [tick for tick in ticks if (1 - axis.place(tick)) * room > height / 2 - 3]
    gutter = max((metrics.horizontalAdvance(_short(tick)) for tick in ticks), default=0)
    field = QRectF(gutter + 6, height + 3, max(rect.width() - gutter - 10, 1), room)
    painter.fillRect(field, colours.field)
    for tick in ticks:
        y = round(field.bottom() - axis.place(tick) * room) + 0.5
        painter.setPen(QPen(colours.faint, 1))
        painter.drawLine(QPointF(field.left(), y), QPointF(field.right(), y))
        painter.setPen(colours.muted)
        painter.drawText(
            QRectF(0, y - height / 2, gutter, height),
            Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
            _short(tick),
        )
    return field


def _draw_times(painter: QPainter, field: QRectF, span: float) -> None:
    """Label the time axis below the field in the largest unit of which there are two."""
    metrics = painter.fontMetrics()
    unit, seconds = next(((u, s) for u, s in reversed(TIME_UNITS) if span >= 2 * s), TIME_UNITS[0])
    most = max(2, int(field.width() / 50))
    for tick in linear_ticks(0, span / seconds, most):
        text = f"{_short(tick)} {unit}"
        width = metrics.horizontalAdvance(text) + 2
        x = field.left() + tick * seconds / span * field.width()
        left = min(max(x - width / 2, field.left()), field.right() - width)
        place = QRectF(left, field.bottom() + 2, width, metrics.height())
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)


def _draw_line(painter: QPainter, places: list[QPointF], colour: QColor) -> None:
    """Draw a line that ends in a dot, which is all there is of a single point."""
    if places:
        painter.setPen(QPen(colour, 1.3))
        painter.drawPolyline(QPolygonF(places))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
        painter.drawEllipse(places[-1], 2.2, 2.2)


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    times, losses = zip(*points, strict=True)
    return sum(times) / len(times), sum(losses) / len(losses)


def _short(number: float | None) -> str:
    """Return a number with three figures and no needless zeros."""
    return "" if number is None else f"{number:.3g}".replace("e-0", "e-")
