"""Labels that follow the threshold, for every visible heatmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..jobs import workers
from ..layers import created_labels, is_heatmap, show_threshold
from ..layers.derived import marks_on
from ..layers.large import large_residual
from ..layers.provenance import inspected_values, provenance
from ..layers.spatial import pixel_area
from ..state.panel_state import PanelState, RegionSummary
from .heatmap_preview import HeatmapPreview, LargePreview
from .one_image import OneImage

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...core.model.calibration import Calibration

__all__ = ["SegmentationPreview"]

_BINS = 256
_REST = 250  # milliseconds without another threshold after which the colours reach beyond it
_HISTOGRAM_PIXELS = 1_000_000
# Milliseconds in which the canvas is drawn without a layer before the next one is removed: when two
# go at once, napari 0.9 on Mesa's software OpenGL crashes as soon as another layer comes.
_DRAWN = 100


class SegmentationPreview:
    """Updates a `HeatmapPreview` for each visible heatmap when the state changes.

    The heatmap of the state comes first, and the state shows its numbers. Other visible heatmaps
    beside it follow the same threshold, or have one of their own if the state says so.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        state: PanelState,
        images: OneImage,
        on_failure: Callable[[str], None],
    ) -> None:
        self._viewer = viewer
        self._state = state
        self._images = images
        self._on_failure = on_failure
        self._previews: dict[int, HeatmapPreview | LargePreview] = {}
        self._leaving: list[HeatmapPreview | LargePreview] = []
        self._later = workers.Later(self._remove_next, _DRAWN)
        self._rested = workers.Later(self._show_limits, _REST)
        self._loading = False
        self._proposed: float | None = None  # the last automatic threshold that was taken
        self._maker: str | None = None  # the model whose heatmaps have the threshold of the state
        state.events.heatmap.connect(self._on_heatmap)
        state.events.segmentation.connect(self._on_settings)
        state.events.threshold.connect(self._on_settings)
        state.events.shared_threshold.connect(self._on_settings)
        state.events.model.connect(self._on_model)
        viewer.dims.events.current_step.connect(self._on_plane)
        viewer.layers.events.removed.connect(self._on_layer_removed)

    def close(self) -> None:
        """Stop threads and listen no more; the layers stay."""
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._viewer.dims.events.current_step.disconnect(self._on_plane)
        self._state.events.heatmap.disconnect(self._on_heatmap)
        self._state.events.segmentation.disconnect(self._on_settings)
        self._state.events.threshold.disconnect(self._on_settings)
        self._state.events.shared_threshold.disconnect(self._on_settings)
        self._state.events.model.disconnect(self._on_model)
        self._later.cancel()
        self._rested.cancel()
        for preview in self._previews.values():
            preview.close()

    def reload(self, heatmap: Any) -> None:
        """Read a heatmap that was computed again."""
        preview = self._previews.get(id(heatmap))
        if preview is not None:
            preview.reload()
            preview.mark(marks_on(heatmap, self._state.model))
        if heatmap is self._state.heatmap:
            self._on_heatmap()

    def grow(self, heatmap: Any) -> None:
        """Show new blocks of a heatmap that is larger than memory."""
        preview = self._previews.get(id(heatmap))
        if preview is not None:
            preview.reload()
        if self._state.heatmap is heatmap:
            self._show_histogram()
            self.show_calibration()
            self._estimate()

    def show_calibration(self) -> None:
        """Show the current calibration of the heatmap."""
        state, origin = self._state, provenance(self._state.heatmap)
        if state.histogram is not None:
            state.good_histogram = _good_histogram(origin.get("calibration"), state.histogram[1])
        calibration, auto = origin.get("calibration"), origin.get("auto_threshold")
        state.auto_regions = (
            None if calibration is None or auto is None else calibration.regions_per_image(auto)
        )
        state.auto_threshold = auto

    def take_calibration(self) -> None:
        """Show a calibration that has changed; the threshold stays where a person has put it."""
        if self._state.heatmap is not None:
            self.show_calibration()
            self._proposed = self._state.auto_threshold

    def threshold_of(self, heatmap: Any) -> float:
        """Return the threshold of a heatmap: the state's, or its own."""
        state, preview = self._state, self._previews.get(id(heatmap))
        mine = _maker(heatmap) == self._maker
        if heatmap is state.heatmap or (mine and (state.shared_threshold or preview is None)):
            return state.threshold
        if preview is None:
            return float(provenance(heatmap).get("auto_threshold", state.threshold))
        return preview.threshold

    def show_counts(self) -> None:
        """Show the numbers of the current heatmap again, whose pixels have another size."""
        preview = self._previews.get(id(self._state.heatmap))
        if isinstance(preview, HeatmapPreview):
            self._on_counted(preview)

    def hide(self, heatmap: Any) -> None:
        """Hide the layer of a heatmap until the threshold moves again."""
        preview = self._previews.get(id(heatmap))
        if preview is not None:
            preview.set_visible(False)

    def _on_heatmap(self) -> None:
        state, heatmap = self._state, self._state.heatmap
        state.summary = state.fraction_above = None
        if heatmap is None:
            state.histogram = state.good_histogram = None
            state.auto_regions = state.auto_threshold = None
            for preview in self._previews.values():
                preview.set_visible(False)
            return
        self._images.show(heatmap)
        self._show_histogram()
        self.show_calibration()
        auto = state.auto_threshold
        known = self._previews.get(id(heatmap))
        self._loading = True
        try:
            # Another model: its residuals differ in scale.
            if auto is not None and (auto, _maker(heatmap)) != (self._proposed, self._maker):
                state.threshold = self._proposed = auto
            self._maker = _maker(heatmap)
            if known is not None and not state.shared_threshold:
                state.threshold = known.threshold
        finally:
            self._loading = False
        self._on_settings()
        labels = created_labels(heatmap, self._viewer.layers)
        if labels is not None and labels.visible:  # one outline is enough until a threshold moves
            self.hide(heatmap)

    def _on_settings(self) -> None:
        if self._loading or self._state.heatmap is None:
            return
        state = self._state
        shown = self._shown()
        for key in self._previews.keys() - {id(heatmap) for heatmap in shown}:
            self._previews[key].set_visible(False)
        for heatmap in shown:
            known = self._previews.get(id(heatmap))
            if known is None:
                threshold = self.threshold_of(heatmap)
                known = self._previews[id(heatmap)] = self._new_preview(heatmap)
                known.threshold = threshold
                known.mark(marks_on(heatmap, state.model))
            known.show(self.threshold_of(heatmap), state.segmentation)
        self._estimate()
        self._rested.request()

    def _show_limits(self) -> None:
        for preview in self._previews.values():
            preview.limits = show_threshold(preview.heatmap, preview.threshold, preview.limits)

    def _on_model(self) -> None:
        for preview in self._previews.values():
            preview.mark(marks_on(preview.heatmap, self._state.model))

    def _estimate(self) -> None:
        """Estimate the part above the threshold if regions are not counted while it moves."""
        state = self._state
        large = large_residual(state.heatmap)
        state.fraction_above = None if large is None else large.fraction_above(state.threshold)

    def _new_preview(self, heatmap: Any) -> HeatmapPreview | LargePreview:
        if large_residual(heatmap) is not None:
            return LargePreview(self._viewer, heatmap)
        return HeatmapPreview(self._viewer, heatmap, self._on_counted, self._on_failure)

    def _show_histogram(self) -> None:
        heatmap = self._state.heatmap
        large = large_residual(heatmap)
        values = inspected_values(heatmap) if large is None else large.known
        highest = float(np.nanmax(values, initial=0.0)) if large is None else large.highest
        _, usual = provenance(heatmap).get("contrast_limits", (0.0, 0.0))
        self._state.histogram = _histogram(values, max(highest, usual) or 1.0)

    def _shown(self) -> list[Any]:
        """Return the heatmap of the state, and after it the other visible ones."""
        active = self._state.heatmap
        others = [
            layer
            for layer in self._viewer.layers
            if is_heatmap(layer) and layer.visible and layer is not active
        ]
        return [active, *others]

    def _on_layer_removed(self, event: Any) -> None:
        removed = event.value
        preview = self._previews.pop(id(removed), None)
        if preview is not None:
            preview.close()
            self._leaving.append(preview)
            self._later.request()
        for other in self._previews.values():
            other.forget_layer(removed)
        if self._state.heatmap is removed:
            others = [layer for layer in self._viewer.layers if is_heatmap(layer)]
            self._state.heatmap = others[-1] if others else None
            if not others:  # other images may come, to which no threshold was fitted
                self._maker = None
                self._state.threshold = 0.0

    def _remove_next(self) -> None:
        self._leaving.pop(0).remove()
        if self._leaving:
            self._later.request()

    def _on_plane(self) -> None:
        for preview in self._previews.values():
            preview.show_plane()

    def _on_counted(self, preview: HeatmapPreview) -> None:
        state = self._state
        if preview.heatmap is not state.heatmap:
            return
        counts, complete = preview.counts
        if counts is None:
            state.summary = None
            return
        area, unit = pixel_area(preview.heatmap)
        text = f"{counts.pixels * area:.4g} {unit}²" if unit else ""
        state.summary = RegionSummary(
            counts.regions,
            counts.pixels,
            text,
            counts.review_regions,
            counts.review_pixels,
            counts.good,
            complete,
        )


def _maker(heatmap: Any) -> str:
    """Return when the model was made that made a heatmap."""
    return str(provenance(heatmap).get("model_created", ""))


def _histogram(
    residual: npt.NDArray[np.float32], high: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Count residuals from 0 to ``high``, on a regular sample of the pixels."""
    step = max(1, residual.size // _HISTOGRAM_PIXELS)
    values = residual.ravel()[::step]
    counts, edges = np.histogram(values[~np.isnan(values)], bins=_BINS, range=(0, high))
    return counts.astype(np.int64), edges


def _good_histogram(
    calibration: Calibration | None, edges: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Count the defect-free pixels of a calibration in the same bins."""
    if calibration is None:
        return None
    above = np.array([calibration.false_positive_rate(float(edge)) for edge in edges])
    return (above[:-1] - above[1:]) * calibration.pixels, edges
