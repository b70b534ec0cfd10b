"""What residuals of good images look like, and the thresholds that follow from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import InputError

__all__ = ["Calibration"]

# Dense in the upper tail, where thresholds lie: 1 - level falls from 1 to 1e-6.
_TAIL = np.concatenate([np.linspace(1, 0.1, 91), np.geomspace(0.1, 1e-6, 201)[1:], [0.0]])


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Distribution of the residual on defect-free pixels.

    Attributes
    ----------
    tail
        False positive rates, falling from 1 to 0; float64 of shape (Q,).
    thresholds
        Residual that each rate of defect-free pixels exceeds; float64 of shape (Q,).
    pixels
        Number of pixels that it was measured on.
    held_out
        Whether these pixels were kept out of the training.
    """

    tail: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64]
    pixels: int
    held_out: bool

    @classmethod
    def of(cls, residuals: Iterable[npt.NDArray[np.float32]], held_out: bool) -> Calibration:
        """Measure the distribution on residual maps of defect-free images."""
        values = np.concatenate([np.ravel(residual) for residual in residuals])
        thresholds = np.quantile(values, 1 - _TAIL).astype(np.float64)
        return cls(_TAIL, thresholds, values.size, held_out)

    def threshold(self, false_positive_rate: float) -> float:
        """Return the threshold that this fraction of defect-free pixels exceeds.

        Parameters
        ----------
        false_positive_rate
            Fraction of defect-free pixels, in [0, 1] (paper section 4.1).
        """
        if not 0 <= false_positive_rate <= 1:
            raise InputError(
                f"A false positive rate lies between 0 and 1, not {false_positive_rate}."
            )
        return float(np.interp(1 - false_positive_rate, 1 - self.tail, self.thresholds))

    def false_positive_rate(self, threshold: float) -> float:
        """Return the fraction of defect-free pixels above a threshold, in [0, 1]."""
        # Equal thresholds (a flat residual): the lowest rate counts, as pixels must exceed it.
        _, last = np.unique(self.thresholds[::-1], return_index=True)
        last = len(self.thresholds) - 1 - last
        rate = np.interp(threshold, self.thresholds[last], self.tail[last], left=1.0, right=0.0)
        return float(rate)

    @property
    def contrast_limits(self) -> tuple[float, float]:
        """Display range that shows good images dark; fixed, never per image."""
        low, high = self.threshold(0.5), self.threshold(1e-4)
        return low, max(low + 1.5 * (high - low), low + 1e-6 * max(1, abs(low)))
