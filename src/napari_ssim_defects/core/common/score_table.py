"""Counts of good and defective pixels by residual, collected image by image in bounded memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = ["ScoreTable", "area_below_roc"]

_LARGEST = 2**20  # distinct residuals in the table
_BUFFER = 2**22  # pixels that are collected before they are counted

_Keys = npt.NDArray[np.uint32]


def area_below_roc(defective: npt.NDArray[np.float32], good: npt.NDArray[np.float32]) -> float:
    """Return the probability that a residual of the first kind exceeds one of the second.

    This is the area below the ROC curve (Mann and Whitney 1947). Meant for small samples.
    """
    statistic = stats.mannwhitneyu(defective, good).statistic
    return float(statistic / (defective.size * good.size))


class ScoreTable:
    """How many pixels have which residual.

    Exact while there are at most a million different residuals. Beyond that they are rounded
    down to fewer significant bits, as few as needed: of a hundred images, to about one part in a
    hundred thousand, so that memory does not grow with the number of images.
    """

    def __init__(self) -> None:
        self._shift = 0  # bits that were rounded away
        self._keys: _Keys = np.empty(0, np.uint32)
        self._columns = np.empty((3, 0))  # good pixels, defective pixels, weight of the latter
        self._pending: list[tuple[_Keys, npt.NDArray[np.float64]]] = []
        self._pending_pixels = 0

    def add(
        self,
        residual: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float64],
    ) -> None:
        """Count the pixels of an image.

        Parameters
        ----------
        residual
            Finite residuals of any shape.
        weights
            What each defective pixel weighs; same shape, positive there and 0 elsewhere.
        """
        self._pending.append((_ordered(residual.ravel()), weights.ravel()))
        self._pending_pixels += residual.size
        if self._pending_pixels >= _BUFFER:
            self._count()

    def columns(
        self,
    ) -> tuple[
        npt.NDArray[np.float64],
        npt.NDArray[np.float64],
        npt.NDArray[np.float64],
        npt.NDArray[np.float64],
    ]:
        """Return residuals, falling, with their good and defective pixels and their weight."""
        self._count()
        values = _values(self._keys << np.uint32(self._shift))[::-1]
        good, defective, weight = self._columns[:, ::-1]
        return values, good, defective, weight

    def _count(self) -> None:
        """Merge what is pending into the table, one image after another."""
        if not self._pending:
            return
        keys, columns = [self._keys], [self._columns]
        for ordered, weights in self._pending:
            found, inverse = np.unique(ordered >> np.uint32(self._shift), return_inverse=True)
            defective = np.bincount(inverse, weights > 0, len(found))
            good = np.bincount(inverse, minlength=len(found)) - defective
            keys.append(found)
            columns.append(np.stack([good, defective, np.bincount(inverse, weights, len(found))]))
        self._pending.clear()
        self._pending_pixels = 0
        self._merge(np.concatenate(keys), np.concatenate(columns, axis=1))
        while self._keys.size > _LARGEST:
            self._shift += 1
            self._merge(self._keys >> np.uint32(1), self._columns)

    def _merge(self, keys: _Keys, columns: npt.NDArray[np.float64]) -> None:
        self._keys, inverse = np.unique(keys, return_inverse=True)
        self._columns = np.stack(
            [np.bincount(inverse, column, self._keys.size) for column in columns]
        )


def _ordered(values: npt.NDArray[np.float32]) -> _Keys:
    """Whole numbers that are ordered as the residuals are."""
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)  # + 0: there is no -0
    negative = bits >> np.uint32(31) == 1
    return np.where(negative, ~bits, bits | np.uint32(2**31))


def _values(keys: _Keys) -> npt.NDArray[np.float64]:
    """Residuals of such whole numbers."""
    negative = keys >> np.uint32(31) == 0
    bits = np.where(negative, ~keys, keys & np.uint32(2**31 - 1))
    return bits.view(np.float32).astype(np.float64)
