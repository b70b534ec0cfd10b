"""The dialogs for files of models."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from ...controllers.panel_controller import Controller
from ...state.preferences import preferences

__all__ = ["open_model", "save_model"]

_FILES = "Defect models (*.safetensors)"


def open_model(controller: Controller, parent: QWidget) -> None:
    """Ask for a file, and open it in the background."""
    folder = str(preferences().export_folder)
    path, _ = QFileDialog.getOpenFileName(parent, "Open a model", folder, _FILES)
    if path:
        controller.open_model(path)


def save_model(controller: Controller, parent: QWidget) -> None:
    """Ask where to save the model, and save it in the background."""
    current = controller.state.model_path
    current = current or Path(preferences().export_folder, "model.safetensors")
    path, _ = QFileDialog.getSaveFileName(parent, "Save the model", str(current), _FILES)
    if path:
        controller.save_model(path)
