"""Reads TIFF files of many programs, and refuses damaged ones."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tifffile

from ...core.common.errors import InputError
from ..files.errors import reading, refuse_implausible_size
from ..files.spatial import SpatialMetadata
from .file_array import FileArray
from .raster import read_tiff_frames
from .stored_pixels import ORIENTATION, swaps_sides, upright
from .tiff_metadata import Distances, refuse_hostile_ome, tiff_distances
from .tiff_samples import (
    axes_named,
    in_order,
    marked_samples,
    plain_samples,
    refuse_bombs,
    refuse_other_colours,
    stored_as_meant,
    zero_is_white,
)

__all__ = ["open_tiff", "read_tiff", "read_tiff_mask", "tiff_outline"]

_KIND = "a TIFF image"
_LARGEST_CHUNK = 2**28  # bytes that are decoded for the sake of one pixel
Meaning: TypeAlias = Callable[..., tuple[npt.NDArray[Any], str]]

_PALETTE, _COLOURS = 3, 320
_SEPARATE = 2
_RESOLUTION = (282, 283, 296)  # along both sides, and its unit
_LOOSE_PAGES = ("generic", "uniform")
_REDUCED_OR_MASK = 0b101  # of NewSubfileType
# What slide scanners add to the image, by the names that tifffile and OME give it.
_BESIDE = {"label", "macro", "map", "overview", "preview", "probability", "thumbnail"}


def read_tiff(path: str | os.PathLike[str]) -> tuple[npt.NDArray[Any], SpatialMetadata]:
    """Read all images of a TIFF file (OME, ImageJ, LSM, plain, ...), upright, at full resolution.

    Several images of one kind (pages that were appended, scenes of OME) become a stack. Pages that
    are marked as smaller copies or masks, and what slide scanners add, are left out. Values are as
    stored, but for what `plain_samples` changes.

    Returns
    -------
    data
        Array of shape (..., H, W), or (..., H, W, 3) for RGB; other channels stay where they are.
    spatial
        Its axes, with distances from the metadata of OME, ImageJ or the microscope, or the
        resolution of the page.

    Raises
    ------
    InputError
        If the file is missing, damaged, cut off, too large for memory, no TIFF image, or holds
        images that make no stack.
    """
    return _read(Path(path), plain_samples)


def read_tiff_mask(path: str | os.PathLike[str]) -> npt.NDArray[np.bool_]:
    """Read where a mask marks something; see `marked_samples`.

    Raises
    ------
    InputError
        As for `read_tiff`.
    """
    data, spatial = _read(Path(path), marked_samples)
    axis = spatial.channel_axis
    return data if axis is None else np.asarray(data.any(axis=axis))


def tiff_outline(path: str | os.PathLike[str]) -> tuple[list[tuple[int, ...]], str | None]:
    """Return what is in a TIFF file; no pixel is read.

    Returns
    -------
    shapes
        Of each image, as it is stored.
    oddity
        How `read_tiff` changes the stored pixels of the first image: ``"negative"``, ``"palette"``
        or ``"turned"``; ``"channels"``, if it takes planes for them; None: not at all.

    Raises
    ------
    InputError
        If the file is missing, damaged, no TIFF image, neither grey nor RGB, or its pages do not
        go together.
    """
    with _opened(Path(path)) as (tif, images, _):
        series = images[0]
        first, axes = series.keyframe, dict(zip(series.axes, series.shape, strict=True))
        refuse_other_colours(Path(path), first)
        oddity = None
        if zero_is_white(first, is_imagej=bool(tif.is_imagej)):
            oddity = "negative"
        elif first.photometric == _PALETTE and not tif.is_imagej:
            oddity = "palette"
        elif _orientation(Path(path), series) in range(2, 9):
            oddity = "turned"
        elif axes.get("C", 1) > 1 or "S" in series.axes[:-1] or axes.get("S", 3) < 3:
            oddity = "channels"
        return [image.shape for image in images], oddity


def _read(file: Path, meaning: Meaning) -> tuple[npt.NDArray[Any], SpatialMetadata]:
    with _opened(file) as (tif, images, errors):
        parts = []
        for number, series in enumerate(images):
            page, axes = series.keyframe, series.axes
            data = _stored_pixels(file, series)
            if any("offset" in error or "corrupted" in error for error in errors):
                raise ValueError("; ".join(errors))
            places: list[object] = [number]
            planes = [data]
            if len(images) > 1 and series.kind == "generic":  # sorted by kind, not by place
                places = [page.index for page in series.pages if page is not None]
                if len(places) > 1:
                    planes, axes = [*data], axes[1:]
            orientation = _orientation(file, series)
            distances = _distances(tif, series, orientation)
            for place, plane in zip(places, planes, strict=True):
                shown, letters = meaning(file, plane, axes, page, is_imagej=bool(tif.is_imagej))
                shown, letters = in_order(shown, letters)
                shown = upright(shown, orientation, letters.index("Y"), letters.index("X"))
                parts.append((place, shown, letters, distances))
        return _joined(file, sorted(parts, key=lambda part: np.ravel(part[0]).tolist()))


def _joined(
    file: Path, parts: list[tuple[Any, npt.NDArray[Any], str, Distances]]
) -> tuple[npt.NDArray[Any], SpatialMetadata]:
    """Make one stack of the images of a file."""
    _, data, axes, distances = parts[0]
    kind = data.shape, data.dtype, axes, distances
    if any((other.shape, other.dtype, *rest) != kind for _, other, *rest in parts):
        sizes = dict.fromkeys(" x ".join(map(str, other.shape)) for _, other, *_ in parts)
        raise InputError(
            f"'{file}' holds {len(parts)} images that differ in size, kind or pixel size "
            f"({', '.join([*sizes][:5])} pixels); save each as a file of its own."
        )
    if len(parts) > 1:
        images = [other for _, other, *_ in parts]
        named = axes_named("I" + axes)
        if named[0] == "I":  # there are depth and time already
            data = np.concatenate(images)
        else:
            data, axes = np.stack(images), named
    return np.ascontiguousarray(data), _spatial(axes, distances)


def _spatial(axes: str, distances: Distances) -> SpatialMetadata:
    known = [distances.get(letter, (1.0, None)) for letter in axes]
    return SpatialMetadata(
        axes, tuple(size for size, _ in known), tuple(symbol for _, symbol in known)
    )


def _distances(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, orientation: object
) -> Distances:
    image = tif.series.index(series) if tif.is_ome else 0  # only OME describes each of them
    found = tiff_distances(tif, series.keyframe, image)
    if swaps_sides(orientation):
        letters = {"X": "Y", "Y": "X"}
        return {letters.get(letter, letter): distance for letter, distance in found.items()}
    return found


def _orientation(file: Path, series: tifffile.TiffPageSeries) -> object:
    """Return how the pages are turned; what is read once must be the same for all of them."""
    first = series.keyframe
    orientation = first.tags.valueof(ORIENTATION)
    if series.kind in _LOOSE_PAGES:  # others write the tags once, if at all
        for page in (page.aspage() for page in series.pages[1:] if page is not None):
            if page.tags.valueof(ORIENTATION, 1) != (orientation or 1):
                raise InputError(
                    f"'{file}' has pages with different orientations; save them upright."
                )
            palettes = (p.tags.valueof(_COLOURS) for p in (first, page))
            if first.photometric == _PALETTE and not np.array_equal(*palettes):
                raise InputError(
                    f"'{file}' has pages with different palettes; save them as RGB or grey."
                )
            sizes = [[p.tags.valueof(tag) for tag in _RESOLUTION] for p in (first, page)]
            if any(b is not None and a != b for a, b in zip(*sizes, strict=True)):
                raise InputError(
                    f"'{file}' has pages of different pixel sizes; save each as a file of its own."
                )
    return orientation


def open_tiff(path: str | os.PathLike[str]) -> tuple[FileArray, SpatialMetadata] | None:
    """Open a TIFF file to be read in parts.

    Uncompressed images are mapped into memory; tiles and strips are decoded where they are needed,
    by tifffile through the package zarr.

    Returns
    -------
    tuple of FileArray and SpatialMetadata, or None
        What `read_tiff` returns, with pixels that are not read yet. None if the file has to be read
        whole: it is one compressed piece, `read_tiff` joins its images or changes pixels or the
        order of axes, or the package zarr is missing.

    Raises
    ------
    InputError
        If the file is missing, damaged, cut off or no TIFF image.
    """
    file = Path(path)
    with _opened(file) as (tif, images, errors):
        series = images[0]
        page, axes = series.keyframe, axes_named(series.axes)
        dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder)
        _refuse_cut_off(series)
        if len(images) > 1 or errors or _orientation(file, series) not in (None, 1):
            return None
        if not stored_as_meant(page, axes, is_imagej=bool(tif.is_imagej)):
            return None
        if not axes.removesuffix("S").endswith("YX") or "S" in axes[:-1]:
            return None
        if len({*axes}) < len(axes) or {*axes} - {*"TZCYXS"}:
            return None
        native = dtype.newbyteorder("=")
        spatial = _spatial(axes, _distances(tif, series, 1))
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
        except (ValueError, NotImplementedError, ImportError):  # Pillow may know the compression
            return None
        get = partial(_decoded_part, file, tif.series.index(series))
        return FileArray(file, _KIND, series.shape, native, chunks, get), spatial


def _decoded_part(file: Path, series: int, index: Any) -> npt.NDArray[Any]:
    """Read a part of an image; the file is open no longer than that."""
    import zarr

    with tifffile.TiffFile(file) as tif, tif.aszarr(series=series, level=0) as store:
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
) -> Iterator[tuple[tifffile.TiffFile, list[tifffile.TiffPageSeries], list[str]]]:
    """Open a file and find its images; what tifffile finds wrong is collected in the list."""
    with (
        reading(file, _KIND),
        _tifffile_errors() as errors,
        tifffile.TiffFile(file) as tif,
    ):
        if tif.is_ome and tif.ome_metadata:
            refuse_hostile_ome(file, tif.ome_metadata)
        if not len(tif.pages):  # counting them finds pages in a circle, which reading does not
            raise ValueError("no pages")
        series = [*chain.from_iterable(map(_with_unmarked, tif.series))]
        images = [image for image in series if not _is_beside(image)] or series
        refuse_implausible_size(file, sum(image.nbytes for image in images))
        if tif.is_ome:
            _refuse_undescribed(file, tif)
        yield tif, images, errors


def _refuse_undescribed(file: Path, tif: tifffile.TiffFile) -> None:
    """Refuse OME whose description, copied from another file say, leaves out some pages."""
    known = {page.index for image in tif.series for page in image.pages if page is not None}
    if len(tif.pages) <= len(known):
        return
    others = [tif.pages[i].aspage() for i in range(len(tif.pages)) if i not in known]
    shape = tif.series[0].keyframe.shape
    if any(page.shape == shape and not page.is_reduced for page in others):
        raise InputError(
            f"'{file}' has {len(tif.pages)} pages and its OME description {len(known)}; save them "
            "again as one stack."
        )


def _with_unmarked(series: tifffile.TiffPageSeries) -> list[tifffile.TiffPageSeries]:
    """Return an image, and the pages that tifffile takes for its smaller copies by size alone."""
    if series.kind not in _LOOSE_PAGES:
        return [series]
    smaller = [level for level in series.levels[1:] if not level.keyframe.is_subifd]
    return [series, *(level for level in smaller if not level.keyframe.is_reduced)]


def _is_beside(series: tifffile.TiffPageSeries) -> bool:
    """Whether it is a smaller copy or a mask of an image, or a picture of the slide's label."""
    name = series.name.lower().removesuffix(" image")
    return bool(series.keyframe.subfiletype & _REDUCED_OR_MASK) or name in _BESIDE


