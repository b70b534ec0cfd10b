"""How views follow state and layers for as long as they exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

__all__ = ["bind"]


def bind(signal: Any, method: Callable[..., Any]) -> None:
    """Call a method of a widget on a signal of the state or of layers, until Qt deletes the widget.

    The object in Python may outlive the widget, and what it did then would be an error: a panel
    that is closed in the middle of a job.

    Parameters
    ----------
    signal
        Of psygnal or of napari; refers to the method weakly.
    method
        Bound method of the widget.
    """
    signal.connect(method)
    reference = WeakMethod(method)

    def forget() -> None:
        method = reference()
        if method is not None:
            signal.disconnect(method)

    method.__self__.destroyed.connect(forget)  # type: ignore[attr-defined]
