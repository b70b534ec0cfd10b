"""The region of interest of an image, wherever it is written down."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.config.region import MaskRegion, RegionOfInterest
from ...core.images.inspected_area import InspectedArea
from .image_file import find_images, read_mask

__all__ = ["inspected_area", "located"]


def located(region: RegionOfInterest | None) -> RegionOfInterest | None:
    """Return a region whose file, if it has one, is there, by a path that means it everywhere.

    Raises
    ------
    InputError
        If there is no such file, or it is no image.
    """
    if isinstance(region, MaskRegion):
        (path,) = find_images([region.path])
        return MaskRegion(path=path.absolute())
    return region


def inspected_area(
    region: RegionOfInterest | None, shape: Sequence[int], name: str
) -> InspectedArea | None:
    """Return the pixels of an image that are inspected; None: all.

    Parameters
    ----------
    region
        Where to look. The mask of a file holds for every plane.
    shape
        Shape (..., H, W) of the image.
    name
        What error messages call it.

    Raises
    ------
    InputError
        If the region does not fit the image, or its mask cannot be read or marks nothing.
    """
    if region is None:
        return None
    if isinstance(region, MaskRegion):
        return InspectedArea.of_mask(read_mask(region.path, shape[-2:]), shape, name)
    return InspectedArea.of_region(region, shape, name)
