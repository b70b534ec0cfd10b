"""Counts of good and defective pixels by residual, collected image by image in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = ["ScoreTable", "area_below_roc"]

_LARGEST = 2**20  # distinct residuals in the table
_BUFFER = 2**22  # pixels that are collected before they are counted

_Keys: TypeAlias = npt.NDArray[np.uint32]
_Counts: TypeAlias = tuple[_Keys, npt.NDArray[np.float64]]


def area_below_roc(defective: npt.NDArray[np.float32], good: npt.NDArray[np.float32]) -> float:
    """Return the probability that a residual of the first kind exceeds one of the second.

    This is the area below the ROC curve (Mann and Whitney 1947). Meant for small samples.
    """
    statistic = stats.mannwhitneyu(defective, good).statistic
    return float(statistic / (defective.size * good.size))


class ScoreTable:
    """Counts the pixels of each residual value.

    Exact while there are at most a million different residuals. Beyond that they are rounded
    down to fewer significant bits, as few as needed: of a hundred images, to about one part in a
    hundred thousand, so that memory does not grow with the number of images.
    """

    def __init__(self) -> None:
        self._shift = 0  # bits that were rounded away
        # Residuals of good and of defective pixels, rising, with their counts and, of the latter,
        # their weight.
        self._good: _Counts = (np.empty(0, np.uint32), np.empty((1, 0)))
        self._defective: _Counts = (np.empty(0, np.uint32), np.empty((2, 0)))
        self._pending: list[tuple[_Counts, _Counts]] = []
        self._pending_pixels = 0

    def add(
        self,
        good: npt.NDArray[np.float32],
        defective: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float64],
    ) -> None:
        """Count the pixels of an image.

        Parameters
        ----------
        good
            Finite residuals of its good pixels, rising.
        defective
            Those of its defective pixels, in any order.
        weights
            What each defective pixel weighs, positive; of the shape of ``defective``.
        """
        keys, own = (_ordered(each) >> np.uint32(self._shift) for each in (good, defective))
        first = _first_of_equals(keys)
        counts = np.diff(first, append=keys.size).astype(np.float64)
        self._pending.append((
            (keys[first], counts[np.newaxis]),
            _merged([(own, np.stack([np.ones_like(weights), weights]))]),
        ))  # fmt: skip
        self._pending_pixels += good.size + defective.size
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
        (good_keys, good), (defective_keys, defective) = self._good, self._defective
        keys, columns = _merged([
            (good_keys, np.pad(good, [(0, 2), (0, 0)])),
            (defective_keys, np.pad(defective, [(1, 0), (0, 0)])),
        ])  # fmt: skip
        values = _values(keys << np.uint32(self._shift))
        return values[::-1], *columns[:, ::-1]

    def _count(self) -> None:
        """Merge what is pending into the table, one image after another."""
        if not self._pending:
            return
        good, defective = zip(*self._pending, strict=True)
        self._pending, self._pending_pixels = [], 0
        self._good, self._defective = (
            _merged([self._good, *good]),
            _merged([self._defective, *defective]),
        )
        while max(self._good[0].size, self._defective[0].size) > _LARGEST:
            self._shift += 1
            self._good, self._defective = (
                _summed(keys >> np.uint32(1), columns)
                for keys, columns in (self._good, self._defective)
            )


def _merged(counts: Sequence[_Counts]) -> _Counts:
    """Sum the columns of equal keys, which may be in any order."""
    keys = np.concatenate([each for each, _ in counts])
    columns = np.concatenate([each for _, each in counts], axis=1)
    order = np.argsort(keys, kind="stable")
    return _summed(keys[order], columns[:, order])


def _summed(keys: _Keys, columns: npt.NDArray[np.float64]) -> _Counts:
    """Sum the columns (M, K) of equal keys (K), which rise."""
    first = _first_of_equals(keys)
    return keys[first], np.add.reduceat(columns, first, axis=1) if keys.size else columns


def _first_of_equals(keys: _Keys) -> npt.NDArray[np.intp]:
    """Where each key that differs from the one before stands."""
    return np.flatnonzero(np.diff(keys, prepend=~keys[:1]))


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
