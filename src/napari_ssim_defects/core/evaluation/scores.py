"""Scores of residuals and predictions against ground truth (paper section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..common.array_checks import number_array, plane_shaped, truth_array
from ..common.errors import InputError
from ..common.score_table import ScoreTable
from ..images.inspected_area import InspectedArea
from ..segmentation.regions import label_regions
from .froc import FROC_LIMIT, Froc, FrocCounter

__all__ = [
    "Confusion",
    "CurveSet",
    "Evaluation",
    "Evaluator",
    "ImageScores",
    "curve_sets",
    "evaluate",
    "thinned",
]

PRO_LIMIT = 0.3
OVERLAP_RATE = 0.05
OVERLAP_RATES = np.linspace(0, PRO_LIMIT, 61)
_QUANTILES = (0.25, 0.5, 0.75)

_Curve = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Confusion matrix of the pixels."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    true_negatives: int = 0

    @classmethod
    def from_masks(
        cls, prediction: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]
    ) -> Confusion:
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


@dataclass(frozen=True, slots=True)
class ImageScores:
    """Scores of one image; areas are None where it is all good or all defective.

    Attributes
    ----------
    auroc, auprc
        As in `Evaluation`, over the pixels of the image.
    defects
        Number of connected defects.
    confusion
        Of the prediction at the threshold; None if there is none.
    found, false_regions
        Number of defects that a region of the prediction touches, and of regions that touch none.
    """

    auroc: float | None
    auprc: float | None
    defects: int
    confusion: Confusion | None
    found: int = 0
    false_regions: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well thresholded residuals match the ground truth, pooled over all images.

    Where no image has a defect, areas and quantiles are None, and what curves say of defects NaN.

    Attributes
    ----------
    thresholds
        Falling residuals at which pixels begin to count as defective, from infinity on; float64
        of shape (Q,), as the curves below.
    false_positive_rates, true_positive_rates
        The pixel ROC curve, from (0, 0) to (1, 1).
    precisions
        Defective fraction of the pixels from each threshold on; 1 at infinity.
    mean_overlaps
        Mean over defects of the fraction of each from the threshold on.
    overlap_rates, overlap_curves
        False positive rates (R,), and quantiles 0.25, 0.5 and 0.75 of the overlap of each defect
        with the prediction at these rates, by quantile (paper figure 5).
    auroc
        Area under the ROC curve.
    auprc
        Average precision: area under the step-wise precision-recall curve.
    aupro
        Area under the mean overlap of defects against the false positive rate, from 0 to
        `PRO_LIMIT`, divided by that limit.
    overlap_quantiles
        The quantiles of the overlap at a false positive rate of `OVERLAP_RATE`.
    images, defects
        Number of images, and of connected defects in them.
    confusion
        Of all predictions; None if there were none.
    per_image
        The scores of each image, in order.
    froc
        Defects found against false regions per image; None if no thresholds were given for it.
    """

    thresholds: _Curve
    false_positive_rates: _Curve
    true_positive_rates: _Curve
    precisions: _Curve
    mean_overlaps: _Curve
    overlap_rates: _Curve
    overlap_curves: dict[float, _Curve]
    auroc: float | None
    auprc: float | None
    aupro: float | None
    overlap_quantiles: dict[float, float | None]
    images: int
    defects: int
    confusion: Confusion | None
    per_image: tuple[ImageScores, ...]
    froc: Froc | None = None

    @property
    def found(self) -> int:
        """Number of defects that a predicted region touches."""
        return sum(image.found for image in self.per_image)

    @property
    def false_regions_per_image(self) -> float:
        """Predicted regions that touch no defect, per image."""
        return sum(image.false_regions for image in self.per_image) / self.images

    @property
    def good_images(self) -> int:
        """Number of images without defects."""
        return sum(not image.defects for image in self.per_image)

    @property
    def false_regions_per_good_image(self) -> float | None:
        """Predicted regions per image without defects; None if there is no such image."""
        counts = [image.false_regions for image in self.per_image if not image.defects]
        return sum(counts) / len(counts) if counts else None


