"""Defects found against false regions per image: what an inspector is told by an outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..config import SegmentationConfig
from ..segmentation.segment import ThresholdIndex, prepare, segment_prepared

__all__ = ["Froc", "FrocCounter", "froc_summary"]

_DEFAULT = SegmentationConfig()
_FALSE_REGIONS = (0.1, 0.5, 1.0, 2.0, 5.0)


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

        At lower thresholds regions grow together until one covers everything; it is no answer
        that there are few of them again.
        """
        most = np.maximum.accumulate(self.false_regions[::-1])[::-1]
        return float(self.found[most <= false_regions].max(initial=0.0))


def froc_summary(froc: Froc | None) -> dict[str, float]:
    """Return the part of the defects found at usual numbers of false regions per image."""
    return {} if froc is None else {str(n): froc.found_at(n) for n in _FALSE_REGIONS}


class FrocCounter:
    """Counts regions image by image.

    Parameters
    ----------
    thresholds
        Residuals at which regions are counted.
    """

    def __init__(self, thresholds: npt.ArrayLike) -> None:
        self._thresholds = np.unique(np.asarray(thresholds, np.float64))
        self._false = np.zeros(len(self._thresholds), np.int64)
        self._found = np.zeros(len(self._thresholds), np.int64)
        self._images = self._defects = 0

    def add(
        self, residual: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], count: int
    ) -> None:
        """Count the regions of a residual (H, W) whose ``count`` defects are labelled."""
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        large = areas >= _DEFAULT.min_area
        large[0] = False
        self._defects += int(large.sum())
        self._images += 1
        index = ThresholdIndex(prepare(residual, _DEFAULT))
        for number, threshold in enumerate(self._thresholds):
            segmented = segment_prepared(index, float(threshold), _DEFAULT)
            defect = labels.ravel()[segmented.runs.pixels()]
            region = np.repeat(segmented.region, segmented.runs.length)
            touching = np.zeros(segmented.count, dtype=bool)
            touching[region[defect > 0]] = True
            self._false[number] += segmented.count - np.count_nonzero(touching)
            self._found[number] += np.count_nonzero(large[np.unique(defect)])

    def result(self) -> Froc:
        """Return the curve over all images so far."""
        return Froc(
            self._thresholds,
            self._false / max(self._images, 1),
            self._found / max(self._defects, 1),
            self._defects,
        )
