"""OME-TIFF images with their pixel size; `read_tiff` reads every other kind of TIFF as well."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ..core.errors import InputError
from .atomic import atomic_path
from .spatial import DEFAULT_AXES, SpatialMetadata, converted, unit_symbol
from .tiff_reader import read_tiff

__all__ = ["SpatialMetadata", "read_tiff", "write_ome_tiff"]

LARGE_SIDE = 4096
"""Planes with a longer side are written as tiles with a pyramid of smaller copies."""

BIG_TIFF_BYTES = 2**32 - 2**25
"""Images of more bytes are written as BigTIFF, whose offsets have 64 bits."""

_TILE = (512, 512)
_SMALLEST_SIDE = 1024


def write_ome_tiff(
    path: str | os.PathLike[str],
    data: npt.ArrayLike,
    *,
    pixel_size: Sequence[float] | None = None,
    unit: str | Sequence[str | None] | None = None,
    axes: str | None = None,
    description: str = "",
) -> None:
    """Write an image, a residual, a mask or labels as OME-TIFF, whole or not at all.

    Boolean masks are stored as uint8 with 0 and 255; integers of more than 16 bits, such as
    labels, as the first of uint16, int32 and uint32 that holds their values; floating-point
    numbers as float32. Compression is zlib's. Planes with a side above `LARGE_SIDE` get tiles and
    a pyramid: means for floating-point numbers, every second pixel for integers, so that labels
    stay labels.

    Parameters
    ----------
    path
        The file; one that exists is replaced.
    data
        Array of two to five dimensions, and a last one for the samples of RGB.
    pixel_size
        Distance between neighbours along the last axes, samples of RGB not counted: (y, x), or
        (z, y, x), or one number per axis.
    unit
        Their unit, or one unit per number, as `unit_symbol` knows them. Distances in pixels and
        in unknown units are left out.
    axes
        A letter per axis, as in `SpatialMetadata`; None: the last ones of TZYX, or TCZYX.
    description
        Free text that is stored with the image, such as where it came from.

    Raises
    ------
    InputError
        If the file cannot be written or OME-TIFF cannot hold such an array.
    """
    name = os.fspath(path)
    array = np.asarray(data)
    axes = axes or DEFAULT_AXES.get(array.ndim, "")
    if array.size == 0:
        raise InputError(f"Cannot write '{name}': the image has no pixels.")
    if not axes:
        raise InputError(
            f"Cannot write '{name}': it has {array.ndim} dimensions and OME-TIFF two to five; "
            "save fewer dimensions at a time."
        )
    array = _storable(array, name)
    metadata: dict[str, Any] = {"axes": axes, **_physical_sizes(axes, pixel_size, unit)}
    if description:
        metadata["Description"] = "".join(c for c in description if c.isprintable() or c in "\n\t")
    side = max(array.shape[axes.find("Y")], array.shape[axes.find("X")])
    levels = math.ceil(math.log2(side / _SMALLEST_SIDE)) if side > LARGE_SIDE else 0
    options: dict[str, Any] = {
        "compression": "zlib",
        "photometric": "rgb" if axes.endswith("S") else "minisblack",
        "tile": _TILE if levels else None,
    }
    # A pyramid adds less than a half.
    big = array.nbytes * (1.5 if levels else 1) > BIG_TIFF_BYTES
    with atomic_path(path) as temporary:
        try:
            with tifffile.TiffWriter(temporary, bigtiff=big, ome=True) as writer:
                writer.write(
                    array,
                    subifds=levels,
                    metadata=metadata,
                    **_resolution(axes, pixel_size, unit),
                    **options,
                )
                for _ in range(levels):
                    array = _halved(array, axes)
                    writer.write(array, subfiletype=1, metadata=None, **options)
        except tifffile.OmeXmlError:
            raise InputError(
                f"Cannot write '{name}': OME-TIFF does not hold {array.ndim} dimensions in the "
                f"order {axes}; save fewer dimensions at a time."
            ) from None


def _storable(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Convert to a type that OME-TIFF has and that other programs open."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)
    if array.dtype.kind not in "iu":
        raise InputError(
            f"Cannot write '{name}': TIFF does not hold values of type {array.dtype}; convert "
            "them to numbers."
        )
    if array.dtype.itemsize <= 2:
        return array
    low, high = array.min(), array.max()
    for dtype in (np.uint16, np.int32, np.uint32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return array.astype(dtype)
    raise InputError(
        f"Cannot write '{name}': its integers need more than 32 bits; scale or relabel them."
    )


def _physical_sizes(
    axes: str, pixel_size: Sequence[float] | None, unit: str | Sequence[str | None] | None
) -> dict[str, float | str]:
    """Return OME's attributes of the distances that have a unit."""
    sizes = tuple(pixel_size or ())
    units = (unit,) * len(sizes) if unit is None or isinstance(unit, str) else tuple(unit)
    attributes: dict[str, float | str] = {}
    letters = axes.removesuffix("S")[-len(sizes) :] if sizes else ""
    for letter, size, symbol in zip(letters, sizes, map(unit_symbol, units), strict=True):
        key = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
        if letter in "TZYX" and symbol is not None and math.isfinite(size) and size > 0:
            attributes |= {key: float(size), f"{key}Unit": symbol}
    return attributes


def _resolution(
    axes: str, pixel_size: Sequence[float] | None, unit: str | Sequence[str | None] | None
) -> dict[str, Any]:
    """Return TIFF's own resolution, for programs that do not read OME's description."""
    known = _physical_sizes(axes, pixel_size, unit)
    per_centimetre = []
    for key in ("PhysicalSizeX", "PhysicalSizeY"):
        size = known.get(key)
        length = size and converted(float(size), str(known[f"{key}Unit"]), "cm")
        if not length or not 1e-9 < length < 1e9:  # TIFF's fractions have 32 bits
            return {}
        per_centimetre.append(1 / length)
    return {"resolution": tuple(per_centimetre), "resolutionunit": "CENTIMETER"}


def _halved(array: npt.NDArray[Any], axes: str) -> npt.NDArray[Any]:
    """Return the next level of the pyramid, in the same dtype."""
    for axis in (axes.index("Y"), axes.index("X")):
        half = array.shape[axis] // 2
        if half:
            lines = np.moveaxis(array, axis, 0)
            halved = lines[: 2 * half : 2]
            if array.dtype.kind == "f":
                halved = 0.5 * (halved + lines[1 : 2 * half : 2])
            array = np.moveaxis(halved, 0, axis)
    return array
