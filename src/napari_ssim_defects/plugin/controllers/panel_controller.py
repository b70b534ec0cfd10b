"""The controller of the panel: one per viewer, with a part for each section."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from napari.utils.notifications import show_info
from napari.utils.task_status import Status
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication, QMainWindow

from ..jobs import jobs
from ..jobs.runner import Runner
from ..jobs.sample_job import SampleDrawn, draw_nanofibres
from ..layers import is_inspectable
from ..previews.one_image import OneImage
from ..previews.overview import Overview
from ..previews.segmentation_preview import SegmentationPreview
from ..state.panel_state import PanelState, SessionModel
from ..state.preferences import preferences
from ..state.session import Remembered
from .batch import BatchController
from .corrections import CorrectionController
from .detection import DetectionController
from .evaluation import EvaluationController
from .export import ExportController
from .labelling import LabellingController
from .proposals import ProposalController
from .recipe_files import RecipeController
from .region_table import RegionTableController
from .section import Panel
from .training import TrainingController

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.viewer import Viewer

    from ...core.model.defect_model import DefectModel

__all__ = [
    "Controller",
    "controller_of",
]


class Controller:
    """Carries out the actions of the panel.

    Only controllers know layers, threads and the core. A controller takes layers from the viewer,
    runs a job on their arrays in a thread, and puts its messages into the state and into new
    layers. One job runs at a time; a second one is refused with a sentence.
    """

    def __init__(self, viewer: ViewerModel, state: PanelState | None = None) -> None:
        self.viewer = viewer
        self.state = state or PanelState()
        self._closed = False
        self._remembered = Remembered(self.state, preferences().data_folder)
        self._runner = Runner(self.state)
        self.images = OneImage(viewer, self.state)
        self._preview = SegmentationPreview(viewer, self.state, self.images, self._runner.fail)
        self._overview = Overview(viewer, self.state, self._preview.threshold_of, self._runner.fail)
        shared = Panel(viewer, self.state, self._runner, self._preview)
        self.training = TrainingController(shared, self._on_trained)
        self.detection = DetectionController(shared)
        self.proposals = ProposalController(shared)
        self.labelling = LabellingController(shared, self.images.show)
        self.regions = RegionTableController(shared)
        self.corrections = CorrectionController(shared, self.proposals.follow_model)
        self.evaluation = EvaluationController(shared)
        self.export = ExportController(shared)
        self.recipes = RecipeController(shared, self.export, self._adopt)
        self.batch = BatchController(shared)
        self._trained = 0  # models of this session
        self.state.events.model.connect(self._on_model)
        self._on_model()

    def close(self) -> None:
        """Stop all threads and disconnect; called when the viewer closes."""
        if self._closed:
            return
        self._closed = True
        for part in (
            self.images, self.training, self.detection, self.proposals, self._overview,
            self.labelling, self.regions, self.corrections, self.evaluation, self.export,
            self.recipes, self.batch, self._remembered,
        ):  # fmt: skip
            part.close()
        self.state.events.model.disconnect(self._on_model)
        self._preview.close()
        self._runner.finish()

    def stop(self) -> None:
        """Stop the running job: a training keeps its best model, detection its finished layers.

        A training that measures its model after that is stopped again, and the model discarded.
        """
        if self.state.discardable:
            self.training.discard()
        elif not self.state.busy or self.state.stopping:
            return
        elif self.state.activity == "training":
            self.training.stop()
        elif self.state.activity == "inspecting":
            self.batch.stop()
        else:
            self._runner.finish()
            self._runner.say("Stopped.")

    def open_sample(self) -> None:
        """Open the sample; its good images are chosen to train on, the others to inspect."""
        if not self._runner.refuse_while_busy():
            text = "Drawing the sample images …"
            self._runner.begin("opening", text, draw_nanofibres, self._on_sample)

    def _on_sample(self, message: object) -> None:
        if not isinstance(message, SampleDrawn):
            self._runner.report(message)
            return
        opened = [self.viewer.add_layer(Layer.create(*data)) for data in message.layers]
        good, *defective = filter(is_inspectable, opened)
        self.state.training_layers, self.state.detection_layers = (good,), tuple(defective)
        self.images.choose(good)
        self._runner.say("Good images are chosen: press Train, and then Detect for the others.")

    # Models

    def open_model(self, path: str | Path) -> None:
        """Read a model file; the current model stays if that fails."""
        if not self._runner.refuse_while_busy():
            job = partial(jobs.open_model, Path(path))
            self._runner.begin("opening", "Opening the model …", job, self._on_opened)

    def choose_model(self, chosen: SessionModel) -> None:
        """Make a model of this session the current one."""
        self.recipes.forget()
        self._use(chosen)

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
        job = partial(jobs.save_model, self.state.model, path)
        handle = partial(self._on_saved, self.state.model, path)
        self._runner.begin("saving", "Saving the model …", job, handle)

    def _on_opened(self, message: object) -> None:
        if isinstance(message, jobs.ModelOpened):
            self.recipes.forget()
            self._adopt(message.model, message.path)
            self._runner.say(f"Opened the model '{message.path.name}'.")

    def _on_saved(self, model: DefectModel, path: Path, message: object) -> None:
        if isinstance(message, jobs.Done):
            self.training.saved(model)
            saved = SessionModel(model, path.stem, path, model)
            self._keep(saved)
            if self.state.model is model:
                self._use(saved)
            self._runner.say(message.text)

    def _on_trained(self, model: DefectModel) -> None:
        before = self.state.model
        if before is not None and before.corrections:
            show_info("The new model has no corrections; mark the regions that it finds.")
        self._trained += 1
        new = SessionModel(self.recipes.fit(model), f"model {self._trained}")
        self._keep(new)
        self._use(new)

    def _adopt(self, model: DefectModel, path: Path) -> None:
        opened = SessionModel(model, path.stem, path, model)
        self._keep(opened)
        self._use(opened)

    def _use(self, chosen: SessionModel) -> None:
        state = self.state
        state.model_path, state.model_name = chosen.path, chosen.name
        state.model = chosen.model

    def _keep(self, new: SessionModel) -> None:
        """Put a model into the list, in the place of an earlier state of the same one."""

        def same(known: SessionModel) -> bool:
            unchanged = known.path is not None and known.model is known.saved
            return known.model.network is new.model.network or (
                unchanged and known.path == new.path
            )

        self.state.models = (*(each for each in self.state.models if not same(each)), new)

    def _on_model(self) -> None:
        """Follow the current model, which gets corrections and other thresholds."""
        state = self.state
        if state.model is None:
            return
        mine = [each for each in state.models if each.model.network is state.model.network]
        if not mine:
            path = state.model_path
            saved = state.model if path else None
            self._keep(SessionModel(state.model, state.model_name or "model", path, saved))
        elif mine[0].model is not state.model:
            changed = replace(mine[0], model=state.model)
            state.models = tuple(changed if each is mine[0] else each for each in state.models)


def controller_of(viewer: Viewer) -> Controller:
    """Return the controller of a viewer; made when it is first asked for.

    It outlives the panel: a training continues and a model is kept when the panel is closed.
    """
    # napari passes a proxy, whose layers are proxies too and never identical to a layer.
    viewer = getattr(viewer, "__wrapped__", viewer)
    window = viewer.window._qt_window  # there is no public event for the end of a viewer
    session = window.findChild(_Session)
    if session is None:
        session = _Session(window, Controller(viewer))
    return session.controller


class _Session(QObject):
    """Child of the window, so that it goes when the window goes."""

    def __init__(self, window: QMainWindow, controller: Controller) -> None:
        super().__init__(window)
        self.controller = controller
        self._window = window
        self._tasks: dict[str, Any] = {}
        controller.state.events.activity.connect(self._on_activity)
        controller.state.events.models.connect(self._on_models)
        window.destroyed.connect(controller.close)
        # When the last window closes, the application ends before Qt deletes the window.
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._close)

    def _on_activity(self, activity: str) -> None:
        self._tell_napari("activity", "" if activity == "idle" else activity)

    def _on_models(self, models: tuple[SessionModel, ...]) -> None:
        lost = [each.title for each in models if each.model is not each.saved]
        self._tell_napari("models", "; ".join(lost))

    def _tell_napari(self, what: str, text: str) -> None:
        """Let napari ask before it closes a viewer with which something would be lost."""
        tasks = getattr(getattr(self._window, "_window", None), "_task_status_manager", None)
        if tasks is None:  # not in every version of napari
            return
        if what not in self._tasks:  # napari keeps every registered task
            self._tasks[what] = tasks.register_task_status("SSIM defects", Status.COMPLETED, "")
        tasks.update_task_status(self._tasks[what], Status.BUSY if text else Status.COMPLETED, text)

    def _close(self) -> None:
        # A method of a QObject: Qt forgets it with the window, and with it the viewer.
        self.controller.close()
