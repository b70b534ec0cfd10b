"""Corrections: regions that a person knows to be good or defects, and the threshold they suggest.

The networks learn nothing. Good regions are added to the good material in which false regions are
counted. Missed defects lower the threshold if the cost is low. Other methods, such as weights of
the ensemble members, did not help (benchmarks/EXPERIMENTS.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from scipy import ndimage

from ..common.array_checks import number_array, plane_shaped
from ..common.errors import InputError, counted
from ..common.frozen_model import FrozenModel
from ..config import SegmentationConfig
from ..images.planes import plane_number
from ..images.tiles import Box
from ..segmentation.regions import label_regions
from ..segmentation.runs import Runs
from ..segmentation.segment import Segmented, prepare
from .calibration import Calibration
from .thresholds import FalseRegionsThreshold, ThresholdPolicy

__all__ = [
    "Corrections",
    "Mark",
    "MarkVerdict",
    "corrected",
    "kept_regions",
    "marked_good",
    "marks_of",
    "verdicts_of",
    "with_marks",
]

MarkVerdict = Literal["good", "defect"]
_Place = Annotated[int, Field(ge=0, le=10**9)]

_STEPS = 400  # thresholds that are compared below the automatic one
_WORTH = 1.0  # false regions per good image that one more marked defect may cost


class Mark(FrozenModel):
    """What a person says of one region.

    Attributes
    ----------
    verdict
        ``"good"``: good material, however it looks. ``"defect"``: a defect, found or missed.
    level
        Lowest threshold at which the region is no longer outlined.
    image, plane
        Name of its image, and number of the plane in it.
    box
        First row, first column, and one past the last row and column.
    runs
        Row, first column and one past the last of each run of its pixels; none: the whole box.
    """

    verdict: MarkVerdict
    level: Annotated[float, Field(ge=0, le=3e38)]  # what float32 holds
    image: Annotated[str, Field(max_length=10_000)] = ""
    plane: Annotated[int, Field(ge=0)] = 0
    box: tuple[_Place, _Place, _Place, _Place]
    runs: tuple[tuple[_Place, _Place, _Place], ...] = ()

    def pixels(self) -> npt.NDArray[np.bool_]:
        """Return which pixels of the box are marked."""
        top, left, bottom, right = self.box
        inside = np.full((bottom - top, right - left), not self.runs)
        for row, first, last in self.runs:
            inside[row - top, first - left : last - left] = True
        return inside

    def is_of(self, other: Mark) -> bool:
        """Whether another mark is about the same region: more than half of it lies in this one."""
        if (self.image, self.plane) != (other.image, other.plane):
            return False
        here, there = Box(*self.box), Box(*other.box)
        both, theirs = here.clipped(there), other.pixels()
        shared = self.pixels()[both.inside(here).slices] & theirs[both.inside(there).slices]
        return bool(2 * np.count_nonzero(shared) > np.count_nonzero(theirs))

    @model_validator(mode="after")
    def _runs_in_box(self) -> Self:
        top, left, bottom, right = self.box
        if (
            top >= bottom
            or left >= right
            or not all(
                top <= row < bottom and left <= first < last <= right
                for row, first, last in self.runs
            )
        ):
            raise ValueError("its pixels must lie in its box")
        return self


@dataclass(frozen=True, slots=True)
class Corrections:
    """The threshold that follows from marks, and what it costs.

    Attributes
    ----------
    threshold
        The automatic threshold after the corrections.
    before
        The automatic threshold without them.
    calibration
        What is known of good material, good regions included.
    good, good_outlined
        Number of regions that were marked good, and of those that are outlined nevertheless.
    defects, defects_missed
        Number of regions that were marked as defects, and of those that are not outlined.
    quiet
        Residual from which on no region is outlined that was marked good, and how many of the
        marked defects are missed there; None if it is not above the threshold.
    """

    threshold: float
    before: float
    calibration: Calibration
    good: int
    good_outlined: int
    defects: int
    defects_missed: int
    quiet: tuple[float, int] | None

    @property
    def moved(self) -> str:
        """The automatic threshold, and what it was if the marks have moved it."""
        if abs(self.threshold - self.before) < 1e-9:
            return f"{self.threshold:.4g}, as without marks"
        return f"{self.threshold:.4g} (without marks {self.before:.4g})"

    @property
    def text(self) -> str:
        """What was marked, what that does to the threshold, and what it costs, in sentences."""
        good = f"{counted(self.good, 'region')} marked good" if self.good else ""
        defects = f"{counted(self.defects, 'defect')} marked" if self.defects else ""
        costs = []
        if self.good:
            costs.append(f"{self.good_outlined or 'none'} of the good marks above it")
        if self.defects:
            costs.append(f"{self.defects_missed or 'none'} of the marked defects missed")
        expected = self.calibration.regions_per_image(self.threshold)
        costs.append(f"at most {expected:.2g} false region{'s' * (expected > 1.05)} per good image")
        text = (
            f"Corrections: {', '.join(filter(None, (good, defects)))}. "
            f"Automatic threshold {self.moved}: {', '.join(costs)}."
        )
        if self.quiet is not None:
            level, missed = self.quiet
            cost = f", but {counted(missed, 'marked defect')} missed" if missed else ""
            text += f" From {level:.3f} on, no region marked good is outlined{cost}."
        return text


def corrected(
    policy: ThresholdPolicy, calibration: Calibration, marks: Sequence[Mark]
) -> Corrections:
    """Return the automatic threshold after corrections.

    Good regions join the good material (see `Calibration.with_good_regions`). Then the threshold
    is lowered to where the missed marked defects, and the false regions per good image beyond
    those that the policy allows, are the fewest together; of equal ones, it is lowered the least.
    Only a threshold that false regions determine (``regions:N``) is moved.
    """
    good = [mark for mark in marks if mark.verdict == "good"]
    levels = np.array([mark.level for mark in good])
    defects = np.array([mark.level for mark in marks if mark.verdict == "defect"])
    joined = calibration.with_good_regions(
        levels.tolist(), len({(mark.image, mark.plane) for mark in good})
    )
    before = policy.threshold_for(calibration)
    threshold = policy.threshold_for(joined)
    if isinstance(policy, FalseRegionsThreshold) and (defects <= threshold).any():
        threshold = _lowered(threshold, policy.per_image, joined, defects)
    quiet = None
    if (levels > threshold).any():
        highest = np.ceil(1000 * levels.max()) / 1000  # as it is written, it still holds
        quiet = float(highest), int(np.count_nonzero(defects <= highest))
    return Corrections(
        threshold=threshold,
        before=before,
        calibration=joined,
        good=len(levels),
        good_outlined=int(np.count_nonzero(levels > threshold)),
        defects=len(defects),
        defects_missed=int(np.count_nonzero(defects <= threshold)),
        quiet=quiet,
    )


def marks_of(
    residual: npt.NDArray[np.float32],
    regions: npt.NDArray[np.integer] | npt.NDArray[np.bool_],
    verdict: MarkVerdict,
    *,
    image: str = "",
    plane: int = 0,
    segmentation: SegmentationConfig | None = None,
) -> tuple[Mark, ...]:
    """Measure marked regions of a residual.

    Parameters
    ----------
    residual
        Residual of one plane, of shape (H, W).
    regions
        Of the same shape: numbers of the regions, 0 = not marked; or bool, whose 8-connected
        regions are marked.
    verdict
        What all of them are.
    image, plane
        Where they are.
    segmentation
        How regions are outlined; None: as by default.

    Raises
    ------
    InputError
        If they are not of one shape (H, W), or the residual holds NaN.
    """
    config = segmentation or SegmentationConfig()
    with np.errstate(over="ignore"):
        residual = number_array(residual, "residual").astype(np.float32, copy=False)
    if plane_shaped(residual, "residual").ndim > 2 or np.shape(regions) != residual.shape:
        raise InputError("Residual and marked regions must be of one shape (H, W).")
    if np.isnan(residual).any():
        raise InputError("The residual holds NaN; replace it by finite values first.")
    labels = np.asarray(regions)
    if labels.dtype == bool:
        labels, _ = label_regions(labels)
    prepared = prepare(residual, config)
    marks = []
    _, numbers = np.unique(labels, return_inverse=True)  # numbers may be large and have gaps
    numbers = numbers.reshape(labels.shape) + (labels.min() > 0)
    for number, slices in enumerate(ndimage.find_objects(numbers), start=1):
        inside = numbers[slices] == number
        level = _level(prepared[slices], inside, max(1, config.min_area))
        (top, bottom), (left, right) = ((part.start, part.stop) for part in slices)
        runs = Runs.from_mask(inside)
        first = runs.start - runs.row * runs.pitch + left
        lines = zip(runs.row + top, first, first + runs.length, strict=True)
        marks.append(
            Mark(
                verdict=verdict,
                level=level,
                image=image,
                plane=plane,
                box=(top, left, bottom, right),
                runs=tuple((int(row), int(start), int(stop)) for row, start, stop in lines),
            )
        )
    return tuple(marks)


def verdicts_of(
    labels: npt.NDArray[np.integer], plane: int, marks: Iterable[Mark]
) -> dict[int, MarkVerdict]:
    """Return what regions of a plane are marked as: those that lie in a mark by more than half.

    A region that was marked is the same one while it shrinks at a higher threshold, and until it
    has grown to twice its size at a lower one.

    Parameters
    ----------
    labels
        Numbers of the regions, of shape (H, W).
    plane
        Number of the plane.
    marks
        Those of the image; of two on one region the last one counts.
    """
    found: dict[int, MarkVerdict] = {}
    for mark in marks:
        if mark.plane == plane:
            found.update(dict.fromkeys(_regions_under(mark, labels), mark.verdict))
    return found


def _regions_under(mark: Mark, labels: npt.NDArray[np.integer]) -> list[int]:
    box = Box(*mark.box)
    here = labels[box.slices]
    if here.shape != box.shape:  # of another image of that name
        return []
    numbers, counts = np.unique(here[mark.pixels()], return_counts=True)
    return [
        number
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
        if number and 2 * count > np.count_nonzero(labels == number)
    ]


def marked_good(found: Segmented, marks: Iterable[Mark]) -> npt.NDArray[np.bool_]:
    """Return which regions of a plane lie in one that was marked good by more than half.

    Parameters
    ----------
    found
        The regions.
    marks
        Those of its image and plane, of both kinds.

    Returns
    -------
    numpy.ndarray
        bool of shape (``found.count``,).
    """
    good, areas = np.zeros(found.count, bool), found.areas()
    for mark in marks:
        box = Box(*mark.box)
        if box.bottom <= found.runs.height and box.right <= found.runs.width:
            part = found.labels_in(box)[mark.pixels()]
            under = 2 * np.bincount(part, minlength=found.count + 1)[1:] > areas
            good[under] = mark.verdict == "good"
    return good


def kept_regions(
    found: Segmented, marks: Iterable[Mark], index: tuple[int, ...], shape: tuple[int, ...]
) -> Segmented:
    """Leave out the regions of a plane that are good by the marks of an image.

    Parameters
    ----------
    found
        The regions.
    marks
        Those of the image, in all planes.
    index, shape
        Index of the plane in the image, of shape (..., H, W).
    """
    plane = plane_number(index, shape)
    here = [mark for mark in marks if mark.plane == plane]
    return found.kept(~marked_good(found, here)) if here else found


def with_marks(known: Iterable[Mark], new: Sequence[Mark]) -> tuple[Mark, ...]:
    """Add marks; one about the same region takes the place of an earlier one."""
    kept = [mark for mark in known if not any(mark.is_of(other) for other in new)]
    return (*kept, *new)


def _level(prepared: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_], area: int) -> float:
    """Residual above which no connected region inside has this many pixels.

    Its lowest residual if it is too small at any.
    """
    values = np.sort(prepared[inside])[::-1]
    low, high = min(area, len(values)) - 1, len(values) - 1  # places in the values
    while low < high:
        middle = (low + high) // 2
        found, _ = label_regions((prepared >= values[middle]) & inside)
        if np.bincount(found.ravel())[1:].max(initial=0) >= area:
            high = middle
        else:
            low = middle + 1
    return float(np.clip(values[low], 0, 3e38))


def _lowered(
    threshold: float, allowed: float, calibration: Calibration, defects: npt.NDArray[np.float64]
) -> float:
    """Lower a threshold as long as a marked defect costs less than a false region per image."""
    lowest = min(float(defects.min()), threshold)
    below = np.linspace(threshold, lowest, _STEPS)
    # Just below the level of each defect, too: there it is outlined.
    missed_now = defects[defects <= threshold].astype(np.float32)  # as residuals are
    just = np.nextafter(missed_now, np.float32(-np.inf)).astype(np.float64)
    candidates = np.sort(np.concatenate([below, just]))[::-1]
    missed = np.array([np.count_nonzero(defects <= each) for each in candidates])
    false = np.array([calibration.regions_per_image(float(each)) for each in candidates])
    cost = missed + np.maximum(false - allowed, 0) / _WORTH
    return float(candidates[np.argmin(cost)])
