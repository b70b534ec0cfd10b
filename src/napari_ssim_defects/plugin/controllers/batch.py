"""Controller of the Folder section: detection in many files, like the command ``detect``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.common.errors import InputError
from ...core.config.region import parse_region
from ...core.model.thresholds import FixedThreshold
from ...io.artifacts.recipe import DetectionRecipe
from .. import layers
from ..jobs.batch_job import (
    BatchStep,
    ResultOpened,
    detect_in_files,
    open_result,
)
from ..layers.provenance import model_origin, provenance
from ..state.batch_state import BatchImage, BatchSummary
from ..state.preferences import preferences
from .export import RESULTS
from .section import Panel, SectionController, starts_a_job

if TYPE_CHECKING:
    from ...core.model.defect_model import DefectModel

__all__ = ["BatchController"]


class BatchController(SectionController):
    """Detects defects in files in a thread, and opens the result of one of them."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._made: tuple[DefectModel, DetectionRecipe] | None = None  # the results
        self._origin: dict[str, Any] = {}
        self._opened: dict[Path, str] = {}  # unique ids of layers
        for signal in self._signals():
            self._connect(signal, self._show_threshold)
        self._show_threshold()

    def choose(self, inputs: Sequence[str | Path]) -> None:
        """Choose files and folders, and propose a folder for the results."""
        batch = self._state.batch
        batch.inputs = tuple(Path(path) for path in inputs)
        if batch.inputs and batch.folder is None:
            first = batch.inputs[0]
            batch.folder = (first if first.is_dir() else first.parent) / RESULTS

    def missing(self) -> str:
        """Say what has to be chosen before the images can be inspected; "" if nothing is."""
        batch = self._state.batch
        lost = [path for path in batch.inputs if not path.exists()]
        if batch.threshold is None:
            return "There is no model yet; train one or open a model file."
        if not batch.inputs:
            return "Choose the folder or the files to inspect."
        if lost:
            return f"There is no '{lost[0]}'; choose a folder or files that exist."
        return "" if batch.folder is not None else "Choose the folder for the results."

    @starts_a_job
    def start(self) -> None:
        """Detect defects in the chosen files that are not finished yet."""
        state, batch = self._state, self._state.batch
        if missing := self.missing():
            raise InputError(missing)
        assert state.model is not None
        assert batch.threshold is not None
        assert batch.folder is not None
        chosen = preferences()
        segmentation = state.segmentation.usable_at(batch.threshold)  # as the preview shows it
        recipe = DetectionRecipe(
            images=batch.inputs,
            folder=batch.folder,
            threshold=FixedThreshold(value=batch.threshold),
            stride=state.stride,
            roi=parse_region(batch.roi) if batch.roi else None,
            segmentation=segmentation,
            outputs=state.outputs,
            report=batch.report,
            device=chosen.device,
            cluster=chosen.cluster,
        )
        self._made = state.model, recipe
        self._origin = model_origin(state.model, state.model_name, state.stride)
        batch.summary = None
        where = "" if chosen.cluster is None else f" on {chosen.cluster}"
        self._runner.begin(
            "inspecting",
            f"Inspecting{where} …",
            partial(
                detect_in_files,
                state.model,
                state.model_name,
                recipe,
                chosen.threads,
                overwrite=batch.overwrite,
            ),
            self._on_message,
        )

    def stop(self) -> None:
        """Stop; the current file is processed again the next time."""
        self._runner.finish()
        self._runner.say("Stopped. Finished images are kept; Start continues with the rest.")

    def open(self, image: BatchImage) -> None:
        """Show an image with its residual and its regions, in its layers if they exist."""
        heatmap = self._heatmap_of(image)
        if heatmap is not None:
            self._state.heatmap = heatmap
            self._viewer.layers.selection.active = heatmap
            return
        if self._made is None or self._runner.refuse_while_busy():
            return
        self._runner.begin(
            "opening",
            f"Opening '{image.path.name}' …",
            partial(open_result, *self._made, image),
            partial(self._on_opened, image),
        )

    def _on_message(self, message: object) -> None:
        batch = self._state.batch
        if isinstance(message, BatchSummary):
            batch.summary = message
            if message.ended:
                self._conclude(message)
        elif isinstance(message, BatchStep):
            self._state.remaining = message.remaining
            self._runner.advance(message.fraction)
            tried = batch.summary.done + len(batch.summary.failures)
            number = min(tried + 1, batch.summary.total)
            self._runner.say(
                f"Inspecting '{message.path.name}', {number} of {batch.summary.total} …"
            )

    def _conclude(self, summary: BatchSummary) -> None:
        text = f"Inspected {summary.done - summary.earlier} of {summary.total} images"
        if summary.earlier:
            text += f"; {summary.earlier} had been finished earlier"
        if not summary.failures:
            self._runner.say(f"{text}.")
            return
        names = ", ".join(f"'{path.name}'" for path, _ in summary.failures[:3])
        more = len(summary.failures) - 3
        others = f" and {more} more" if more > 0 else ""
        self._runner.fail(f"{text}; {names}{others} could not be used.")

    def _on_opened(self, image: BatchImage, message: object) -> None:
        if not isinstance(message, ResultOpened):
            self._runner.report(message)
            return
        assert self._made is not None
        (model, recipe), state = self._made, self._state
        shown = layers.new_image(message.data, message.rgb, message.spatial, image.path.stem)
        self._viewer.add_layer(shown)
        source = layers.source_of(shown)
        heatmap = layers.new_heatmap(
            message.residual, source, model.contrast_limits,
            {**self._origin, "area": message.area}, message.channel_axis,
        )  # fmt: skip
        self._viewer.add_layer(heatmap)
        self._opened[image.path] = str(heatmap.unique_id)
        state.heatmap = heatmap
        state.threshold = recipe.threshold_for(model)
        created = message.created
        settings = {"threshold": state.threshold, **recipe.segmentation.model_dump()}
        self._viewer.add_layer(
            layers.new_labels(created.labels, created.measured, heatmap, settings)
        )
        self._preview.hide(heatmap)
        self._runner.say(f"Opened '{image.path.name}' with its residual and its regions.")

    def _heatmap_of(self, image: BatchImage) -> Any:
        key = self._opened.get(image.path)
        return next((layer for layer in self._viewer.layers if str(layer.unique_id) == key), None)

    def _signals(self) -> tuple[Any, ...]:
        events = self._state.events
        return events.model, events.threshold, events.heatmap

    def _show_threshold(self) -> None:
        """Show the panel's threshold if it belongs to the current model."""
        state = self._state
        if state.model is None:
            state.batch.threshold = None
            return
        made = provenance(state.heatmap).get("model_created") if state.heatmap is not None else None
        current = made is not None and made == state.model.provenance.get("created", "")
        state.batch.threshold = state.threshold if current else state.model.auto_threshold
