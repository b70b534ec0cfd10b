"""The section that opens and saves models and makes heatmaps."""

from __future__ import annotations

import html
from pathlib import Path

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ....core.model.verdict import Verdict
from ...controllers.panel_controller import Controller
from ...layers import is_inspectable
from ...layers.provenance import model_details, model_settings
from ...layers.regions_of_interest import is_region
from ...state.preferences import preferences
from ..widgets.colours import plot_colours
from ..widgets.fields import (
    Choice,
    IntegerBox,
    LayerCombo,
    Section,
    column,
    form,
    heading,
    notice_label,
    show_notices,
    while_alive,
    wrapped,
)
from ..widgets.layer_picker import LayerPicker

__all__ = ["DetectView", "VerdictLabel"]

_FILES = "Defect models (*.safetensors)"
_SIGNS = {"reliable": "●", "usable": "◐", "weak": "○"}  # so that colour is not the only difference


class DetectView(QWidget):
    """Shows the current model and inspects layers with it."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller = controller
        self._state = controller.state
        tip = "Image layers to look for defects in."
        self.models = Choice(
            {}, "Models that were trained or opened in this session. Save those that you need."
        )
        self.models.setAccessibleName("Models of this session")
        self.model_label = wrapped(QLabel())
        self.verdict = VerdictLabel()
        self.longer_button = QPushButton("Train longer")
        self.longer_button.setToolTip(
            "Train this model for the same time again; a better model replaces it."
        )
        self.open_button = QPushButton("Open …")
        self.open_button.setToolTip("Open a model file (.safetensors).")
        self.save_button = QPushButton("Save …")
        self.save_button.setToolTip("Save the model with its settings and calibration to one file.")
        self.picker = LayerPicker(
            controller.viewer.layers, is_inspectable, hint="Open the images to inspect."
        )
        self.picker.setToolTip(tip)
        self.stride = IntegerBox(
            0, 1024, suffix=" px",
            tip="Distance between the patches that the network processes (the paper's stride). "
                "Smaller is smoother and slower.",
        )  # fmt: skip
        self.stride.setSpecialValueText("as trained")
        self.region = LayerCombo(
            controller.viewer.layers,
            is_region,
            "whole image",
            "Inspect only inside the shapes or labels of this layer, for example a rectangle "
            "without the data bar. The rest is not inspected.",
        )
        self.notices = notice_label()
        self.reconstruction = QCheckBox("Also add the reconstruction")
        self.reconstruction.setToolTip(
            "Also add the reconstruction of each image, as a hidden layer, to see why the residual "
            "is large."
        )
        self.detect_button = QPushButton("Detect")

        files = QHBoxLayout()
        files.addWidget(self.open_button)
        files.addWidget(self.save_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 6)
        layout.setSpacing(4)
        layout.addWidget(self.models)
        layout.addWidget(self.model_label)
        layout.addWidget(self.verdict)
        layout.addWidget(self.longer_button)
        layout.addLayout(files)
        layout.addWidget(heading("Images to inspect", tip))
        layout.addWidget(self.picker)
        advanced = QWidget()
        settings = column(self.reconstruction)
        settings.insertLayout(0, form(("Stride", self.stride)))
        advanced.setLayout(settings)
        layout.addLayout(form(("Region", self.region)))
        layout.addWidget(Section("Advanced", advanced, main=False))
        layout.addWidget(self.detect_button)
        layout.addWidget(self.notices)
        self._connect()
        self._show_model()
        self._show_choices()
        self._show_activity()

    def _connect(self) -> None:
        state = self._state
        self.open_button.clicked.connect(self._on_open)
        self.save_button.clicked.connect(self._on_save)
        self.models.chosen.connect(lambda place: self._controller.choose_model(state.models[place]))
        self.longer_button.clicked.connect(self._controller.training.train_longer)
        self.picker.selection_changed.connect(self._on_picked)
        self.region.chosen.connect(lambda layer: setattr(state, "inspected_layer", layer))
        state.events.detection_notices.connect(self._show_notices)
        self.stride.edited.connect(lambda value: setattr(state, "stride", value or None))
        self.reconstruction.toggled.connect(
            lambda checked: setattr(state, "keep_reconstruction", checked)
        )
        self.detect_button.clicked.connect(self._on_detect)
        for signal in (
            state.events.model,
            state.events.model_name,
            state.events.model_path,
            state.events.models,
            state.events.activity,
        ):
            signal.connect(self._show_model)
        for signal in (
            state.events.detection_layers,
            state.events.inspected_layer,
            state.events.stride,
            state.events.keep_reconstruction,
        ):
            signal.connect(self._show_choices)
        for signal in (state.events.activity, state.events.model, state.events.extendable):
            signal.connect(self._show_activity)

    def _on_open(self) -> None:
        folder = str(preferences().export_folder)
        path, _ = QFileDialog.getOpenFileName(self, "Open a model", folder, _FILES)
        if path:
            self._controller.open_model(path)

    def _on_save(self) -> None:
        current = self._state.model_path or Path(preferences().export_folder, "model.safetensors")
        path, _ = QFileDialog.getSaveFileName(self, "Save the model", str(current), _FILES)
        if path:
            self._controller.save_model(path)

    def _on_picked(self) -> None:
        self._state.detection_layers = tuple(self.picker.selected())

    def _on_detect(self) -> None:
        if self._state.activity == "detecting":
            self._controller.stop()
        else:
            self._controller.detection.start()

    @while_alive
    def _show_model(self) -> None:
        state = self._state
        self._show_models()
        training = state.activity == "training"
        known = state.model is not None and not training  # else the verdict would seem to be of it
        self.verdict.show_verdict(state.model.verdict if known else None)
        if training:
            self.model_label.setText("A model is being trained.")
            self.model_label.setToolTip("")
            return
        if state.model is None:
            self.model_label.setText("No model yet: train one above, or open a file.")
            self.model_label.setToolTip("")
            return
        name = state.model_name if state.model_path else "Not saved yet"
        warnings = (f"⚠ {text}" for text in state.model.warnings)
        text = ": ".join(filter(None, (name, model_details(state.model))))
        self.model_label.setText("\n".join([text, *warnings]))
        where = str(state.model_path or "Save the model to keep it.")
        self.model_label.setToolTip(f"{where}\n{model_settings(state.model)}")

    def _show_models(self) -> None:
        models = self._state.models
        self.models.clear()
        for place, each in enumerate(models):
            self.models.addItem(each.title, place)
        current = [each.model is self._state.model for each in models]
        self.models.setCurrentIndex(current.index(True) if any(current) else -1)
        self.models.setVisible(len(models) > 1)

    @while_alive
    def _show_choices(self) -> None:
        state = self._state
        if tuple(self.picker.selected()) != state.detection_layers:
            self.picker.set_selected(state.detection_layers)
        self.region.show_layer(state.inspected_layer)
        self.stride.show_value(state.stride or 0)
        self.reconstruction.setChecked(state.keep_reconstruction)

    @while_alive
    def _show_notices(self) -> None:
        show_notices(self.notices, self._state.detection_notices)

    @while_alive
    def _show_activity(self) -> None:
        state = self._state
        detecting = state.activity == "detecting"
        self.longer_button.setVisible(state.extendable)
        self.detect_button.setText("Stop" if detecting else "Detect")
        self.detect_button.setToolTip(
            "Stop. Finished heatmaps are kept."
            if detecting
            else "Compute a heatmap (the residual) of each chosen image. It is bright where the "
            "image does not look like good material."
        )
        self.detect_button.setEnabled(detecting or not state.busy)
        for widget in (self.open_button, self.models):
            widget.setEnabled(not state.busy)
        self.save_button.setEnabled(not state.busy and state.model is not None)


class VerdictLabel(QLabel):
    """Says whether a model can be relied on; hidden without a verdict."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        wrapped(self)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setAccessibleName("Verdict")
        self.setToolTip(
            "Measured: the detection of defects painted on good material that was not used for "
            "training (area under the ROC curve), and the false regions in good images."
        )
        self._verdict: Verdict | None = None

    def show_verdict(self, verdict: Verdict | None) -> None:
        """Show a verdict, or nothing."""
        self._verdict = verdict
        self.setVisible(verdict is not None)
        if verdict is None:
            return
        colours = plot_colours(self.palette())
        colour = {
            "reliable": colours.review,
            "usable": colours.second,
            "weak": colours.defective,
        }[verdict.grade]
        word, _, rest = verdict.text.partition(":")
        self.setText(
            f'<span style="color:{colour.name()}">{_SIGNS[verdict.grade]} <b>{word}</b></span>:'
            f"{html.escape(rest)}"
        )

    def changeEvent(self, event: QEvent | None) -> None:
        """Take the colours of another theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.PaletteChange:
            self.show_verdict(self._verdict)
