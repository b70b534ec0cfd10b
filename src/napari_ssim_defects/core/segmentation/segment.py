"""From residual to labelled regions (paper section 4.2), fast enough to follow a slider.

Opening and closing commute with thresholding, so they are applied once to the residual itself
(`prepare`). Everything after the threshold works on the runs of the few pixels above it, so a step
of the slider costs time in proportion to the contours, not to the pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..common.array_checks import finite_number, number_array, plane_shaped
from ..common.errors import InputError
from ..config import SegmentationConfig
from ..images.inspected_area import InspectedArea
from ..images.tiles import Box
from .morphology import closing, opening
from .runs import Runs, ThresholdIndex

__all__ = [
    "Prepared",
    "Segmented",
    "ThresholdIndex",
    "prepare",
    "refuse_reversed",
    "segment",
    "segment_planes",
    "segment_prepared",
]


def prepare(
    residual: npt.NDArray[np.float32], config: SegmentationConfig
) -> npt.NDArray[np.float32]:
    """Apply the morphology that commutes with thresholding to a residual (H, W).

    ``prepare(residual, config) > threshold`` is the mask that opening, and then closing, of
    ``residual > threshold`` gives, for every threshold.
    """
    return closing(opening(residual, config.opening), config.closing)


class Prepared(Protocol):
    """A prepared plane, in memory or on disk, that gives the runs of pixels above a threshold."""

    @property
    def area(self) -> InspectedArea | None:
        """The pixels that regions may have; None: all."""
        ...

    def above(self, threshold: float) -> Runs:
        """Return the runs of the pixels above a threshold."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Segmented:
    """The regions of one plane.

    Attributes
    ----------
    runs
        Their pixels.
    region
        Region of each run, 0 to ``count - 1``; int64 (R,).
    review
        Whether each region is to be reviewed rather than a defect; bool (``count``,).
    """

    runs: Runs
    region: npt.NDArray[np.int64]
    review: npt.NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Number of regions of both kinds."""
        return len(self.review)

    def areas(self) -> npt.NDArray[np.int64]:
        """Return the number of pixels of each region."""
        weights = np.bincount(self.region, self.runs.length, minlength=self.count)
        return weights.astype(np.int64)

    def labels(self, before: int = 0) -> npt.NDArray[np.int32]:
        """Return an image (H, W) of the regions' numbers, on from ``before + 1``; 0 is good."""
        labels = np.zeros((self.runs.height, self.runs.width), dtype=np.int32)
        numbers = self.region + (before + 1)
        labels.ravel()[self.runs.pixels()] = np.repeat(numbers, self.runs.length)
        return labels

    def labels_in(self, box: Box, before: int = 0) -> npt.NDArray[np.int32]:
        """Return that part of `labels`, without the rest."""
        runs, index = self.runs.cut(box)
        return Segmented(runs, self.region[index], self.review).labels(before)

    def within(self, area: InspectedArea) -> Segmented:
        """Return the regions without pixels outside the area, which hulls may have."""
        pixel = self.runs.pixels()
        region = np.repeat(self.region, self.runs.length)
        row, column = np.divmod(pixel, self.runs.width)
        kept = area.holds(row, column)
        if kept.all():
            return self
        row, column, region = row[kept], column[kept], region[kept]
        place = row * self.runs.pitch + column
        new = (np.diff(place) != 1) | (np.diff(region) != 0)
        some = np.full(min(1, len(place)), True)
        first, last = np.concatenate([some, new]), np.concatenate([new, some])
        numbers, region = np.unique(region[first], return_inverse=True)
        runs = Runs(place[first], place[last] + 1, self.runs.height, self.runs.width)
        return Segmented(runs, region.astype(np.int64), self.review[numbers])

    def kept(self, keep: npt.NDArray[np.bool_]) -> Segmented:
        """Return some of the regions; ``keep`` is bool (``count``,)."""
        number = np.cumsum(keep) - 1
        runs = keep[self.region]
        return Segmented(self.runs[runs], number[self.region[runs]], self.review[keep])

    def kinds(self) -> npt.NDArray[np.uint8]:
        """Return, for each pixel of ``runs.pixels()``, 1 in a defect and 2 in one to review."""
        kind = (1 + self.review[self.region]).astype(np.uint8)
        return np.repeat(kind, self.runs.length)


def segment_prepared(prepared: Prepared, threshold: float, config: SegmentationConfig) -> Segmented:
    """Find the regions of a prepared plane above a threshold.

    A threshold for review that is not below the threshold for defects is ignored.

    Regions are numbered by their first pixels. Where regions to review do not join the defects
    that they touch (``hysteresis`` off), they are numbered after the defects.
    """
    found = _segmented(prepared, threshold, config)
    return found if prepared.area is None else found.within(prepared.area)


