"""Grey opening and closing with a disk, in time proportional to its diameter.

Both commute with thresholding: opening a residual and then comparing it with a threshold gives the
same mask as comparing first and then opening the mask (Serra 1982). So they are applied to a
residual once, and moving the threshold afterwards is cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["closing", "disk", "opening"]

Plane: TypeAlias = npt.NDArray[np.float32]

_STRIP = 2**19  # values processed at a time, so that they fit into the processor's cache


def disk(diameter: int) -> npt.NDArray[np.bool_]:
    """Circular structuring element: the pixels whose centre lies within ``diameter / 2``.

    Returns
    -------
    numpy.ndarray
        bool of shape (diameter, diameter).

    Examples
    --------
    >>> disk(4).astype(int).tolist()
    [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]]
    """
    offsets = np.arange(diameter) - (diameter - 1) / 2
    return np.asarray(offsets[:, None] ** 2 + offsets**2 <= diameter**2 / 4)


def opening(plane: Plane, diameter: int) -> Plane:
    """Remove structures that are brighter than their surroundings and thinner than a disk.

    Parameters
    ----------
    plane
        float32 of shape (H, W) without NaN. Pixels outside count as lower than any value.
    diameter
        Of the disk, in pixels; below 2 nothing is done.

    Returns
    -------
    numpy.ndarray
        float32 of shape (H, W); -inf where no disk inside the image reaches.
    """
    if diameter < 2:
        return plane
    if min(plane.shape) < diameter:
        return np.full_like(plane, -np.inf)
    return _extreme(_framed(_extreme(plane, diameter, np.minimum), diameter), diameter, np.maximum)


def closing(plane: Plane, diameter: int) -> Plane:
    """Fill structures that are darker than their surroundings and thinner than a disk.

    Parameters
    ----------
    plane
        float32 of shape (H, W) without NaN. Pixels outside count as lower than any value, so
        that nothing is joined through the border.
    diameter
        Of the disk, in pixels; below 2 nothing is done.

    Returns
    -------
    numpy.ndarray
        float32 of shape (H, W), nowhere lower than ``plane``.
    """
    if diameter < 2:
        return plane
    return _extreme(_extreme(_framed(plane, diameter), diameter, np.maximum), diameter, np.minimum)


def _framed(plane: Plane, diameter: int) -> Plane:
    return np.pad(plane, diameter - 1, constant_values=-np.inf)


def _extreme(plane: Plane, diameter: int, extreme: Callable[..., Plane]) -> Plane:
    """Return minimum or maximum under the disk, wherever all of it lies inside.

    A disk is a stack of rows. The extreme under a longer row follows from that under a shorter one
    by a single operation, and the rows of all lengths are then combined: about 1.5 operations per
    row of the disk, whatever its area.
    """
    lengths = disk(diameter).sum(axis=1)
    height, width = plane.shape[0] - diameter + 1, plane.shape[1] - diameter + 1
    result = np.empty((height, width), dtype=plane.dtype)
    rows_at_once = max(diameter, _STRIP // plane.shape[1])
    for top in range(0, height, rows_at_once):
        out = result[top : top + rows_at_once]
        strip = plane[top : top + len(out) + diameter - 1]
        under_row, length = strip, 1
        first = True
        for wanted in np.unique(lengths).tolist():
            while length < wanted:
                step = min(length, wanted - length)
                under_row = extreme(under_row[:, :-step], under_row[:, step:])
                length += step
            left = (diameter - wanted) // 2
            for row in np.flatnonzero(lengths == wanted).tolist():
                part = under_row[row : row + len(out), left : left + width]
                if first:
                    out[:] = part
                    first = False
                else:
                    extreme(out, part, out=out)
    return result
