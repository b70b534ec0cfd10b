"""TIFF as ImageJ itself writes it: Fiji opens it at once, with scale, unit and stack axes."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ..core.errors import InputError
from .atomic import atomic_path
from .spatial import SpatialMetadata
from .tiff import BIG_TIFF_BYTES

__all__ = ["refuse_unfit", "write_imagej_tiff"]

_AXES = "TZCYXS"
# ImageJ's texts are ASCII; it shows "um" as µm.
_UNITS = {"µm": "um", "µs": "us", "Å": "angstrom", "s": "sec"}


def write_imagej_tiff(
    path: str | os.PathLike[str], data: npt.ArrayLike, spatial: SpatialMetadata
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

    Raises
    ------
    InputError
        If the file cannot be written, or ImageJ has no such image (see `refuse_unfit`).
    """
    name = os.fspath(path)
    array = np.asarray(data)
    refuse_unfit(array, name)
    if len({*spatial.axes} & {*_AXES}) < array.ndim:
        raise InputError(
            f"Cannot write '{name}': ImageJ TIFF has no axes {spatial.axes}; save fewer dimensions "
            "at a time."
        )
    array = _storable(array)
    order = sorted(range(array.ndim), key=lambda axis: _AXES.index(spatial.axes[axis]))
    axes = "".join(spatial.axes[axis] for axis in order)
    resolution, metadata = _calibration(spatial)
    with (
        atomic_path(path) as temporary,
        tifffile.TiffWriter(temporary, imagej=True) as writer,
    ):
        writer.write(
            array.transpose(order),
            resolution=resolution,
            photometric="rgb" if axes.endswith("S") else "minisblack",
            metadata={"axes": axes, **metadata},
        )


def refuse_unfit(array: npt.NDArray[Any], name: str) -> None:
    """Refuse an array that ImageJ's TIFF cannot hold.

    Parameters
    ----------
    array
        What is to be written.
    name
        What the sentence calls it.

    Raises
    ------
    InputError
        If it is empty or larger than 4 GB, or its numbers are neither floating-point nor whole
        numbers from 0 to 65535, such as the labels of more regions.
    """
    if array.size == 0:
        raise InputError(f"Cannot write '{name}': the image has no pixels.")
    if _storage(array.dtype).itemsize * array.size > BIG_TIFF_BYTES:
        raise InputError(f"Cannot write '{name}': ImageJ TIFF ends at 4 GB; choose OME-TIFF.")
    if array.dtype.kind in "bf":
        return
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > np.iinfo(np.uint16).max:
        raise InputError(
            f"Cannot write '{name}': ImageJ TIFF has no numbers beyond 65535, the largest number "
            "of regions, and none below 0; choose OME-TIFF."
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
    spatial: SpatialMetadata,
) -> tuple[tuple[float, float] | None, dict[str, float | str]]:
    """Return resolution in pixels per unit, (x, y), and ImageJ's names for the rest.

    The unit is that of x; others are named only where they differ, as ImageJ does.
    """
    known = {
        letter: (size, _UNITS.get(unit, unit))
        for letter, size, unit in zip(spatial.axes, spatial.scale, spatial.units, strict=True)
        if unit is not None and math.isfinite(size) and size > 0
    }
    resolution, unit = None, "pixel"
    metadata: dict[str, float | str] = {}
    if "X" in known and "Y" in known:
        (x, unit), (y, y_unit) = known["X"], known["Y"]
        resolution = 1 / x, 1 / y
        metadata["unit"] = unit
        if y_unit != unit:
            metadata["yunit"] = y_unit
    if "Z" in known:
        metadata["spacing"], z_unit = known["Z"]
        if z_unit != unit:
            metadata["zunit"] = z_unit
    if "T" in known:
        metadata["finterval"], t_unit = known["T"]
        if t_unit != "sec":
            metadata["tunit"] = t_unit
    return resolution, metadata
