"""A table of all inspected images: how many regions each has, and how large they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from ...layers import source_name

if TYPE_CHECKING:
    from ...state.panel_state import ImageSummary

__all__ = ["OverviewTable"]

_COLUMNS = {
    "Image": "Choose an image to see it with its heatmap and its outlines.",
    "Regions": "Number of defects at the threshold.",
    "Largest": "Pixels of the largest defect.",
    "Share": "Fraction of the image that lies in defects.",
}
_MOST_ROWS = 6
_VALUE = Qt.ItemDataRole.UserRole


class _Cell(QTableWidgetItem):
    """Shows a text, and is sorted by a value."""

    def __init__(self, text: str, value: Any) -> None:
        super().__init__(text)
        self.setData(_VALUE, value)
        if not isinstance(value, str):
            self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return bool(self.data(_VALUE) < other.data(_VALUE))


class OverviewTable(QTableWidget):
    """One row for each heatmap, sorted by any column.

    Parameters
    ----------
    choose
        Called with the heatmap of a row that was chosen.
    parent
        Qt's parent.
    """

    def __init__(self, choose: Callable[[Any], None], parent: QWidget | None = None) -> None:
        super().__init__(0, len(_COLUMNS), parent)
        self._choose = choose
        self._heatmaps: list[Any] = []
        self.setAccessibleName("All images")
        self.setHorizontalHeaderLabels(list(_COLUMNS))
        for place, tip in enumerate(_COLUMNS.values()):
            item = self.horizontalHeaderItem(place)
            assert item is not None
            item.setToolTip(tip)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        header, vertical = self.horizontalHeader(), self.verticalHeader()
        assert header is not None
        assert vertical is not None
        vertical.setVisible(False)
        vertical.setDefaultSectionSize(self.fontMetrics().height() + 8)
        header.setMinimumSectionSize(24)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSortIndicator(1, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        self.currentCellChanged.connect(self._on_current)

    def show_images(self, overview: tuple[tuple[Any, ImageSummary], ...], current: Any) -> None:
        """Show other numbers, sorted as before, and which heatmap is the current one."""
        self.blockSignals(True)
        self.setSortingEnabled(False)
        self._heatmaps = [heatmap for heatmap, _ in overview]
        self.setRowCount(len(overview))
        for row, (heatmap, found) in enumerate(overview):
            name = source_name(heatmap)
            first = _Cell(name, name.casefold())
            first.setData(_VALUE + 1, row)
            first.setToolTip(name)
            self.setItem(row, 0, first)
            self.setItem(row, 1, _Cell(f"{found.regions:,}", found.regions))
            self.setItem(row, 2, _Cell(f"{found.largest:,}", found.largest))
            self.setItem(row, 3, _Cell(f"{100 * found.share:.2g} %", found.share))
        self.setSortingEnabled(True)
        self.blockSignals(False)
        self.show_current(current)
        header = self.horizontalHeader()
        assert header is not None
        rows = min(len(overview), _MOST_ROWS)
        height = header.sizeHint().height() + rows * self.rowHeight(0) + 2 * self.frameWidth()
        self.setFixedHeight(height)
        self.setVisible(bool(overview))

    def show_current(self, current: Any) -> None:
        """Select the row of the current heatmap."""
        self.blockSignals(True)
        rows = [row for row in range(self.rowCount()) if self._heatmap(row) is current]
        if rows:
            self.setCurrentCell(rows[0], 0)
        else:
            self.clearSelection()
        self.blockSignals(False)
        self.viewport().update()  # type: ignore[union-attr]

    def _heatmap(self, row: int) -> Any:
        item = self.item(row, 0)
        return None if item is None else self._heatmaps[item.data(_VALUE + 1)]

    def _on_current(self, row: int) -> None:
        if row >= 0:
            self._choose(self._heatmap(row))
