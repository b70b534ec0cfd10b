"""Image files, the masks that belong to them, and regions of interest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...core.common.errors import InputError
from ...core.config.region import MaskRegion, RegionOfInterest
from ...core.images.inspected_area import InspectedArea
from ...core.images.planes import ImageLike
from ..files.spatial import SpatialMetadata
from ..readers.file_array import FileArray
from ..readers.ome_zarr import is_zarr, open_zarr
from ..readers.raster import read_raster, read_raster_mask
from ..readers.tiff import open_tiff, read_tiff, read_tiff_mask
from .search import SUFFIXES, find_images, match_masks, match_truth, unread_notice

__all__ = [
    "SUFFIXES",
    "ImageFile",
    "find_images",
    "inspected_area",
    "located",
    "match_masks",
    "match_truth",
    "open_image",
    "read_image",
    "read_mask",
    "unread_notice",
]

_TIFF = (".tif", ".tiff")
_SMALL = 2**26  # bytes of pixels that are read at once, as parts of a file cost more


@dataclass(frozen=True, eq=False, slots=True)
class ImageFile:
    """An image that was read from a file.

    Attributes
    ----------
    path
        The file.
    data
        Array of shape (..., H, W), with a channel axis where `channel_axis` says so; a `FileArray`
        if it was opened and not read.
    spatial
        Its axes and the distances between pixels along them.
    """

    path: Path
    data: ImageLike
    spatial: SpatialMetadata

    @property
    def channel_axis(self) -> int | None:
        """Axis of the channels, counted from the end (-1 for RGB); None for grey images."""
        return self.spatial.channel_axis

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """Height and width of a pixel in `unit`; None where they are not known."""
        return self.spatial.pixel_size

    @property
    def unit(self) -> str | None:
        """Symbol of the unit of length, such as ``"µm"``; None where it is not known."""
        return self.spatial.unit


def read_image(path: str | os.PathLike[str]) -> ImageFile:
    """Read an image: TIFF of any kind (see `read_tiff`), PNG, JPEG, BMP or zarr (`open_zarr`).

    Parameters
    ----------
    path
        The file; its ending says whether it is a TIFF.

    Raises
    ------
    InputError
        If it is missing, cannot be read, is damaged, cut off, or no image.
    """
    file = Path(path)
    if is_zarr(file):
        array, spatial = open_zarr(file)
        return ImageFile(file, np.asarray(array), spatial)
    if file.suffix.lower() in _TIFF:
        return ImageFile(file, *read_tiff(file))
    data = read_raster(file)
    axes = "YXS"[: data.ndim]
    return ImageFile(file, data, SpatialMetadata(axes, (1.0,) * data.ndim, (None,) * data.ndim))


def open_image(path: str | os.PathLike[str]) -> ImageFile:
    """Open an image file or zarr folder; pixels of large ones are read later, in parts.

    Zarr, and TIFF of which parts can be read (see `open_tiff`), are opened as `FileArray` if they
    take more than 64 MB in memory. Everything else is read as `read_image` does.

    Raises
    ------
    InputError
        As for `read_image`. What is damaged further on is found when it is read.
    """
    file = Path(path)
    opened: tuple[FileArray, SpatialMetadata] | None = None
    if is_zarr(file):
        opened = open_zarr(file)
    elif file.suffix.lower() in _TIFF:
        opened = open_tiff(file)
    if opened is None or opened[0].nbytes <= _SMALL:
        return read_image(file)
    return ImageFile(file, *opened)


def read_mask(path: str | os.PathLike[str], shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Read a mask or a label image as what it shows.

    Whatever is not zero in some channel is foreground. Of a palette the first colour is the
    background, whatever it looks like; so is what is transparent or NaN. JPEG, whose compression
    leaves values near zero, is divided in the middle of its two levels.

    Parameters
    ----------
    path
        An image file.
    shape
        Shape (..., H, W) that the mask has to have.

    Returns
    -------
    numpy.ndarray
        bool, of the given shape.

    Raises
    ------
    InputError
        If the file cannot be read or has another shape.
    """
    file = Path(path)
    if is_zarr(file):
        image = read_image(file)
        mask = np.asarray((image.data != 0) & ~np.isnan(image.data))
        if image.channel_axis is not None:
            mask = np.asarray(mask.any(axis=image.channel_axis))
    elif file.suffix.lower() in _TIFF:
        mask = read_tiff_mask(file)
    else:
        mask = read_raster_mask(file)
    if _longer_axes(mask.shape) == _longer_axes(shape):  # one plane, of a stack or not
        return mask.reshape(tuple(shape))
    if mask.shape != tuple(shape):
        size, expected = (" x ".join(map(str, sizes)) for sizes in (mask.shape, shape))
        raise InputError(
            f"Mask '{path}' has {size} pixels and its image {expected}; use masks of the same "
            "size as the images."
        )
    return mask


def _longer_axes(shape: Sequence[int]) -> list[int]:
    return [length for length in shape if length > 1]


def located(region: RegionOfInterest | None) -> RegionOfInterest | None:
    """Check that the mask file of a region exists, and make its path absolute.

    Raises
    ------
    InputError
        If there is no such file, or it is not an image.
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
        return InspectedArea.from_mask(read_mask(region.path, shape[-2:]), shape, name)
    return InspectedArea.from_region(region, shape, name)
