"""A picture of an inspected plane for people: the image itself, with its regions outlined."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from ...core.images.planes import ImageLike, Planes
from ..files.atomic import atomic_path

__all__ = [
    "DEFECT_COLOUR",
    "REVIEW_COLOUR",
    "display_limits",
    "outlined",
    "reduced",
    "write_overlay",
]

DEFECT_COLOUR = (26, 230, 255)
"""Cyan, RGB: the one hue that neither grey images nor warm heatmaps contain."""

REVIEW_COLOUR = (89, 242, 89)
"""Green, RGB, told from cyan by brightness too."""

_PIXELS_PER_LINE_WIDTH = 800
_STRIP = 64  # rows of a picture that labels are read for at a time
_SAMPLED = 500  # pixels along each axis that the display range is taken from


def write_overlay(
    path: str | os.PathLike[str],
    plane: npt.NDArray[np.float32],
    labels: npt.NDArray[np.integer],
    limits: tuple[float, float],
    review: npt.NDArray[np.integer] | None = None,
) -> None:
    """Write what `outlined` returns as PNG, whole or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with atomic_path(path) as temporary:
        Image.fromarray(outlined(plane, labels, limits, review)).save(temporary, format="PNG")


def outlined(
    plane: npt.NDArray[np.float32],
    labels: npt.NDArray[np.integer],
    limits: tuple[float, float],
    review: npt.NDArray[np.integer] | None = None,
) -> npt.NDArray[np.uint8]:
    """Draw a line around each region of a plane, outside of it, so that defects stay visible.

    Parameters
    ----------
    plane
        float32 of shape (C, H, W); three channels are taken for RGB, others for grey, by their
        mean.
    labels
        Regions, any integer type of shape (H, W); 0 is background.
    limits
        Values that are shown as black and as white.
    review
        Labels of the regions that are to be reviewed, which get another colour; None: none.

    Returns
    -------
    numpy.ndarray
        uint8 of shape (H, W, 3).

    Examples
    --------
    >>> labels = np.zeros((5, 5), np.int32)
    >>> labels[2, 2] = 1
    >>> picture = outlined(np.zeros((1, 5, 5), np.float32), labels, (0.0, 1.0))
    >>> picture[:, :, 1].tolist()[2]
    [0, 230, 0, 230, 0]
    """
    low, high = limits
    grey = plane if len(plane) == 3 else plane.mean(axis=0, keepdims=True)
    shown = np.rint(255 * np.clip((grey - low) / (high - low or 1), 0, 1)).astype(np.uint8)
    picture = np.ascontiguousarray(np.moveaxis(np.broadcast_to(shown, (3, *labels.shape)), 0, -1))
    width = 1 + max(labels.shape) // _PIXELS_PER_LINE_WIDTH
    # Where regions touch, the line runs between them, in the one with the smaller number.
    around = ndimage.maximum_filter(labels, 2 * width + 1)
    line = (around != labels) & (around > 0)
    picture[line] = DEFECT_COLOUR
    if review is not None:
        picture[line & np.isin(around, review)] = REVIEW_COLOUR
    return picture


def reduced(
    planes: Planes, index: int, labels: ImageLike, side: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.integer]]:
    """Return a plane and its labels, for a picture of at most so many pixels along each side.

    Every k-th pixel of the plane, and the largest label of each square of k x k: no region is
    lost. Labels are read in strips of rows.

    Parameters
    ----------
    planes, index
        The image, and which of its planes.
    labels
        Regions of the image, any integer type of shape (..., H, W).
    side
        Longest side of the picture; smaller planes stay as they are.
    """
    shape = planes.shape[-2:]
    step = -(-max(shape) // side)
    place = planes.place(index)
    columns = np.arange(0, shape[1], step)
    strips = []
    for top in range(0, shape[0], step * _STRIP):
        rows = slice(top, min(top + step * _STRIP, shape[0]))
        strip = np.asarray(labels[(*place, rows, slice(0, shape[1]))])
        if step > 1:
            strip = np.maximum.reduceat(strip, np.arange(0, len(strip), step), axis=0)
            strip = np.maximum.reduceat(strip, columns, axis=1)
        strips.append(strip)
    sampled = slice(None, None, step)
    return planes.read(index, sampled, sampled), np.concatenate(strips)


def display_limits(planes: Planes) -> tuple[float, float]:
    """Return the values that are shown as black and as white, the same for all planes.

    They are 0 and 255 for 8-bit images, else the percentiles 0.1 and 99.9 of a regular sample.
    """
    if planes.dtype == np.uint8:
        return 0.0, 255.0
    rows, columns = (slice(None, None, -(-size // _SAMPLED)) for size in planes.shape[-2:])
    sample = np.concatenate([
        planes.read(index, rows, columns).ravel() for index in range(len(planes))
    ])  # fmt: skip
    low, high = np.percentile(sample, (0.1, 99.9))
    return float(low), float(high)
