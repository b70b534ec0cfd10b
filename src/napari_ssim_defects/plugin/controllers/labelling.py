"""Controller of "Create labels": regions that stay and can be corrected by hand."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.common.errors import InputError
from .. import layers
from ..jobs.jobs import Created, create_labels
from ..layers.large import LargeLabels
from ..layers.provenance import inspected_area, provenance
from ..layers.spatial import pixel_size
from .section import SectionController

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = [
    "LabellingController",
]


class LabellingController(SectionController):
    """Numbers and measures the regions of the current heatmap in a thread."""

    def start(self) -> None:
        """Add a layer of the numbered regions above the threshold."""
        state = self._state
        if self._runner.refuse_while_busy():
            return
        if state.heatmap is None:
            self._runner.fail("There is no heatmap to segment; detect first.")
            return
        large = layers.large_residual(state.heatmap)
        try:
            if large is not None:
                large.refuse_incomplete(state.heatmap)
        except InputError as error:
            self._runner.fail(str(error))
            return
        settings = {"threshold": state.threshold, **state.segmentation.model_dump()}
        self._runner.begin(
            "labelling",
            "Labelling …",
            partial(
                create_labels,
                state.heatmap.data if large is None else large,
                state.threshold,
                state.segmentation,
                pixel_size(state.heatmap),
                inspected_area(state.heatmap),
            ),
            partial(self._on_message, state.heatmap, settings),
        )

    def _on_message(self, heatmap: Any, settings: dict[str, Any], message: object) -> None:
        if not isinstance(message, Created):
            self._runner.report(message)
            return
        self._preview.hide(heatmap)
        key = provenance(heatmap)["source_id"]
        layer = layers.find_derived(reversed(self._viewer.layers), "labels", key)
        if layer is None or layers.is_painted(layer):
            layer = self._add(message, heatmap, settings)
        elif (
            isinstance(message.labels, LargeLabels)
            or layers.large_labels(layer) is not None
            or layer.data.shape != message.labels.shape
        ):
            self._viewer.layers.remove(layer)
            layer = self._add(message, heatmap, settings)
        else:
            self._state.selected_region = None  # its number means another region now
            layers.update_labels(layer, message.labels, message.measured, heatmap, settings)
            self._viewer.layers.selection.active = layer
        count = len(message.measured.features["index"])
        self._runner.say(f"Created {count} region{'s' * (count != 1)} in '{layer.name}'.")

    def _add(self, found: Created, heatmap: Any, settings: dict[str, Any]) -> Labels:
        layer = layers.new_labels(found.labels, found.measured, heatmap, settings)
        self._viewer.add_layer(layer)
        return layer
