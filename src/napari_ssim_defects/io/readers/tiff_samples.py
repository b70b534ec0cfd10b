"""What the samples of a TIFF page mean: grey, colour, palette, opacity, black or white as zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ...core.common.errors import InputError
from .mask_pixels import drawn, two_levels

__all__ = ["axes_named", "in_order", "marked_samples", "plain_samples", "stored_as_meant"]

_MIN_IS_WHITE, _RGB, _PALETTE, _YCBCR = 0, 2, 3, 6
_OTHER_COLOURS = {5: "CMYK", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32844: "LogL", 32845: "LogLuv"}
_ALPHA = (1, 2)
_JPEG = (6, 7, 33007)


def stored_as_meant(page: tifffile.TiffPage, axes: str, *, is_imagej: bool) -> bool:
    """Whether `plain_samples` leaves the pixels as they are."""
    if "S" in axes:
        return page.photometric == _RGB and page.samplesperpixel == 3
    return page.dtype is not None and page.dtype.kind in "uif" and (
        page.photometric == 1 or (page.photometric in (_MIN_IS_WHITE, _PALETTE) and is_imagej)
    )  # fmt: skip


def plain_samples(
    file: Path, data: npt.NDArray[Any], axes: str, page: tifffile.TiffPage, *, is_imagej: bool
) -> tuple[npt.NDArray[Any], str]:
    """Turn samples into intensities, as the image is shown: more is brighter.

    1-bit images become 0 and 255, palettes RGB, and images whose zero is white are inverted.
    Neither is done to ImageJ's, which are lookup tables for the screen: there the objects of a mask
    are 255, and look black, where its lookup table is inverted. Opacity is left out.

    Raises
    ------
    InputError
        If the image is in other colours than RGB, or what white is cannot be known.
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
    """Invert images whose zero is white, and refuse what is no grey and no RGB."""
    colours = _OTHER_COLOURS.get(page.photometric)
    if page.photometric == _YCBCR and page.compression not in _JPEG:
        colours = "YCbCr"
    if colours is not None:
        raise InputError(f"'{file}' has {colours} colours; save it as RGB or grey.")
    if page.photometric != _MIN_IS_WHITE or is_imagej:
        return data
    if data.dtype.kind == "f":
        raise InputError(
            f"'{file}' says that zero is white, which leaves open what black is in floating-point "
            "pixels; save it with black as zero (photometric interpretation 1)."
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