class Evaluator:
    """Collects images one after another; only their defective pixels are kept.

    All others are counted by residual (see `ScoreTable`), so any number of images may be added.
    Scores are exact up to a million different residuals; beyond, residuals are rounded down to
    about five digits.

    Parameters
    ----------
    froc_thresholds
        Residuals at which defects found and false regions are counted; None: they are not.

    Examples
    --------
    >>> evaluator = Evaluator()
    >>> mask = np.eye(8, dtype=bool)
    >>> evaluator.add(mask.astype(np.float32), mask, prediction=mask).confusion.iou
    1.0
    >>> evaluator.result().auroc
    1.0
    """

    def __init__(self, froc_thresholds: npt.ArrayLike | None = None) -> None:
        self._froc = None if froc_thresholds is None else FrocCounter(froc_thresholds)
        self._table = ScoreTable()
        self._defects: list[npt.NDArray[np.float32]] = []
        self._images: list[ImageScores] = []

    def add(
        self,
        residual: npt.NDArray[np.float32],
        mask: npt.NDArray[np.bool_],
        prediction: npt.NDArray[np.bool_] | None = None,
        area: InspectedArea | None = None,
    ) -> ImageScores:
        """Add an image and return its own scores.

        Parameters
        ----------
        residual
            Residual map (H, W).
        mask
            Ground truth of the same shape; True = defect. 8-connected regions are the defects.
        prediction
            What was outlined, of the same shape; True = defect.
        area
            The pixels that count; None: all. What of a defect lies outside is left out.

        Raises
        ------
        InputError
            If they are not of one shape (H, W) with pixels, or the residual holds NaN or infinite
            values.
        """
        truth = truth_array(mask, "mask")
        predicted = None if prediction is None else truth_array(prediction, "prediction")
        with np.errstate(over="ignore"):
            residual = number_array(residual, "residual").astype(np.float32, copy=False)
        if residual.shape != truth.shape or (
            predicted is not None and predicted.shape != truth.shape
        ):
            raise InputError("Residuals and masks must be of the same number and shapes.")
        if plane_shaped(residual, "residual").ndim > 2:
            raise InputError("Stacks are scored plane by plane; give residuals of shape (H, W).")
        if not np.isfinite(residual).all():
            raise InputError("The residuals must not hold NaN or infinite values to be scored.")
        inside: slice | npt.NDArray[np.bool_] = slice(None)
        if area is not None:
            inside = area.mask()
            truth = truth & inside
            predicted = None if predicted is None else predicted & inside
        labels, count = label_regions(truth)
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        weights = (1 / np.maximum(areas, 1)).astype(np.float64)
        weights[0] = 0
        number_at, counted = labels[inside], residual[inside]
        defect = number_at > 0
        good, defective = np.sort(counted[~defect]), counted[defect]
        self._table.add(good, defective, weights[number_at[defect]])
        self._defects += _split(residual, labels, count)
        auroc, auprc = _areas(good, np.sort(defective))
        if self._froc is not None:
            self._froc.add(residual, labels, count, area)
        found = false_regions = 0
        if predicted is not None:
            regions, number = label_regions(predicted)
            found = int(np.count_nonzero(np.bincount(labels[predicted])[1:]))
            false_regions = number - int(np.count_nonzero(np.bincount(regions[truth])[1:]))
        scores = ImageScores(
            auroc,
            auprc,
            count,
            None if predicted is None else Confusion.from_masks(predicted[inside], truth[inside]),
            found,
            false_regions,
        )
        self._images.append(scores)
        return scores

    def result(self) -> Evaluation:
        """Return the scores over all images so far, every pixel with the same weight.

        Raises
        ------
        InputError
            If there is no image, or they hold no good pixel.
        """
        if not self._images:
            raise InputError("There is nothing to score; give at least one residual and its mask.")
        curves = _curves(self._table)
        fpr = curves.false_positive_rates
        count = len(self._defects)
        mean_overlaps = np.append(0, curves.weights / count) if count else np.full(len(fpr), np.nan)
        # Highest rate that is reached without exceeding the wanted one.
        reached = np.searchsorted(fpr, [*OVERLAP_RATES, OVERLAP_RATE], side="right") - 1
        overlaps = np.stack([
            self._overlaps(threshold) for threshold in curves.thresholds[reached]
        ])  # fmt: skip
        quantiles = np.full((len(_QUANTILES), len(overlaps)), np.nan)
        if count:
            quantiles = np.quantile(overlaps, _QUANTILES, axis=1)
        confusions = [image.confusion for image in self._images if image.confusion is not None]
        return Evaluation(
            thresholds=curves.thresholds,
            false_positive_rates=fpr,
            true_positive_rates=curves.true_positive_rates,
            precisions=curves.precisions,
            mean_overlaps=mean_overlaps,
            overlap_rates=OVERLAP_RATES,
            overlap_curves={
                q: values[:-1] for q, values in zip(_QUANTILES, quantiles, strict=True)
            },
            auroc=curves.auroc,
            auprc=curves.auprc,
            aupro=_area_below(fpr, mean_overlaps, PRO_LIMIT) if count else None,
            overlap_quantiles={
                q: float(values[-1]) if count else None
                for q, values in zip(_QUANTILES, quantiles, strict=True)
            },
            images=len(self._images),
            defects=count,
            confusion=sum(confusions, Confusion()) if confusions else None,
            per_image=tuple(self._images),
            froc=None if self._froc is None else self._froc.result(),
        )

    def _overlaps(self, threshold: float) -> npt.NDArray[np.float64]:
        """Fraction of each defect at or above a threshold of the table."""
        # A threshold of the table is rounded down: every residual of its step lies above it.
        threshold32 = np.float32(threshold)
        below = [np.searchsorted(values, threshold32, side="left") for values in self._defects]
        sizes = np.array([values.size for values in self._defects])
        return np.asarray(1 - np.array(below) / sizes)


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
        the masks hold no good pixel.

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
    if len(residuals) != len(masks) and len(residuals):
        raise InputError("Residuals and masks must be of the same number and shapes.")
    evaluator = Evaluator()
    for residual, mask in zip(residuals, masks, strict=False):
        evaluator.add(residual, mask)
    return evaluator.result()


