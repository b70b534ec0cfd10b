"""Connected regions of a mask: convex hulls from contours, and their measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import regionprops

__all__ = ["Region", "convex_hulls", "label_regions", "measure_regions"]

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
    """

    label: int
    area: int
    centroid: tuple[float, float]
    bounding_box: tuple[int, int, int, int]
    mean_residual: float
    max_residual: float
    eccentricity: float


def label_regions(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], int]:
    """Number the 8-connected regions of a mask (H, W); returns int32 labels and their count."""
    labels = np.empty(mask.shape, dtype=np.int32)
    count = ndimage.label(mask, structure=_EIGHT, output=labels)
    return labels, int(count)


def convex_hulls(labels: npt.NDArray[np.int32], count: int) -> npt.NDArray[np.bool_]:
    """Return the union of the convex hulls of all regions (paper section 4.2).

    A hull is made from the first and last pixel of each row of its region, so that the cost
    grows with contours, not with areas. It covers the pixels whose centre lies in the convex
    hull of the region's pixel centres.

    Parameters
    ----------
    labels
        int32 of shape (H, W): regions 1 to ``count``, 0 = background.
    count
        Number of regions.

    Returns
    -------
    numpy.ndarray
        bool of shape (H, W).
    """
    mask = labels > 0
    for label, box in enumerate(ndimage.find_objects(labels, count), start=1):
        if box is None:
            continue
        region = labels[box] == label
        if region.shape[0] < 2 or region.shape[1] < 2 or region.all():
            continue
        first = region.argmax(axis=1)
        last = region.shape[1] - 1 - region[:, ::-1].argmax(axis=1)
        rows = np.flatnonzero(region.any(axis=1))
        left = _lower_envelope(rows, first[rows])
        right = -_lower_envelope(rows, -last[rows])
        # An integer column is inside when it is not left of one chain nor right of the other;
        # the tolerance keeps columns that a chain passes through in spite of rounding.
        start = np.ceil(left - 1e-9)[:, None]
        stop = np.floor(right + 1e-9)[:, None]
        columns = np.arange(region.shape[1])
        mask[box] |= (columns >= start) & (columns <= stop)
    return mask


def _lower_envelope(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Largest convex function below the points, at every row from the first to the last."""
    chain: list[tuple[int, int]] = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        while len(chain) > 1:
            (r0, c0), (r1, c1) = chain[-2:]
            if (c1 - c0) * (row - r1) < (column - c1) * (r1 - r0):
                break
            chain.pop()
        chain.append((row, column))
    knots = np.asarray(chain, dtype=np.float64)
    return np.interp(np.arange(rows[0], rows[-1] + 1), knots[:, 0], knots[:, 1])


def measure_regions(
    labels: npt.NDArray[np.int32], residual: npt.NDArray[np.float32]
) -> list[Region]:
    """Measure every region of a label image (H, W) on its residual (H, W)."""
    regions = []
    for region in regionprops(labels, intensity_image=residual):
        top, left, bottom, right = region.bbox
        regions.append(
            Region(
                label=int(region.label),
                area=int(region.num_pixels),
                centroid=(float(region.centroid[0]), float(region.centroid[1])),
                bounding_box=(int(top), int(left), int(bottom), int(right)),
                mean_residual=float(region.intensity_mean),
                max_residual=float(region.intensity_max),
                eccentricity=float(region.eccentricity),
            )
        )
    return regions
