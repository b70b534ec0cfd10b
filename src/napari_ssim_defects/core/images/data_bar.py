"""Data bars: the strip of text along a border that microscopes write into their images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..config.region import MarginsRegion
from .planes import Planes

__all__ = ["data_bar"]

_IMAGES = 6  # that are looked at
_PART = 3  # a bar takes less than one in so many rows
_MOST = 1024  # rows
_LEAST = 8
_FRAME = 6  # rows of a line around a bar, or between lines of text, that are not as the rest
_TOLERANCE = 0.04  # of the range of intensities: what counts as flat, compressed by JPEG too
_FLAT = 0.5  # part of the pixels of a row of the bar that are background
_MOSTLY = 0.75  # part of the rows that are so; rows of a weave are so in turn
_ONE_COLOUR = 0.95  # the same of a line that separates
_TEXT = 0.2  # of the range: what stands out from the background
_SHARE = (0.002, 0.45)  # part of the bar that is text
_IMAGE = 0.3  # the largest part of a usual row of the image itself that has one intensity


def data_bar(images: Sequence[Planes]) -> MarginsRegion | None:
    """Find a data bar or caption along a border that is the same in all images.

    It is a strip of flat background with some text on it, across all of the image, which has
    nothing flat beside it. Text may differ between the images, background and height may not.

    Parameters
    ----------
    images
        The images; a few of them are looked at, the first plane of each.

    Returns
    -------
    MarginsRegion or None
        What leaves it out; None if there is none.
    """
    if not images:
        return None
    chosen = [images[i] for i in np.unique(np.linspace(0, len(images) - 1, _IMAGES).astype(int))]
    for side in ("bottom", "top", "right", "left"):
        found = []
        for planes in chosen:
            bar = _bar(_from_border(planes, side))
            if bar is None:
                break
            found.append(bar)
        else:
            heights, backgrounds, tolerances = (
                np.array(column) for column in zip(*found, strict=True)
            )
            same = np.ptp(heights) <= 2 and np.ptp(backgrounds) <= 2 * tolerances.max()
            if found and same:
                return MarginsRegion(**{side: int(heights.max())})
    return None


def _from_border(planes: Planes, side: str) -> npt.NDArray[np.float32]:
    """Return rows of grey from a border inwards, as many as a bar may have and as many again."""
    length = planes.height if side in ("top", "bottom") else planes.width
    count = min(2 * _MOST, max(1, 2 * length // _PART))
    part = slice(length - count, length) if side in ("bottom", "right") else slice(0, count)
    box = (part, slice(None)) if side in ("top", "bottom") else (slice(None), part)
    grey = np.asarray(planes.read(0, *box).mean(axis=0))
    rows = grey if side in ("top", "bottom") else grey.T
    return rows[::-1] if side in ("bottom", "right") else rows


def _bar(rows: npt.NDArray[np.float32]) -> tuple[int, float, float] | None:
    """Return height, background and tolerance of a bar that begins in the first row."""
    low, high = np.percentile(rows, (0.2, 99.8))
    tolerance = _TOLERANCE * float(high - low)
    if tolerance <= 0:
        return None
    middle = np.median(rows, axis=1)
    flat = (abs(rows - middle[:, None]) <= tolerance).mean(axis=1)
    plain = np.flatnonzero(flat >= _FLAT)
    if not plain.size or plain[0] > _FRAME:
        return None
    background = float(np.median(middle[plain[: 2 * _LEAST]]))
    alike = plain[abs(middle[plain] - background) <= tolerance]
    if not alike.size or alike[0] > _FRAME:
        return None
    gaps = np.flatnonzero(np.diff(alike) > _FRAME)
    height = int(alike[gaps[0] if gaps.size else -1]) + 1
    for number in range(_FRAME):  # a line that separates the bar from the image
        if height < len(rows) and flat[height] >= _ONE_COLOUR:
            height += 1
        elif number == 0 or height >= len(rows):
            break
    most = min(_MOST, len(rows) // 2)
    if not _LEAST <= height <= most:
        return None
    if np.mean(flat[:height] >= _FLAT) < _MOSTLY:
        return None
    text = float((abs(rows[:height] - background) > _TEXT * (high - low)).mean())
    beside = float(np.median(flat[height:]))
    if not _SHARE[0] <= text <= _SHARE[1] or beside > _IMAGE:
        return None
    return height, background, tolerance
