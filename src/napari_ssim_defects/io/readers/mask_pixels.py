"""What the pixels of a mask mean: where it marks something, and where it is empty."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ...core.common.errors import InputError

__all__ = ["drawn", "two_levels"]

_FLAT = 32  # grey levels by which compression alone may change a mask of one level
_THIRD_LEVEL = 25  # pixels within even surroundings that are neither level


def drawn(marked: npt.NDArray[np.bool_], opaque: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return what is marked in a mask with a transparent background.

    A person who draws on a transparent layer may do so in black; what the background is under its
    transparency does not show.

    Parameters
    ----------
    marked
        Where values are not zero.
    opaque
        Where it is not transparent.
    """
    if opaque.all():
        return marked
    visible = marked & opaque
    return visible if visible.any() else opaque


def two_levels(name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return where a mask that was compressed with loss is nearer to its bright level.

    Parameters
    ----------
    name
        What the error message calls the mask.
    values
        uint8 of shape (H, W).

    Raises
    ------
    InputError
        If it has more than two levels, which cannot be told from what the compression left.
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
