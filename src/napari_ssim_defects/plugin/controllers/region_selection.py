"""The link between the rows of the region table and the regions in the canvas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..layers import is_committed
from ..state.panel_state import PanelState, RegionKey

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

__all__ = ["RegionSelection"]


class RegionSelection:
    """Shows the region of a row, and finds the row of a region that is clicked or picked.

    Parameters
    ----------
    viewer
        Its camera moves, and clicks in its canvas are followed.
    state
        Holds the table and what is selected in it.
    """

    def __init__(self, viewer: ViewerModel, state: PanelState) -> None:
        self._viewer = viewer
        self._state = state
        self._layer: Labels | None = None
        self._on_layer()
        state.events.labels_layer.connect(self._on_layer)
        viewer.mouse_drag_callbacks.append(self._on_mouse)

    def close(self) -> None:
        """Listen no more."""
        self._state.events.labels_layer.disconnect(self._on_layer)
        self._viewer.mouse_drag_callbacks.remove(self._on_mouse)
        if self._layer is not None:
            self._layer.events.selected_label.disconnect(self._on_label)

    def select(self, row: int) -> None:
        """Select the region of a row: its layer, its label, and its place in the viewer."""
        table, layer = self._state.regions, self._state.labels_layer
        if table is None or layer is None:
            return
        plane, label = table.key(row)
        self._state.selected_region = plane, label
        self._viewer.layers.selection.active = layer
        layer.selected_label = label
        index = np.unravel_index(plane, layer.data.shape[:-2]) if layer.ndim > 2 else ()
        centre = (table.columns[f"centroid_{axis}"][row] for axis in ("row", "column"))
        self._go_to(layer, (*map(int, index), *map(float, centre)))

    def _go_to(self, layer: Labels, position: tuple[float, ...]) -> None:
        dims = self._viewer.dims
        point = list(dims.point)
        point[-layer.ndim :] = layer.data_to_world(position)
        hidden = [axis for axis in dims.not_displayed if axis >= dims.ndim - layer.ndim]
        if hidden:
            dims.set_point(hidden, [point[axis] for axis in hidden])
        shown = [float(point[axis]) for axis in dims.displayed]
        camera = getattr(self._viewer, "scene", self._viewer).camera  # 0.9, 0.7
        camera.center = (*(0.0,) * (3 - len(shown)), *shown)

    def _on_layer(self) -> None:
        if self._layer is not None:
            self._layer.events.selected_label.disconnect(self._on_label)
        self._layer = self._state.labels_layer
        if self._layer is not None:
            self._layer.events.selected_label.connect(self._on_label)

    def _on_label(self) -> None:
        """Follow napari's colour picker and label box."""
        assert self._layer is not None
        known = self._state.selected_region
        if known is None or known[1] != self._layer.selected_label:
            self._select_key(self._layer, self._layer.selected_label, self._viewer.dims.point)

    def _on_mouse(self, _: ViewerModel, event: Any) -> Iterator[None]:
        """Select the region under a click that neither drags nor paints."""
        active = self._viewer.layers.selection.active
        click = event.button == 1 and (active is None or active.mode == "pan_zoom")
        yield
        while event.type == "mouse_move":
            click = False
            yield
        if click:
            self._on_click(event)

    def _on_click(self, event: Any) -> None:
        current = self._state.labels_layer
        others = [layer for layer in reversed(self._viewer.layers) if layer is not current]
        for layer in (current, *others):
            if layer is None or not is_committed(layer) or not layer.visible:
                continue
            label = layer.get_value(
                event.position,
                view_direction=event.view_direction,
                dims_displayed=list(event.dims_displayed),
                world=True,
            )
            if isinstance(label, tuple):  # of a pyramid: the level comes first
                label = label[-1]
            if label:
                self._state.labels_layer = layer
                if self._select_key(layer, int(label), event.position):
                    layer.selected_label = int(label)
                return

    def _select_key(self, layer: Labels, label: int, point: Any) -> bool:
        """Select a region by its label, the one in the plane of a point if there are several."""
        table = self._state.regions
        if table is None:
            return False
        key: RegionKey = 0, label
        shape = layer.data.shape[:-2]
        if shape:
            index = np.round(layer.world_to_data(point)[: len(shape)]).astype(int)
            key = int(np.ravel_multi_index(tuple(index), shape, mode="clip")), label
        row = table.row(key)
        if row is None:
            rows = np.flatnonzero(table.columns["label"] == label)
            if not len(rows):
                return False
            row = int(rows[0])
        self._state.selected_region = table.key(row)
        return True
