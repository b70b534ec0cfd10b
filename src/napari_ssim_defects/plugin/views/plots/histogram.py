"""Histograms as the threshold slider shows them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Histogram", "percent"]


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts between edges.

    Parameters
    ----------
    counts
        (n,) number of values in each bin, never negative.
    edges
        (n + 1,) increasing ends of the bins.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """

    counts: NDArray[np.float64]
    edges: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.counts.ndim != 1 or self.edges.shape != (len(self.counts) + 1,):
            raise ValueError(
                f"a histogram of {self.counts.shape} counts needs one edge more, "
                f"not {self.edges.shape}"
            )

    @cached_property
    def _below(self) -> NDArray[np.float64]:
        """The number of values below each edge."""
        return np.concatenate([[0.0], np.cumsum(self.counts)])

    def share_above(self, value: float) -> float:
        """Return the share (0 to 1) of the values at or above a value, spread evenly in bins."""
        total = float(self.counts.sum())
        if total <= 0:
            return 0.0
        return self.number_above(value) / total

    def number_above(self, value: float) -> float:
        """Return how many of the values are at or above a value, spread evenly in bins."""
        above = self._below[-1] - np.interp(value, self.edges, self._below)
        return max(0.0, float(above))  # never a rounding error below

    def columns(self, low: float, high: float, number: int) -> NDArray[np.float64]:
        """Return the largest count in each of ``number`` equal intervals of a range."""
        if not len(self.counts):
            return np.zeros(number)
        ends = np.linspace(low, high, number + 1)
        first = np.searchsorted(self.edges, ends[:-1], side="right") - 1
        last = np.searchsorted(self.edges, ends[1:], side="left")
        inside = (last > 0) & (first < len(self.counts))
        first = np.clip(first, 0, len(self.counts) - 1)
        last = np.clip(last, first + 1, len(self.counts))
        padded = np.append(self.counts, 0.0)
        pairs = np.column_stack([first, last]).ravel()
        return np.where(inside, np.maximum.reduceat(padded, pairs)[::2], 0.0)

    def density_unit(self) -> float:
        """Return the density of one count: share of all values per unit of value."""
        width = float(np.median(np.diff(self.edges))) if len(self.counts) else 0.0
        total = float(self.counts.sum())
        return 1.0 / (total * width) if total > 0 and width > 0 else 0.0


def percent(share: float) -> str:
    """Return a share with the figures that matter.

    Examples
    --------
    >>> percent(0.25), percent(0.0123), percent(0.00001), percent(0.0)
    ('25 %', '1.2 %', '< 0.01 %', '0 %')
    """
    if 0 < share < 1e-4:
        return "< 0.01 %"
    share = round(share, 12)  # a tenth less a rounding error is a tenth
    decimals = 0 if share >= 0.1 or share == 0 else 1 if share >= 0.01 else 2
    return f"{100 * share:.{decimals}f} %"
