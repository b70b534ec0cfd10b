"""Samples of a TIFF page: grey, colour, palette, opacity, black or white as zero.

Compressed samples are checked first: they must not expand to more than the pixels that they hold.
"""

from __future__ import annotations

import lzma
import math
import zlib
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ...core.common.errors import InputError
from .stored_pixels import drawn, two_levels

__all__ = [
    "axes_named",
    "in_order",
    "marked_samples",
    "plain_samples",
    "refuse_bombs",
    "refuse_other_colours",
    "stored_as_meant",
    "zero_is_white",
]

_MIN_IS_WHITE, _RGB, _PALETTE, _YCBCR = 0, 2, 3, 6
_OTHER_COLOURS = {5: "CMYK", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32844: "LogL", 32845: "LogLuv"}
_ALPHA = (1, 2)
_JPEG = (6, 7, 33007)

_DEFLATE = (8, 32946, 50013)
_LZMA = 34925
# Compressed bytes that become 256 MiB at most: deflate expands 1032-fold, LZMA some 7000-fold.
_HARMLESS = {**dict.fromkeys(_DEFLATE, 2**18), _LZMA: 2**15}
_PADDING = 2**16  # bytes that a piece may have beyond its pixels
_AT_ONCE = 2**20


def stored_as_meant(page: tifffile.TiffPage, axes: str, *, is_imagej: bool) -> bool:
    """Whether `plain_samples` leaves the pixels as they are."""
    if "S" in axes:
        return page.photometric == _RGB and page.samplesperpixel == 3
    return page.dtype is not None and page.dtype.kind in "uif" and (
        page.photometric == 1 or (page.photometric in (_MIN_IS_WHITE, _PALETTE) and is_imagej)
    )  # fmt: skip


def zero_is_white(page: tifffile.TiffPage, *, is_imagej: bool) -> bool:
    """Whether more is darker; in ImageJ's files only the lookup table of the screen is inverted."""
    return page.photometric == _MIN_IS_WHITE and not is_imagej


