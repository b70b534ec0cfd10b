"""From residual to labelled regions (paper section 4.2), fast enough to follow a slider.

Opening and hole filling with flat elements commute with thresholding, so they are applied
once to the residual itself (`prepare`); every threshold after that is one comparison.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import reconstruction

from .config import SegmentationConfig
from .errors import InputError
from .regions import convex_hulls, label_regions

__all__ = ["disk", "prepare", "segment", "segment_prepared"]


def disk(diameter: int) -> npt.NDArray[np.bool_]:
    """Circular structuring element: the pixels whose centre lies within ``diameter / 2``.

    Returns
    -------
    numpy.ndarray
        bool of shape (diameter, diameter).

    Examples
    --------
    >>> disk(4).astype(int).tolist()
    [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]]
    """
    offsets = np.arange(diameter) - (diameter - 1) / 2
    return np.asarray(offsets[:, None] ** 2 + offsets**2 <= diameter**2 / 4)


def prepare(
    residual: npt.NDArray[np.float32], config: SegmentationConfig
) -> npt.NDArray[np.float32]:
    """Apply the morphology that commutes with thresholding to a residual (H, W).

    ``prepare(residual, config) > threshold`` is the mask that opening and filling the holes of
    ``residual > threshold`` gives, for every threshold.
    """
    prepared = residual
    if config.opening >= 2:
        prepared = _opening(prepared, disk(config.opening))
    if config.fill_holes:
        # Lowest level at which a pixel is still connected to the border by pixels below it.
        seed = np.full_like(prepared, prepared.max())
        seed[[0, -1]], seed[:, [0, -1]] = prepared[[0, -1]], prepared[:, [0, -1]]
        prepared = reconstruction(seed, prepared, method="erosion", footprint=_FOUR)
    return np.asarray(prepared, dtype=np.float32)


def segment_prepared(
    prepared: npt.NDArray[np.float32], threshold: float, config: SegmentationConfig
) -> npt.NDArray[np.int32]:
    """Label the regions of a prepared residual (H, W) above a threshold; int32 (H, W).

    Holes are filled here if `prepare` has not done so, which is forty times faster for one
    threshold: 0.5 s against 19 s at 4096 x 4096.
    """
    mask = prepared > threshold
    if config.fill_holes:
        mask = ndimage.binary_fill_holes(mask)
    labels, count = label_regions(mask)
    if config.min_area > 1 and count:
        large = np.bincount(labels.ravel(), minlength=count + 1) >= config.min_area
        large[0] = False
        labels, count = label_regions(large[labels])
    if config.convex_hull and count:
        labels, count = label_regions(convex_hulls(labels, count))
    return labels


def segment(
    residual: npt.NDArray[np.float32],
    threshold: float,
    *,
    opening: int = 4,
    fill_holes: bool = True,
    min_area: int = 20,
    convex_hull: bool = True,
) -> npt.NDArray[np.int32]:
    """Outline the defects in a residual.

    Parameters
    ----------
    residual
        Residual of shape (..., H, W); each plane is segmented by itself.
    threshold
        Pixels above it are candidates.
    opening
        Diameter of the circular structuring element of the opening, in pixels; below 2 = none.
    fill_holes
        Whether background enclosed by a region becomes part of it.
    min_area
        Regions of fewer pixels (after opening and filling, before the hull) are dropped.
    convex_hull
        Whether each region is replaced by its convex hull; hulls that touch become one region.

    Returns
    -------
    numpy.ndarray
        int32 of the shape of ``residual``: 0 = good, 1 to n the defects of a plane, numbered
        onward from plane to plane.

    Raises
    ------
    InputError
        If the residual has fewer than two dimensions, no pixels or NaN, or a value is out of
        range.

    References
    ----------
    Bergmann et al. 2018, section 4.2.

    Examples
    --------
    >>> residual = np.zeros((64, 64), np.float32)
    >>> residual[20:40, 20:40] = 0.9
    >>> int(segment(residual, threshold=0.5).max())
    1
    """
    config = SegmentationConfig(
        opening=opening, fill_holes=fill_holes, min_area=min_area, convex_hull=convex_hull
    )
    residual = np.asarray(residual, dtype=np.float32)
    if residual.ndim < 2:
        raise InputError(f"A residual has height and width, not {residual.ndim} dimension(s).")
    if 0 in residual.shape[-2:]:
        raise InputError(f"The residual is empty (shape {residual.shape}); it needs pixels.")
    if np.isnan(residual).any() or not np.isfinite(threshold):
        raise InputError("The residual must not hold NaN, and the threshold must be a number.")
    labels = np.zeros(residual.shape, dtype=np.int32)
    found = 0
    for index in np.ndindex(residual.shape[:-2]):
        opened = prepare(residual[index], config.replace(fill_holes=False))
        plane = segment_prepared(opened, threshold, config)
        labels[index] = np.where(plane, plane + found, 0)
        found += int(plane.max(initial=0))
    return labels


_FOUR = ndimage.generate_binary_structure(2, 1)


def _opening(
    residual: npt.NDArray[np.float32], element: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Grey opening; outside the image counts as lower than anything, as in binary erosion."""
    radius = len(element)
    padded = np.pad(residual, radius, constant_values=-np.inf)
    eroded = ndimage.grey_erosion(padded, footprint=element)
    opened = ndimage.grey_dilation(eroded, footprint=element)
    return np.asarray(opened[radius:-radius, radius:-radius])
