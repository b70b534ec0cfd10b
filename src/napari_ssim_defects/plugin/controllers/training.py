"""Controller of the Train section: trains on the chosen layers; resumes after a crash."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info

from ...core.common.errors import InputError
from ...core.training.messages import (
    MEASURING,
    STEPS,
    TRIAL,
    TrainingFinished,
    TrainingNotice,
    TrainingOutlook,
    TrainingPreview,
    TrainingStep,
)
from .. import layers
from ..jobs.training_job import (
    LastTraining,
    LayerRecord,
    Resumed,
    TrainingImage,
    checkpoint_file,
    training,
)
from ..layers.regions_of_interest import is_region, region_mask
from ..state.panel_state import LossPoint
from ..state.preferences import preferences
from ..state.training_time import pace_of
from .section import Panel, SectionController, starts_a_job

if TYPE_CHECKING:
    from ...core.model.defect_model import DefectModel

__all__ = ["TrainingController", "training_image"]


class TrainingController(SectionController):
    """Trains on layers in a thread."""

    holds = ("training_layers", "region_layer")

    def __init__(
        self,
        panel: Panel,
        adopt: Callable[[DefectModel], None],
    ) -> None:
        super().__init__(panel)
        self._adopt = adopt
        self._step, self._seconds = 0, 0.0
        self._early: Any = None  # network of the model whose training was ended early
        self._network: Any = None  # of the model that needs no further training
        for signal in (panel.state.events.activity, panel.state.events.model):
            self._connect(signal, self._look_for_checkpoint)
        self._look_for_checkpoint()

    @starts_a_job
    def start(self) -> None:
        """Train a model on the chosen layers."""
        self._begin(resume=False)

    def resume(self) -> None:
        """Go on with the last training, on the same layers and by the same recipe."""
        self._go_on(longer=False)

    def train_longer(self) -> None:
        """Go on with the training of the current model: to its end, or for as long again."""
        self._go_on(longer=not self._state.resumable)

    @starts_a_job
    def _go_on(self, longer: bool) -> None:
        state = self._state
        images = [layer for layer in self._viewer.layers if layers.is_inspectable(layer)]
        regions = [layer for layer in self._viewer.layers if is_region(layer)]
        last = LastTraining.read(preferences().data_folder)
        chosen = tuple(record.find(images) for record in last.images)
        region = None if last.region is None else last.region.find(regions)
        config = last.config
        state.config = config.replace(epochs=2 * config.epochs) if longer else config
        state.training_layers, state.region_layer = chosen, region
        self._begin(resume=True, longer=longer)

    def set_paused(self, paused: bool) -> None:
        """Pause or continue the training."""
        if self._state.activity == "training":
            self._runner.set_paused(paused)
            self._runner.say("Training is paused." if paused else "Training continues …")

    def stop(self) -> None:
        """End the training; the best model so far is kept."""
        self._state.stopping = True
        self._runner.send(True)
        self._runner.say("Stopping; the best model so far is kept …")

    def discard(self) -> None:
        """End the measurement of a model whose training was stopped; the one before stays."""
        self._runner.finish()
        hint = " Resume last goes on with its training." if self._state.resumable else ""
        self._runner.say(f"Discarded the new model.{hint}")

    def saved(self, model: DefectModel) -> None:
        """Remove the checkpoint of a finished training, because its model is saved now."""
        if self._network is not None and model.network is self._network:
            checkpoint_file(preferences().data_folder).unlink(missing_ok=True)

    def _begin(self, resume: bool, longer: bool = False) -> None:
        state = self._state
        if not state.training_layers:
            raise InputError("Choose at least one image layer without defects to train on.")
        images = [training_image(layer, state.region_layer) for layer in state.training_layers]
        region = state.region_layer
        origin = LastTraining(
            state.config,
            tuple(LayerRecord.from_layer(layer) for layer in state.training_layers),
            None if region is None else LayerRecord.from_layer(region),
        )
        state.losses = ()
        state.training_notices = ()
        state.preview = None
        self._step = 0
        self._network = None
        self._runner.begin(
            "training",
            "Starting, which takes longer the first time …",
            partial(training, images, state.config, preferences(), origin, resume, longer),
            self._on_message,
        )

    def _on_message(self, message: object) -> None:
        state = self._state
        if isinstance(message, TrainingOutlook):
            self._show_outlook(message)
        elif isinstance(message, Resumed):
            state.losses = tuple(
                LossPoint(entry.seconds, entry.loss, entry.validation_loss)
                for entry in message.history
            )
        elif isinstance(message, TrainingStep):
            point = LossPoint(message.elapsed, message.loss, message.validation_loss)
            state.losses = (*state.losses, point)
            self._step = message.step
            self._seconds = message.elapsed
        elif isinstance(message, TrainingPreview):
            state.preview = message
        elif isinstance(message, TrainingNotice):
            self._runner.say(message.text)
            state.training_notices = (*state.training_notices, message.text)
            show_info(message.text)
        elif isinstance(message, TrainingFinished):
            made_by = message.model.config
            if self._step and made_by.discriminator:  # others take seconds, or days
                state.pace = pace_of(made_by, self._step, self._seconds)
            self._adopt(message.model)
            early = message.stopped or message.share < 1
            self._network, self._early = None, None
            if early:
                self._early = message.model.network
            else:
                self._network = message.model.network
            verdict = message.model.verdict
            ended = "Ended early" if early else "Trained"
            self._runner.say(
                f"{ended}, not saved yet." + ("" if verdict is None else f" {verdict.text}")
            )

    def _show_outlook(self, outlook: TrainingOutlook) -> None:
        state = self._state
        state.remaining = outlook.remaining
        self._runner.advance(outlook.fraction)
        if state.pausing:
            return
        if state.stopping:
            if outlook.phase in (TRIAL, MEASURING) and not state.discardable:
                self._runner.say(
                    "Stopped. The new model is measured, for its thresholds; press Discard to do "
                    "without it …"
                )
                state.discardable = True
            return
        step = f", step {self._step:,}" if outlook.phase == STEPS and self._step else ""
        self._runner.say(f"{outlook.phase}{step} …")

    def _look_for_checkpoint(self) -> None:
        """Offer to resume a training that was interrupted in this or an earlier session."""
        state = self._state
        exists = checkpoint_file(preferences().data_folder).exists()
        state.resumable = exists and self._network is None and not state.busy
        mine = state.model is not None and state.model.network in (self._network, self._early)
        state.extendable = exists and mine and not state.busy


def training_image(layer: Any, region: Any) -> TrainingImage:
    """Return what a training needs of an image layer and of the layer that limits it, if any.

    Raises
    ------
    InputError
        If the layer cannot be trained on, or none of it lies in the region.
    """
    mask = None if region is None else region_mask(region, layer)
    return TrainingImage(layers.source_of(layer), mask)