def plain_samples(
    file: Path, data: npt.NDArray[Any], axes: str, page: tifffile.TiffPage, *, is_imagej: bool
) -> tuple[npt.NDArray[Any], str]:
    """Turn samples into intensities, as the image is shown: more is brighter.

    1-bit images become 0 and 255, palettes become RGB, and images whose zero is white are inverted.
    Palettes and inversions of ImageJ are lookup tables for the screen and change nothing: objects
    of a mask are 255, and look black if the table is inverted. Opacity is left out.

    Raises
    ------
    InputError
        If the image has other colours than RGB, or floating-point pixels whose zero is white.
    """
    if page.photometric == _PALETTE and page.colormap is not None and not is_imagej:
        sixteen_bits = page.colormap.max() > 255
        colours = (page.colormap // (256 if sixteen_bits else 1)).astype(np.uint8)
        return colours.T[data.astype(np.intp)], axes + "S"
    data, axes, _ = _split(data, axes, page)
    data = _black_is_zero(file, data, page, is_imagej=is_imagej)
    if data.dtype.kind == "b":
        data = data.astype(np.uint8) * np.uint8(255)
    return data, axes


def marked_samples(
    file: Path, data: npt.NDArray[Any], axes: str, page: tifffile.TiffPage, *, is_imagej: bool
) -> tuple[npt.NDArray[Any], str]:
    """Turn the samples of a mask into True where it marks something.

    Of a palette, the first colour is the background, whatever it looks like; where a mask is
    transparent or NaN, it marks nothing.

    Raises
    ------
    InputError
        As for `plain_samples` and `two_levels`.
    """
    data, axes, opaque = _split(data, axes, page)
    if page.photometric != _PALETTE:
        data = _black_is_zero(file, data, page, is_imagej=is_imagej)
    if data.dtype.kind == "f":
        missing = np.isnan(data)
        opaque = opaque & ~(missing.any(axis=-1) if "S" in axes else missing)
    if "S" in axes:
        data, axes = data.max(axis=-1), axes.replace("S", "")
    if page.compression in _JPEG and data.dtype == np.uint8:
        return drawn(two_levels(f"Mask '{file}'", data), opaque), axes
    return drawn(data != 0, opaque), axes


def refuse_other_colours(file: Path, page: tifffile.TiffPage) -> None:
    """Refuse an image that is neither grey nor RGB, nor decoded as such.

    Raises
    ------
    InputError
        If it has other colours, such as CMYK.
    """
    colours = _OTHER_COLOURS.get(page.photometric)
    if page.photometric == _YCBCR and page.compression not in _JPEG:
        colours = "YCbCr"
    if colours is not None:
        raise InputError(f"'{file}' has {colours} colours; save it as RGB or grey.")


def _split(
    data: npt.NDArray[Any], axes: str, page: tifffile.TiffPage
) -> tuple[npt.NDArray[Any], str, npt.NDArray[np.bool_]]:
    """Bring colours to the end, and tell where they are opaque apart from them."""
    opaque = np.ones((), dtype=np.bool_)
    if "S" not in axes:
        return data, axes, opaque
    axis = axes.index("S")
    extras = page.extrasamples
    kept = data.shape[axis] - sum(extra in _ALPHA for extra in extras)
    if page.photometric in (_RGB, _YCBCR):
        kept = 3
    data = np.moveaxis(data, axis, -1)
    axes = axes.replace("S", "")
    first = data.shape[-1] - len(extras)
    alpha = [first + i for i, extra in enumerate(extras) if extra in _ALPHA]
    if alpha:
        values = data[..., alpha[0]]
        whole = np.iinfo(values.dtype).max if values.dtype.kind in "ui" else 1
        opaque = np.asarray(values > whole / 2)
    data = data[..., :kept]
    return (data, axes + "S", opaque) if kept > 1 else (data[..., 0], axes, opaque)


def _black_is_zero(
    file: Path, data: npt.NDArray[Any], page: tifffile.TiffPage, *, is_imagej: bool
) -> npt.NDArray[Any]:
    """Invert images whose zero is white, and refuse those that are neither grey nor RGB."""
    refuse_other_colours(file, page)
    if not zero_is_white(page, is_imagej=is_imagej):
        return data
    if data.dtype.kind == "f":
        raise InputError(
            f"'{file}' says that zero is white, but in floating-point pixels the value of black is "
            "then unknown; save it with black as zero (photometric interpretation 1)."
        )
    if data.dtype.kind == "u":
        return np.asarray(data.dtype.type(2**page.bitspersample - 1) - data)
    return np.asarray(np.invert(data))


def in_order(data: npt.NDArray[Any], axes: str) -> tuple[npt.NDArray[Any], str]:
    """Bring height, width and samples to the end, and name every axis once, as OME does."""
    for letter in "YX":
        if letter not in axes:  # tifffile drops axes of length one
            data, axes = data[np.newaxis], letter + axes
    order = [i for i, letter in enumerate(axes) if letter not in "YXS"]
    order += [axes.index(letter) for letter in "YXS" if letter in axes]
    named = axes_named("".join(axes[i] for i in order))
    return data.transpose(order), named


def axes_named(axes: str) -> str:
    """Name axes that OME does not know."""
    named = ""
    free = [letter for letter in "ZT" if letter not in axes]
    for letter in reversed(axes):
        if letter not in "TZCYXS" and free:
            letter = free.pop(0)
        named = letter + named
    return named


def refuse_bombs(file: Path, series: tifffile.TiffPageSeries, most: int | None = None) -> None:
    """Refuse pieces that expand beyond the pixels that they hold, before they are decoded.

    tifffile decodes deflate and LZMA without a limit, as far as memory lasts.

    Raises
    ------
    InputError
        If there is one.
    """
    page = series.keyframe
    harmless = _HARMLESS.get(page.compression)
    if harmless is None:
        return
    pixels = math.prod(page.chunks) * series.dtype.itemsize
    with file.open("rb") as stream:
        pieces = chain.from_iterable(map(_segments, series.pages))
        for offset, count in islice(pieces, most):
            if count <= harmless:
                continue
            stream.seek(offset)
            if _expands(stream.read(count), page.compression, pixels + _PADDING):
                raise InputError(
                    f"'{file}' is damaged: it has compressed pixels that expand beyond the "
                    "image; restore or export it again."
                )


def _segments(page: tifffile.TiffPage | tifffile.TiffFrame | None) -> Iterator[tuple[int, int]]:
    """Place and length of the strips or tiles of a page, which may be missing."""
    return iter(()) if page is None else zip(page.dataoffsets, page.databytecounts, strict=False)


def _expands(content: bytes, compression: int, limit: int) -> bool:
    """Whether content expands to more bytes than a limit; False if it cannot be decoded."""
    decoder: Any = zlib.decompressobj() if compression in _DEFLATE else lzma.LZMADecompressor()
    total = 0
    try:
        while not decoder.eof:
            total += len(decoder.decompress(content, _AT_ONCE))
            if total > limit:
                return True
            # The decoder of LZMA keeps input that it has not read; that of deflate returns it.
            content = decoder.unconsumed_tail if compression in _DEFLATE else b""
            if not content and (compression in _DEFLATE or decoder.needs_input):
                break
    except (zlib.error, lzma.LZMAError):
        return False
    return False
