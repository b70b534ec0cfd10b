"""How pixels are turned that were stored lying: EXIF's orientation, which is TIFF's tag 274."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ORIENTATION", "as_stored", "swaps_sides", "upright"]

ORIENTATION = 274
"""The tag of TIFF and EXIF: 1 is upright, 2 to 8 are the other ways to turn and mirror."""

_INVERSE = {6: 8, 8: 6}  # quarter turns; everything else undoes itself


def swaps_sides(orientation: object) -> bool:
    """Whether height and width change places."""
    return orientation in (5, 6, 7, 8)


def upright(
    data: npt.NDArray[Any], orientation: object, rows: int = 0, columns: int = 1
) -> npt.NDArray[Any]:
    """Turn an image as it is to be shown.

    Parameters
    ----------
    data
        Array as it is stored.
    orientation
        Value of the tag; whatever is none, such as 0 or None, counts as upright.
    rows, columns
        Axes of height and width.
    """
    if swaps_sides(orientation):
        data = data.swapaxes(rows, columns)
    if orientation in (3, 4, 7, 8):
        data = np.flip(data, rows)
    if orientation in (2, 3, 6, 7):
        data = np.flip(data, columns)
    return data


def as_stored(data: npt.NDArray[Any], orientation: object) -> npt.NDArray[Any]:
    """Undo `upright` of an image whose first axes are height and width."""
    if orientation in (6, 8):
        return upright(data, _INVERSE[int(str(orientation))])
    return upright(data, orientation)
