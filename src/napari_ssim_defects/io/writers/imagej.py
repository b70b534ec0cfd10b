"""TIFF as ImageJ itself writes it: Fiji opens it at once, with scale, unit and stack axes."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ...core.common.array_checks import plain_array
from ...core.common.errors import InputError
from ..files.atomic import atomic_path, open_checked
from ..files.spatial import SpatialMetadata, converted
from .ome_tiff import BIG_TIFF_BYTES

__all__ = ["refuse_unfit", "write_imagej_tiff"]

_AXES = "TZCYXS"
# ImageJ's texts are ASCII; it shows "um" as µm.
_UNITS = {"µm": "um", "µs": "us", "Å": "angstrom", "s": "sec"}
_UNREAD = {"Å"}  # Bio-Formats takes it for µm
# Units for pixel sizes that TIFF's fractions of 32-bit numbers do not hold in their own unit.
_REPLACEMENTS = ("pm", "nm", "µm", "mm", "m", "km", "µs", "ms", "s", "h")
_LARGEST = 1e9


def write_imagej_tiff(
    path: str | os.PathLike[str],
    data: npt.ArrayLike,
    spatial: SpatialMetadata,
    description: str = "",
) -> None:
    """Write an image, a residual, a mask or labels as ImageJ TIFF, whole or not at all.

    Boolean masks are stored as uint8 with 0 and 255, floating-point numbers as float32, other
    numbers as uint8 or uint16: ImageJ has no others. Nothing is compressed, as ImageJ reads the
    planes of a stack from one block.

    Parameters
    ----------
    path
        The file; one that exists is replaced.
    data
        Array of two to five dimensions, and a last one for the samples of RGB (uint8).
    spatial
        Its axes, with the distances and units that Fiji is to show. Axes in front are brought into
        ImageJ's order, time before depth.
    description
        Text that Image › Show Info shows.

    Raises
    ------
    InputError
        If the file cannot be written, or ImageJ has no such image (see `refuse_unfit`).
    """
    name = os.fspath(path)
    array = plain_array(data, "image")
    refuse_unfit(array, spatial, name)
    array = _storable(array)
    order = sorted(range(array.ndim), key=lambda axis: _AXES.index(spatial.axes[axis]))
    axes = "".join(spatial.axes[axis] for axis in order)
    resolution, metadata = _calibration(spatial, name)
    metadata |= _display_range(array)
    if description:
        metadata["Info"] = description
    with (
        atomic_path(path) as temporary,
        open_checked(temporary) as stream,
        tifffile.TiffWriter(stream, imagej=True) as writer,
    ):
        writer.write(
            array.transpose(order),
            resolution=resolution,
            photometric="rgb" if axes.endswith("S") else "minisblack",
            metadata={"axes": axes, **metadata},
        )


def refuse_unfit(array: npt.NDArray[Any], spatial: SpatialMetadata, name: str) -> None:
    """Refuse an image that ImageJ's TIFF cannot hold.

    Raises
    ------
    InputError
        If it is empty or larger than 4 GB, its axes or the size of its pixels are none that
        ImageJ's TIFF has, or its numbers are neither floating-point nor whole numbers from 0 to
        65535, such as the labels of more regions.
    """
    if array.size == 0:
        raise InputError(f"Cannot write '{name}': the image has no pixels.")
    if _storage(array.dtype).itemsize * array.size > BIG_TIFF_BYTES:
        raise InputError(f"Cannot write '{name}': ImageJ TIFF is limited to 4 GB; choose OME-TIFF.")
    if array.ndim < 2 or not len({*spatial.axes} & {*_AXES}) == len(spatial.axes) == array.ndim:
        raise InputError(
            f"Cannot write '{name}': ImageJ TIFF has no axes {spatial.axes}; save fewer dimensions "
            "at a time."
        )
    _calibration(spatial, name)
    if array.dtype.kind in "bf":
        return
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > np.iinfo(np.uint16).max:
        raise InputError(
            f"Cannot write '{name}': ImageJ TIFF holds whole numbers from 0 to 65535 only (at most "
            "65535 regions); choose OME-TIFF."
        )


def _storage(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "f":
        return np.dtype(np.float32)
    return np.dtype(np.uint8 if dtype.kind == "b" or dtype == np.uint8 else np.uint16)


def _storable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    with np.errstate(over="ignore"):
        return array.astype(_storage(array.dtype), copy=False)


def _calibration(
    spatial: SpatialMetadata, name: str
) -> tuple[tuple[float, float] | None, dict[str, float | str]]:
    """Return resolution in pixels per unit, (x, y), and ImageJ's names for the rest.

    ImageJ has a unit for each axis, but its macros, and Bio-Formats, take that of x for all, and
    seconds for time: other distances are converted.

    Raises
    ------
    InputError
        If the size of a pixel is too extreme for TIFF's fractions.
    """
    known = {
        letter: (size, unit)
        for letter, size, unit in zip(spatial.axes, spatial.scale, spatial.units, strict=True)
        if unit is not None and math.isfinite(size) and size > 0
    }
    resolution, unit = None, None
    metadata: dict[str, float | str] = {"unit": "pixel"}
    if "X" in known and "Y" in known:
        x, unit = _readable(*known["X"])
        y = converted(*known["Y"], unit)
        if y is None:
            y, y_unit = _readable(*known["Y"])
            metadata["yunit"] = _name(y_unit)
        for size, letter in ((x, "X"), (y, "Y")):
            if not 1 / _LARGEST < size < _LARGEST:
                raise InputError(
                    f"Cannot write '{name}': ImageJ TIFF does not hold pixels of "
                    f"{known[letter][0]:g} {known[letter][1]}; correct their size or choose "
                    "OME-TIFF."
                )
        resolution = 1 / x, 1 / y
        metadata["unit"] = _name(unit)
    if "Z" in known:
        depth = None if unit is None else converted(*known["Z"], unit)
        if depth is None:
            depth, metadata["zunit"] = known["Z"][0], _name(known["Z"][1])
        metadata["spacing"] = depth
    if "T" in known:
        seconds = converted(*known["T"], "s")
        if seconds is None:
            seconds, metadata["tunit"] = known["T"][0], _name(known["T"][1])
        metadata["finterval"] = seconds
    return resolution, metadata


def _readable(size: float, unit: str) -> tuple[float, str]:
    """Return a size and its unit, converted if programs do not read that unit."""
    if unit not in _UNREAD and 1 / _LARGEST < size < _LARGEST:
        return size, unit
    others = ((converted(size, unit, other), other) for other in _REPLACEMENTS)
    found = [(other_size, other) for other_size, other in others if other_size]
    return min(found, key=lambda pair: abs(math.log10(pair[0])))


def _name(unit: str) -> str:
    return _UNITS.get(unit, unit)


def _display_range(array: npt.NDArray[Any]) -> dict[str, float]:
    """Return the display range of all planes; by itself ImageJ takes that of the first."""
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array[:0]
    if not finite.size or finite.min() == finite.max():
        return {}
    return {"min": float(finite.min()), "max": float(finite.max())}
