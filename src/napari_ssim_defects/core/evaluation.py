"""Scores of residuals against ground truth (paper section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .regions import label_regions

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well thresholded residuals match the ground truth, pooled over all images.

    Attributes
    ----------
    false_positive_rates, true_positive_rates
        The pixel ROC curve, from (0, 0) to (1, 1); float64 of shape (Q,).
    auroc
        Area under it.
    auprc
        Average precision: area under the step-wise precision-recall curve.
    aupro
        Area under the mean overlap of defects against the false positive rate, from 0 to
        `PRO_LIMIT`, divided by that limit.
    overlap_quantiles
        Quantiles 0.25, 0.5 and 0.75 of the overlap of each defect with the prediction at a
        false positive rate of `OVERLAP_RATE` (paper figure 5).
    images, defects
        Number of images, and of connected defects in them.
    """

    false_positive_rates: npt.NDArray[np.float64]
    true_positive_rates: npt.NDArray[np.float64]
    auroc: float
    auprc: float
    aupro: float
    overlap_quantiles: dict[float, float]
    images: int
    defects: int


PRO_LIMIT = 0.3
OVERLAP_RATE = 0.05
_QUANTILES = (0.25, 0.5, 0.75)


def evaluate(
    residuals: Sequence[npt.NDArray[np.float32]], masks: Sequence[npt.NDArray[np.bool_]]
) -> Evaluation:
    """Score residual maps against ground truth, every pixel with the same weight.

    Parameters
    ----------
    residuals
        Residual maps (H, W); sizes may differ.
    masks
        Ground truth of the same shapes; True = defect. 8-connected regions are the defects.

    Raises
    ------
    InputError
        If there are none, numbers or shapes differ, a residual holds NaN or infinite values, or
        the masks hold no defect or no good pixel.

    References
    ----------
    Bergmann et al. 2018, section 4.3 and figure 5. AUPRO: Bergmann et al., The MVTec anomaly
    detection dataset, IJCV 2021.

    Examples
    --------
    >>> mask = np.eye(8, dtype=bool)
    >>> evaluate([mask.astype(np.float32)], [mask]).auroc
    1.0
    """
    if not len(residuals):
        raise InputError("There is nothing to score; give at least one residual and its mask.")
    if len(residuals) != len(masks) or any(
        r.shape != m.shape for r, m in zip(residuals, masks, strict=False)
    ):
        raise InputError("Residuals and masks must be of the same number and shapes.")
    truth = np.concatenate([np.ravel(mask) for mask in masks]).astype(bool)
    scores = np.concatenate([np.ravel(residual) for residual in residuals])
    if not np.isfinite(scores).all():
        raise InputError("The residuals must not hold NaN or infinite values to be scored.")
    positives = int(truth.sum())
    if not positives or positives == truth.size:
        raise InputError(
            "The masks must hold both defective and good pixels to score against; check them."
        )
    # One sort serves every curve: thresholds fall, rates rise.
    order = np.argsort(scores)[::-1]
    scores, truth = scores[order], truth[order]
    ends = np.append(np.flatnonzero(np.diff(scores)), truth.size - 1)  # one point per value
    true = np.cumsum(truth)[ends].astype(np.float64)
    false = ends + 1 - true
    fpr = np.append(0, false / (truth.size - positives))
    tpr = np.append(0, true / positives)
    precision = true / (true + false)

    defects = _defects(residuals, masks)
    thresholds = np.append(np.inf, scores[ends].astype(np.float64))
    overlap_threshold = thresholds[np.searchsorted(fpr, OVERLAP_RATE, side="right") - 1]
    overlaps = [_overlap(values, overlap_threshold) for values in defects]
    return Evaluation(
        false_positive_rates=fpr,
        true_positive_rates=tpr,
        auroc=float(np.trapezoid(tpr, fpr)),
        auprc=float(np.sum(np.diff(tpr) * precision)),
        aupro=_area_below(fpr, _mean_overlap(defects, thresholds), PRO_LIMIT),
        overlap_quantiles={q: float(np.quantile(overlaps, q)) for q in _QUANTILES},
        images=len(residuals),
        defects=len(defects),
    )


def _defects(
    residuals: Sequence[npt.NDArray[np.float32]], masks: Sequence[npt.NDArray[np.bool_]]
) -> list[npt.NDArray[np.float64]]:
    """Sorted residuals of each connected defect."""
    defects = []
    for residual, mask in zip(residuals, masks, strict=True):
        labels, count = label_regions(np.asarray(mask, dtype=bool))
        inside = labels > 0
        numbers, values = labels[inside], residual[inside].astype(np.float64)
        order = np.lexsort((values, numbers))
        borders = np.cumsum(np.bincount(numbers, minlength=count + 1)[1:])[:-1]
        defects += np.split(values[order], borders) if count else []
    return defects


def _overlap(values: npt.NDArray[np.float64], threshold: float) -> float:
    return 1 - np.searchsorted(values, threshold, side="left") / values.size


def _mean_overlap(
    defects: Sequence[npt.NDArray[np.float64]], thresholds: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Mean over defects of the fraction at or above each of the falling thresholds."""
    # Each defect pixel adds 1/area of its defect to the sum from its own threshold on.
    values = np.concatenate(defects)
    weights = np.concatenate([np.full(v.size, 1 / v.size) for v in defects])
    order = np.argsort(values)[::-1]
    total = np.append(0, np.cumsum(weights[order]))
    reached = np.searchsorted(-values[order], -thresholds, side="right")
    return np.asarray(total[reached] / len(defects))


def _area_below(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], limit: float) -> float:
    """Area under a curve from x = 0 to ``limit``, as a fraction of the largest possible."""
    inside = x < limit
    x_cut = np.append(x[inside], limit)
    y_cut = np.append(y[inside], np.interp(limit, x, y))
    return float(np.trapezoid(y_cut, x_cut) / limit)