def _stored_pixels(file: Path, series: tifffile.TiffPageSeries) -> npt.NDArray[Any]:
    """Decode the pixels in the shape of the series."""
    _refuse_cut_off(series)
    refuse_bombs(file, series)
    try:
        data = series.asarray()
    except (ValueError, NotImplementedError, ImportError) as error:
        unknown = any(words in str(error) for words in ("imagecodecs", "not supported"))
        if not unknown and not isinstance(error, ImportError):
            raise
        data = _pixels_by_pillow(file, series)
    return data.astype(data.dtype.newbyteorder("="), copy=False)


def _pixels_by_pillow(file: Path, series: tifffile.TiffPageSeries) -> npt.NDArray[Any]:
    """Decode compressions such as LZW and JPEG, which tifffile leaves to another package."""
    page = series.keyframe
    # Pillow stretches grey levels of fewer bits to 8, and keeps the numbers of a palette.
    packed = page.bitspersample not in (1, 8, 16, 32, 64)
    data = None
    try:
        if not packed or page.photometric == _PALETTE:
            frames = read_tiff_frames(
                file, [page.index for page in series.pages if page is not None]
            )
            if page.planarconfig == _SEPARATE:
                frames = [np.moveaxis(frame, -1, 0) for frame in frames]
            data = np.stack(frames).reshape(series.shape)
    except (ValueError, OSError) as error:
        if "truncated" in str(error):
            raise
    if data is None or data.dtype.newbyteorder("=") != series.dtype.newbyteorder("="):
        if packed:
            form, plain = f"stored in {page.bitspersample} bits", "in 8 or 16 bits"
        else:
            form = f"compressed with {tifffile.COMPRESSION(page.compression).name}"
            plain = "uncompressed"
        raise InputError(
            f"'{file}' is {form}; save it {plain}, or install the package imagecodecs."
        )
    return data


@contextmanager
def _tifffile_errors() -> Iterator[list[str]]:
    """Collect what tifffile logs as errors in this thread, and keep it off the screen.

    When pages are lost, tifffile logs it and reads the others.
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
