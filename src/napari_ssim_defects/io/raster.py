"""Decoding by Pillow: PNG, JPEG and BMP, and TIFF compressed in ways that tifffile cannot read."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..core.errors import InputError
from .file_errors import reading, refuse_implausible_size

__all__ = ["read_raster", "read_tiff_frames"]

_GREY = ("L", "I;16", "I;16B", "F")


def read_raster(path: Path) -> npt.NDArray[Any]:
    """Read a PNG, JPEG or BMP image, told apart by content.

    Returns
    -------
    numpy.ndarray
        (H, W) grey, uint8 or uint16, black-and-white as 0 and 255; or (H, W, 3) RGB, uint8,
        palettes and other colour spaces included. Opacity is left out. PNG with three channels
        of 16 bits is reduced to 8.

    Raises
    ------
    InputError
        If the file is missing, damaged, cut off, larger than Pillow decodes (179 million
        pixels) or no such image.
    """
    with reading(path, "a PNG, JPEG or BMP image"), _quietly():
        try:
            image = Image.open(path, formats=("PNG", "JPEG", "BMP"))
        except Image.DecompressionBombError:
            raise InputError(
                f"'{path}' is damaged or has too many pixels for its format; save it as TIFF."
            ) from None
        with image:
            refuse_implausible_size(path, image.width * image.height)
            return _pixels(image)


def read_tiff_frames(path: Path, pages: Iterable[int]) -> list[npt.NDArray[Any]]:
    """Read some pages of a TIFF file as they are stored, samples of a pixel side by side."""
    with _quietly(), Image.open(path, formats=("TIFF",)) as image:
        frames = []
        for page in pages:
            image.seek(page)
            frames.append(np.array(image))
        return frames


def _pixels(image: Image.Image) -> npt.NDArray[Any]:
    if image.mode == "I":  # 16-bit PNG in older versions of Pillow
        return np.asarray(image).astype(np.uint16)
    if image.mode in _GREY:
        return np.array(image)
    if image.mode in ("1", "LA"):
        return np.array(image.convert("L"))
    if image.mode == "P":
        # By way of RGBA, so that a transparent entry keeps its own colour.
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


@contextmanager
def _quietly() -> Iterator[None]:
    """Leave out warnings of oddities in the file: what matters raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
