"""One controller per viewer, which lives as long as the viewer's window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.task_status import Status
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication, QMainWindow

from .panel_controller import Controller

if TYPE_CHECKING:
    from napari.viewer import Viewer

__all__ = ["controller_of"]


def controller_of(viewer: Viewer) -> Controller:
    """Return the controller of a viewer; made when it is first asked for.

    It outlives the panel: a training goes on and a model stays when the panel is closed.
    """
    # napari hands plugins a proxy, whose layers are proxies too and never identical to a layer.
    viewer = getattr(viewer, "__wrapped__", viewer)
    window = viewer.window._qt_window  # there is no public way to learn that a viewer closes
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
        self._task: Any = None
        controller.state.events.activity.connect(self._tell_napari)
        window.destroyed.connect(controller.close)
        # When the last window closes, the application ends before Qt deletes the window.
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._close)

    def _tell_napari(self, activity: str) -> None:
        """Let napari ask before it closes a viewer whose training would be lost."""
        tasks = getattr(getattr(self._window, "_window", None), "_task_status_manager", None)
        if tasks is None:  # not in every version of napari
            return
        if self._task is None:  # napari keeps every task that it was ever told of
            self._task = tasks.register_task_status("SSIM defects", Status.BUSY, activity)
        else:
            status = Status.COMPLETED if activity == "idle" else Status.BUSY
            tasks.update_task_status(self._task, status, activity)

    def _close(self) -> None:
        # A method of a QObject: Qt forgets it with the window, and with it the viewer.
        self.controller.close()