def thinned(x: _Curve, y: _Curve) -> tuple[_Curve, _Curve]:
    """Return some two thousand points that represent a curve; ``x`` rises to 1.

    A curve may have one point per pixel. Of steps, both ends are kept.
    """
    wanted = np.linspace(0, 1, 1001)
    last = (np.searchsorted(x, wanted, side="right") - 1).clip(min=0)
    kept = np.union1d(np.searchsorted(x, wanted).clip(max=len(x) - 1), last)
    return x[kept], y[kept]


@dataclass(frozen=True, slots=True, eq=False)
class CurveSet:
    """Curves between 0 and 1 that are plotted together, from 0 to ``x_max``, by their names."""

    title: str
    x_name: str
    y_name: str
    x_max: float
    curves: dict[str, tuple[_Curve, _Curve]]


def curve_sets(scores: Evaluation) -> tuple[CurveSet, ...]:
    """Return ROC, precision and recall, overlaps of defects (paper figure 5), and FROC.

    Without defects they hold no curves, and FROC has none where false regions were not counted.
    """
    rate, limit = "False positive rate", float(scores.overlap_rates[-1])
    roc, precision, overlap, froc = (
        CurveSet("ROC", rate, "True positive rate", 1.0, {}),
        CurveSet("Precision and recall", "Recall (true positive rate)", "Precision", 1.0, {}),
        CurveSet("Overlap of defects", rate, "Overlap of each defect", limit, {}),
        CurveSet("FROC", "False regions per image", "Defects found", FROC_LIMIT, {}),
    )
    if scores.defects:
        roc.curves[f"AUROC {scores.auroc:.3f}"] = thinned(
            scores.false_positive_rates, scores.true_positive_rates
        )
        precision.curves[f"AUPRC {scores.auprc:.3f}"] = thinned(
            scores.true_positive_rates[1:], scores.precisions[1:]
        )
        for quantile, values in scores.overlap_curves.items():
            name = f"quantile {quantile:g}: {scores.overlap_quantiles[quantile]:.2f} at 5 %"
            overlap.curves[name] = scores.overlap_rates, values
        if scores.froc is not None:
            x, y = scores.froc.curve(FROC_LIMIT)  # stays as it is up to its next point
            name = f"{scores.froc.found_at(1.0):.2f} at 1 false region"
            froc.curves[name] = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
    return roc, precision, overlap, froc


@dataclass(frozen=True, slots=True)
class _Curves:
    thresholds: _Curve
    false_positive_rates: _Curve
    true_positive_rates: _Curve
    precisions: _Curve
    weights: _Curve

    @property
    def auroc(self) -> float | None:
        area = float(np.trapezoid(self.true_positive_rates, self.false_positive_rates))
        return None if np.isnan(area) else area

    @property
    def auprc(self) -> float | None:
        area = float(np.sum(np.diff(self.true_positive_rates) * self.precisions[1:]))
        return None if np.isnan(area) else area


def _curves(table: ScoreTable) -> _Curves:
    """Curves with one point per residual, from the highest on."""
    values, good, defective, weight = table.columns()
    false, true = np.cumsum(good), np.cumsum(defective)
    if not false[-1]:
        raise InputError(
            "The masks mark every pixel as defective, so no good pixel is left to count false "
            "alarms; check them."
        )
    if not true[-1]:
        true = np.full(len(values), np.nan)
    # Without defects true[-1] is NaN: times 0 it makes the first points NaN as well.
    return _Curves(
        thresholds=np.append(np.inf, values),
        false_positive_rates=np.append(0, false / false[-1]),
        true_positive_rates=np.append(0 * true[-1], true / true[-1]),
        precisions=np.append(1 + 0 * true[-1], true / (true + false)),
        weights=np.cumsum(weight),
    )


def _areas(
    good: npt.NDArray[np.float32], defective: npt.NDArray[np.float32]
) -> tuple[float | None, float | None]:
    """Area under the ROC curve and average precision of sorted residuals; None if one is empty."""
    if not good.size or not defective.size:
        return None, None
    below, up_to = (np.searchsorted(good, defective, side) for side in ("left", "right"))
    auroc = 0.5 * float(np.mean(below + up_to)) / good.size
    true = defective.size - np.searchsorted(defective, defective, "left")
    return auroc, float(np.mean(true / (true + good.size - below)))


def _split(
    residual: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], count: int
) -> list[npt.NDArray[np.float32]]:
    """Sorted residuals of each connected defect."""
    inside = labels > 0
    numbers, values = labels[inside], residual[inside]
    order = np.lexsort((values, numbers))
    borders = np.cumsum(np.bincount(numbers, minlength=count + 1)[1:])[:-1]
    return np.split(values[order], borders) if count else []


def _area_below(x: _Curve, y: _Curve, limit: float) -> float:
    """Area under a curve from x = 0 to ``limit``, as a fraction of the largest possible."""
    inside = x < limit
    x_cut = np.append(x[inside], limit)
    y_cut = np.append(y[inside], np.interp(limit, x, y))
    return float(np.trapezoid(y_cut, x_cut) / limit)
