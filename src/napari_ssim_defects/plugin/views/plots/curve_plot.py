"""Curves between 0 and 1: ROC, precision and recall, overlaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from ..widgets.colours import PlotColours, plot_colours, small
from .ticks import linear_ticks

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent

    from ...state.panel_state import CurveSet

__all__ = ["CurvePlot"]


class CurvePlot(QWidget):
    """Plots curves in the colours of the theme.

    Parameters
    ----------
    parent
        Qt's parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumHeight(170)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setAccessibleName("Evaluation curves")
        self._curves: CurveSet | None = None

    def show_curves(self, curves: CurveSet | None) -> None:
        """Show other curves, or none."""
        self._curves = curves
        words = "" if curves is None else ", ".join(curve.name for curve in curves.curves)
        self.setAccessibleDescription("" if curves is None else f"{curves.title}: {words}")
        self.update()

    def sizeHint(self) -> QSize:
        """Return a size that suits a dock widget."""
        return QSize(320, 200)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint the axes, the curves and the legend."""
        if self._curves is None:
            return
        colours = plot_colours(self.palette(), enabled=self.isEnabled())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(small(painter.font()))
        field = _draw_axes(painter, QRectF(self.rect()), self._curves, colours)
        pens = _pens(colours)
        for curve, pen in zip(self._curves.curves, pens, strict=False):
            xs = field.left() + np.asarray(curve.x) / self._curves.x_max * field.width()
            ys = field.bottom() - np.asarray(curve.y) * field.height()
            painter.setPen(pen)
            painter.drawPolyline(
                QPolygonF([QPointF(x, y) for x, y in zip(xs.tolist(), ys.tolist(), strict=True)])
            )
        self._draw_legend(painter, field, colours, pens)

    def _draw_legend(
        self, painter: QPainter, field: QRectF, colours: PlotColours, pens: list[QPen]
    ) -> None:
        """Name the curves above the field, left to right."""
        assert self._curves is not None
        metrics = painter.fontMetrics()
        left = field.left()
        for curve, pen in zip(self._curves.curves, pens, strict=False):
            painter.setPen(pen)
            painter.drawLine(QPointF(left, metrics.height() / 2),
                             QPointF(left + 14, metrics.height() / 2))  # fmt: skip
            painter.setPen(colours.text)
            painter.drawText(QPointF(left + 18, metrics.ascent()), curve.name)
            left += 32 + metrics.horizontalAdvance(curve.name)


def _pens(colours: PlotColours) -> list[QPen]:
    """Told apart by dashes too, not only by colour."""
    pens = []
    styles = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine)
    hues: tuple[QColor, ...] = (colours.second, colours.defective, colours.text)
    for colour, style in zip(hues, styles, strict=True):
        pen = QPen(colour, 1.6)
        pen.setStyle(style)
        pens.append(pen)
    return pens


def _draw_axes(painter: QPainter, rect: QRectF, curves: CurveSet, colours: PlotColours) -> QRectF:
    """Draw both axes with their names and return the field between them."""
    metrics = painter.fontMetrics()
    height = metrics.height()
    gutter = metrics.horizontalAdvance("0.8") + 6
    field = QRectF(gutter + height, height + 5, rect.width() - gutter - height - 6,
                   rect.height() - 3 * height - 10)  # fmt: skip
    painter.fillRect(field, colours.field)
    for tick in linear_ticks(0, 1, 6):
        y = field.bottom() - tick * field.height()
        painter.setPen(QPen(colours.faint, 1))
        painter.drawLine(QPointF(field.left(), y), QPointF(field.right(), y))
        painter.setPen(colours.muted)
        place = QRectF(height, y - height / 2, gutter - 4, height)
        painter.drawText(place, Qt.AlignmentFlag.AlignRight, f"{tick:g}")
    for tick in linear_ticks(0, curves.x_max, 6):
        x = field.left() + tick / curves.x_max * field.width()
        painter.setPen(QPen(colours.faint, 1))
        painter.drawLine(QPointF(x, field.top()), QPointF(x, field.bottom()))
        painter.setPen(colours.muted)
        width = metrics.horizontalAdvance(f"{tick:g}") + 2
        left = min(x - width / 2, rect.right() - width)
        place = QRectF(left, field.bottom() + 2, width, height)
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, f"{tick:g}")
    name = QRectF(field.left(), field.bottom() + height + 2, field.width(), height)
    painter.drawText(name, Qt.AlignmentFlag.AlignCenter, curves.x_name)
    painter.save()
    painter.translate(0, field.bottom())
    painter.rotate(-90)
    painter.drawText(
        QRectF(0, 0, field.height(), height), Qt.AlignmentFlag.AlignCenter, curves.y_name
    )
    painter.restore()
    return field
