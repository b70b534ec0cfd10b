"""Which intensities an image has, from a sample of its pixels, and whether others have them too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .intensity import IntensityRange
from .planes import Planes

__all__ = ["intensity_sample", "odd_intensities"]

_PLANES = 16  # of a stack that are looked at
_SIDE = 2048  # of a plane that is looked at whole
_BLOCK = 256
_BLOCKS = 5  # along each side of a larger plane
_PIXELS = 100_000
_USUAL = (1.0, 99.0)  # percentiles between which the intensities of an image are


def intensity_sample(planes: Planes) -> npt.NDArray[np.float32]:
    """Return pixels from all over an image, of shape (C, N); some hundred thousand of a plane."""
    parts = []
    for index in np.linspace(0, len(planes) - 1, min(len(planes), _PLANES)).astype(int):
        if max(planes.height, planes.width) <= _SIDE:
            parts.append(planes[int(index)])
            continue
        for rows in _blocks(planes.height):
            parts += [planes.read(int(index), rows, part) for part in _blocks(planes.width)]
    return np.concatenate([_thinned(part.reshape(len(part), -1)) for part in parts], axis=1)


def _thinned(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return pixels[:, :: 1 + pixels.shape[1] // _PIXELS]


def _blocks(side: int) -> list[slice]:
    starts = np.linspace(0, max(0, side - _BLOCK), _BLOCKS).astype(int)
    return [slice(int(start), int(start) + _BLOCK) for start in starts]


def odd_intensities(images: Sequence[Planes]) -> list[str]:
    """Say which images were saved on another scale than most of the others."""
    if len(images) < 2:
        return []
    samples = [intensity_sample(planes) for planes in images]
    limits = np.median([np.percentile(pixels, _USUAL) for pixels in samples], axis=0)
    if limits[0] >= limits[1]:
        return []
    notices = (
        IntensityRange(
            (float(limits[0]),) * len(pixels), (float(limits[1]),) * len(pixels)
        ).mismatch(pixels, planes.name, "those of the other images")
        for planes, pixels in zip(images, samples, strict=True)
    )
    return [notice for notice in notices if notice is not None]
