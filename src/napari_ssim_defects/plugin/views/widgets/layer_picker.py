"""A checkable list of layers that follows a viewer's layer list."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QListWidgetItem,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .check_list import CHECKED, UNCHECKED, CheckList
from .fields import next_step, while_alive

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Layer
    from qtpy.QtGui import QCloseEvent, QShowEvent

__all__ = ["LayerPicker"]


class LayerPicker(QWidget):
    """Lets a person tick layers, topmost first as in napari's own layer list.

    Rows appear, disappear, move and are renamed with their layers. What is ticked belongs to the
    layer, not to its name or place. The widget keeps no layer alive that the list has given up.

    Parameters
    ----------
    layers
        The layer list to follow until the widget is closed or deleted.
    accepts
        Tells which layers are offered; asked when the list changes.
    parent
        Qt's parent.
    hint, follow
        What is shown while no layer is acceptable, and what its links do (see `next_step`).
    note
        What is said of a layer behind its name; asked when the list changes, and by `renew`.
    """

    selection_changed = Signal()

    def __init__(
        self,
        layers: LayerList,
        accepts: Callable[[Layer], bool],
        parent: QWidget | None = None,
        *,
        hint: str = "Open an image first",
        follow: Callable[[str], object] | None = None,
        note: Callable[[Layer], str] = lambda _: "",
    ) -> None:
        super().__init__(parent)
        self._note = note
        self._accepts = accepts
        self._rows: list[weakref.ref[Layer]] = []
        self._announced: list[weakref.ref[Layer]] = []

        self._list = CheckList(self)
        self._list.itemChanged.connect(self._announce)
        self._list.itemEntered.connect(self._describe)
        self._list.everything_asked.connect(self._tick_all)
        self._hint = next_step(hint, follow)
        self._count = QLabel(self)

        self._footer = QWidget(self)
        footer = QHBoxLayout(self._footer)
        footer.setContentsMargins(0, 0, 0, 0)
        footer.setSpacing(2)
        footer.addWidget(self._count, 1)
        for text, slot in (("All", self._tick_all), ("None", self._tick_none)):
            footer.addWidget(self._link(text, slot))

        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(1)
        for part in (self._hint, self._list, self._footer):
            layout.addWidget(part)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setFocusProxy(self._list)
        self.setAccessibleName("Layers")

        self._layers = weakref.ref(layers)
        self._watch = _Watch(layers, self._follow, self._rename)
        self.destroyed.connect(self._watch.stop)
        self._follow()

    def selected(self) -> list[Layer]:
        """Return the ticked layers in the order of the layer list, bottom first."""
        pairs = zip(self._rows, self._checks(), strict=True)
        layers = [ref() for ref, checked in pairs if checked]
        return [layer for layer in reversed(layers) if layer is not None]

    def set_selected(self, layers: Iterable[Layer]) -> None:
        """Tick exactly these layers; those that are not offered are ignored.

        Emits ``selection_changed`` once where this changes anything.
        """
        wanted = {id(layer) for layer in layers}
        self._set_checks([id(ref()) in wanted for ref in self._rows])

    def _tick_all(self, *_: object) -> None:
        self._set_checks([True] * len(self._rows))

    def _tick_none(self, *_: object) -> None:
        self._set_checks([False] * len(self._rows))

    def _checks(self) -> list[bool]:
        return [self._item(row).checkState() == CHECKED for row in range(self._list.count())]

    def _set_checks(self, checks: list[bool]) -> None:
        self._list.blockSignals(True)
        for row, checked in enumerate(checks):
            self._item(row).setCheckState(CHECKED if checked else UNCHECKED)
        self._list.blockSignals(False)
        self._announce()

    def _item(self, row: int) -> QListWidgetItem:
        item = self._list.item(row)
        assert item is not None
        return item

    @while_alive
    def _follow(self) -> None:
        """Bring the rows in line with the layer list."""
        ticked = self.selected()
        row = self._list.currentRow()
        current = self._rows[row]() if 0 <= row < len(self._rows) else None
        layers = [layer for layer in reversed(self._watch.layers) if self._accepts(layer)]
        refs = [weakref.ref(layer) for layer in layers]
        if refs != self._rows:
            scroll_bar = self._list.verticalScrollBar()
            assert scroll_bar is not None
            scroll = scroll_bar.value()
            self._list.blockSignals(True)
            self._list.clear()
            self._rows = refs
            for layer in layers:
                item = QListWidgetItem(layer.name + self._note(layer))
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
                item.setCheckState(CHECKED if layer in ticked else UNCHECKED)
                item.setToolTip(_description(layer))
                self._list.addItem(item)
                if layer is current:
                    self._list.setCurrentItem(item)
            self._list.blockSignals(False)
            scroll_bar.setValue(scroll)
            self._list.updateGeometry()
        self._hint.setVisible(not layers)
        self._list.setVisible(bool(layers))
        self._footer.setVisible(len(layers) > 1)
        self._announce()

    def renew(self) -> None:
        """Update the texts behind the names of the layers."""
        for ref in self._rows:
            if (layer := ref()) is not None:
                self._rename(layer)

    @while_alive
    def _rename(self, layer: Layer) -> None:
        ref = weakref.ref(layer)
        if ref in self._rows:
            item = self._item(self._rows.index(ref))
            item.setText(layer.name + self._note(layer))
            item.setToolTip(_description(layer))

    def _describe(self, item: QListWidgetItem) -> None:
        """Renew a tooltip as the pointer enters its row: a layer's data may have been replaced."""
        layer = self._rows[self._list.row(item)]()
        if layer is not None and item.toolTip() != _description(layer):
            item.setToolTip(_description(layer))

    def _announce(self, *_: object) -> None:
        selected = [weakref.ref(layer) for layer in self.selected()]
        self._count.setText(f"{len(selected)} of {len(self._rows)} selected")
        if selected != self._announced:
            self._announced = selected
            self.selection_changed.emit()

    def _link(self, text: str, slot: Callable[..., None]) -> QToolButton:
        link = QToolButton(self)
        link.setText(text)
        link.setAccessibleName(f"Select {text.lower()}")
        link.setCursor(Qt.CursorShape.PointingHandCursor)
        link.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        link.setStyleSheet(
            "QToolButton { background: transparent; border: 1px solid transparent;"
            " padding: 0 3px; text-decoration: underline; }"
            "QToolButton:hover { background: palette(highlight); }"
            "QToolButton:focus { border-color: palette(text); }"
        )
        link.clicked.connect(slot)
        return link

    def showEvent(self, event: QShowEvent | None) -> None:
        """Follow the layer list again where the widget was closed before."""
        layers = self._layers()
        if layers is not None and not self._watch.active:
            self._watch.start(layers)
            self._follow()
        super().showEvent(event)

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Let go of the layer list."""
        self._watch.stop()
        super().closeEvent(event)


def _description(layer: Layer) -> str:
    """Return a layer's name, shape and dtype for its tooltip."""
    data: Any = layer.data
    if getattr(layer, "multiscale", False):
        data = data[0]
    shape, dtype = getattr(data, "shape", None), getattr(data, "dtype", None)
    if shape is None or dtype is None:
        return f"{layer.name}\n{len(data)} items"
    colour = ""
    if getattr(layer, "rgb", False):
        shape, colour = shape[:-1], " RGB" if shape[-1] == 3 else " RGBA"
    return f"{layer.name}\n{' × '.join(map(str, shape))}{colour}, {dtype}"


