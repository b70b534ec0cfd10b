"""Free-response ROC curve: defects found against false regions per image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..config import SegmentationConfig
from ..images.inspected_area import InspectedArea
from ..model.calibration import Calibration
from ..segmentation.runs import Runs
from ..segmentation.segment import ThresholdIndex, prepare, segment_prepared

__all__ = ["FROC_LIMIT", "Froc", "FrocCounter", "froc_summary", "froc_thresholds"]

FROC_LIMIT = 10.0
"""False regions per image up to which curves are plotted."""

_DEFAULT = SegmentationConfig()
_FALSE_REGIONS = (0.1, 0.5, 1.0, 2.0, 5.0)
_THRESHOLDS = 36
_BEYOND = 2.0  # times what is measured: images may differ more than good ones do


@dataclass(frozen=True, slots=True)
class Froc:
    """The free-response ROC curve (FROC) of a default segmentation over all images.

    Attributes
    ----------
    thresholds
        Rising residuals, float64 of shape (Q,).
    false_regions
        Regions per image that touch no defect, at each threshold; float64 of shape (Q,).
    found
        Part of the defects that a region touches; float64 of shape (Q,).
    defects
        Number of defects that count: those of the smallest area of the segmentation or more.

    References
    ----------
    Chakraborty: Maximum likelihood analysis of free-response receiver operating characteristic
    (FROC) data, Medical Physics 16, 1989.
    """

    thresholds: npt.NDArray[np.float64]
    false_regions: npt.NDArray[np.float64]
    found: npt.NDArray[np.float64]
    defects: int

    def found_at(self, false_regions: float) -> float:
        """Return the largest part of the defects that is found with so few false regions.

        At lower thresholds regions merge until one covers everything. Such thresholds are not
        used, although there are few regions again.
        """
        most = np.maximum.accumulate(self.false_regions[::-1])[::-1]
        return float(self.found[most <= false_regions].max(initial=0.0))

    def curve(self, limit: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return what is plotted up to a number of false regions per image.

        Returns
        -------
        false_regions, found
            The one rising to ``limit``, the other what `found_at` says of it.
        """
        most = np.maximum.accumulate(self.false_regions[::-1])
        best = np.maximum.accumulate(self.found[::-1])
        inside = most <= limit
        end = self.found_at(limit)
        return np.append(most[inside], limit), np.append(best[inside], end)


def froc_summary(froc: Froc | None) -> dict[str, float]:
    """Return the part of the defects found at usual numbers of false regions per image."""
    return {} if froc is None else {str(n): froc.found_at(n) for n in _FALSE_REGIONS}


def froc_thresholds(calibration: Calibration) -> list[float]:
    """Return residuals from a hundred false regions per good image on to far beyond the last."""
    measured = [
        calibration.threshold_of_regions(count) for count in np.geomspace(100, 1e-4, _THRESHOLDS)
    ]
    highest = measured[-1] + _BEYOND * (measured[-1] - measured[0])
    return [*measured, *np.linspace(measured[-1], highest, _THRESHOLDS // 3)[1:]]


class FrocCounter:
    """Counts regions image by image."""

    def __init__(self, thresholds: npt.ArrayLike) -> None:
        self._thresholds = np.unique(np.asarray(thresholds, np.float64))
        self._false = np.zeros(len(self._thresholds), np.int64)
        self._found = np.zeros(len(self._thresholds), np.int64)
        self._images = self._defects = 0

    def add(
        self,
        residual: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int32],
        count: int,
        area: InspectedArea | None = None,
    ) -> None:
        """Count the regions of a residual (H, W) whose ``count`` 8-connected defects are labelled.

        Of an ``area`` only its pixels count; None: all.
        """
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        large = areas >= _DEFAULT.min_area
        large[0] = False
        self._defects += int(large.sum())
        self._images += 1
        index = ThresholdIndex(prepare(residual, _DEFAULT), area)
        defects = Runs.from_mask(labels > 0)
        defect = labels.ravel()[defects.start - defects.row]  # of each run
        for number, threshold in enumerate(self._thresholds):
            segmented = segment_prepared(index, float(threshold), _DEFAULT)
            touching = np.zeros(segmented.count, dtype=bool)
            touching[segmented.region[segmented.runs.meeting(defects)]] = True
            self._false[number] += segmented.count - np.count_nonzero(touching)
            found = np.zeros_like(large)
            found[defect[defects.meeting(segmented.runs)]] = True
            self._found[number] += np.count_nonzero(found & large)

    def result(self) -> Froc:
        """Return the curve over all images so far."""
        return Froc(
            self._thresholds,
            self._false / max(self._images, 1),
            self._found / max(self._defects, 1),
            self._defects,
        )
