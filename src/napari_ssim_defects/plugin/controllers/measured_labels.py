"""Updates the measurements of committed regions when a person edits them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.common.errors import InputError
from ...core.segmentation.regions import Region, measure_planes
from ..jobs import workers
from ..jobs.jobs import Fraction
from ..layers.large import large_labels
from ..layers.provenance import provenance, update_provenance
from ..layers.region_features import RegionsMeasured, Spacing, checksum, regions_to_review
from ..layers.spatial import pixel_size

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = [
    "MeasuredLabels",
    "measure_labels",
]

_REST = 200  # milliseconds without a change after which regions are measured
_PIXELS = ("paint", "labels_update", "set_data")  # undo emits only the last one
_PLACE = ("scale", "rotate", "shear", "affine", "units")


class MeasuredLabels:
    """Updates the features of a layer of regions when its pixels or its scale change.

    Parameters
    ----------
    layer
        Committed regions; its provenance holds the residual and the checksum of the measured
        pixels.
    on_failure
        Called with a sentence when the regions cannot be measured.
    """

    def __init__(self, layer: Labels, on_failure: Callable[[str], None]) -> None:
        self._layer = layer
        self._spacing = pixel_size(layer)
        self._on_failure = on_failure
        self._job: workers.Job | None = None
        self._later = workers.Later(self._measure, _REST)
        for name in (*_PIXELS, *_PLACE):
            layer.events[name].connect(self._on_change)

    def close(self) -> None:
        """Disconnect from the layer."""
        for name in (*_PIXELS, *_PLACE):
            self._layer.events[name].disconnect(self._on_change)
        self._stop()

    def _on_change(self) -> None:
        if large_labels(self._layer) is not None:  # cannot be painted, but drawing emits set_data
            return
        self._stop()
        self._later.request()

    def _measure(self) -> None:
        layer = self._layer
        review = regions_to_review(layer)
        spacing = pixel_size(layer)
        origin = provenance(layer)
        self._job = workers.start(
            partial(
                measure_labels,
                layer.data,
                origin["residual"],
                review,
                spacing,
                origin["measured"] if spacing == self._spacing else None,
            ),
            partial(self._on_measured, spacing),
        )

    def _on_measured(self, spacing: Spacing, message: object) -> None:
        if isinstance(message, workers.Failure):
            self._layer.features = {}  # better none than outdated ones
            self._on_failure(message.text)
        elif isinstance(message, RegionsMeasured):
            self._spacing = spacing
            update_provenance(self._layer, measured=message.checksum)
            self._layer.features = message.features

    def _stop(self) -> None:
        self._later.cancel()
        if self._job is not None:
            self._job.discard()
            self._job = None


def measure_labels(
    labels: npt.NDArray[Any],
    residual: npt.NDArray[np.float32],
    review: Collection[int],
    spacing: Spacing,
    known: int | None,
) -> Generator[Fraction | RegionsMeasured, None, None]:
    """Measure the regions of a layer, unless its pixels were measured already.

    Parameters
    ----------
    labels, residual
        Both of shape (..., H, W).
    review
        Labels that are to be reviewed.
    spacing
        Size (y, x) of a pixel and its unit.
    known
        Checksum of pixels that need not be measured again.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if known is not None and checksum(labels) == known:
        return
    if labels.shape != residual.shape:
        raise InputError(
            "The regions cannot be measured: their layer has another size than the heatmap that "
            "they were made from."
        )
    regions: list[tuple[int, Region]] = []
    count = int(np.prod(labels.shape[:-2]))
    for plane, found in measure_planes(labels, residual, review):
        regions += [(plane, region) for region in found]
        yield Fraction((plane + 1) / count)
    yield RegionsMeasured.of(labels, regions, spacing)
