"""The question before a model that is not saved is replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from ...controllers.panel_controller import Controller
from ...state.preferences import preferences

__all__ = ["MODEL_FILES", "ask", "save_model", "unless_unsaved"]

MODEL_FILES = "Defect models (*.safetensors)"


def unless_unsaved(
    controller: Controller, parent: QWidget, what: str, go: Callable[[], None]
) -> None:
    """Do what replaces the model; where that is not saved, only if a person says so.

    Parameters
    ----------
    controller
        Has the model.
    parent
        Whose window asks.
    what
        What replaces it, for the sentence: "A new training".
    go
        Does it; after the model was saved if that is what a person wants.
    """
    state = controller.state
    if state.model is None or state.model_path is not None:
        go()
        return
    answer = ask(parent, f"{what} replaces the model that was trained here. It is not saved.")
    if answer == "replace":
        go()
    elif answer == "save" and save_model(controller, parent):

        def go_on(activity: str) -> None:
            if activity == "idle":
                state.events.activity.disconnect(go_on)
                if state.model_path is not None:
                    go()

        state.events.activity.connect(go_on)


def ask(parent: QWidget, text: str) -> Literal["save", "replace", "cancel"]:
    """Ask what becomes of a model that is not saved."""
    box = QMessageBox(QMessageBox.Icon.Question, "Unsaved model", text, parent=parent)
    save = box.addButton("Save it first …", QMessageBox.ButtonRole.AcceptRole)
    replace = box.addButton("Replace it", QMessageBox.ButtonRole.DestructiveRole)
    box.addButton(QMessageBox.StandardButton.Cancel)
    box.setDefaultButton(save)
    box.exec()
    clicked = box.clickedButton()
    box.deleteLater()
    return "save" if clicked is save else "replace" if clicked is replace else "cancel"


def save_model(controller: Controller, parent: QWidget) -> bool:
    """Ask where to save the model, and save it in the background; False if nowhere."""
    current = controller.state.model_path
    current = current or Path(preferences().export_folder, "model.safetensors")
    path, _ = QFileDialog.getSaveFileName(parent, "Save the model", str(current), MODEL_FILES)
    if path:
        controller.save_model(path)
    return bool(path)
