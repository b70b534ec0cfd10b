"""Which intensities an image has, from a sample of its pixels, and whether others have them too."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from ..common.errors import InputError
from .intensity import USUAL_PERCENTILES, IntensityRange
from .planes import Planes, bit_depth

__all__ = ["intensity_sample", "odd_intensities"]

_PLANES = 16  # of a stack that are looked at
_SIDE = 2048  # of a plane that is looked at whole
_BLOCK = 256
_BLOCKS = 5  # along each side of a larger plane
_PIXELS = 100_000


def intensity_sample(
    planes: Planes, mask: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.float32]:
    """Return pixels from all over an image, of shape (C, N); some hundred thousand of a plane.

    Parameters
    ----------
    planes
        The image.
    mask
        The pixels that count, bool of shape (H, W) or (..., H, W); None: all.
    """
    counts = np.broadcast_to(True if mask is None else mask, planes.shape)
    counts = counts.reshape(len(planes), planes.height, planes.width)
    small = max(planes.height, planes.width) <= _SIDE
    rows, columns = (
        [slice(0, side)] if small else _blocks(side) for side in (planes.height, planes.width)
    )
    parts = []
    for index in np.linspace(0, len(planes) - 1, min(len(planes), _PLANES)).astype(int):
        for part in product(rows, columns):
            here = counts[index][part]
            if here.any():
                parts.append(_thinned(planes.read(int(index), *part)[:, here]))
    return np.concatenate([np.empty((planes.channels, 0), np.float32), *parts], axis=1)


def _thinned(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return pixels[:, :: 1 + pixels.shape[1] // _PIXELS]


def _blocks(side: int) -> list[slice]:
    starts = np.linspace(0, max(0, side - _BLOCK), _BLOCKS).astype(int)
    return [slice(int(start), int(start) + _BLOCK) for start in starts]


def odd_intensities(
    images: Sequence[Planes], masks: Sequence[npt.NDArray[np.bool_] | None] | None = None
) -> list[str]:
    """Say which images were saved on another scale than most of the others.

    Parameters
    ----------
    images
        The images.
    masks
        Per image, the pixels that count, as for `intensity_sample`; None: all.

    Raises
    ------
    InputError
        If there are any, and the images are of more than one bit depth.
    """
    if len(images) < 2:
        return []
    masks = [None] * len(images) if masks is None else masks
    pairs = [
        (planes, intensity_sample(planes, mask)) for planes, mask in zip(images, masks, strict=True)
    ]
    pairs = [(planes, pixels) for planes, pixels in pairs if pixels.size]
    if not pairs:
        return []
    limits = np.median([np.percentile(pixels, USUAL_PERCENTILES) for _, pixels in pairs], axis=0)
    if limits[0] >= limits[1]:
        return []
    mixed = len({bit_depth(planes.dtype) for planes, _ in pairs}) > 1
    found = (
        IntensityRange(
            (float(limits[0]),) * len(pixels), (float(limits[1]),) * len(pixels)
        ).mismatch(pixels, planes.name, "those of the other images", other_depth=mixed)
        for planes, pixels in pairs
    )
    notices = [notice for notice in found if notice is not None]
    if mixed and notices:
        raise InputError(notices[0])
    return notices
