"""The section that lists the regions, and leads to each of them.

Its table is a Qt model, so that only the visible rows are requested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor, QKeyEvent, QKeySequence, QShowEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableView,
    QWidget,
)

from ...controllers.panel_controller import Controller
from ...layers import is_committed
from ...state.panel_state import MARK, RegionKey, RegionTable
from ..widgets.fields import Choice, LayerCombo, column, while_alive, wrapped
from ..widgets.gallery import Gallery, mark_actions, mark_of

if TYPE_CHECKING:
    from ....core.model.corrections import MarkVerdict

__all__ = [
    "RegionModel",
    "RegionTableView",
]

Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()
_NOTHING = RegionTable({"label": np.zeros(0, dtype=np.int64)}, "")
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter

_SELECT = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
_ADD = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
_HEIGHT = 180  # pixels; some seven rows


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
    _Column(MARK, "Marked", "", str, "Your mark of the region: good or defect."),
    _Column("verdict", "Verdict", "", str, "A defect, to be reviewed, or marked good."),
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
    """Shows a `RegionTable` in pixels or in the unit of the layer, sorted by any column."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._table = _NOTHING
        self._columns: tuple[_Column, ...] = ()
        self._good: npt.NDArray[np.bool_] = np.zeros(0, dtype=bool)
        self._order: npt.NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._sorted_by, self._descending = "label", False

    def show_table(self, table: RegionTable | None, *, in_units: bool) -> None:
        """Show another table, sorted as before."""
        self.beginResetModel()
        self._table = _NOTHING if table is None else table
        there = self._table.columns
        verdicts = there.get("verdict", np.full(len(self._table), "defect"))
        self._good = np.asarray(verdicts == "good")
        unsaid = {"verdict"} if (verdicts == "defect").all() else set()
        self._columns = tuple(
            column
            for column in (*_WHICH, *(_UNITS if in_units and self._table.unit else _PIXELS))
            if column.name in there.keys() - unsaid
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
            return _LEFT if column.name in ("verdict", MARK) else _RIGHT
        if role == Qt.ItemDataRole.ForegroundRole and self._good[self._order[index.row()]]:
            return QColor("grey")
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


class RegionTableView(QWidget):
    """Shows the regions of a layer; a row leads to its region, a click on a region to its row."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._state = controller.state
        self._in_units = True
        self.layer = LayerCombo(
            controller.viewer.layers,
            is_committed,
            "Create labels first",
            "The layer whose regions are listed: the one that was created or selected last.",
        )
        self.layer.setAccessibleName("Regions of")
        self.units = Choice({}, "Whether sizes are in pixels or in the unit of the layer.")
        self.units.setAccessibleName("Units")
        self.units.setMinimumContentsLength(3)
        self.table = _Table()
        self.table.setAccessibleName("Regions")
        self.table.setToolTip(
            "Choose a row to go to its region, or click a region in the canvas to find its row. "
            "Click a heading to sort. Ctrl+C copies the selected rows, with every column of "
            "regions.csv. G marks them as good, D as defects."
        )
        self.model = RegionModel(self.table)
        self.table.setModel(self.model)
        layers, go_to = controller.viewer.layers, controller.regions.go_to
        self.gallery = Gallery(layers, go_to, self._mark_region)
        self.count = wrapped(QLabel())
        self.copy_button = QPushButton("Copy all")
        self.copy_button.setToolTip("Copy the sorted table, to be pasted into a spreadsheet.")
        self.save_button = QPushButton("Save …")
        self.save_button.setToolTip("Save the table as it is sorted to a CSV file.")
        self.good_button = QPushButton("This is good")
        self.good_button.setToolTip(
            "Exclude the chosen regions from the results of this image. They count as false "
            "regions, so many of them raise the automatic threshold. Press again to remove the "
            "mark. (G)"
        )
        self.defect_button = QPushButton("This is a defect")
        self.defect_button.setToolTip(
            "Mark the chosen regions as defects. Paint a missed defect into the layer of regions "
            "first. It lowers the automatic threshold if that costs less than one more false "
            "region per good image. Press again to remove the mark. (D)"
        )
        self.undo_button = QPushButton("Undo")
        self.undo_button.setToolTip("Remove all marks, also those of earlier sessions.")
        self.undo_button.setAccessibleName("Undo all marks")
        self.corrections = wrapped(QLabel())
        self.corrections.setAccessibleName("Corrections")
        self.corrections.setToolTip(
            "The effect of your marks on the automatic threshold, and its cost. The model keeps "
            "the marks; save it to keep them permanently."
        )
        marks = QHBoxLayout()
        marks.addWidget(self.good_button)
        marks.addWidget(self.defect_button)
        marks.addWidget(self.undo_button)
        top = QHBoxLayout()
        top.addWidget(self.layer, 3)
        top.addWidget(self.units, 1)
        bottom = QHBoxLayout()
        bottom.addWidget(self.count, 1)
        bottom.addWidget(self.copy_button)
        bottom.addWidget(self.save_button)
        layout = column(self.table, self.gallery)
        layout.insertLayout(0, top)
        layout.addLayout(marks)
        layout.addLayout(bottom)
        layout.addWidget(self.corrections)
        self.setLayout(layout)
        self._connect()
        self._show_layer()
        self._show_table()
        self._show_gallery()
        self._show_corrections()

    def _connect(self) -> None:
        state = self._state
        self.layer.chosen.connect(self._on_layer)
        self.units.chosen.connect(self._on_units)
        self.table.copy_asked.connect(lambda: self._copy(self._selected()))
        self.copy_button.clicked.connect(lambda: self._copy(self.model.regions()))
        self.save_button.clicked.connect(self._on_save)
        self.table.mark_asked.connect(self._mark)
        self.good_button.clicked.connect(lambda: self._mark("good"))
        self.defect_button.clicked.connect(lambda: self._mark("defect"))
        self.undo_button.clicked.connect(self._controller.corrections.undo)
        selection = self.table.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(self._on_selection)
        self.table.activated.connect(self._on_activated)
        state.events.labels_layer.connect(self._show_layer)
        state.events.regions.connect(self._show_table)
        state.events.selected_region.connect(self._select_row)
        state.events.all_regions.connect(self._show_gallery)
        for signal in (state.events.labels_layer, state.events.selected_region):
            signal.connect(self._show_picture)
        state.events.model.connect(self._show_corrections)

    def _on_layer(self, layer: object) -> None:
        if layer is not None:
            self._controller.regions.choose(layer)
        self.layer.show_layer(self._state.labels_layer)

    def _on_selection(self) -> None:
        regions, table = self._selected(), self._state.regions
        for button in (self.good_button, self.defect_button):
            button.setEnabled(bool(regions))
        if table is None or len(regions) != 1:
            return
        if table.key(regions[0]) != self._state.selected_region:
            self._controller.regions.select(regions[0])

    def _on_activated(self, index: QModelIndex) -> None:
        self._controller.regions.select(self.model.region(index.row()))

    def _selected(self) -> list[int]:
        selection = self.table.selectionModel()
        assert selection is not None
        rows = sorted(index.row() for index in selection.selectedRows())
        return [self.model.region(row) for row in rows]

    def _copy(self, regions: list[int]) -> None:
        clipboard = QApplication.clipboard()
        if regions and clipboard is not None:
            clipboard.setText(self._controller.regions.text(regions))

    def _mark(self, verdict: MarkVerdict) -> None:
        selected = self._selected()
        keys = [self._state.regions.key(row) for row in selected] if selected else []
        self._controller.corrections.mark(selected, verdict)
        self._select_keys(keys)

    def _mark_region(self, verdict: MarkVerdict) -> None:
        """Mark what is chosen in the gallery."""
        self._select_row()
        self._mark(verdict)

    @while_alive
    def _show_gallery(self) -> None:
        self.gallery.setVisible(bool(self._state.all_regions))
        self.gallery.show_regions(self._state.all_regions)

    @while_alive
    def _show_picture(self) -> None:
        self.gallery.show_region(self._state.labels_layer, self._state.selected_region)

    def _select_keys(self, keys: list[RegionKey]) -> None:
        """Select rows again after the table was shown anew."""
        selection, table = self.table.selectionModel(), self._state.regions
        if selection is None or table is None or len(keys) < 2:
            return
        rows = [table.row(key) for key in keys]
        for row in rows:
            if row is not None:
                place = self.model.index(self.model.place(row), 0)
                selection.select(place, _ADD)

    @while_alive
    def _show_corrections(self) -> None:
        model = self._state.model
        marked = model is not None and bool(model.corrections)
        self.undo_button.setEnabled(marked)
        self.corrections.setVisible(marked)
        if marked:
            self.corrections.setText(model.corrected.text)

    def _on_save(self) -> None:
        start = str(self._controller.export.folder() / "regions.csv")
        path, _ = QFileDialog.getSaveFileName(self, "Save the table", start, "Tables (*.csv)")
        if path:
            self._controller.regions.save(path, self.model.regions())

    @while_alive
    def _show_layer(self) -> None:
        self.layer.show_layer(self._state.labels_layer)

    def _on_units(self, units: object) -> None:
        self._in_units = units != "px"
        self._show_table()

    @while_alive
    def _show_table(self) -> None:
        table = self._state.regions
        unit = table.unit if table is not None else ""
        self.units.clear()
        for text in ("px", unit) if unit else ("px",):
            self.units.addItem(text, text)
        self.units.show_value(unit if unit and self._in_units else "px")
        self.units.setEnabled(bool(unit))
        bar = self.table.verticalScrollBar()
        assert bar is not None
        before = bar.value()
        number = 0 if table is None else len(table)
        self.table.setVisible(number > 0)
        self.model.show_table(table, in_units=self._in_units)
        self.table.fit_columns()
        self._select_row()
        bar.setValue(before)  # the view does not move while a person paints
        text = f"{number:,} region{'s' * (number != 1)}"
        self.count.setText(text if table is not None else "No regions yet: press Create labels.")
        for button in (self.copy_button, self.save_button):
            button.setEnabled(number > 0)
        for button in (self.good_button, self.defect_button):
            button.setEnabled(bool(self._selected()))

    @while_alive
    def _select_row(self) -> None:
        table, key = self._state.regions, self._state.selected_region
        region = None if table is None or key is None else table.row(key)
        selection = self.table.selectionModel()
        if region is None or selection is None:
            return
        column = max(0, self.table.columnAt(0))  # or it would scroll sideways to the first
        selection.setCurrentIndex(self.model.index(self.model.place(region), column), _SELECT)


class _Table(QTableView):
    """A table of whole rows that can be copied."""

    copy_asked = Signal()
    mark_asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)  # Tab leaves the table; arrow keys move in it
        self.setWordWrap(False)
        self.setMinimumHeight(_HEIGHT)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        mark_actions(self, self.mark_asked.emit)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.setVisible(False)
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)  # rows out of sight are not asked
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        columns.setResizeContentsPrecision(0)  # only what is visible
        columns.setHighlightSections(False)

    def fit_columns(self) -> None:
        """Make columns as wide as their visible content."""
        if self.isVisible():  # Qt would ask for every row of a table that is not
            self.resizeColumnsToContents()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Fit the columns to what came while the table was hidden."""
        super().showEvent(event)
        self.fit_columns()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Copy rows, or mark them; Qt would copy one cell, and look for letters in the table."""
        if event is not None and event.matches(QKeySequence.StandardKey.Copy):
            self.copy_asked.emit()
        elif (verdict := mark_of(event)) is not None:
            self.mark_asked.emit(verdict)
        else:
            super().keyPressEvent(event)