class _Watch:
    """The connections to a layer list and to its layers' names.

    No Qt object, so that it can still disconnect when its widget is being destroyed; it does not
    keep the widget alive either.
    """

    def __init__(
        self,
        layers: LayerList,
        changed: Callable[[], None],
        renamed: Callable[[Layer], None],
    ) -> None:
        self._changed = weakref.WeakMethod(changed)
        self._renamed = weakref.WeakMethod(renamed)
        self._list: LayerList | None = None
        self._named: list[Layer] = []
        self.start(layers)

    @property
    def active(self) -> bool:
        """Whether a list is followed."""
        return self._list is not None

    @property
    def layers(self) -> list[Layer]:
        """The layers, bottom first."""
        return [] if self._list is None else list(self._list)

    def start(self, layers: LayerList) -> None:
        self._list = layers
        for name in ("inserted", "removed", "reordered", "changed"):
            layers.events[name].connect(self._on_list)
        self._name_layers()

    def stop(self) -> None:
        if self._list is not None:
            for name in ("inserted", "removed", "reordered", "changed"):
                self._list.events[name].disconnect(self._on_list)
        self._list = None
        self._name_layers()

    def _name_layers(self) -> None:
        layers = self.layers
        for layer in self._named:
            if layer not in layers:
                layer.events.name.disconnect(self._on_name)
        for layer in layers:
            if layer not in self._named:
                layer.events.name.connect(self._on_name)
        self._named = layers

    def _on_list(self, event: object) -> None:
        self._name_layers()
        if (changed := self._changed()) is not None:
            changed()

    def _on_name(self, event: Any) -> None:
        if (renamed := self._renamed()) is not None:
            renamed(event.source)
