"""Reading of TIFF files, however they were made and whatever has happened to them since."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ..core.errors import InputError
from .compression import refuse_bombs
from .file_array import FileArray
from .file_errors import reading, refuse_implausible_size
from .ome_metadata import ome_distances, refuse_hostile_ome
from .raster import read_tiff_frames
from .spatial import SpatialMetadata, unit_symbol

__all__ = ["open_tiff", "read_tiff"]

_KIND = "a TIFF image"
_LARGEST_CHUNK = 2**28  # bytes that are decoded for the sake of one pixel
_RGB, _PALETTE, _YCBCR = 2, 3, 6
_ALPHA = (1, 2)
_SEPARATE = 2
# TIFF's ResolutionUnit in micrometres: inch and centimetre.
_RESOLUTION_UNITS = {2: 25_400.0, 3: 10_000.0}


def read_tiff(path: str | os.PathLike[str]) -> tuple[npt.NDArray[Any], SpatialMetadata]:
    """Read the first image of a TIFF file (OME, ImageJ, LSM, plain, ...), at full resolution.

    Values are as stored, but for 1-bit images, which become 0 and 255, and palettes, which become
    RGB (ImageJ's are left alone: they are lookup tables for the screen). Opacity is left out.

    Returns
    -------
    data
        Array of shape (..., H, W), or (..., H, W, 3) for RGB; other channels stay where they are.
    spatial
        Its axes, with distances from the metadata of OME or ImageJ or the resolution of the page.

    Raises
    ------
    InputError
        If the file is missing, damaged, cut off, too large for memory, or no TIFF image.
    """
    file = Path(path)
    with _opened(file) as (tif, series, errors):
        data = _stored_pixels(file, series)
        axes = series.axes
        if any("offset" in error or "corrupted" in error for error in errors):
            raise ValueError("; ".join(errors))
        data, axes = _plain_samples(data, axes, series.keyframe, is_imagej=bool(tif.is_imagej))
        data, axes = _in_order(data, axes)
        return data, _spatial(axes, _distances(tif, series.keyframe))


def open_tiff(path: str | os.PathLike[str]) -> tuple[FileArray, SpatialMetadata] | None:
    """Open the first image of a TIFF file to be read in parts.

    Uncompressed images are mapped into memory; tiles and strips are decoded where they are needed,
    by tifffile through the package zarr.

    Returns
    -------
    tuple of FileArray and SpatialMetadata, or None
        What `read_tiff` returns, with pixels that are not read yet. None where parts do not help
        (all is one compressed piece), or `read_tiff` would have to change the pixels or the order
        of their axes, or the package zarr is missing.

    Raises
    ------
    InputError
        If the file is missing, damaged, cut off or no TIFF image.
    """
    file = Path(path)
    with _opened(file) as (tif, series, errors):
        page, axes = series.keyframe, _named(series.axes)
        dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder)
        _refuse_cut_off(series)
        if errors or dtype.kind not in "uif" or (page.photometric == _PALETTE and not tif.imagej):
            return None
        if "S" in axes and (page.photometric != _RGB or series.shape[-1] != 3):
            return None
        if not axes.endswith(("YX", "YXS")) or len({*axes}) < len(axes) or {*axes} - {*"TZCYXS"}:
            return None
        native = dtype.newbyteorder("=")
        spatial = _spatial(axes, _distances(tif, page))
        if series.dataoffset is not None:
            pixels = np.memmap(file, dtype, "r", series.dataoffset, series.shape)
            return FileArray(
                file, _KIND, series.shape, native, pixels.shape, pixels.__getitem__
            ), spatial
        chunks = (1,) * (len(axes) - len(page.chunks)) + tuple(page.chunks)
        if math.prod(chunks) * dtype.itemsize > _LARGEST_CHUNK or not _has_zarr():
            return None
        refuse_bombs(file, series, most=1)
        try:
            next(page.segments())
        except ValueError:  # Pillow may know the compression
            return None
        get = partial(_decoded_part, file)
        return FileArray(file, _KIND, series.shape, native, chunks, get), spatial


def _decoded_part(file: Path, index: Any) -> npt.NDArray[Any]:
    """Read a part of the first image; the file is open no longer than that."""
    import zarr

    with tifffile.TiffFile(file) as tif, tif.aszarr(series=0, level=0) as store:
        return np.asarray(zarr.open_array(store, mode="r")[index])


def _has_zarr() -> bool:
    return importlib.util.find_spec("zarr") is not None


def _refuse_cut_off(series: tifffile.TiffPageSeries) -> None:
    for page in series.pages:
        if page is not None:
            if len(page.dataoffsets) < math.prod(page.chunked):
                raise ValueError("fewer strips or tiles than the image is made of")
            end = page.parent.filehandle.size
            extents = zip(page.dataoffsets, page.databytecounts, strict=False)
            if any(offset + count > end for offset, count in extents):
                raise ValueError("pixels beyond the end of the file")


@contextmanager
def _opened(
    file: Path,
) -> Iterator[tuple[tifffile.TiffFile, tifffile.TiffPageSeries, list[str]]]:
    """Open a file at its first image; what tifffile finds wrong is collected in the list."""
    with (
        reading(file, _KIND),
        _tifffile_errors() as errors,
        tifffile.TiffFile(file) as tif,
    ):
        if tif.is_ome and tif.ome_metadata:
            refuse_hostile_ome(file, tif.ome_metadata)
        if not len(tif.pages):  # counting them finds pages in a circle, which reading does not
            raise ValueError("no pages")
        series = tif.series[0]
        refuse_implausible_size(file, series.nbytes)
        yield tif, series, errors


def _stored_pixels(file: Path, series: tifffile.TiffPageSeries) -> npt.NDArray[Any]:
    """Decode the pixels in the shape of the series."""
    _refuse_cut_off(series)
    refuse_bombs(file, series)
    try:
        data = series.asarray()
    except (ValueError, ImportError) as error:
        if isinstance(error, ValueError) and "imagecodecs" not in str(error):
            raise
        data = _pixels_by_pillow(file, series)
    return data.astype(data.dtype.newbyteorder("="), copy=False)


def _pixels_by_pillow(file: Path, series: tifffile.TiffPageSeries) -> npt.NDArray[Any]:
    """Decode compressions such as LZW and JPEG, which tifffile leaves to another package."""
    page = series.keyframe
    try:
        frames = read_tiff_frames(file, [page.index for page in series.pages if page is not None])
        if page.planarconfig == _SEPARATE:
            frames = [np.moveaxis(frame, -1, 0) for frame in frames]
        data = np.stack(frames).reshape(series.shape)
    except (ValueError, OSError) as error:
        if "truncated" in str(error):
            raise
        data = None
    if data is None or data.dtype.newbyteorder("=") != series.dtype.newbyteorder("="):
        codec = tifffile.COMPRESSION(page.compression).name
        raise InputError(
            f"'{file}' is compressed with {codec}; save it uncompressed, or install the package "
            "imagecodecs."
        )
    return data


def _plain_samples(
    data: npt.NDArray[Any], axes: str, page: tifffile.TiffPage, *, is_imagej: bool
) -> tuple[npt.NDArray[Any], str]:
    """Turn 1-bit images into 0 and 255 and palettes into RGB; leave out opacity."""
    if data.dtype.kind == "b":
        return data.astype(np.uint8) * np.uint8(255), axes
    if page.photometric == _PALETTE and page.colormap is not None and not is_imagej:
        sixteen_bits = page.colormap.max() > 255
        colours = (page.colormap // (256 if sixteen_bits else 1)).astype(np.uint8)
        return colours.T[data], axes + "S"
    if "S" not in axes:
        return data, axes
    axis = axes.index("S")
    kept = data.shape[axis] - sum(extra in _ALPHA for extra in page.extrasamples)
    if page.photometric in (_RGB, _YCBCR):
        kept = 3
    data = np.moveaxis(data, axis, -1)[..., :kept]
    axes = axes.replace("S", "")
    return (data, axes + "S") if kept > 1 else (data[..., 0], axes)


def _in_order(data: npt.NDArray[Any], axes: str) -> tuple[npt.NDArray[Any], str]:
    """Bring height, width and samples to the end, and name every axis once, as OME does."""
    for letter in "YX":
        if letter not in axes:  # tifffile drops axes of length one
            data, axes = data[np.newaxis], letter + axes
    order = [i for i, letter in enumerate(axes) if letter not in "YXS"]
    order += [axes.index(letter) for letter in "YXS" if letter in axes]
    named = _named("".join(axes[i] for i in order))
    return np.ascontiguousarray(data.transpose(order)), named


def _named(axes: str) -> str:
    """Name axes that OME does not know."""
    named = ""
    free = [letter for letter in "ZT" if letter not in axes]
    for letter in reversed(axes):
        if letter not in "TZCYXS" and free:
            letter = free.pop(0)
        named = letter + named
    return named


def _spatial(axes: str, distances: dict[str, tuple[float, str]]) -> SpatialMetadata:
    known = [distances.get(letter, (1.0, None)) for letter in axes]
    return SpatialMetadata(
        axes, tuple(size for size, _ in known), tuple(symbol for _, symbol in known)
    )


def _distances(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> dict[str, tuple[float, str]]:
    """Return distance and unit along each axis for which the file has sensible ones."""
    if tif.ome_metadata:
        found = ome_distances(tif.ome_metadata)
    else:
        found = _resolution_distances(page, tif.imagej_metadata or {})
    sensible = {}
    for letter, (size, unit) in found.items():
        symbol = unit_symbol(unit)
        if symbol is not None and math.isfinite(size) and size > 0:
            sensible[letter] = size, symbol
    return sensible


def _resolution_distances(
    page: tifffile.TiffPage, imagej: dict[str, Any]
) -> dict[str, tuple[float, object]]:
    """Read the resolution, in pixels per unit; ImageJ has units and axes of its own."""
    found: dict[str, tuple[float, object]] = {}
    micrometres = _RESOLUTION_UNITS.get(page.tags.valueof("ResolutionUnit", 2))
    for letter, tag in (("X", "XResolution"), ("Y", "YResolution")):
        numerator, denominator = page.tags.valueof(tag, (0, 0))
        if numerator == 0:
            continue
        size = denominator / numerator
        if imagej:
            # Units of other axes are named where they differ from that of x.
            found[letter] = size, imagej.get(f"{letter.lower()}unit", imagej.get("unit"))
        elif micrometres is not None:
            found[letter] = size * micrometres, "µm"
    if "spacing" in imagej:
        found["Z"] = abs(float(imagej["spacing"])), imagej.get("zunit", imagej.get("unit"))
    if "finterval" in imagej:
        found["T"] = float(imagej["finterval"]), imagej.get("tunit", "s")
    return found


@contextmanager
def _tifffile_errors() -> Iterator[list[str]]:
    """Collect what tifffile logs as errors in this thread, and keep it off the screen.

    tifffile only logs when pages are lost, and goes on with those that are left.
    """
    errors: list[str] = []
    thread = threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        if record.levelno >= logging.ERROR:
            errors.append(record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(collect)
    try:
        yield errors
    finally:
        logger.removeFilter(collect)
