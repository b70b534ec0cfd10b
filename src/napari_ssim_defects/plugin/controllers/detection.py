"""Controller of the Detect section: a heatmap for each chosen image."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info

from ...core.common.errors import InputError
from .. import layers
from ..jobs import jobs, workers
from ..layers.provenance import is_by, model_origin
from ..layers.regions_of_interest import region_mask
from ..layers.spatial import visible_plane
from ..state.preferences import preferences
from .section import Panel, SectionController, starts_a_job

if TYPE_CHECKING:
    from ..jobs.jobs import ViewPosition
    from ..layers.large import LargeResidual

__all__ = ["DetectionController"]

_REST = 150  # milliseconds without a move of the camera before the job gets the new position
_BETWEEN = 1.0  # seconds from one drawing of a growing heatmap to the next


class DetectionController(SectionController):
    """Detects defects in layers in a thread, and adds heatmaps to the viewer."""

    holds = ("detection_layers", "inspected_layer")

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._growing: Any = None
        self._shown = 0.0, 0  # when the growing heatmap was last drawn, and the rest at that time
        self._moved = workers.Later(self._tell_sight, _REST)
        for signal in self._view():
            self._connect(signal, self._moved.request)

    def close(self) -> None:
        """Disconnect from the viewer and the state."""
        super().close()
        self._moved.cancel()

    @starts_a_job
    def start(self) -> None:
        """Make a heatmap of every chosen layer.

        Heatmaps of images that are larger than memory are added at once and fill up from the
        visible part; a stopped one is continued.
        """
        state = self._state
        if state.model is None:
            raise InputError("There is no model yet; train one or open a model file.")
        if not state.detection_layers:
            raise InputError("Choose at least one image layer to inspect.")
        sources = [layers.source_of(layer) for layer in state.detection_layers]
        regions = {}
        if state.inspected_layer is not None:
            regions = {
                str(layer.unique_id): region_mask(state.inspected_layer, layer, what="inspected")
                for layer in state.detection_layers
            }
        state.detection_notices = ()
        chosen = preferences()
        origin = model_origin(state.model, state.model_name, state.stride)
        self._runner.begin(
            "detecting",
            "Inspecting …",
            partial(
                jobs.detect_layers,
                state.model,
                sources,
                state.stride,
                chosen.device,
                chosen.threads,
                state.keep_reconstruction,
                self._stopped(sources),
                {str(layer.unique_id): self._position(layer) for layer in state.detection_layers},
                chosen.data_folder / "scratch",
                regions,
            ),
            partial(self._on_message, state.model.contrast_limits, origin),
        )

    def _on_message(
        self, limits: tuple[float, float], origin: dict[str, Any], message: object
    ) -> None:
        if isinstance(message, jobs.Notices):
            known = self._state.detection_notices
            new = tuple(text for text in message.texts if text not in known)
            self._state.detection_notices = (*known, *new)
            for text in new:
                show_info(text)
            return
        if isinstance(message, jobs.Detected):
            origin = {**origin, "area": message.area}
            self._show_reconstruction(message, origin)
            self._show_heatmap(message, limits, origin)
            return
        if isinstance(message, jobs.Growing):
            self._finish_growing()
            self._begin_growing(message, limits, origin)
            return
        self._runner.report(message)
        if isinstance(message, jobs.Fraction):
            self._show_growth()
        elif isinstance(message, jobs.Done):
            self._finish_growing()

    def _begin_growing(
        self, message: jobs.Growing, limits: tuple[float, float], origin: dict[str, Any]
    ) -> None:
        source, viewer = message.source, self._viewer
        origin = {**origin, "area": message.residual.store.area}
        heatmap = layers.find_derived(viewer.layers, "residual", source.key)
        if heatmap is None or layers.large_residual(heatmap) is not message.residual:
            if heatmap is not None:
                viewer.layers.remove(heatmap)
            heatmap = layers.new_heatmap(
                message.residual, source, limits, origin, message.channel_axis
            )
            viewer.add_layer(heatmap)
            self._state.export_layers = (*self._state.export_layers, heatmap)
        self._growing = heatmap
        self._state.heatmap = heatmap
        self._tell_sight()

    def _show_growth(self) -> None:
        """Draw new blocks, but not too often."""
        if self._growing is None:
            return
        large = layers.large_residual(self._growing)
        before, left = self._shown
        if large is not None and large.store.left != left and time.monotonic() - before > _BETWEEN:
            self._draw_growth()
            self._shown = time.monotonic(), large.store.left

    def _finish_growing(self) -> None:
        if self._growing is not None:
            self._draw_growth()
            self._growing = None

    def _draw_growth(self) -> None:
        if self._growing in self._viewer.layers:
            layers.show_growth(self._growing)
            self._preview.grow(self._growing)

    def _tell_sight(self) -> None:
        """Send the visible position to the job."""
        if self._growing is not None and self._state.activity == "detecting":
            self._runner.send(self._position(self._growing))

    def _position(self, layer: Any) -> ViewPosition:
        """Return the visible plane of a layer, and the position in it."""
        dims = self._viewer.dims
        point = list(dims.point)
        if dims.ndisplay == 2:
            for axis, centre in zip(dims.displayed, self._camera.center[-2:], strict=True):
                point[axis] = centre
        row, column = layer.world_to_data(point[-layer.ndim :])[-2:]
        return visible_plane(layer, point), (float(row), float(column))

    def _stopped(self, sources: list[layers.Source]) -> dict[str, LargeResidual]:
        """Return unfinished residuals of this model and stride, by the keys of their images."""
        state, found = self._state, {}
        for source in sources:
            heatmap = layers.find_derived(self._viewer.layers, "residual", source.key)
            large = None if heatmap is None else layers.large_residual(heatmap)
            if large is not None and large.store.left:
                store = large.store
                if store.model is state.model and store.stride == state.stride:
                    found[source.key] = large
        return found

    @property
    def _camera(self) -> Any:
        return getattr(self._viewer, "scene", self._viewer).camera  # 0.9, 0.7

    def _view(self) -> tuple[Any, ...]:
        """Return values that change when another part is visible."""
        camera = self._camera.events
        return camera.center, camera.zoom, self._viewer.dims.events.current_step

    def _show_reconstruction(self, message: jobs.Detected, origin: dict[str, Any]) -> None:
        if message.reconstruction is None:
            return
        layer = layers.new_reconstruction(message.reconstruction, message.source, origin)
        old = layers.find_derived(self._viewer.layers, "reconstruction", message.source.key)
        if old is None:
            self._viewer.add_layer(layer)
        else:
            old.data = layer.data
            old.metadata = layer.metadata

    def _show_heatmap(
        self, message: jobs.Detected, limits: tuple[float, float], origin: dict[str, Any]
    ) -> None:
        source = message.source
        heatmap = layers.find_derived(self._viewer.layers, "residual", source.key)
        if heatmap is None:
            heatmap = layers.new_heatmap(
                message.residual, source, limits, origin, message.channel_axis
            )
            self._viewer.add_layer(heatmap)
            chosen = True
        else:
            chosen = not is_by(self._state.model, heatmap)  # when it is not the one from before
            layers.update_heatmap(heatmap, message.residual, source, limits, origin)
        if chosen and heatmap not in self._state.export_layers:
            self._state.export_layers = (*self._state.export_layers, heatmap)
        self._preview.reload(heatmap)
        self._state.heatmap = heatmap

    def _on_layer_removed(self, event: Any) -> None:
        super()._on_layer_removed(event)
        if event.value is self._growing:
            self._growing = None
