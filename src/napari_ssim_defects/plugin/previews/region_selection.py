"""The region that is selected, in the table and in the canvas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..jobs import workers
from ..layers import is_committed, set_visible
from ..layers.spatial import pixel_size
from ..state.panel_state import PanelState, RegionKey
from .camera import canvas_size, look_at

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

__all__ = ["RegionSelection"]

_SURROUNDINGS = 5  # of what is in sight, to the size of a region that was chosen
_LEAST_IN_SIGHT = 96  # pixels
_BLINKS, _BLINK = 4, 150  # number, and milliseconds of each
_OUTLINE = 3  # pixels


class RegionSelection:
    """Shows the region of a row, and finds the row of a region that is clicked or picked."""

    def __init__(self, viewer: ViewerModel, state: PanelState) -> None:
        self._viewer = viewer
        self._state = state
        self._layer: Labels | None = None
        self._flashing: Labels | None = None
        self._blinks = 0
        self._later = workers.Later(self._blink, _BLINK)
        self._on_layer()
        state.events.labels_layer.connect(self._on_layer)
        viewer.mouse_drag_callbacks.append(self._on_mouse)

    def close(self) -> None:
        """Disconnect from the viewer and the state."""
        self._stop_flash()
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
        set_visible(layer, True)
        layer.selected_label = label
        index = np.unravel_index(plane, layer.data.shape[:-2]) if layer.ndim > 2 else ()
        centre = (table.columns[f"centroid_{axis}"][row] for axis in ("row", "column"))
        box = [int(table.columns[side][row]) for side in ("top", "left", "bottom", "right")]
        size = max(box[2] - box[0], box[3] - box[1])
        self._go_to(layer, (*map(int, index), *map(float, centre)), size)
        self._flash(layer)

    def _go_to(self, layer: Labels, position: tuple[float, ...], size: int) -> None:
        dims = self._viewer.dims
        point = list(dims.point)
        point[-layer.ndim :] = layer.data_to_world(position)
        hidden = [axis for axis in dims.not_displayed if axis >= dims.ndim - layer.ndim]
        if hidden:
            dims.set_point(hidden, [point[axis] for axis in hidden])
        # The region fills a fifth of the canvas, and its surroundings stay visible.
        wanted = max(_SURROUNDINGS * size, _LEAST_IN_SIGHT) * max(pixel_size(layer)[0])
        canvas = min(canvas_size(self._viewer))
        look_at(
            self._viewer, [float(point[axis]) for axis in dims.displayed], canvas / wanted, layer
        )

    def _flash(self, layer: Labels) -> None:
        """Show the selected region alone for moments, so that it is seen which one is meant."""
        self._stop_flash()
        self._flashing, self._blinks = layer, _BLINKS
        self._blink()

    def _blink(self) -> None:
        if self._flashing is None:
            return
        self._flashing.show_selected_label = self._blinks % 2 == 0
        self._flashing.contour = _OUTLINE if self._blinks % 2 == 0 else 0
        self._blinks -= 1
        if self._blinks < 0:
            self._stop_flash()
        else:
            self._later.request()

    def _stop_flash(self) -> None:
        self._later.cancel()
        if self._flashing is not None:
            self._flashing.show_selected_label = False
            self._flashing.contour = 0
        self._flashing = None

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
