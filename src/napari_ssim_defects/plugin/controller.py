"""The only code that knows layers, threads and the core: what the panel's buttons do."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info

from ..core.errors import InputError
from ..core.progress import (
    CalibrationProgress,
    FetchProgress,
    TrainingFinished,
    TrainingNotice,
    TrainingPreview,
    TrainingStarted,
    TrainingStep,
)
from . import jobs, layers
from .evaluation import EvaluationController
from .exporting import Exportable, exporting
from .model_text import model_origin
from .preferences import preferences
from .proposals import ProposalController
from .regions_of_interest import region_mask
from .runner import Runner
from .segmentation_preview import SegmentationPreview
from .spatial import pixel_size
from .state import LossPoint, PanelState

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ..core.model import DefectModel

__all__ = ["Controller"]


class Controller:
    """Does what the panel asks for.

    It takes layers from the viewer, lets a thread work on their arrays, and puts what the
    thread reports into the state and into new layers. One job runs at a time; starting another
    is refused with a sentence.

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
        self.evaluation = EvaluationController(viewer, self.state, self._runner)
        self.proposals = ProposalController(
            viewer, self.state, self._runner, self._preview.show_calibration
        )
        viewer.layers.events.removed.connect(self._on_layer_removed)
        self.state.export_folder = self.state.export_folder or preferences().export_folder

    def close(self) -> None:
        """End every thread and listen no more; for when the viewer closes."""
        if self._closed:
            return
        self._closed = True
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._preview.close()
        self.evaluation.close()
        self.proposals.close()
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
        elif isinstance(message, FetchProgress):
            self._runner.say(f"Fetching {message.text} …")
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

    # Detection

    def detect(self) -> None:
        """Make a heatmap of every chosen layer."""
        state = self.state
        if self._runner.refuse_while_busy():
            return
        try:
            if state.model is None:
                raise InputError("There is no model yet; train one or open a model file.")
            if not state.detection_layers:
                raise InputError("Choose at least one image layer to inspect.")
            sources = [layers.source_of(layer) for layer in state.detection_layers]
        except InputError as error:
            self._runner.fail(str(error))
            return
        chosen = preferences()
        origin = model_origin(state.model, state.model_name, state.stride)
        self._runner.begin(
            "detecting",
            "Inspecting …",
            partial(
                jobs.inspection,
                state.model,
                sources,
                state.stride,
                chosen.device,
                chosen.threads,
                state.keep_reconstruction,
            ),
            partial(self._on_detection, state.model.calibration.contrast_limits, origin),
        )

    def _on_detection(
        self, limits: tuple[float, float], origin: dict[str, Any], message: object
    ) -> None:
        if isinstance(message, jobs.Inspected):
            self._show_reconstruction(message, origin)
            self._show_heatmap(message, limits, origin)
        else:
            self._on_report(message)

    def _show_reconstruction(self, message: jobs.Inspected, origin: dict[str, Any]) -> None:
        if message.reconstruction is None:
            return
        layer = layers.new_reconstruction(message.reconstruction, message.source, origin)
        old = layers.find_derived(self.viewer.layers, "reconstruction", message.source.key)
        if old is None:
            self.viewer.add_layer(layer)
        else:
            old.data = layer.data
            old.metadata = layer.metadata

    def _show_heatmap(
        self, message: jobs.Inspected, limits: tuple[float, float], origin: dict[str, Any]
    ) -> None:
        source = message.source
        heatmap = layers.find_derived(self.viewer.layers, "residual", source.key)
        if heatmap is None:
            heatmap = layers.new_heatmap(
                message.residual, source, limits, origin, message.channel_axis
            )
            self.viewer.add_layer(heatmap)
            self.state.export_layers = (*self.state.export_layers, heatmap)
        else:
            layers.update_heatmap(heatmap, message.residual, source, limits, origin)
        if self.state.heatmap is heatmap:
            self._preview.reload(heatmap)
        else:
            self.state.heatmap = heatmap

    # Segmentation

    def create_labels(self) -> None:
        """Turn what the threshold finds in the heatmap into a layer of numbered regions."""
        state = self.state
        if self._runner.refuse_while_busy():
            return
        if state.heatmap is None:
            self._runner.fail("There is no heatmap to segment; detect first.")
            return
        settings = {"threshold": state.threshold, **state.segmentation.model_dump()}
        self._runner.begin(
            "labelling",
            "Labelling …",
            partial(jobs.labelling, state.heatmap.data, state.threshold, state.segmentation),
            partial(self._on_labelled, state.heatmap, settings),
        )

    def _on_labelled(self, heatmap: Any, settings: dict[str, Any], message: object) -> None:
        if isinstance(message, jobs.Labelled):
            layer = layers.new_labels(message.labels, heatmap, message.regions, settings)
            key = layers.provenance(heatmap)["source_id"]
            old = layers.find_derived(reversed(self.viewer.layers), "labels", key)
            if old is not None and not layers.is_painted(old):
                self.viewer.layers.remove(old)
            self._preview.hide(heatmap)
            self.viewer.add_layer(layer)
            count = len(message.regions)
            self._runner.say(f"Created {count} region{'s' * (count != 1)} in '{layer.name}'.")
        else:
            self._on_report(message)

    # Export

    def export(self, folder: str | Path | None = None) -> None:
        """Write the chosen heatmaps, their regions and the table to a folder."""
        state = self.state
        if self._runner.refuse_while_busy():
            return
        folder = Path(folder or state.export_folder or preferences().export_folder)
        if not state.export_layers:
            self._runner.fail("Choose at least one heatmap to export; detection makes them.")
            return
        items = [self._exportable(layer) for layer in state.export_layers]
        self._runner.begin(
            "exporting",
            "Exporting …",
            partial(
                exporting,
                items,
                folder,
                residual=state.export_residual,
                labels=state.export_labels,
                table=state.export_table,
            ),
            self._on_report,
        )

    def _exportable(self, heatmap: Any) -> Exportable:
        labels = layers.created_labels(heatmap, self.viewer.layers)
        size, unit = pixel_size(heatmap)
        return Exportable(
            layers.source_name(heatmap),
            heatmap.data,
            None if labels is None else labels.data,
            self._preview.threshold_of(heatmap),
            self.state.segmentation,
            size,
            unit,
        )

    def _on_report(self, message: object) -> None:
        if isinstance(message, jobs.Fraction):
            self._runner.advance(message.value)
        elif isinstance(message, jobs.Refused):
            self._runner.fail(message.text)
        elif isinstance(message, jobs.Done):
            self._runner.say(message.text)

    def _on_layer_removed(self, event: Any) -> None:
        layer = event.value
        self._preview.forget_layer(layer)
        state = self.state
        for name in ("training_layers", "detection_layers", "export_layers"):
            kept = tuple(other for other in getattr(state, name) if other is not layer)
            setattr(state, name, kept)
        if state.region_layer is layer:
            state.region_layer = None
        if state.heatmap is layer:
            others = [other for other in self.viewer.layers if layers.is_heatmap(other)]
            state.heatmap = others[-1] if others else None
