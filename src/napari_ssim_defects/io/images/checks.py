"""Notices about image files that may not fit a model or their masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...core.common.errors import InputError
from ...core.images.data_bar import data_bar
from ...core.images.planes import Planes, as_planes
from ..readers.raster import raster_oddity
from ..readers.tiff import tiff_outline
from .image_file import SUFFIXES, ImageFile, open_image

__all__ = [
    "as_grey",
    "data_bar_notice",
    "files_data_bar_notice",
    "is_grey",
    "mask_notice",
    "unseen_notice",
]

_FOLDER = ", or choose the file in Folder"
_FILES = 6  # that are opened to look for a data bar
_ODDITIES = {
    "negative": "{name} is a negative: in '{file}' zero is white; {advice}.",
    "palette": "{name} shows palette indices instead of colours: '{file}' has a palette; {advice}.",
    "CMYK": "{name} shows CMYK as RGB: '{file}' has CMYK colours; {advice}.",
    "turned": "{name} is not upright: '{file}' has an orientation tag; {advice}.",
    "channels": "{name} has the channels of '{file}' as planes; choose one by Split Stack.",
}
_OPTION = 'exclude it with --roi {} (in a recipe, roi = "{}")'


def is_grey(image: ImageFile) -> bool:
    """Whether an RGB image has three equal channels: grey that was saved in colour."""
    data = image.data
    return (
        isinstance(data, np.ndarray)
        and image.channel_axis == -1
        and data.shape[-1] == 3
        and bool((data[..., :1] == data[..., 1:]).all())
    )


def as_grey(image: ImageFile) -> ImageFile:
    """Return an image of three equal channels as grey."""
    data = np.ascontiguousarray(image.data[..., 0])
    return replace(image, data=data, spatial=image.spatial.without_channels())


def data_bar_notice(images: Sequence[Planes], advice: str = _OPTION) -> str | None:
    """Propose to leave out a data bar that all images have; None if there is none.

    Parameters
    ----------
    images
        The images, see `data_bar`.
    advice
        What a person can do; the region replaces ``{}``.
    """
    region = data_bar(images)
    if region is None:
        return None
    (side, pixels), *_ = ((k, v) for k, v in region.model_dump(exclude={"kind"}).items() if v)
    border = f"the {side}" if side in ("top", "bottom") else f"the {side} side"
    size = f"{pixels} rows high" if side in ("top", "bottom") else f"{pixels} columns wide"
    which = "The image has" if len(images) == 1 else "The images have"
    return (
        f"{which} a data bar along {border}, {size}; {advice.replace('{}', str(region))}, "
        "or it counts as material."
    )


def files_data_bar_notice(paths: Sequence[Path], advice: str = _OPTION) -> str | None:
    """Apply `data_bar_notice` to image files; files that cannot be used are left out."""
    images = []
    for index in np.unique(np.linspace(0, len(paths) - 1, _FILES).astype(int)):
        with suppress(InputError):  # said where they are inspected
            image = open_image(paths[index])
            axis = image.channel_axis
            images.append(as_planes(image.data, axis, grey=axis is None, name=f"'{image.path}'"))
    with suppress(InputError):
        return data_bar_notice(images, advice)
    return None


def unseen_notice(
    file: Path,
    shape: Sequence[int],
    name: str,
    otherwise: str = _FOLDER,
    *,
    channels: bool = False,
) -> str | None:
    """Say that an array is not what its file shows; None if it is.

    Other readers take the first page of a TIFF for the whole file, and pixels as they are stored.

    Parameters
    ----------
    file
        The file that it was read from.
    shape
        Shape of the array.
    name
        What the sentence calls it.
    otherwise
        What a person can do besides saving the image again.
    channels
        Whether channels of the array are known to be channels.
    """
    if file.suffix.lower() not in SUFFIXES or not file.exists():
        return None  # the array exists, even if its file was removed
    try:
        if file.suffix.lower() in (".tif", ".tiff"):
            shapes, oddity = tiff_outline(file)
        else:
            shapes, oddity = [tuple(shape)], raster_oddity(file)
    except InputError as error:  # it would not be read so, alone or in Folder
        return str(error)
    if math.prod(shape) >= sum(map(math.prod, shapes)):
        if oddity is None or (oddity == "channels" and channels):
            return None
        advice = f"save it as it should look{otherwise}"
        return _ODDITIES[oddity].format(name=name, file=file.name, advice=advice)
    pixels = ", ".join(dict.fromkeys(map(_by, shapes)))
    otherwise = otherwise if len({*shapes}) == 1 else ""  # images that differ are refused
    held = f"{len(shapes)} images" if len(shapes) > 1 else "an image"
    return (
        f"{name} ({_by(shape)} pixels) is only a part of '{file.name}', which holds {held} of "
        f"{pixels} pixels; save each image as a file of its own{otherwise}."
    )


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def mask_notice(mask: Path, marked: npt.NDArray[np.bool_]) -> str | None:
    """Say that a mask marks nothing, or more than half of its image; None if it is plausible."""
    fraction = float(np.mean(marked))
    if fraction == 0:
        return f"Mask '{mask}' marks nothing: its image counts as free of defects."
    if fraction > 0.5:
        return (
            f"Mask '{mask}' marks {100 * fraction:.0f} % of its image as defective; invert it if "
            "it marks what is good."
        )
    return None
