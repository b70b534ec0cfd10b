"""One controller per viewer, which lives as long as the viewer's window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication, QMainWindow

from .controller import Controller

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
        window.destroyed.connect(controller.close)
        # When the last window closes, the application ends before Qt deletes the window.
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._close)

    def _close(self) -> None:
        # A method of a QObject: Qt forgets it with the window, and with it the viewer.
        self.controller.close()
