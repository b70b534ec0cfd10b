"""The base of the controllers of the panel's sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from ...core.common.errors import InputError
from ..jobs.runner import Runner
from ..previews.segmentation_preview import SegmentationPreview
from ..state.panel_state import PanelState

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["Panel", "SectionController", "starts_a_job", "tells_errors"]

_Method = TypeVar("_Method", bound=Callable[..., None])


def tells_errors(method: _Method) -> _Method:
    """Let a method of a `SectionController` show an `InputError` in the panel."""

    @wraps(method)
    def guarded(self: SectionController, *arguments: Any, **options: Any) -> None:
        try:
            method(self, *arguments, **options)
        except InputError as error:
            self._runner.fail(str(error))

    return cast(_Method, guarded)


def starts_a_job(method: _Method) -> _Method:
    """Let a method of a `SectionController` do nothing while a job runs, and show errors."""

    @wraps(method)
    def guarded(self: SectionController, *arguments: Any, **options: Any) -> None:
        if not self._runner.refuse_while_busy():
            tells_errors(method)(self, *arguments, **options)

    return cast(_Method, guarded)


@dataclass(frozen=True, slots=True)
class Panel:
    """What the controllers of a panel share."""

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
