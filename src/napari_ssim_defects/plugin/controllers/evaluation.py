"""Controller of the Evaluate section: scores of a heatmap against ground truth."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from napari.layers import Labels, Layer

from ...core.common.errors import InputError
from ...core.config import SegmentationConfig
from ..jobs import jobs
from ..layers import is_mask, marks_on, refuse_large, source_name
from ..layers.provenance import inspected_area, provenance
from ..layers.regions_of_interest import region_mask
from ..state.panel_state import EvaluationSummary
from .section import Panel, SectionController

if TYPE_CHECKING:
    from napari.components import LayerList

    from ...core.evaluation.scores import Evaluation, ImageScores
    from ...core.images.inspected_area import InspectedArea
    from ...core.model.calibration import Calibration
    from ...core.model.corrections import Mark

__all__ = ["EvaluationController", "is_truth", "truth_of"]

_OF_TRUTH = {"mask", "gt", "label", "labels", "ground", "truth"}
_OF_IMAGES = {"image", "defective", "with", "defects"}


def is_truth(layer: Layer) -> bool:
    """Whether a layer can be ground truth: labels that detection has not made, or a mask."""
    return (isinstance(layer, Labels) and not provenance(layer)) or is_mask(layer)


def truth_of(image: str, layers: LayerList) -> Layer | None:
    """Return the ground truth that is called as an image is, as ``7_mask`` is for ``7``, if one is.

    Words such as mask, gt, label and truth do not count; of several layers none is taken.
    """
    wanted = _words(image)
    found = [layer for layer in layers if is_truth(layer) and _words(layer.name) == wanted]
    return found[0] if wanted and len(found) == 1 else None


def _words(name: str) -> list[str]:
    """Return the words of a name that tell one image from another."""
    name = re.sub(r" \[\d+\]$", "", name.casefold())  # napari's, of a second layer of that name
    words = re.split(r"[\W_]+", name)
    return [word for word in words if word not in _OF_TRUTH | _OF_IMAGES]


class EvaluationController(SectionController):
    """Scores the current heatmap in a thread and puts the scores into the state."""

    holds = ("truth_layer",)

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._proposed: Layer | None = None
        self._connect(panel.state.events.heatmap, self._forget)
        self._connect(panel.viewer.layers.events.inserted, self._propose)

    def start(self) -> None:
        """Score the current heatmap at the current threshold."""
        state = self._state
        if self._runner.refuse_while_busy():
            return
        try:
            if state.heatmap is None:
                raise InputError("There is no heatmap to evaluate; detect first.")
            if state.truth_layer is None:
                raise InputError("Choose the Labels layer that shows where the defects are.")
            refuse_large(state.heatmap, "evaluate smaller images")
            truth = region_mask(state.truth_layer, state.heatmap, empty=True)
        except InputError as error:
            self._runner.fail(str(error))
            return
        self._runner.begin(
            "evaluating",
            "Evaluating …",
            partial(
                evaluation,
                state.heatmap.data,
                truth,
                state.threshold,
                state.segmentation,
                provenance(state.heatmap).get("calibration"),
                inspected_area(state.heatmap),
                marks_on(state.heatmap, state.model),
            ),
            partial(self._on_message, source_name(state.heatmap)),
        )

    def _on_message(self, name: str, message: object) -> None:
        if isinstance(message, jobs.Fraction):
            self._runner.advance(message.value)
        elif isinstance(message, EvaluationSummary):
            self._state.evaluation = message
            self._runner.say(f"Evaluated '{name}'. {message.text}.")

    def _forget(self) -> None:
        self._state.evaluation = None
        if self._state.truth_layer is self._proposed:
            self._state.truth_layer = None  # of the image before
        self._propose(another=True)

    def _propose(self, _: object = None, *, another: bool = False) -> None:
        """Choose the ground truth of the heatmap by its name, unless a person has chosen one."""
        state = self._state
        if state.heatmap is not None and (another or state.truth_layer is None):
            found = truth_of(source_name(state.heatmap), self._viewer.layers)
            if found is not None:
                state.truth_layer = self._proposed = found


def evaluation(
    residual: npt.NDArray[np.float32],
    truth: npt.NDArray[np.bool_],
    threshold: float,
    config: SegmentationConfig,
    calibration: Calibration | None = None,
    area: InspectedArea | None = None,
    marks: Sequence[Mark] = (),
) -> Generator[jobs.Fraction | EvaluationSummary, None, None]:
    """Score a residual plane by plane; `EvaluationSummary` comes last.

    Parameters
    ----------
    residual
        float32 of shape (..., H, W).
    truth
        Which pixels are defective, bool of the same shape or of shape (H, W).
    threshold, config
        Segmentation for the scores at the threshold.
    calibration
        Of the model that made the residual: at which thresholds false regions are counted for the
        FROC curve. None: there is none.
    area
        The pixels that were inspected, which count; None: all.
    marks
        What a person has said of regions of the image: what is good counts as not outlined.
    """
    from ...core.evaluation.froc import froc_thresholds
    from ...core.evaluation.scores import Evaluator
    from ...core.model.corrections import kept_regions
    from ...core.segmentation.segment import segment_planes

    truth = np.broadcast_to(truth, residual.shape)
    count = int(np.prod(residual.shape[:-2]))
    evaluator = Evaluator(None if calibration is None else froc_thresholds(calibration))
    names: list[str] = []
    planes = segment_planes(residual, threshold, config.usable_at(threshold), area)
    for number, (index, found) in enumerate(planes):
        yield jobs.Fraction((number + 0.5) / count)
        here = None if area is None else area.plane(index)
        found = kept_regions(found, marks, index, residual.shape)
        evaluator.add(residual[index], truth[index], found.labels() > 0, here)
        names.append(f"plane {', '.join(map(str, index))}")
        yield jobs.Fraction((number + 1) / count)
    yield _summary(evaluator.result(), names)


def _summary(scores: Evaluation, names: list[str]) -> EvaluationSummary:
    from ...core.evaluation.scores import curve_sets

    assert scores.confusion is not None
    some = bool(scores.defects)
    pooled = (
        "all" if len(names) > 1 else "image",
        *(_text(score) for score in (scores.auroc, scores.auprc, scores.aupro)),
        _text(scores.confusion.iou if some else None),
        _text(scores.confusion.f1 if some else None),
        _text(scores.confusion.false_positive_rate),
        f"{scores.found} of {scores.defects}",
        f"{scores.false_regions_per_image:.3g}",
    )
    rows = [pooled]
    if len(names) > 1:
        rows += [_row(name, image) for name, image in zip(names, scores.per_image, strict=True)]
    return EvaluationSummary(
        columns=(
            "", "AUROC", "AUPRC", "AUPRO", "IoU", "F1", "FPR", "Found", "False regions",
        ),
        rows=tuple(rows),
        curves=tuple(curves for curves in curve_sets(scores) if curves.curves),
        text=(
            f"Found {scores.found} of {scores.defects} defect{'s' * (scores.defects != 1)}, "
            f"false regions per image: {scores.false_regions_per_image:.3g}"
        ),
    )  # fmt: skip


def _row(name: str, image: ImageScores) -> tuple[str, ...]:
    assert image.confusion is not None
    some = bool(image.defects)
    return (
        name,
        _text(image.auroc),
        _text(image.auprc),
        "",
        _text(image.confusion.iou if some else None),
        _text(image.confusion.f1 if some else None),
        _text(image.confusion.false_positive_rate),
        f"{image.found} of {image.defects}",
        str(image.false_regions),
    )


def _text(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"
