"""What a prediction gets right and wrong, in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Confusion"]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Pixels by what was predicted and what is true."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    true_negatives: int = 0

    @classmethod
    def of(cls, prediction: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> Confusion:
        """Count the pixels of a prediction; True = defect."""
        both = int(np.count_nonzero(prediction & truth))
        predicted, positive = int(np.count_nonzero(prediction)), int(np.count_nonzero(truth))
        negatives = truth.size - predicted - positive + both
        return cls(both, predicted - both, positive - both, negatives)

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.true_negatives + other.true_negatives,
        )

    @property
    def iou(self) -> float:
        """Intersection over union; 1 where nothing is defective and nothing was predicted."""
        union = self.true_positives + self.false_positives + self.false_negatives
        return self.true_positives / union if union else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall (Dice's coefficient); 1 as `iou`."""
        union = 2 * self.true_positives + self.false_positives + self.false_negatives
        return 2 * self.true_positives / union if union else 1.0

    @property
    def false_positive_rate(self) -> float:
        """Fraction of the good pixels that were predicted; 0 where there are none."""
        good = self.false_positives + self.true_negatives
        return self.false_positives / good if good else 0.0
