"""The base of the controllers of the panel's sections."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..jobs.runner import Runner
from ..state.panel_state import PanelState

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["SectionController"]


class SectionController:
    """Owns the connections of a controller to signals of the viewer and the state.

    Parameters
    ----------
    viewer
        Holds the layers.
    state
        State of the panel.
    runner
        Runs the jobs.
    """

    def __init__(self, viewer: ViewerModel, state: PanelState, runner: Runner) -> None:
        self._viewer = viewer
        self._state = state
        self._runner = runner
        self._connections: list[tuple[Any, Callable[..., object]]] = []

    def _connect(self, signal: Any, slot: Callable[..., object]) -> None:
        """Connect a signal until the controller is closed."""
        signal.connect(slot)
        self._connections.append((signal, slot))

    def close(self) -> None:
        """Disconnect from the viewer and the state."""
        while self._connections:
            signal, slot = self._connections.pop()
            signal.disconnect(slot)
