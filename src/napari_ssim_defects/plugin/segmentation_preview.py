"""The labels that follow the threshold: instant while it moves, complete when it rests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels

from . import jobs, workers
from .layers import new_preview, provenance, show_only
from .spatial import pixel_area
from .state import PanelState, RegionSummary

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ..core.calibration import Calibration
    from ..core.config import SegmentationConfig

__all__ = ["SegmentationPreview"]

_REST = 80  # milliseconds without a new threshold after which regions are completed
_BINS = 256
_HISTOGRAM_PIXELS = 1_000_000


class SegmentationPreview:
    """Keeps a Labels layer in step with heatmap, threshold and post-processing of the state.

    Opening commutes with thresholding (see `core.segmentation`). So it is applied to the
    residual once, in a thread, and each threshold after that is one comparison into the buffer
    that the layer looks at. Holes, minimum area and convex hulls follow in a thread when the
    threshold rests: the last two do not commute, and filling the holes of all thresholds at once
    takes a hundred times as long as filling those of one.

    Parameters
    ----------
    viewer
        Gets the Labels layer, and says which plane is visible.
    state
        Says what to segment, and gets histogram and summary.
    on_failure
        Called with a sentence when a thread fails.
    """

    def __init__(
        self, viewer: ViewerModel, state: PanelState, on_failure: Callable[[str], None]
    ) -> None:
        self._viewer = viewer
        self._state = state
        self._on_failure = on_failure
        self._job: workers.Job | None = None
        self._later = workers.Later(self._complete, _REST)
        self._layer: Labels | None = None
        self._prepared_by: SegmentationConfig | None = None
        self._residual = self._prepared = np.zeros((0, 0), dtype=np.float32)
        self._mask = np.zeros((0, 0), dtype=bool)
        self._ready: set[tuple[int, ...]] = set()
        self._found: dict[tuple[int, ...], tuple[int, int]] = {}
        state.events.heatmap.connect(self.reload)
        state.events.segmentation.connect(self._on_settings)
        state.events.threshold.connect(self._on_threshold)
        viewer.dims.events.current_step.connect(self._on_plane)

    def close(self) -> None:
        """Stop threads and listen no more; the layer stays."""
        self._viewer.dims.events.current_step.disconnect(self._on_plane)
        self._state.events.heatmap.disconnect(self.reload)
        self._state.events.segmentation.disconnect(self._on_settings)
        self._state.events.threshold.disconnect(self._on_threshold)
        self._stop()

    def reload(self) -> None:
        """Begin anew, with the heatmap of the state as it is now."""
        self._stop()
        heatmap = self._state.heatmap
        self._remove_layer()
        self._state.summary = None
        if heatmap is None:
            self._state.histogram = self._state.good_histogram = None
            self._state.auto_threshold = None
            self._residual = self._prepared = np.zeros((0, 0), dtype=np.float32)
            return
        show_only(heatmap, self._viewer.layers)
        self._residual = np.asarray(heatmap.data, dtype=np.float32)
        self._state.histogram = _histogram(self._residual, heatmap.contrast_limits_range[1])
        self._state.good_histogram = _good_histogram(
            provenance(heatmap).get("calibration"), self._state.histogram[1]
        )
        auto = provenance(heatmap).get("auto_threshold")
        if auto != self._state.auto_threshold:  # another model: its residuals differ in scale
            self._state.auto_threshold = auto
            if auto is not None:
                self._state.threshold = auto
        self._prepare()

    def hide(self) -> None:
        """Hide the layer until the threshold moves again."""
        if self._layer is not None:
            self._layer.visible = False

    def forget_layer(self, layer: Any) -> None:
        """Take note that a layer was removed."""
        if layer is self._layer:
            self._layer = None

    def _on_settings(self) -> None:
        settings = self._state.segmentation
        before = self._prepared_by
        if before is None or self._state.heatmap is None:
            return
        if settings.opening != before.opening:
            self._prepare()
        else:
            self._on_threshold()

    def _on_threshold(self) -> None:
        if self._state.heatmap is None:
            return
        if self._job is not None and len(self._ready) == self._planes:
            self._stop()  # a completion that is out of date
        self._found.clear()
        self._state.summary = None
        self._show(self._visible_plane)
        if self._layer is not None:
            self._layer.visible = True
        self._later.request()

    def _on_plane(self) -> None:
        if self._state.heatmap is None:
            return
        plane = self._visible_plane
        if plane in self._ready and plane not in self._found:
            self._show(plane)

    def _prepare(self) -> None:
        self._stop()
        settings = self._prepared_by = self._state.segmentation
        # New arrays, as a thread that is ending may still read the old ones.
        self._prepared = np.empty_like(self._residual)
        self._ready.clear()
        self._found.clear()
        self._state.summary = None
        self._job = workers.start(
            partial(jobs.preparation, self._residual, settings, self._visible_plane),
            self._on_prepared,
            self._later.request,
        )

    def _on_prepared(self, message: jobs.PlanePrepared | workers.Failure) -> None:
        if isinstance(message, workers.Failure):
            self._on_failure(message.text)
            return
        self._prepared[message.index] = message.prepared
        self._ready.add(message.index)
        if message.index == self._visible_plane:
            self._show(message.index)

    def _show(self, plane: tuple[int, ...]) -> None:
        """Threshold one plane into the buffer of the layer."""
        if plane not in self._ready:
            return
        layer = self._ensure_layer()
        np.greater(self._prepared[plane], self._state.threshold, out=self._mask[plane])
        layer.refresh(extent=False, highlight=False, thumbnail=False)

    def _complete(self) -> None:
        """Drop small regions, make hulls and count, in a thread."""
        if self._state.heatmap is None or len(self._ready) < self._planes:
            return  # preparation asks again when it is done
        self._stop()
        self._found.clear()
        self._job = workers.start(
            partial(
                jobs.segmentation,
                self._prepared,
                self._state.threshold,
                self._state.segmentation,
                self._visible_plane,
            ),
            self._on_segmented,
        )

    def _on_segmented(self, message: jobs.PlaneSegmented | workers.Failure) -> None:
        if isinstance(message, workers.Failure):
            self._on_failure(message.text)
            return
        layer = self._ensure_layer()
        np.greater(message.labels, 0, out=self._mask[message.index])
        count = int(message.labels.max(initial=0))
        self._found[message.index] = count, int(np.count_nonzero(self._mask[message.index]))
        last = len(self._found) == self._planes
        if message.index == self._visible_plane or last:
            layer.refresh(extent=False, highlight=False, thumbnail=last)
        if last:
            self._summarise()

    def _summarise(self) -> None:
        regions, pixels = (sum(found) for found in zip(*self._found.values(), strict=True))
        area, unit = pixel_area(self._state.heatmap)
        text = f"{pixels * area:.4g} {unit}²" if unit else ""
        self._state.summary = RegionSummary(regions, pixels, text)

    def _ensure_layer(self) -> Labels:
        if self._layer is None:
            heatmap: Image = self._state.heatmap
            self._mask = np.zeros(self._residual.shape, dtype=bool)
            self._layer = new_preview(self._mask, heatmap)
            selection = set(self._viewer.layers.selection)
            self._viewer.add_layer(self._layer)
            if selection:  # dragging the threshold must not change what is selected
                self._viewer.layers.selection = selection
        return self._layer

    def _remove_layer(self) -> None:
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    @property
    def _planes(self) -> int:
        return int(np.prod(self._residual.shape[:-2]))

    @property
    def _visible_plane(self) -> tuple[int, ...]:
        heatmap = self._state.heatmap
        point = self._viewer.dims.point[-heatmap.ndim :]
        position = heatmap.world_to_data(point)[:-2]
        return tuple(
            int(np.clip(round(float(value)), 0, size - 1))
            for value, size in zip(position, self._residual.shape, strict=False)
        )

    def _stop(self) -> None:
        self._later.cancel()
        if self._job is not None:
            self._job.discard()
            self._job = None


def _histogram(
    residual: npt.NDArray[np.float32], high: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Count residuals from 0 to ``high``, on a regular sample of the pixels."""
    step = max(1, residual.size // _HISTOGRAM_PIXELS)
    counts, edges = np.histogram(residual.ravel()[::step], bins=_BINS, range=(0, high))
    return counts.astype(np.int64), edges


def _good_histogram(
    calibration: Calibration | None, edges: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Count the defect-free pixels of a calibration in the same bins."""
    if calibration is None:
        return None
    above = np.array([calibration.false_positive_rate(float(edge)) for edge in edges])
    return -np.diff(above) * calibration.pixels, edges
