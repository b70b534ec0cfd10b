"""A list of tick boxes that looks the same in every theme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QModelIndex, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QKeyEvent, QKeySequence, QMouseEvent, QPainter, QPainterPath, QPen
from qtpy.QtWidgets import (
    QListWidget,
    QSizePolicy,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from .colours import plot_colours

if TYPE_CHECKING:
    from qtpy.QtCore import QAbstractItemModel

__all__ = ["CHECKED", "UNCHECKED", "CheckList"]

MOST_ROWS = 6  # shown at once; more of them scroll
CHECKED, UNCHECKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked
CHECK_ROLE = Qt.ItemDataRole.CheckStateRole


class CheckList(QListWidget):
    """A list whose rows are ticked by a click or the space bar, as high as its rows up to a limit.

    ``everything_asked`` is emitted on Ctrl+A.
    """

    everything_asked = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setItemDelegate(_CheckDelegate(self))
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Layers")

    def sizeHint(self) -> QSize:
        """Return the size of the rows, up to the limit."""
        rows = min(max(self.count(), 1), MOST_ROWS)
        margins = self.contentsMargins()
        height = rows * max(self.sizeHintForRow(0), 1) + margins.top() + margins.bottom()
        return QSize(200, height)

    def minimumSizeHint(self) -> QSize:
        """Return the same height, so that a layout does not squeeze it."""
        return QSize(80, self.sizeHint().height())

    def changeEvent(self, event: QEvent | None) -> None:
        """Adapt to the row height of another font or style."""
        super().changeEvent(event)
        self.updateGeometry()

    def event(self, event: QEvent | None) -> bool:
        """Claim Ctrl+A and the space bar before napari's own shortcuts get them."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.ShortcutOverride:
            select_all = event.matches(QKeySequence.StandardKey.SelectAll)
            if select_all or event.key() == Qt.Key.Key_Space:
                event.accept()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Tick everything on Ctrl+A."""
        if event is not None and event.matches(QKeySequence.StandardKey.SelectAll):
            self.everything_asked.emit()
            return
        super().keyPressEvent(event)


class _CheckDelegate(QStyledItemDelegate):
    """Paints a row in the theme's colours and toggles it wherever it is clicked.

    napari's stylesheet does not reach the boxes of item views, which come out dark on dark.
    """

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        return QSize(80, option.fontMetrics.height() + 7)

    def editorEvent(
        self,
        event: QEvent | None,
        model: QAbstractItemModel | None,
        option: QStyleOptionViewItem,
        index: QModelIndex,
    ) -> bool:
        assert event is not None
        assert model is not None
        if isinstance(event, QMouseEvent):
            toggles = (
                event.type() == QEvent.Type.MouseButtonRelease
                and event.button() == Qt.MouseButton.LeftButton
            )
        else:
            toggles = (
                isinstance(event, QKeyEvent)
                and event.type() == QEvent.Type.KeyPress
                and event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Select)
            )
        if toggles:
            model.setData(index, (UNCHECKED if _checked(index) else CHECKED).value, CHECK_ROLE)
        return toggles

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        assert painter is not None
        enabled = bool(option.state & QStyle.StateFlag.State_Enabled)
        colours = plot_colours(option.palette, enabled=enabled)
        row = QRectF(option.rect).adjusted(1.5, 0.5, -1.5, -0.5)
        side = min(14, option.rect.height() - 4)
        box = QRectF(row.left() + 5, round(row.center().y() - side / 2) + 0.5, side - 1, side - 1)

        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if option.state & QStyle.StateFlag.State_MouseOver:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colours.faint)
            painter.drawRoundedRect(row, 2, 2)
        if option.state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(QPen(colours.muted, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(row, 2, 2)

        checked = _checked(index)
        painter.setPen(QPen(colours.second if checked else colours.muted, 1))
        painter.setBrush(colours.second if checked else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(box, 2, 2)
        if checked:
            tick = QPainterPath()
            tick.moveTo(box.left() + 0.24 * side, box.top() + 0.50 * side)
            tick.lineTo(box.left() + 0.42 * side, box.top() + 0.68 * side)
            tick.lineTo(box.left() + 0.74 * side, box.top() + 0.26 * side)
            painter.setPen(QPen(Qt.GlobalColor.white, 1.8))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPath(tick)

        painter.setFont(option.font)
        painter.setPen(colours.text)
        place = QRect(option.rect).adjusted(int(box.right() - option.rect.left()) + 8, 0, -4, 0)
        text = option.fontMetrics.elidedText(
            str(index.data()), Qt.TextElideMode.ElideMiddle, place.width()
        )
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)
        painter.restore()


def _checked(index: QModelIndex) -> bool:
    return Qt.CheckState(index.data(CHECK_ROLE)) == CHECKED