def _segmented(prepared: Prepared, threshold: float, config: SegmentationConfig) -> Segmented:
    runs, region, count = _regions(prepared.above(threshold), config)
    low = config.review_threshold
    if low is None or low >= threshold:
        return Segmented(runs, region, np.zeros(count, dtype=bool))
    if config.hysteresis:
        below, below_region, below_count = _regions(prepared.above(low), config)
        review = np.ones(below_count, dtype=bool)
        # After opening and filling, the mask of the higher threshold lies in that of the lower one.
        high = prepared.above(threshold)
        place = np.searchsorted(below.start, high.start, side="right") - 1
        inside = (place >= 0) & (high.start < np.append(below.stop, 0)[place])
        review[below_region[place[inside]]] = False
        return Segmented(below, below_region, review)
    below = _regions(prepared.above(low), config)[0].minus(runs)
    regions = below.regions(config.connectivity)
    rest, rest_region, rest_count = _kept(below, *regions, config)
    order = np.argsort(np.concatenate([runs.start, rest.start]), kind="stable")
    both = Runs(
        np.concatenate([runs.start, rest.start])[order],
        np.concatenate([runs.stop, rest.stop])[order],
        runs.height,
        runs.width,
    )
    return Segmented(
        both,
        np.concatenate([region, rest_region + count])[order],
        np.arange(count + rest_count) >= count,
    )


def segment_planes(
    residual: npt.NDArray[np.float32],
    threshold: float,
    config: SegmentationConfig,
    area: InspectedArea | None = None,
) -> Iterator[tuple[tuple[int, ...], Segmented]]:
    """Segment a residual (..., H, W) plane by plane; yields index and regions of each.

    Regions have pixels of the ``area`` only, unless that is None.

    Raises
    ------
    InputError
        If the residual has fewer than two dimensions, no pixels or NaN, or the threshold is no
        number.
    """
    plane_shaped(residual, "residual")
    threshold = finite_number(threshold, "threshold")
    if np.isnan(residual).any():
        raise InputError("The residual holds NaN; replace it by finite values first.")
    for index in np.ndindex(residual.shape[:-2]):
        plane = None if area is None else area.plane(index)
        prepared = ThresholdIndex(prepare(residual[index], config), plane)
        yield index, segment_prepared(prepared, threshold, config)


def segment(
    residual: npt.NDArray[np.float32],
    threshold: float,
    **settings: Any,
) -> npt.NDArray[np.int32]:
    """Outline the defects in a residual.

    Parameters
    ----------
    residual
        Residual of shape (..., H, W); each plane is segmented by itself.
    threshold
        Pixels above it are candidates.
    **settings
        Fields of `SegmentationConfig`, such as ``opening=4`` and ``min_area=20``. Regions above a
        ``review_threshold`` are outlined too; `segment_planes` tells them from defects.

    Returns
    -------
    numpy.ndarray
        int32 of the shape of ``residual``: 0 = good, 1 to n the regions of a plane, numbered
        onward from plane to plane.

    Raises
    ------
    InputError
        If the residual has fewer than two dimensions, no pixels, NaN, masked pixels or values that
        are no real numbers, or a setting is out of range.

    References
    ----------
    Bergmann et al. 2018, section 4.2.

    Examples
    --------
    >>> residual = np.zeros((64, 64), np.float32)
    >>> residual[20:40, 20:40] = 0.9
    >>> int(segment(residual, threshold=0.5, min_area=100).max())
    1
    """
    config = SegmentationConfig(**settings)
    threshold = finite_number(threshold, "threshold")
    refuse_reversed(threshold, config)
    with np.errstate(over="ignore"):  # values beyond float32 are above or below any threshold
        residual = number_array(residual, "residual").astype(np.float32, copy=False)
    labels = np.zeros(residual.shape, dtype=np.int32)
    found = 0
    for index, plane in segment_planes(residual, threshold, config):
        labels[index] = plane.labels(found)
        found += plane.count
    return labels


def refuse_reversed(threshold: float, config: SegmentationConfig) -> None:
    """Raise `InputError` if the threshold for review does not lie below that for defects."""
    review = config.review_threshold
    if review is not None and review >= threshold:
        raise InputError(
            f"The threshold for review, {review:g}, must lie below the threshold for defects, "
            f"{threshold:g}."
        )


def _regions(runs: Runs, config: SegmentationConfig) -> tuple[Runs, npt.NDArray[np.int64], int]:
    """Fill holes, drop regions by size and place, and replace them by their hulls."""
    connectivity = config.connectivity
    if config.fill_holes:
        runs, region, count = runs.filled(connectivity)
    else:
        region, count = runs.regions(connectivity)
    runs, region, count = _kept(runs, region, count, config)
    if config.convex_hull and count:
        runs = runs.hulls(region)  # hulls that touch become one region
        region, count = runs.regions(connectivity)
    return runs, region, count


def _kept(
    runs: Runs, region: npt.NDArray[np.int64], count: int, config: SegmentationConfig
) -> tuple[Runs, npt.NDArray[np.int64], int]:
    """Drop the regions that are too small, too large or, if so wanted, touch the border."""
    area = np.bincount(region, runs.length, minlength=count)
    keep = area >= config.min_area
    if config.max_area is not None:
        keep &= area <= config.max_area
    if config.clear_border:
        keep[region[runs.touches_border()]] = False
    if keep.all():
        return runs, region, count
    number = np.cumsum(keep) - 1
    kept = keep[region]
    return runs[kept], number[region[kept]], int(np.count_nonzero(keep))
