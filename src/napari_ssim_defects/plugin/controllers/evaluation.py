"""Controller of the Evaluate section: scores of heatmaps against ground truth."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
from napari.layers import Layer

from ...core.common.errors import InputError
from ...core.config import SegmentationConfig
from ..jobs import jobs
from ..layers import is_heatmap, refuse_large, source_name
from ..layers.ground_truth import truth_of
from ..layers.heatmap_data import HeatmapData
from ..layers.large import large_residual
from ..layers.provenance import provenance
from ..layers.regions_of_interest import region_mask
from ..state.panel_state import EvaluationSummary
from .section import Panel, SectionController, starts_a_job

if TYPE_CHECKING:
    from ...core.evaluation.scores import Evaluation, ImageScores
    from ...core.model.calibration import Calibration

__all__ = ["EvaluationController", "Scored"]


class EvaluationController(SectionController):
    """Scores heatmaps in a thread and puts the scores into the state."""

    holds = ("truth_layer",)

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._proposed: Layer | None = None
        self._evaluated: WeakSet[Layer] = WeakSet()
        self._connect(panel.state.events.heatmap, self._forget)
        self._connect(panel.viewer.layers.events.inserted, self._propose)

    @starts_a_job
    def start(self, *, all_images: bool = False) -> None:
        """Score the current heatmap, or each that has ground truth, at its threshold."""
        state = self._state
        if state.heatmap is None:
            raise InputError("There is no heatmap to evaluate; detect first.")
        if all_images:
            pairs = self.with_truth()
        elif state.truth_layer is None:
            raise InputError("Choose the Labels layer that marks the defects.")
        else:
            refuse_large(state.heatmap, "evaluate smaller images")
            pairs = [(state.heatmap, state.truth_layer)]
        scored = [self._scored(heatmap, truth) for heatmap, truth in pairs]
        self._runner.begin(
            "evaluating",
            "Evaluating …",
            partial(
                evaluation,
                scored,
                state.segmentation,
                provenance(state.heatmap).get("calibration"),
            ),
            partial(self._on_message, [heatmap for heatmap, _ in pairs]),
        )

    def with_truth(self) -> list[tuple[Layer, Layer]]:
        """Return the heatmaps in memory whose ground truth is known, each with it."""
        state, layers = self._state, self._viewer.layers
        pairs = []
        for heatmap in layers:
            if is_heatmap(heatmap) and large_residual(heatmap) is None:
                chosen = state.truth_layer if heatmap is state.heatmap else None
                truth = chosen or truth_of(source_name(heatmap), layers)
                if truth is not None:
                    pairs.append((heatmap, truth))
        return pairs

    def _scored(self, heatmap: Layer, truth: Layer) -> Scored:
        threshold = self._preview.threshold_of(heatmap)
        return Scored(
            source_name(heatmap),
            HeatmapData.from_layer(heatmap, threshold, self._state.model),
            region_mask(truth, heatmap, empty=True),
        )

    def _on_message(self, heatmaps: list[Layer], message: object) -> None:
        if isinstance(message, jobs.Fraction):
            self._runner.advance(message.value)
        elif isinstance(message, EvaluationSummary):
            self._evaluated = WeakSet(heatmaps)
            self._state.evaluation = message
            many = len(heatmaps) > 1
            what = f"{len(heatmaps)} images" if many else f"'{source_name(heatmaps[0])}'"
            self._runner.say(f"Evaluated {what}. {message.text}.")

    def _forget(self) -> None:
        if self._state.heatmap is None or self._state.heatmap not in self._evaluated:
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


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A heatmap to score.

    Attributes
    ----------
    name
        What its image is called.
    heatmap
        Its values.
    truth
        Which pixels are defective, bool of the same shape or of shape (H, W).
    """

    name: str
    heatmap: HeatmapData
    truth: npt.NDArray[np.bool_]


def evaluation(
    images: Sequence[Scored], config: SegmentationConfig, calibration: Calibration | None = None
) -> Generator[jobs.Fraction | EvaluationSummary, None, None]:
    """Score residuals plane by plane; `EvaluationSummary` of all of them comes last.

    Parameters
    ----------
    images
        The residuals, and where their defects are.
    config
        Post-processing for the scores at the threshold.
    calibration
        Of the model that made them: at which thresholds false regions are counted for the FROC
        curve. None: there is none.
    """
    from ...core.evaluation.froc import froc_thresholds
    from ...core.evaluation.scores import Evaluator

    evaluator = Evaluator(None if calibration is None else froc_thresholds(calibration))
    names: list[str] = []
    for place, image in enumerate(images):
        residual, area = image.heatmap.residual, image.heatmap.area
        truth = np.broadcast_to(image.truth, residual.shape)
        count = int(np.prod(residual.shape[:-2]))
        for number, (index, found) in enumerate(image.heatmap.regions(config)):
            yield jobs.Fraction((place + (number + 0.5) / count) / len(images))
            here = None if area is None else area.plane(index)
            evaluator.add(residual[index], truth[index], found.labels() > 0, here)
            of_plane = f"plane {', '.join(map(str, index))}" if index else ""
            of_image = image.name if len(images) > 1 else ""
            names.append(", ".join(filter(None, (of_image, of_plane))))
            yield jobs.Fraction((place + (number + 1) / count) / len(images))
    thresholds = {f"{image.heatmap.threshold:.4g}" for image in images}
    at = f", at threshold {thresholds.pop()}" if len(thresholds) == 1 else ""
    yield _summary(evaluator.result(), names, at)


def _summary(scores: Evaluation, names: list[str], at: str) -> EvaluationSummary:
    from ...core.evaluation.scores import curve_sets

    assert scores.confusion is not None
    some = bool(scores.defects)
    found = f"{scores.found} of {scores.defects}"
    pooled = (
        "all" if len(names) > 1 else "image",
        found,
        f"{scores.false_regions_per_image:.3g}",
        *(_text(score) for score in (scores.auroc, scores.auprc, scores.aupro)),
        _text(scores.confusion.iou if some else None),
        _text(scores.confusion.f1 if some else None),
        _text(scores.confusion.false_positive_rate),
    )
    rows = [pooled]
    if len(names) > 1:
        rows += [_row(name, image) for name, image in zip(names, scores.per_image, strict=True)]
    return EvaluationSummary(
        columns=(
            "", "Found", "False regions", "AUROC", "AUPRC", "AUPRO", "IoU", "F1", "FPR",
        ),
        rows=tuple(rows),
        curves=tuple(curves for curves in curve_sets(scores) if curves.curves),
        text=(
            f"Found {found} defect{'s' * (scores.defects != 1)}, "
            f"false regions per image: {scores.false_regions_per_image:.3g}{at}"
        ),
    )  # fmt: skip


def _row(name: str, image: ImageScores) -> tuple[str, ...]:
    assert image.confusion is not None
    some = bool(image.defects)
    return (
        name,
        f"{image.found} of {image.defects}",
        str(image.false_regions),
        _text(image.auroc),
        _text(image.auprc),
        "",
        _text(image.confusion.iou if some else None),
        _text(image.confusion.f1 if some else None),
        _text(image.confusion.false_positive_rate),
    )


def _text(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"
