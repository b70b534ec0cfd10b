"""Decoding by Pillow: PNG, JPEG and BMP, and TIFF compressed in ways that tifffile cannot read."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from ...core.common.errors import InputError
from ..files.errors import reading, refuse_implausible_size
from .stored_pixels import ORIENTATION, as_stored, drawn, two_levels, upright

__all__ = ["has_palette", "raster_oddity", "read_raster", "read_raster_mask", "read_tiff_frames"]

_GREY = ("L", "I;16", "I;16B", "F")
_PNG = b"\x89PNG\r\n\x1a\n"


def read_raster(path: Path) -> npt.NDArray[Any]:
    """Read a PNG, JPEG or BMP image, told apart by content, upright.

    Returns
    -------
    numpy.ndarray
        (H, W) grey, uint8 or uint16, black-and-white as 0 and 255; or (H, W, 3) RGB, uint8,
        palettes and other colour spaces included. Opacity is left out.

    Raises
    ------
    InputError
        If the file is missing, damaged, cut off, larger than Pillow decodes (179 million
        pixels), no such image, an animation, JPEG with several images of one size, or PNG with
        several channels of 16 bits.
    """
    with _opened(path) as image:
        return upright(_pixels(image), _orientation(image))


def has_palette(path: Path) -> bool:
    """Whether the pixels of a file, TIFF included, are numbers of colours in a palette."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many pixels, none of which is read here
            with Image.open(path) as image:
                return image.mode == "P"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def raster_oddity(path: Path) -> str | None:
    """Return how `read_raster` changes an image: ``"turned"`` or ``"CMYK"``; None: not at all.

    Raises
    ------
    InputError
        As for `read_raster`, but for what is only found out when pixels are read.
    """
    with _opened(path) as image:
        if image.mode == "CMYK":
            return "CMYK"
        return "turned" if _orientation(image) in range(2, 9) else None


def read_raster_mask(path: Path) -> npt.NDArray[np.bool_]:
    """Read where a mask marks something: bool of shape (H, W).

    Of a palette, the first colour is the background, whatever it looks like. What is transparent is
    background, too. JPEG has two levels (see `two_levels`); of anything else, all but zero counts.

    Raises
    ------
    InputError
        As for `read_raster` and `two_levels`.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        opaque = np.ones((), dtype=np.bool_)
        if image.has_transparency_data and image.mode not in _GREY[1:]:
            opaque = np.asarray(image.convert("RGBA"))[..., 3] > 127
        values = np.array(image) if image.mode == "P" else _pixels(image)
        if values.ndim == 3:
            values = values.max(axis=-1)
        is_jpeg = image.format in ("JPEG", "MPO")
        marked = two_levels(f"Mask '{path}'", values) if is_jpeg else values != 0
        return upright(drawn(marked, opaque), orientation)


def read_tiff_frames(path: Path, pages: Iterable[int]) -> list[npt.NDArray[Any]]:
    """Read some pages of a TIFF file as they are stored, samples of a pixel side by side."""
    with _quietly(), Image.open(path, formats=("TIFF",)) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        frames = []
        for page in pages:
            image.seek(page)
            how: Any = image.tile[0][3]
            raw_mode = how if isinstance(how, str) else how[0]
            if image.tile[0][0] == "libtiff" and ";32B" in raw_mode:
                # libtiff has put the bytes in order; Pillow would do it once more.
                tile: Any = image.tile[0]
                make: Any = getattr(tile, "_make", tuple)  # Pillow 10 has plain tuples
                native = raw_mode.replace(";32B", ";32N"), *how[1:]
                image.tile = [make((*tile[:3], native))]
            orientation = image.tag_v2.get(ORIENTATION)
            # Pillow has turned it upright and, in some of its modes, made black zero.
            frame = as_stored(np.array(image), orientation)
            frames.append(np.invert(frame) if "I" in raw_mode.partition(";")[2] else frame)
        return frames


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with reading(path, "a PNG, JPEG or BMP image"), _quietly():
        try:
            image = Image.open(path, formats=("PNG", "JPEG", "BMP"))
        except Image.DecompressionBombError:
            raise InputError(
                f"'{path}' is damaged or has too many pixels for its format; save it as TIFF."
            ) from None
        with image:
            refuse_implausible_size(path, image.width * image.height)
            if image.format == "MPO":
                _refuse_several(path, image)
            _refuse_lossy(path, image)
            yield image


def _refuse_lossy(path: Path, image: Image.Image) -> None:
    """Refuse what Pillow would not read as it is: bits or frames left out, or mistaken."""
    with path.open("rb") as stream:
        header = stream.read(30)
    if image.format == "BMP" and image.mode == "1" and header[28:30] != b"\1\0":
        raise InputError(
            f"'{path}' stores black and white in {header[28]} bits, which is not supported; save "
            "it as PNG."
        )
    if not header.startswith(_PNG):
        return
    bits, colour_type = header[24:26]
    if bits == 16 and colour_type != 0:
        raise InputError(
            f"'{path}' has several channels of 16 bits, but PNG is read with 8 bits then; save it "
            "as TIFF, or as grey."
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise InputError(
            f"'{path}' is an animation of {frames} images; save each as a file of its own."
        )


def _refuse_several(path: Path, image: Image.Image) -> None:
    """Refuse JPEG of several images of one size; what cameras add as a preview is smaller."""
    size, count = image.size, getattr(image, "n_frames", 1)
    sizes = []
    for number in range(1, count):
        image.seek(number)
        sizes.append(image.size)
    image.seek(0)
    if size in sizes:
        raise InputError(f"'{path}' holds {count} images; save each as a file of its own.")


def _orientation(image: Image.Image) -> object:
    """Return EXIF's orientation; what cannot be understood turns nothing."""
    try:
        return image.getexif().get(ORIENTATION)
    except Exception:  # the pixels may be valid even if the metadata are not
        return None


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
