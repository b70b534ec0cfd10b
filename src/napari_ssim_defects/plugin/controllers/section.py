"""The base of the controllers of the panel's sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..jobs.runner import Runner
from ..previews.segmentation_preview import SegmentationPreview
from ..state.panel_state import PanelState

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["Panel", "SectionController"]


@dataclass(frozen=True, slots=True)
class Panel:
    """What the controllers of a panel share.

    Attributes
    ----------
    viewer
        Holds the layers.
    state
        State of the panel.
    runner
        Runs the jobs, and says what happened.
    preview
        Segments the heatmaps, and knows the threshold of each.
    """

    viewer: ViewerModel
    state: PanelState
    runner: Runner
    preview: SegmentationPreview


class SectionController:
    """Owns the connections of a controller to signals of the viewer and the state.

    Attributes
    ----------
    holds
        Fields of the state that hold a layer or layers; one that is removed from the viewer is
        forgotten.
    """

    holds: ClassVar[tuple[str, ...]] = ()

    def __init__(self, panel: Panel) -> None:
        self._viewer = panel.viewer
        self._state = panel.state
        self._runner = panel.runner
        self._preview = panel.preview
        self._connections: list[tuple[Any, Callable[..., object]]] = []
        if self.holds:
            self._connect(panel.viewer.layers.events.removed, self._on_layer_removed)

    def _connect(self, signal: Any, slot: Callable[..., object]) -> None:
        """Connect a signal until the controller is closed."""
        signal.connect(slot)
        self._connections.append((signal, slot))

    def close(self) -> None:
        """Disconnect from the viewer and the state."""
        while self._connections:
            signal, slot = self._connections.pop()
            signal.disconnect(slot)

    def _on_layer_removed(self, event: Any) -> None:
        for name in self.holds:
            held = getattr(self._state, name)
            if isinstance(held, tuple):
                setattr(self._state, name, tuple(each for each in held if each is not event.value))
            elif held is event.value:
                setattr(self._state, name, None)
