"""What the Export section does: heatmaps, their regions and the table as files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import layers
from .exporting import Exportable, exporting
from .preferences import preferences
from .runner import Runner
from .segmentation_preview import SegmentationPreview
from .spatial import pixel_size
from .state import PanelState

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["ExportController"]


class ExportController:
    """Writes what is chosen in a thread.

    Parameters
    ----------
    viewer
        Holds the committed regions; a removed layer is exported no more.
    state
        What to work on.
    runner
        Runs the job.
    preview
        Knows the threshold of each heatmap.
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
        state.export_folder = state.export_folder or preferences().export_folder

    def close(self) -> None:
        """Listen no more."""
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)

    def start(self, folder: str | Path | None = None) -> None:
        """Write the chosen heatmaps, their regions and the table to a folder."""
        state = self._state
        if self._runner.refuse_while_busy():
            return
        folder = Path(folder or state.export_folder or preferences().export_folder)
        if not state.export_layers:
            self._runner.fail("Choose at least one heatmap to export; detection makes them.")
            return
        items = [self._exportable(layer) for layer in state.export_layers]
        self._runner.begin(
            "exporting",
            "Exporting …",
            partial(
                exporting,
                items,
                folder,
                residual=state.export_residual,
                labels=state.export_labels,
                table=state.export_table,
            ),
            self._runner.report,
        )

    def _exportable(self, heatmap: Any) -> Exportable:
        labels = layers.created_labels(heatmap, self._viewer.layers)
        size, unit = pixel_size(heatmap)
        return Exportable(
            layers.source_name(heatmap),
            heatmap.data,
            None if labels is None else labels.data,
            self._preview.threshold_of(heatmap),
            self._state.segmentation,
            size,
            unit,
        )

    def _on_layer_removed(self, event: Any) -> None:
        state, removed = self._state, event.value
        state.export_layers = tuple(layer for layer in state.export_layers if layer is not removed)
