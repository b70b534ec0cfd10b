"""Controller of "Create labels": regions that stay and can be corrected by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.common.errors import InputError
from .. import layers
from ..jobs.jobs import Created, create_labels, one_by_one
from ..layers.large import LargeLabels
from ..layers.provenance import inspected_area, provenance
from ..layers.spatial import pixel_size
from .section import Panel, SectionController, starts_a_job

if TYPE_CHECKING:
    from napari.layers import Labels, Layer

__all__ = [
    "LabellingController",
]


class LabellingController(SectionController):
    """Numbers and measures the regions of heatmaps in a thread.

    Parameters
    ----------
    panel
        What it shares with other sections.
    show
        Called with the current heatmap, which is to be seen alone, when labels were added.
    """

    def __init__(self, panel: Panel, show: Callable[[Layer], None]) -> None:
        super().__init__(panel)
        self._show = show

    @starts_a_job
    def start(self, *, all_images: bool = False) -> None:
        """Add a layer of the numbered regions of the current heatmap, or of each heatmap."""
        state = self._state
        if state.heatmap is None:
            raise InputError("There is no heatmap to segment; detect first.")
        heatmaps = [state.heatmap]
        if all_images:
            others = filter(layers.is_heatmap, self._viewer.layers)
            heatmaps += [layer for layer in others if layer is not state.heatmap]
        work = [(heatmap, *self._job(heatmap)) for heatmap in heatmaps]
        self._runner.begin(
            "labelling",
            "Labelling …",
            partial(one_by_one, [job for *_, job in work]),
            partial(self._on_message, [(heatmap, settings) for heatmap, settings, _ in work], []),
        )

    def _job(self, heatmap: Any) -> tuple[dict[str, Any], Callable[[], Any]]:
        """Return the settings for a heatmap, and what finds its regions."""
        large = layers.large_residual(heatmap)
        if large is not None:
            large.refuse_incomplete(heatmap)
        threshold, segmentation = self._preview.threshold_of(heatmap), self._state.segmentation
        job = partial(
            create_labels,
            heatmap.data if large is None else large,
            threshold,
            segmentation,
            pixel_size(heatmap),
            inspected_area(heatmap),
            layers.marks_on(heatmap, self._state.model),
        )
        return {"threshold": threshold, **segmentation.model_dump()}, job

    def _on_message(
        self, waiting: list[tuple[Any, dict[str, Any]]], counts: list[int], message: object
    ) -> None:
        if not isinstance(message, Created):
            self._runner.report(message)
            return
        heatmap, settings = waiting.pop(0)
        current = self._state.heatmap
        layer = self._put(message, heatmap, settings)
        if heatmap is not current and current is not None:
            self._show(current)  # the new layer lies over it
        verdicts = message.measured.features["verdict"]
        counts.append(len(verdicts) - verdicts.count("good"))
        number = sum(counts)
        where = f"'{layer.name}'" if len(counts) == 1 else f"{len(counts)} images"
        self._runner.say(f"Created {number} region{'s' * (number != 1)} in {where}.")

    def _put(self, found: Created, heatmap: Any, settings: dict[str, Any]) -> Labels:
        """Put regions into the layer of their image, or into a new one."""
        self._preview.hide(heatmap)
        key = provenance(heatmap)["source_id"]
        layer = layers.find_derived(reversed(self._viewer.layers), "labels", key)
        if layer is not None and not layers.is_painted(layer):
            if (
                not isinstance(found.labels, LargeLabels)
                and layers.large_labels(layer) is None
                and layer.data.shape == found.labels.shape
            ):
                self._state.selected_region = None  # its number means another region now
                layers.update_labels(layer, found.labels, found.measured, heatmap, settings)
                if heatmap is self._state.heatmap:
                    self._viewer.layers.selection.active = layer
                return layer
            self._viewer.layers.remove(layer)
        layer = layers.new_labels(found.labels, found.measured, heatmap, settings)
        self._viewer.add_layer(layer)
        return layer
