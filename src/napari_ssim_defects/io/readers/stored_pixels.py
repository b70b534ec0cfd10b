"""What stored pixels mean: which way up they are, and what a mask marks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ...core.common.errors import InputError

__all__ = [
    "ORIENTATION",
    "as_stored",
    "drawn",
    "swaps_sides",
    "two_levels",
    "upright",
]

ORIENTATION = 274
"""The tag of TIFF and EXIF: 1 is upright, 2 to 8 are the other ways to turn and mirror."""

_INVERSE = {6: 8, 8: 6}  # quarter turns; everything else undoes itself

_FLAT = 32  # grey levels by which compression alone may change a mask of one level
_THIRD_LEVEL = 25  # pixels within even surroundings that are neither level


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
        Value of the tag; 0, None and anything else count as upright.
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


def drawn(marked: npt.NDArray[np.bool_], opaque: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return what is marked in a mask with a transparent background.

    People draw in black on transparent layers, too, and the colour below the transparency does not
    show.
    """
    if opaque.all():
        return marked
    visible = marked & opaque
    return visible if visible.any() else opaque


def two_levels(name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return where a mask that was compressed with loss is nearer to its bright level.

    Raises
    ------
    InputError
        If it has more than two levels, which cannot be distinguished from compression artefacts.
    """
    grey = values.astype(np.int16)
    low, high = int(grey.min()), int(grey.max())
    if high - low < _FLAT:
        return np.asarray(grey > 127)
    quarter = (high - low) / 4
    even = ndimage.maximum_filter(grey, 5) - ndimage.minimum_filter(grey, 5) < quarter / 2
    if np.count_nonzero(even & (grey > low + quarter) & (grey < high - quarter)) > _THIRD_LEVEL:
        raise InputError(
            f"{name} has more than two levels and is compressed with loss, which blurs them; save "
            "it as PNG or TIFF."
        )
    return np.asarray(grey > (low + high) / 2)
