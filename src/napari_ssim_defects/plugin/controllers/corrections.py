"""Controller of corrections: regions that a person marks as good or as defects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.common.errors import InputError
from ...core.config import SegmentationConfig
from ..layers import large_labels, source_name
from ..layers.provenance import provenance
from .section import Panel, SectionController, tells_errors

if TYPE_CHECKING:
    from ...core.model.corrections import Mark, MarkVerdict
    from ...core.model.defect_model import DefectModel

__all__ = ["CorrectionController"]


class CorrectionController(SectionController):
    """Keeps marked regions in the current model, whose automatic threshold follows.

    Parameters
    ----------
    panel
        What it shares with other sections.
    on_threshold
        Called with a heatmap or labels of the model when its automatic threshold has changed.
    """

    def __init__(self, panel: Panel, on_threshold: Callable[[Any], None]) -> None:
        super().__init__(panel)
        self._on_threshold = on_threshold

    @tells_errors
    def mark(self, rows: Sequence[int], verdict: MarkVerdict) -> None:
        """Mark the regions of rows of the table; those that are marked so already are unmarked."""
        from ...core.model.corrections import with_marks

        if not rows:
            raise InputError("Choose one or more regions in the table first.")
        model = self._model()
        new = self._marks(rows, verdict)
        known = with_marks(model.corrections, new)
        if all(_is_known(mark, model.corrections) for mark in new):
            known = tuple(mark for mark in known if mark not in new)
            self._take(model, known, _taken_back(len(new)))
        else:
            kinds = "good" if verdict == "good" else "a defect" if len(new) == 1 else "defects"
            regions = f"{len(new)} region{'s' * (len(new) != 1)}"
            out = "it is" if len(new) == 1 else "they are"
            left = f": {out} left out of this image's results" if verdict == "good" else ""
            self._take(model, known, f"Marked {regions} as {kinds}{left}.")

    def undo(self) -> None:
        """Take back all marks of the current model."""
        model = self._state.model
        if model is not None and model.corrections:
            self._take(model, (), _taken_back(len(model.corrections)))

    def _model(self) -> DefectModel:
        """Return the model that found the listed regions."""
        model, layer = self._state.model, self._state.labels_layer
        if layer is None:
            raise InputError("There are no regions to mark; create labels first.")
        if large_labels(layer) is not None:
            raise InputError(
                f"'{layer.name}' is larger than memory; mark regions of a smaller image."
            )
        made = provenance(layer).get("model_created", "")
        if model is None or model.provenance.get("created", "") != made:
            raise InputError(
                f"'{layer.name}' was not made by the current model; detect and create labels again."
            )
        return model

    def _marks(self, rows: Sequence[int], verdict: MarkVerdict) -> list[Mark]:
        from ...core.model.corrections import marks_of

        layer, table = self._state.labels_layer, self._state.regions
        origin = provenance(layer)
        labels = np.asarray(layer.data)
        if origin["residual"].shape != labels.shape:
            raise InputError("The layer of regions has another size than its heatmap.")
        settings = {name: origin[name] for name in SegmentationConfig.model_fields}
        found: list[Mark] = []
        keys = [table.key(row) for row in rows]
        for plane in sorted({plane for plane, _ in keys}):
            chosen = [label for where, label in keys if where == plane]
            index = np.unravel_index(plane, labels.shape[:-2]) if labels.ndim > 2 else ()
            here = labels[tuple(index)]
            found += marks_of(
                origin["residual"][tuple(index)],
                np.where(np.isin(here, chosen), here, 0),
                verdict,
                image=source_name(layer),
                plane=plane,
                segmentation=SegmentationConfig(**settings),
            )
        return found

    def _take(self, model: DefectModel, marks: tuple[Mark, ...], what: str) -> None:
        state = self._state
        followed = state.threshold == state.auto_threshold
        state.model = replace(model, corrections=marks)
        self._on_threshold(state.labels_layer or state.heatmap)
        if followed and state.auto_threshold is not None:
            state.threshold = state.auto_threshold
        follows = f"{state.model.auto_threshold:.4g}, as without marks"
        if marks:
            follows = state.model.corrected.moved
        self._runner.say(f"{what} Automatic threshold {follows}. Save the model to keep this.")


def _is_known(mark: Mark, known: Sequence[Mark]) -> bool:
    return any(each.is_of(mark) and each.verdict == mark.verdict for each in known)


def _taken_back(count: int) -> str:
    return f"Took back {count} mark{'s' * (count != 1)}."
