"""Connected regions of a mask, and their measurements."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..images.planes import ImageLike

if TYPE_CHECKING:
    from .segment import Segmented

__all__ = [
    "Region",
    "RegionSums",
    "RegionsFound",
    "label_regions",
    "measure_plane",
    "measure_planes",
    "measure_regions",
]

_EIGHT = np.ones((3, 3), dtype=bool)
_AT_ONCE = 2**19  # pixels; their numbers and places take a hundred bytes each


@dataclass(frozen=True, slots=True)
class Region:
    """Measurements of one region of a label image, in pixels.

    Attributes
    ----------
    label
        Its value in the label image.
    area
        Number of pixels.
    centroid
        Row and column of its centre.
    bounding_box
        First row, first column, and one past the last row and column.
    mean_residual, max_residual
        Mean and maximum of the residual in it.
    eccentricity
        Of the ellipse with the same second moments; 0 = circle, towards 1 = line.
    review
        Whether it is to be reviewed rather than a defect: it lies between two thresholds.
    good
        Whether a person has marked it as good.
    """

    label: int
    area: int
    centroid: tuple[float, float]
    bounding_box: tuple[int, int, int, int]
    mean_residual: float
    max_residual: float
    eccentricity: float
    review: bool = False
    good: bool = False

    @property
    def verdict(self) -> str:
        """Its name in tables: ``"defect"``, ``"review"`` or ``"good"``."""
        return "good" if self.good else "review" if self.review else "defect"


@dataclass(frozen=True, slots=True, eq=False)
class RegionsFound:
    """The regions of an image or a stack.

    Attributes
    ----------
    residual, labels
        Residual, and instance labels that continue from plane to plane: float32 and int32 of shape
        (..., H, W), in memory or not.
    regions
        Plane and measurements of each region.
    foreign
        Whether the image as a whole is unlike the training images.
    """

    residual: ImageLike
    labels: ImageLike
    regions: list[tuple[int, Region]]
    foreign: bool = False


def label_regions(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], int]:
    """Number the 8-connected regions of a mask (H, W); returns int32 labels and their count."""
    labels = np.empty(mask.shape, dtype=np.int32)
    count = ndimage.label(mask, structure=_EIGHT, output=labels)
    return labels, int(count)


def measure_regions(
    labels: npt.NDArray[np.int32],
    residual: npt.NDArray[np.float32],
    review: Collection[int] = (),
) -> list[Region]:
    """Measure every region of a label image (H, W) on its residual (H, W).

    Parameters
    ----------
    labels
        int32: regions are numbered from 1; numbers may be missing.
    residual
        float32.
    review
        Numbers of the regions that are to be reviewed; the others are defects.
    """
    place = np.flatnonzero(labels)
    # Numbers may be large and have gaps; there are fewer regions than that.
    values = labels.ravel()[place]
    numbers = np.unique(values)
    sums = RegionSums(len(numbers))
    for start in range(0, len(place), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        region = np.searchsorted(numbers, values[part]) + 1
        sums.add_pixels(
            *np.divmod(place[part], labels.shape[1]), region, residual.ravel()[place[part]]
        )
    found = numbers.tolist()
    return [
        replace(measured, label=label, review=label in review)
        for label, measured in zip(found, sums.regions(), strict=True)
    ]


class RegionSums:
    """Measures the regions of a label image that comes in strips of rows, from top to bottom.

    The result does not depend on how the image is cut into strips.
    """

    def __init__(self, count: int) -> None:
        self._rows = 0
        self._area = np.zeros(count + 1, np.int64)
        # First pixel of a region in the order of pixels; coordinates count from there.
        self._origin = np.zeros((2, count + 1), np.int64)
        # Of y, x, yy, xx and xy: of whole numbers, and exact whatever their order.
        self._moments = np.zeros((5, count + 1), np.int64)
        self._low = np.full((2, count + 1), np.iinfo(np.int64).max)
        self._high = np.zeros((2, count + 1), np.int64)
        self._total = np.zeros(count + 1)
        self._highest = np.full(count + 1, -np.inf)

    def add(self, labels: npt.NDArray[np.int32], residual: npt.NDArray[np.float32]) -> None:
        """Add the next rows: labels and residual, both of shape (rows, W)."""
        place = np.flatnonzero(labels)
        row, column = np.divmod(place, labels.shape[1])
        self.add_pixels(row + self._rows, column, labels.ravel()[place], residual.ravel()[place])
        self._rows += len(labels)

    def add_pixels(
        self,
        row: npt.NDArray[np.int64],
        column: npt.NDArray[np.int64],
        region: npt.NDArray[np.integer],
        residual: npt.NDArray[np.float32],
    ) -> None:
        """Add the next pixels of regions: place, region and residual of each."""
        numbers, first = np.unique(region, return_index=True)
        new = self._area[numbers] == 0
        self._origin[:, numbers[new]] = row[first[new]], column[first[new]]
        y, x = row - self._origin[0, region], column - self._origin[1, region]
        count = len(self._area)
        self._area += np.bincount(region, minlength=count)
        for moment, power in zip(self._moments, (y, x, y * y, x * x, y * x), strict=True):
            moment += np.bincount(region, power, count).astype(np.int64)
        for axis, positions in enumerate((row, column)):
            np.minimum.at(self._low[axis], region, positions)
            np.maximum.at(self._high[axis], region, positions + 1)
        values = residual.astype(np.float64)
        np.add.at(self._total, region, values)  # one after another, from where it was
        np.maximum.at(self._highest, region, values)

    def regions(self, review: Collection[int] = ()) -> list[Region]:
        """Return the measurements of all regions that have pixels, by number."""
        numbers = np.flatnonzero(self._area)
        area = self._area[numbers]
        y, x = self._moments[:2, numbers] / area
        # Second moments about the centre, times the squared area: exact, as Python's integers are.
        sums = (area, *self._moments[:, numbers])
        n, sy, sx, syy, sxx, sxy = (column.astype(object) for column in sums)
        yy, xx, xy = (
            moment.astype(np.float64)
            for moment in (n * syy - sy * sy, n * sxx - sx * sx, n * sxy - sy * sx)
        )
        # Half their sum, and half the difference of the axes.
        half, axes = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
        with np.errstate(invalid="ignore", divide="ignore"):
            eccentricity = np.sqrt(np.clip(2 * axes / (half + axes), 0, 1))
        eccentricity[half + axes <= 0] = 0
        centre = np.stack([y, x]) + self._origin[:, numbers]
        boxes = np.concatenate([self._low[:, numbers], self._high[:, numbers]])
        means = self._total[numbers] / area
        columns: tuple[npt.NDArray[Any], ...] = (
            numbers, area, *centre, *boxes, means, self._highest[numbers], eccentricity,
        )  # fmt: skip
        return [
            Region(label, pixels, (row, column), (top, left, bottom, right), mean, highest, shape,
                   label in review)
            for label, pixels, row, column, top, left, bottom, right, mean, highest, shape in zip(
                *(values.tolist() for values in columns), strict=True
            )
        ]  # fmt: skip


def measure_plane(
    labels: npt.NDArray[np.int32],
    found: Segmented,
    residual: npt.NDArray[np.float32],
    before: int = 0,
) -> list[Region]:
    """Number the regions of a plane in a label image, and measure them.

    Parameters
    ----------
    labels
        int32 of shape (H, W); written to.
    found
        The regions.
    residual
        float32 of shape (H, W).
    before
        Number of regions in the planes before, on from which these are numbered.
    """
    np.copyto(labels, found.labels(before))
    review = set((np.flatnonzero(found.review) + before + 1).tolist())
    return measure_regions(labels, residual, review)


def measure_planes(
    labels: npt.NDArray[np.int32],
    residual: npt.NDArray[np.float32],
    review: Collection[int] = (),
) -> Iterator[tuple[int, list[Region]]]:
    """Measure the regions of a stack plane by plane.

    A number that occurs in several planes is a region in each of them.

    Yields
    ------
    tuple of int and list of Region
        Number of the plane, from 0, and the regions in it.
    """
    for plane, index in enumerate(np.ndindex(labels.shape[:-2])):
        yield plane, measure_regions(labels[index], residual[index], review)
