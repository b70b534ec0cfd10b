"""Pictures of the regions of all images, from which one goes to a region or marks it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Layer
from qtpy.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, QSize, Qt
from qtpy.QtGui import QAction, QImage, QKeyEvent, QPixmap, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QListView

from ...layers import source_name
from ...layers.region_pictures import region_picture
from ...state.panel_state import MARK, RegionKey, RegionTable

if TYPE_CHECKING:
    from napari.components import LayerList

    from ....core.model.corrections import MarkVerdict

__all__ = ["Gallery", "GalleryModel", "mark_actions", "mark_of"]

_NOWHERE = QModelIndex()
_SIDE = 72  # pixels of a picture
_KEPT = 500  # pictures
_ROWS = 2  # in sight
_BOX = ("top", "left", "bottom", "right")
_KEYS: dict[int, MarkVerdict] = {Qt.Key.Key_G: "good", Qt.Key.Key_D: "defect"}
_SIGNS = {"good": "✓ good", "defect": "✗ defect"}


class GalleryModel(QAbstractListModel):
    """The regions of all images, the largest residual first; pictures are drawn when asked for."""

    def __init__(self, layers: LayerList, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._layers = layers
        self._tables: tuple[tuple[Any, RegionTable], ...] = ()
        self._order: npt.NDArray[np.intp] = np.zeros((0, 2), dtype=np.intp)  # table, row
        self._picture = self._draw

    def show_regions(self, tables: tuple[tuple[Any, RegionTable], ...]) -> None:
        """Show other regions: layers, and the table of each."""
        self.beginResetModel()
        self._tables = tables
        places = [
            np.column_stack([np.full(len(table), number), np.arange(len(table))])
            for number, (_, table) in enumerate(tables)
        ]
        worst = [-table.columns["max_residual"] for _, table in tables]
        if places:
            self._order = np.concatenate(places)[np.argsort(np.concatenate(worst), kind="stable")]
        else:
            self._order = self._order[:0]
        self._picture = lru_cache(_KEPT)(self._draw)
        self.endResetModel()

    def region(self, place: int) -> tuple[Any, RegionKey]:
        """Return the layer of a region, and which it is there."""
        layer, table, row = self._at(place)
        return layer, table.key(row)

    def place(self, layer: Layer | None, key: RegionKey | None) -> int | None:
        """Return where a region is shown; None if it is not."""
        for number, (each, table) in enumerate(self._tables):
            row = table.row(key) if each is layer and key is not None else None
            if row is not None:
                return int(np.flatnonzero((self._order == (number, row)).all(axis=1))[0])
        return None

    def rowCount(self, parent: QModelIndex | QPersistentModelIndex = _NOWHERE) -> int:
        """Return the number of regions."""
        return 0 if parent.isValid() else len(self._order)

    def data(
        self, index: QModelIndex | QPersistentModelIndex, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return the picture of a region, how rare or how marked it is, or what is known of it."""
        if role == Qt.ItemDataRole.DecorationRole:
            return self._picture(index.row())
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            layer, table, row = self._at(index.row())
            columns = table.columns
            worst = f"{columns['max_residual'][row]:.3g}"
            mark = _SIGNS.get(columns[MARK][row], "") if MARK in columns else ""
            if role == Qt.ItemDataRole.DisplayRole:
                return mark or worst
            plane = f", plane {columns['plane'][row]}" if "plane" in columns else ""
            return (
                f"{source_name(layer)}{plane}\nRegion {columns['label'][row]}, "
                f"{columns['area_px'][row]:,} px, largest residual {worst} {mark}"
            ).strip()
        return None

    def _at(self, place: int) -> tuple[Any, RegionTable, int]:
        number, row = self._order[place]
        return (*self._tables[number], int(row))

    def _draw(self, place: int) -> QPixmap:
        layer, table, row = self._at(place)
        plane, label = table.key(row)
        columns = table.columns
        pixels = region_picture(
            layer, self._layers, plane, label, [int(columns[side][row]) for side in _BOX], _SIDE,
            columns["verdict"][row] == "review",
        )  # fmt: skip
        height, width = pixels.shape[:2]
        image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        return QPixmap.fromImage(image).scaled(
            _SIDE, _SIDE, Qt.AspectRatioMode.KeepAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )  # fmt: skip


class Gallery(QListView):
    """Shows the pictures in rows, some of which are visible.

    Parameters
    ----------
    layers
        Holds the images.
    go_to
        Called with layer and key of the region that is chosen.
    mark
        Called with the verdict on it.
    """

    def __init__(
        self,
        layers: LayerList,
        go_to: Callable[[Any, RegionKey], None],
        mark: Callable[[MarkVerdict], None],
    ) -> None:
        super().__init__()
        self._go_to, self._mark = go_to, mark
        self._shown: tuple[Any, RegionKey | None] = (None, None)
        self.setAccessibleName("Regions of all images")
        self.setToolTip(
            "The regions of all images for which labels were created, the largest residual first. "
            "Choose one to go to it; G marks it as good, D as a defect."
        )
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setMovement(QListView.Movement.Static)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setUniformItemSizes(True)
        self.setIconSize(QSize(_SIDE, _SIDE))
        self.setGridSize(QSize(_SIDE + 8, _SIDE + self.fontMetrics().height() + 10))
        self.pictures = GalleryModel(layers, self)
        self.setModel(self.pictures)
        selection = self.selectionModel()
        assert selection is not None
        selection.currentChanged.connect(self._on_current)
        self.activated.connect(lambda index: go_to(*self.pictures.region(index.row())))
        mark_actions(self, mark)

    def show_regions(self, tables: tuple[tuple[Any, RegionTable], ...]) -> None:
        """Show other regions; the view does not move."""
        bar = self.verticalScrollBar()
        assert bar is not None
        before = bar.value()
        self.pictures.show_regions(tables)
        self._fit()
        self.show_region(*self._shown)
        bar.setValue(before)

    def show_region(self, layer: Layer | None, key: RegionKey | None) -> None:
        """Show which region is chosen, elsewhere too."""
        self._shown = layer, key
        place = self.pictures.place(layer, key)
        self.setCurrentIndex(_NOWHERE if place is None else self.pictures.index(place))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Be as high as the visible rows."""
        super().resizeEvent(event)
        self._fit()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Mark the region; Qt would look for letters."""
        verdict = mark_of(event)
        if verdict is not None:
            self._mark(verdict)
        else:
            super().keyPressEvent(event)

    def _fit(self) -> None:
        viewport = self.viewport()
        assert viewport is not None
        cell = self.gridSize()
        across = max(1, viewport.width() // cell.width())
        rows = min(_ROWS, -(-self.pictures.rowCount() // across))
        self.setFixedHeight(rows * cell.height() + 2 * self.frameWidth())

    def _on_current(self, index: QModelIndex) -> None:
        if index.isValid():
            region = self.pictures.region(index.row())
            if region != self._shown:
                self._go_to(*region)


def mark_of(event: QKeyEvent | None) -> MarkVerdict | None:
    """Return what a key says of the regions that are chosen; None for all others."""
    return None if event is None or event.modifiers() else _KEYS.get(event.key())


def mark_actions(view: QAbstractItemView, mark: Callable[[MarkVerdict], None]) -> None:
    """Give a view a menu of the right button that marks what is chosen in it."""
    verdicts: dict[str, MarkVerdict] = {"This is good": "good", "This is a defect": "defect"}
    for text, verdict in verdicts.items():
        action = QAction(text, view)
        action.triggered.connect(partial(mark, verdict))
        view.addAction(action)
    view.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
