"""How many regions each of the inspected images has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..jobs import workers
from ..jobs.overview_job import count_regions
from ..layers import is_heatmap, large_residual
from ..layers.heatmap_data import HeatmapData
from ..state.panel_state import PanelState

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["Overview"]

_REST = 300  # milliseconds without a change after which regions are counted


class Overview:
    """Counts the regions of all heatmaps in a thread whenever the threshold rests.

    Parameters
    ----------
    viewer
        Holds the heatmaps.
    state
        Says how they are segmented, and gets the numbers.
    threshold_of
        Returns the threshold of a heatmap.
    on_failure
        Called with a sentence when the thread fails.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        state: PanelState,
        threshold_of: Callable[[Any], float],
        on_failure: Callable[[str], None],
    ) -> None:
        self._viewer = viewer
        self._state = state
        self._threshold_of = threshold_of
        self._on_failure = on_failure
        self._job: workers.Job | None = None
        self._later = workers.Later(self._count, _REST)
        events = state.events
        self._signals = (
            events.threshold, events.segmentation, events.shared_threshold, events.heatmap,
            events.model, events.activity,
        )  # fmt: skip
        for signal in self._signals:
            signal.connect(self._request)
        viewer.layers.events.removed.connect(self._on_removed)

    def close(self) -> None:
        """Stop the thread, and disconnect from the viewer and the state."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for signal in self._signals:
            signal.disconnect(self._request)
        self._stop()

    def _request(self) -> None:
        self._stop()
        self._later.request()

    def _on_removed(self, event: Any) -> None:
        if is_heatmap(event.value):
            left = [each for each in self._state.overview if each[0] is not event.value]
            self._state.overview = tuple(left) if len(left) > 1 else ()
            self._request()

    def _count(self) -> None:
        heatmaps = [
            layer
            for layer in self._viewer.layers
            if is_heatmap(layer) and large_residual(layer) is None
        ]
        if len(heatmaps) < 2:
            self._state.overview = ()
            return
        counted = [
            HeatmapData.from_layer(heatmap, self._threshold_of(heatmap), self._state.model)
            for heatmap in heatmaps
        ]
        self._job = workers.start(
            partial(count_regions, counted, self._state.segmentation),
            partial(self._on_message, heatmaps),
        )

    def _on_message(self, heatmaps: list[Any], message: object) -> None:
        if isinstance(message, workers.Failure):
            self._on_failure(message.text)
        elif isinstance(message, tuple):
            self._state.overview = tuple(zip(heatmaps, message, strict=True))

    def _stop(self) -> None:
        self._later.cancel()
        if self._job is not None:
            self._job.discard()
            self._job = None
