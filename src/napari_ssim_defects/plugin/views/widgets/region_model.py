"""The region table as Qt's model, which views ask for the rows in sight only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from ...state.panel_state import RegionTable

__all__ = ["RegionModel"]

Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()
_NOTHING = RegionTable({"label": np.zeros(0, dtype=np.int64)}, "")
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


@dataclass(frozen=True, slots=True)
class _Column:
    """What a column shows.

    Attributes
    ----------
    name
        Column of the table.
    title, unit
        Heading; ``"*"`` in the unit stands for that of the layer.
    text
        Writes a value.
    tip
        What it means.
    """

    name: str
    title: str
    unit: str
    text: Callable[[Any], str]
    tip: str


def _integer(value: Any) -> str:
    return f"{value:,}"


def _tenths(value: Any) -> str:
    return f"{value:,.1f}"


def _four(value: Any) -> str:
    return f"{value:.4g}"


def _thousandths(value: Any) -> str:
    return f"{value:.3f}"


_WHICH = (
    _Column("label", "Label", "", str, "Number of the region in the Labels layer."),
    _Column("plane", "Plane", "", str, "Plane of the stack, from 0."),
    _Column("verdict", "Verdict", "", str, "A defect, or to be reviewed (two thresholds)."),
)
_RESIDUAL = (
    _Column("max_residual", "Max", "", _thousandths, "Largest residual in the region."),
    _Column("mean_residual", "Mean", "", _thousandths, "Mean residual of the region."),
    _Column(
        "eccentricity", "Ecc.", "", _thousandths,
        "Eccentricity of the ellipse with the same second moments: 0 for a circle, towards 1 for "
        "a line.",
    ),
)  # fmt: skip
_PIXELS = (
    _Column("area_px", "Area", "px", _integer, "Number of pixels."),
    *_RESIDUAL,
    _Column("centroid_row", "Row", "", _tenths, "Row of the centre (centroid)."),
    _Column("centroid_column", "Column", "", _tenths, "Column of the centre (centroid)."),
    _Column("top", "Top", "", _integer, "First row of the bounding box."),
    _Column("left", "Left", "", _integer, "First column of the bounding box."),
    _Column("bottom", "Bottom", "", _integer, "One past the last row of the bounding box."),
    _Column("right", "Right", "", _integer, "One past the last column of the bounding box."),
)
_FROM_FIRST = "Centre (centroid), counted from the centre of the first pixel."
_UNITS = (
    _Column("area", "Area", "*²", _four, "Area in the unit of the layer."),
    *_RESIDUAL,
    _Column("centroid_y", "y", "*", _four, _FROM_FIRST),
    _Column("centroid_x", "x", "*", _four, _FROM_FIRST),
    _Column("height", "Height", "*", _four, "Height of the bounding box."),
    _Column("width", "Width", "*", _four, "Width of the bounding box."),
)


class RegionModel(QAbstractTableModel):
    """Shows a `RegionTable` in pixels or in the unit of the layer, sorted by any column.

    Parameters
    ----------
    parent
        Qt's parent.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._table = _NOTHING
        self._columns: tuple[_Column, ...] = ()
        self._order: npt.NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._sorted_by, self._descending = "label", False

    def show_table(self, table: RegionTable | None, *, in_units: bool) -> None:
        """Show another table, sorted as before."""
        self.beginResetModel()
        self._table = _NOTHING if table is None else table
        there = self._table.columns
        verdicts = there.get("verdict")
        no_review = verdicts is None or not (verdicts == "review").any()
        self._columns = tuple(
            column
            for column in (*_WHICH, *(_UNITS if in_units and self._table.unit else _PIXELS))
            if column.name in there and not (column.name == "verdict" and no_review)
        )
        self._sort()
        self.endResetModel()

    def region(self, row: int) -> int:
        """Return the row of the table that is shown in a row."""
        return int(self._order[row])

    def regions(self) -> list[int]:
        """Return the rows of the table in the order in which they are shown."""
        return self._order.tolist()

    def place(self, region: int) -> int:
        """Return the row in which a row of the table is shown."""
        return int(np.flatnonzero(self._order == region)[0])

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        """Return the number of regions."""
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        """Return the number of columns that are shown."""
        return 0 if parent.isValid() else len(self._columns)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of a cell, or where it stands in it."""
        column = self._columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(self._table.columns[column.name][self._order[index.row()]])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _LEFT if column.name == "verdict" else _RIGHT
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return the title of a column with its unit, or what it means."""
        if orientation != Qt.Orientation.Horizontal or section >= len(self._columns):
            return None
        column = self._columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{column.title} {column.unit.replace('*', self._table.unit)}".strip()
        return column.tip if role == Qt.ItemDataRole.ToolTipRole else None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; regions that are equal in it stay as they were."""
        if not 0 <= column < len(self._columns):
            return
        self._sorted_by = self._columns[column].name
        self._descending = order == Qt.SortOrder.DescendingOrder
        self.layoutAboutToBeChanged.emit()
        kept = self.persistentIndexList()
        regions = [self._order[index.row()] for index in kept]
        self._sort()
        places = np.empty_like(self._order)
        places[self._order] = np.arange(len(self._order))
        moved = [
            self.index(int(places[region]), index.column())
            for region, index in zip(regions, kept, strict=True)
        ]
        self.changePersistentIndexList(kept, moved)
        self.layoutChanged.emit()

    def _sort(self) -> None:
        values = self._table.columns.get(self._sorted_by, self._table.columns["label"])
        # Ranks instead of values: texts can be turned round too, and equal ones keep their order.
        _, ranks = np.unique(values, return_inverse=True)
        self._order = np.argsort(-ranks if self._descending else ranks, kind="stable")
