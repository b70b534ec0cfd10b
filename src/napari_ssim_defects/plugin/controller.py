"""What the panel's buttons do: training and models here, each later step in a part of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info

from ..core.errors import InputError
from ..core.progress import (
    CalibrationProgress,
    PreparationProgress,
    TrainingFinished,
    TrainingNotice,
    TrainingPreview,
    TrainingStarted,
    TrainingStep,
)
from . import jobs, layers
from .detection import DetectionController
from .evaluation import EvaluationController
from .export import ExportController
from .labelling import LabellingController
from .preferences import preferences
from .proposals import ProposalController
from .region_table import RegionTableController
from .regions_of_interest import region_mask
from .runner import Runner
from .segmentation_preview import SegmentationPreview
from .state import LossPoint, PanelState

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ..core.model import DefectModel

__all__ = ["Controller"]


class Controller:
    """Does what the panel asks for.

    With its parts it is the only code that knows layers, threads and the core. It takes layers
    from the viewer, lets a thread work on their arrays, and puts what the thread reports into the
    state and into new layers. One job runs at a time; starting another is refused with a
    sentence.

    Parameters
    ----------
    viewer
        Where layers come from and go to.
    state
        What to work on; views show it.
    """

    def __init__(self, viewer: ViewerModel, state: PanelState | None = None) -> None:
        self.viewer = viewer
        self.state = state or PanelState()
        self._closed = False
        self._runner = Runner(self.state)
        self._preview = SegmentationPreview(viewer, self.state, self._runner.fail)
        shared = viewer, self.state, self._runner
        self.detection = DetectionController(*shared, self._preview)
        self.proposals = ProposalController(*shared, self._preview.show_calibration)
        self.labelling = LabellingController(*shared, self._preview)
        self.regions = RegionTableController(*shared)
        self.evaluation = EvaluationController(*shared)
        self.export = ExportController(*shared, self._preview)
        viewer.layers.events.removed.connect(self._on_layer_removed)

    def close(self) -> None:
        """End every thread and listen no more; for when the viewer closes."""
        if self._closed:
            return
        self._closed = True
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        for part in (
            self.detection, self.proposals, self.regions, self.evaluation, self.export
        ):  # fmt: skip
            part.close()
        self._preview.close()
        self._runner.finish()

    # Training

    def train(self) -> None:
        """Train a model on the chosen layers."""
        state = self.state
        if self._runner.refuse_while_busy():
            return
        try:
            if not state.training_layers:
                raise InputError("Choose at least one image layer without defects to train on.")
            images = [self._training_image(layer) for layer in state.training_layers]
        except InputError as error:
            self._runner.fail(str(error))
            return
        state.losses = ()
        state.preview = None
        chosen = preferences()
        self._runner.begin(
            "training",
            "Preparing the training …",
            partial(jobs.training, images, state.config, chosen),
            self._on_training,
        )

    def set_paused(self, paused: bool) -> None:
        """Hold the training, or let it go on."""
        if self.state.activity == "training":
            self._runner.set_paused(paused)
            self._runner.say("Training is paused." if paused else "Training goes on …")

    def stop(self) -> None:
        """End what is running: a training keeps its best model, detection its finished layers."""
        if not self.state.busy or self.state.stopping:
            return
        if self.state.activity == "training":
            self.state.stopping = True
            self._runner.send(True)
            self._runner.say("Stopping; the best model so far is kept …")
        else:
            self._runner.finish()
            self._runner.say("Stopped.")

    def _training_image(self, layer: Any) -> jobs.TrainingImage:
        region = self.state.region_layer
        mask = None if region is None else region_mask(region, layer)
        return jobs.TrainingImage(layers.source_of(layer), mask)

    def _on_training(self, message: object) -> None:
        state = self.state
        if isinstance(message, TrainingStarted):
            self._runner.say(f"Training on {message.device} ({message.precision}) …")
        elif isinstance(message, PreparationProgress):
            self._runner.say(f"{message.text} …")
            self._runner.advance(message.fraction)
        elif isinstance(message, TrainingStep):
            point = LossPoint(message.elapsed, message.loss, message.validation_loss)
            state.losses = (*state.losses, point)
            state.remaining = message.remaining
            self._runner.advance(message.fraction)
        elif isinstance(message, TrainingPreview):
            state.preview = message
        elif isinstance(message, TrainingNotice):
            show_info(message.text)
        elif isinstance(message, CalibrationProgress):
            state.remaining = None
            self._runner.say("Measuring the residuals of defect-free pixels …")
            self._runner.advance(message.fraction)
        elif isinstance(message, TrainingFinished):
            self._adopt(message.model, None)
            stopped = "Stopped early; the" if message.stopped else "The"
            self._runner.say(f"{stopped} model is trained but not saved yet.")

    # Models

    def open_model(self, path: str | Path) -> None:
        """Read a model file; the current model stays if that fails."""
        if not self._runner.refuse_while_busy():
            job = partial(jobs.opening, Path(path))
            self._runner.begin("opening", "Opening the model …", job, self._on_opened)

    def save_model(self, path: str | Path) -> None:
        """Write the current model to a file."""
        if self._runner.refuse_while_busy():
            return
        if self.state.model is None:
            self._runner.fail("There is no model to save; train one first.")
            return
        path = Path(path)
        if path.suffix != ".safetensors":
            path = path.with_name(f"{path.name}.safetensors")
        job = partial(jobs.saving, self.state.model, path)
        self._runner.begin("saving", "Saving the model …", job, partial(self._on_saved, path))

    def _on_opened(self, message: object) -> None:
        if isinstance(message, jobs.ModelOpened):
            self._adopt(message.model, message.path)
            self._runner.say(f"Opened the model '{message.path.name}'.")

    def _on_saved(self, path: Path, message: object) -> None:
        if isinstance(message, jobs.Done):
            self.state.model_path = path
            self.state.model_name = path.stem
            self._runner.say(message.text)

    def _adopt(self, model: DefectModel, path: Path | None) -> None:
        self.state.model_path = path
        self.state.model_name = path.stem if path is not None else "unsaved model"
        self.state.model = model

    def _on_layer_removed(self, event: Any) -> None:
        state, removed = self.state, event.value
        state.training_layers = tuple(
            layer for layer in state.training_layers if layer is not removed
        )
        if state.region_layer is removed:
            state.region_layer = None
