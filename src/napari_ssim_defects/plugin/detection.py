"""What the Detect section does: a heatmap for each chosen image."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError
from . import jobs, layers
from .model_text import model_origin
from .preferences import preferences
from .runner import Runner
from .segmentation_preview import SegmentationPreview
from .state import PanelState

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["DetectionController"]


class DetectionController:
    """Inspects layers in a thread and puts heatmaps into the viewer.

    Parameters
    ----------
    viewer
        Gets the heatmaps; a removed layer is inspected no more.
    state
        What to work on.
    runner
        Runs the job.
    preview
        Segments the heatmaps.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        state: PanelState,
        runner: Runner,
        preview: SegmentationPreview,
    ) -> None:
        self._viewer = viewer
        self._state = state
        self._runner = runner
        self._preview = preview
        viewer.layers.events.removed.connect(self._on_layer_removed)

    def close(self) -> None:
        """Listen no more."""
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)

    def start(self) -> None:
        """Make a heatmap of every chosen layer."""
        state = self._state
        if self._runner.refuse_while_busy():
            return
        try:
            if state.model is None:
                raise InputError("There is no model yet; train one or open a model file.")
            if not state.detection_layers:
                raise InputError("Choose at least one image layer to inspect.")
            sources = [layers.source_of(layer) for layer in state.detection_layers]
        except InputError as error:
            self._runner.fail(str(error))
            return
        chosen = preferences()
        origin = model_origin(state.model, state.model_name, state.stride)
        self._runner.begin(
            "detecting",
            "Inspecting …",
            partial(
                jobs.inspection,
                state.model,
                sources,
                state.stride,
                chosen.device,
                chosen.threads,
                state.keep_reconstruction,
            ),
            partial(self._on_message, state.model.calibration.contrast_limits, origin),
        )

    def _on_message(
        self, limits: tuple[float, float], origin: dict[str, Any], message: object
    ) -> None:
        if isinstance(message, jobs.Inspected):
            self._show_reconstruction(message, origin)
            self._show_heatmap(message, limits, origin)
        else:
            self._runner.report(message)

    def _show_reconstruction(self, message: jobs.Inspected, origin: dict[str, Any]) -> None:
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
        self, message: jobs.Inspected, limits: tuple[float, float], origin: dict[str, Any]
    ) -> None:
        source = message.source
        heatmap = layers.find_derived(self._viewer.layers, "residual", source.key)
        if heatmap is None:
            heatmap = layers.new_heatmap(
                message.residual, source, limits, origin, message.channel_axis
            )
            self._viewer.add_layer(heatmap)
            self._state.export_layers = (*self._state.export_layers, heatmap)
        else:
            layers.update_heatmap(heatmap, message.residual, source, limits, origin)
        if self._state.heatmap is heatmap:
            self._preview.reload(heatmap)
        else:
            self._state.heatmap = heatmap

    def _on_layer_removed(self, event: Any) -> None:
        state, removed = self._state, event.value
        state.detection_layers = tuple(
            layer for layer in state.detection_layers if layer is not removed
        )
