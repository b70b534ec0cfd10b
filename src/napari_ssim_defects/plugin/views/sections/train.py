"""The section that trains a model."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ....core.config import SSIMConfig, TrainingConfig, shown
from ....core.config.presets import PRESETS
from ...controllers.panel_controller import Controller
from ...layers import is_inspectable
from ...layers.regions_of_interest import is_region
from ...state.training_time import expected_minutes, spelled
from ..plots.loss_plot import LossPlot
from ..widgets.fields import (
    Choice,
    LayerCombo,
    Section,
    form,
    heading,
    notice_label,
    setting_field,
    show_notices,
    while_alive,
    wrapped,
)
from ..widgets.layer_picker import LayerPicker
from ..widgets.patch_preview import PatchPreview

__all__ = ["TrainView"]

_PRESETS = {"quick": "Quick", "best": "Best quality", "paper": "As in the paper"}
_PURPOSES = {
    "quick": "Enough for most materials.",
    "best": "For defects that Quick misses. Takes four times as long.",
    "paper": "The experiment of Bergmann et al. (2018), to compare with.",
}
_ADVANCED = ("epochs", "system", "patch_size", "latent_dimension", "stride", "seed")


class TrainView(QWidget):
    """Chooses defect-free images and settings, and shows the progress of the training."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._state = controller.state
        self._drawn = 0  # points of the loss curve
        tip = "Image layers without any defect: the model learns what normal looks like."
        self.picker = LayerPicker(
            controller.viewer.layers,
            is_inspectable,
            hint="Open images of good material, or [try a sample](sample).",
            follow=lambda _: controller.open_sample(),
        )
        self.picker.setToolTip(tip)
        self.region = LayerCombo(
            controller.viewer.layers,
            is_region,
            "whole image",
            "Train only inside the shapes or labels of this layer. Use it when the images have "
            "defects or borders elsewhere.",
        )
        self.preset = Choice(
            {name: _PRESETS.get(name, name) for name in PRESETS},
            "How long the model learns. A slower computer takes longer and reaches the same "
            "quality.",
        )
        self.purpose = wrapped(QLabel())
        self.purpose.setAccessibleName("What the preset is for")
        names = ("minutes", *_ADVANCED)
        self.fields = {
            name: setting_field(shown(TrainingConfig, name), partial(self._on_setting, name))
            for name in names
        }
        self.window_size: Any = setting_field(
            shown(SSIMConfig, "window_size"), controller.state.use_window_size
        )
        self.train_button = QPushButton("Train")
        self.resume_button = QPushButton("Resume last")
        self.resume_button.setToolTip(
            "Continue the last training, which was stopped, or interrupted when napari ended."
        )
        self.pause_button = QPushButton("Pause")
        self.pause_button.setCheckable(True)
        self.pause_button.setToolTip("Pause the training and free the processor.")
        self.notices = notice_label()
        self.plot = LossPlot()
        self.preview = PatchPreview()
        self._arrange(tip)
        self._connect()
        self._show_config()
        self._show_layers()
        self._show_activity()
        self._draw_losses()
        self._show_preview()

    def _arrange(self, tip: str) -> None:
        advanced = QWidget()
        advanced.setLayout(form(*(self.fields[name] for name in _ADVANCED), self.window_size))
        buttons = QHBoxLayout()
        buttons.addWidget(self.train_button, 2)
        buttons.addWidget(self.pause_button, 1)
        buttons.addWidget(self.resume_button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 6)
        layout.setSpacing(4)
        layout.addWidget(heading("Images without defects", tip))
        layout.addWidget(self.picker)
        layout.addLayout(form(("Region", self.region), ("Preset", self.preset)))
        layout.addWidget(self.purpose)
        layout.addLayout(form(self.fields["minutes"]))
        layout.addWidget(Section("Advanced", advanced, main=False))
        layout.addLayout(buttons)
        layout.addWidget(self.notices)
        layout.addWidget(self.plot)
        layout.addWidget(self.preview)

    def _connect(self) -> None:
        state = self._state
        self.picker.selection_changed.connect(self._on_picked)
        self.region.chosen.connect(lambda layer: setattr(state, "region_layer", layer))
        self.preset.chosen.connect(state.use_preset)
        self.train_button.clicked.connect(self._on_train)
        self.pause_button.clicked.connect(self._controller.training.set_paused)
        self.resume_button.clicked.connect(self._controller.training.resume)
        state.events.resumable.connect(self._show_activity)
        state.events.config.connect(self._show_config)
        state.events.pace.connect(self._show_config)
        state.events.training_notices.connect(self._show_notices)
        state.events.training_layers.connect(self._show_layers)
        state.events.region_layer.connect(self._show_layers)
        state.events.losses.connect(self._add_loss)
        state.events.preview.connect(self._show_preview)
        for name in ("activity", "stopping", "pausing", "discardable"):
            getattr(state.events, name).connect(self._show_activity)

    def _on_setting(self, name: str, value: Any) -> None:
        if name == "system":
            self._state.use_system(value)
        else:
            self._state.config = self._state.config.replace(**{name: value})

    def _on_picked(self) -> None:
        self._state.training_layers = tuple(self.picker.selected())

    def _on_train(self) -> None:
        if self._state.activity == "training":
            self._controller.stop()
        else:
            self._controller.training.start()

    @while_alive
    def _show_config(self) -> None:
        config = self._state.config
        self.preset.show_value(config.name)
        self._show_times()
        for name, field in self.fields.items():
            field.show_value(getattr(config, name))
        self.window_size.show_value(config.ssim.window_size)
        self.window_size.setEnabled(config.system == "ssim")

    def _show_times(self) -> None:
        config, pace = self._state.config, self._state.pace
        for place, name in enumerate(PRESETS):
            preset = TrainingConfig.preset(name, system=config.system)
            time = spelled(expected_minutes(preset, pace))
            self.preset.setItemText(place, f"{_PRESETS.get(name, name)}, {time}")
            tip = Qt.ItemDataRole.ToolTipRole
            self.preset.setItemData(place, _PURPOSES.get(name, ""), tip)
        where = "on two processor cores" if pace is None else "on this computer"
        purpose = _PURPOSES.get(config.name, "")
        time = spelled(expected_minutes(config, pace))
        self.purpose.setText(f"{purpose} About {time} {where}.".strip())

    @while_alive
    def _show_layers(self) -> None:
        if tuple(self.picker.selected()) != self._state.training_layers:
            self.picker.set_selected(self._state.training_layers)
        self.region.show_layer(self._state.region_layer)

    @while_alive
    def _show_notices(self) -> None:
        show_notices(self.notices, self._state.training_notices)

    @while_alive
    def _show_activity(self) -> None:
        state = self._state
        training = state.activity == "training"
        if state.discardable:
            text, tip = "Discard", "Do not wait for the new model; the one before stays."
        elif training:
            text, tip = "Stop", "End the training and keep the best model so far."
        else:
            text, tip = "Train", "Train a model on the chosen images, in the background."
        self.train_button.setText(text)
        self.train_button.setToolTip(tip)
        allowed = state.discardable or not state.stopping
        self.train_button.setEnabled(allowed and (training or not state.busy))
        self.resume_button.setVisible(state.resumable)
        self.pause_button.setVisible(training)
        self.pause_button.setEnabled(not state.stopping)
        self.pause_button.setChecked(state.pausing)
        self.pause_button.setText("Resume" if state.pausing else "Pause")

    @while_alive
    def _add_loss(self) -> None:
        losses = self._state.losses
        if len(losses) == self._drawn + 1:
            last = losses[-1]
            self.plot.add(last.seconds, last.loss, last.validation_loss)
            self._drawn = len(losses)
            self.plot.setVisible(True)
        else:  # a training starts, or continues with the losses that it had
            self._draw_losses()

    def _draw_losses(self) -> None:
        self.plot.clear()
        for point in self._state.losses:
            self.plot.add(point.seconds, point.loss, point.validation_loss)
        self._drawn = len(self._state.losses)
        self.plot.setVisible(bool(self._state.losses))

    @while_alive
    def _show_preview(self) -> None:
        # The residuals' range is fixed, so that the picture becomes darker during training.
        ranges = {"ssim": 1.0, "squared_error": 0.1, "reconstruction_probability": 10.0}
        high = ranges[self._state.config.reconstruction_residual.kind]
        self.preview.show_patches(self._state.preview, high)
        self.preview.setVisible(self._state.preview is not None)
