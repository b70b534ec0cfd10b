"""OME-TIFF images with their pixel size; `read_tiff` reads every other kind of TIFF as well."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ...core.common.array_checks import plain_array
from ...core.common.errors import InputError
from ...core.images.planes import ImageLike
from ..files.atomic import atomic_path, open_checked
from ..files.pyramid import (
    BLOCK,
    Stored,
    blocks,
    halved,
    level_shape,
    levels,
    read_level,
    scratch_array,
    scratch_folder,
    storable,
)
from ..files.spatial import DEFAULT_AXES, SpatialMetadata, converted, unit_symbol
from ..readers.tiff import read_tiff

__all__ = ["SpatialMetadata", "read_tiff", "write_ome_tiff"]

BIG_TIFF_BYTES = 2**32 - 2**25
"""Images of more bytes are written as BigTIFF, whose offsets have 64 bits."""


def write_ome_tiff(
    path: str | os.PathLike[str],
    data: ImageLike,
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
        Array of two to five dimensions, and a last one for the samples of RGB. What is no numpy
        array (dask, zarr, memory-mapped) is read and written block by block, as tiles.
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
    array: Any = data if _is_lazy(data) else plain_array(data, "image")
    axes = axes or DEFAULT_AXES.get(array.ndim, "")
    if 0 in array.shape:
        raise InputError(f"Cannot write '{name}': the image has no pixels.")
    if not axes:
        raise InputError(
            f"Cannot write '{name}': it has {array.ndim} dimensions and OME-TIFF two to five; "
            "save fewer dimensions at a time."
        )
    if len(axes) != array.ndim or not axes.removesuffix("S").endswith("YX"):
        raise InputError(
            f"Cannot write '{name}': its {array.ndim} axes are not '{axes}'; give one letter for "
            "each, height and width last (YX, or YXS with the samples of RGB)."
        )
    y = axes.find("Y")
    stored = storable(array, y, name)
    sizes = _physical_sizes(axes, pixel_size, unit)
    metadata: dict[str, Any] = {"axes": axes, **sizes}
    if description:
        metadata["Description"] = "".join(c for c in description if c.isprintable() or c in "\n\t")
    smaller = levels(stored.shape, y)
    tiled = smaller or not isinstance(array, np.ndarray)
    options: dict[str, Any] = {
        # A seventh of a residual is all that zlib saves, and it takes as long as all else.
        "compression": None if stored.dtype.kind == "f" else "zlib",
        "photometric": "rgb" if axes.endswith("S") else "minisblack",
        "tile": (BLOCK, BLOCK) if tiled else None,
    }
    whole = {"subifds": smaller, "metadata": metadata, **_resolution(sizes)}
    # A pyramid adds less than a half.
    nbytes = math.prod(stored.shape) * stored.dtype.itemsize
    big = nbytes * (1.5 if smaller else 1) > BIG_TIFF_BYTES
    with atomic_path(path) as temporary:
        try:
            with (
                open_checked(temporary) as stream,
                tifffile.TiffWriter(stream, bigtiff=big, ome=True) as writer,
            ):
                if isinstance(array, np.ndarray):
                    _write_array(writer, stored[...], y, smaller, whole, options)
                else:
                    _write_blocks(writer, stored, y, smaller, whole, options, temporary.parent)
        except InputError:
            raise  # of what is read in parts
        except (
            tifffile.OmeXmlError,
            ValueError,
        ):  # axes in another order, samples that are not RGB
            raise InputError(
                f"Cannot write '{name}': OME-TIFF does not hold {array.ndim} dimensions in the "
                f"order {axes}; save fewer dimensions at a time."
            ) from None


def _is_lazy(data: object) -> bool:
    """Whether an array is to be read in parts; what is in memory is written at once."""
    lazy = not isinstance(data, np.ndarray) and all(
        hasattr(data, name) for name in ("shape", "dtype", "ndim", "__getitem__")
    )
    return lazy and importlib.util.find_spec("zarr") is not None  # for the levels of a pyramid


def _write_array(
    writer: tifffile.TiffWriter,
    array: npt.NDArray[Any],
    y: int,
    smaller: int,
    whole: dict[str, Any],
    options: dict[str, Any],
) -> None:
    writer.write(array, **whole, **options)
    for _ in range(smaller):
        array = halved(array, y)
        writer.write(array, subfiletype=1, metadata=None, **options)


def _write_blocks(
    writer: tifffile.TiffWriter,
    stored: Stored,
    y: int,
    smaller: int,
    whole: dict[str, Any],
    options: dict[str, Any],
    beside: Path,
) -> None:
    """Write what is read in parts; the levels of the pyramid lie beside the file meanwhile."""
    finer: Any = stored
    with scratch_folder(beside) as scratch:
        for level in range(smaller + 1):
            if level:
                shape = level_shape(finer.shape, y)
                chunks = (*(1 for _ in shape[:y]), BLOCK, BLOCK, *shape[y + 2 :])
                coarser = scratch_array(scratch / str(level), shape, chunks, stored.dtype)
                for index in blocks(shape, y):
                    coarser[index] = read_level(finer, y, index)
                finer = coarser
            page = {"subfiletype": 1, "metadata": None} if level else whole
            writer.write(
                (np.asarray(finer[index]) for index in blocks(finer.shape, y)),
                shape=finer.shape,
                dtype=stored.dtype,
                **page,
                **options,
            )


def _physical_sizes(
    axes: str, pixel_size: Sequence[float] | None, unit: str | Sequence[str | None] | None
) -> dict[str, float | str]:
    """Return OME's attributes of the distances that have a unit."""
    sizes = tuple(pixel_size or ())
    units = (unit,) * len(sizes) if unit is None or isinstance(unit, str) else tuple(unit)
    attributes: dict[str, float | str] = {}
    letters = axes.removesuffix("S")[-len(sizes) :] if sizes else ""
    if not len(letters) == len(sizes) == len(units):
        raise InputError(
            f"Pixels of {len(sizes)} sizes and {len(units)} units do not fit the axes {axes}; give "
            "one of each per axis."
        )
    for letter, size, symbol in zip(letters, sizes, map(unit_symbol, units), strict=True):
        key = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
        if letter in "TZYX" and symbol is not None and math.isfinite(size) and size > 0:
            attributes |= {key: float(size), f"{key}Unit": symbol}
    return attributes


def _resolution(known: Mapping[str, float | str]) -> dict[str, Any]:
    """Return TIFF's own resolution by OME's attributes, for programs that do not read those."""
    per_centimetre = []
    for key in ("PhysicalSizeX", "PhysicalSizeY"):
        size = known.get(key)
        length = size and converted(float(size), str(known[f"{key}Unit"]), "cm")
        if not length or not 1e-9 < length < 1e9:  # TIFF's fractions have 32 bits
            return {}
        per_centimetre.append(1 / length)
    return {"resolution": tuple(per_centimetre), "resolutionunit": "CENTIMETER"}
