"""What "Create labels" does: regions that stay, and that a person may correct."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from . import jobs, layers
from .runner import Runner
from .segmentation_preview import SegmentationPreview
from .state import PanelState

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["LabellingController"]


class LabellingController:
    """Numbers and measures the regions of the current heatmap in a thread.

    Parameters
    ----------
    viewer
        Gets the Labels layer.
    state
        What to work on.
    runner
        Runs the job.
    preview
        Gives way to the labels until the threshold moves.
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

    def start(self) -> None:
        """Turn what the threshold finds in the heatmap into a layer of numbered regions."""
        state = self._state
        if self._runner.refuse_while_busy():
            return
        if state.heatmap is None:
            self._runner.fail("There is no heatmap to segment; detect first.")
            return
        settings = {"threshold": state.threshold, **state.segmentation.model_dump()}
        self._runner.begin(
            "labelling",
            "Labelling …",
            partial(jobs.labelling, state.heatmap.data, state.threshold, state.segmentation),
            partial(self._on_message, state.heatmap, settings),
        )

    def _on_message(self, heatmap: Any, settings: dict[str, Any], message: object) -> None:
        if not isinstance(message, jobs.Labelled):
            self._runner.report(message)
            return
        layer = layers.new_labels(message.labels, heatmap, message.regions, settings)
        key = layers.provenance(heatmap)["source_id"]
        old = layers.find_derived(reversed(self._viewer.layers), "labels", key)
        if old is not None and not layers.is_painted(old):
            self._viewer.layers.remove(old)
        self._preview.hide(heatmap)
        self._viewer.add_layer(layer)
        count = len(message.regions)
        self._runner.say(f"Created {count} region{'s' * (count != 1)} in '{layer.name}'.")
