"""An index of a residual that finds the pixels above any threshold quickly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..images.inspected_area import InspectedArea
from .runs import Runs

__all__ = ["ThresholdIndex"]

_SEGMENT = 16  # pixels whose maximum is kept


class ThresholdIndex:
    """Finds the runs of a plane above a threshold, in time proportional to their number.

    The plane is cut into short segments whose maxima are stored. A threshold is compared with the
    maxima first, and then only with the pixels of segments that reach above it.

    Parameters
    ----------
    plane
        float32 of shape (H, W) without NaN; copied.
    area
        The pixels that regions may have; None: all.
    """

    def __init__(self, plane: npt.NDArray[np.float32], area: InspectedArea | None = None) -> None:
        self.area = area
        self.height, self.width = plane.shape
        # One more column than needed, so that no run reaches the next row.
        self._per_row = self.width // _SEGMENT + 1
        padded = np.full((self.height, self._per_row * _SEGMENT), -np.inf, dtype=np.float32)
        padded[:, : self.width] = plane
        self._segments = padded.reshape(-1, _SEGMENT)
        self._highest = self._segments.max(axis=1)

    @property
    def plane(self) -> npt.NDArray[np.float32]:
        """The plane, (H, W)."""
        padded = self._segments.reshape(self.height, self._per_row * _SEGMENT)
        return padded[:, : self.width]

    def segments_above(self, threshold: float) -> int:
        """Return how many segments of 16 pixels reach above a threshold: the cost of `above`."""
        return int(np.count_nonzero(self._highest > _single(threshold)))

    def above(self, threshold: float) -> Runs:
        """Return the runs of the pixels above a threshold."""
        level = _single(threshold)
        reached = np.flatnonzero(self._highest > level)
        inside = self._segments[reached] > level
        flat = inside.ravel()
        before, after = np.zeros_like(flat), np.zeros_like(flat)
        before[1:], after[:-1] = flat[:-1], flat[1:]
        apart = np.flatnonzero(np.diff(reached) > 1) + 1  # the pixels in between are below
        before[apart * _SEGMENT] = False
        after[apart * _SEGMENT - 1] = False
        first, last = np.flatnonzero(flat & ~before), np.flatnonzero(flat & ~after)
        return Runs(self._place(reached, first), self._place(reached, last) + 1,
                    self.height, self.width)  # fmt: skip

    def _place(
        self, reached: npt.NDArray[np.int64], pixel: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        segment, column = np.divmod(pixel, _SEGMENT)
        segment = reached[segment]
        row = segment // self._per_row
        return np.asarray(
            row * (self.width + 1) + (segment - row * self._per_row) * _SEGMENT + column
        )


def _single(threshold: float) -> np.float32:
    """Round a threshold to float32; one beyond its range becomes infinite."""
    with np.errstate(over="ignore"):
        return np.float32(threshold)
