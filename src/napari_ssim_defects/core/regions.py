"""Connected regions of a mask, and their measurements."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

if TYPE_CHECKING:
    from .segmentation import Segmented

__all__ = ["Region", "label_regions", "measure_plane", "measure_planes", "measure_regions"]

_EIGHT = np.ones((3, 3), dtype=bool)


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
    """

    label: int
    area: int
    centroid: tuple[float, float]
    bounding_box: tuple[int, int, int, int]
    mean_residual: float
    max_residual: float
    eccentricity: float
    review: bool = False

    @property
    def verdict(self) -> str:
        """What tables call it: ``"defect"`` or ``"review"``."""
        return "review" if self.review else "defect"


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
    if not len(place):
        return []
    numbers, region = np.unique(labels.ravel()[place], return_inverse=True)
    row, column = np.divmod(place, labels.shape[1])
    values = residual.ravel()[place].astype(np.float64)
    count = len(numbers)

    def mean(of: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.bincount(region, of, count) / area

    area = np.bincount(region, minlength=count)
    centre_row, centre_column = mean(row), mean(column)
    # Second moments about the centre: half their sum, and half the difference of the axes.
    dy, dx = row - centre_row[region], column - centre_column[region]
    yy, xx, xy = mean(dy * dy), mean(dx * dx), mean(dy * dx)
    half, axes = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    with np.errstate(invalid="ignore", divide="ignore"):
        eccentricity = np.sqrt(np.clip(2 * axes / (half + axes), 0, 1))
    eccentricity[half + axes <= 0] = 0
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, region, values)
    ends = [np.full(count, size) for size in labels.shape], [np.zeros(count, int) for _ in "yx"]
    for axis, positions in enumerate((row, column)):
        np.minimum.at(ends[0][axis], region, positions)
        np.maximum.at(ends[1][axis], region, positions + 1)
    columns: tuple[npt.NDArray[Any], ...] = (
        numbers, area, centre_row, centre_column, *ends[0], *ends[1], mean(values), highest,
        eccentricity,
    )  # fmt: skip
    return [
        Region(
            label,
            pixels,
            (y, x),
            (top, left, bottom, right),
            average,
            maximum,
            roundness,
            label in review,
        )
        for label, pixels, y, x, top, left, bottom, right, average, maximum, roundness in zip(
            *(values.tolist() for values in columns), strict=True
        )
    ]


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

    Parameters
    ----------
    labels
        int32 of shape (..., H, W).
    residual
        float32 of the same shape.
    review
        Numbers of the regions that are to be reviewed.

    Yields
    ------
    tuple of int and list of Region
        Number of the plane, from 0, and the regions in it.
    """
    for plane, index in enumerate(np.ndindex(labels.shape[:-2])):
        yield plane, measure_regions(labels[index], residual[index], review)
