"""What widgets do after Qt has deleted them: nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from qtpy.compat import isalive

__all__ = ["while_alive"]

_Method = TypeVar("_Method", bound=Callable[..., Any])


def while_alive(method: _Method) -> _Method:
    """Let a method of a widget, which follows the state or layers, do nothing without the widget.

    The object in Python may outlive the widget: a panel that is closed in the middle of a job
    hears of it until it is collected, and to touch what Qt has deleted is an error. (To disconnect
    when Qt deletes it would not do: that may happen while Python collects both, and crash.)
    """

    @wraps(method)
    def guarded(self: object, *arguments: Any) -> None:
        if isalive(self):
            method(self, *arguments)

    return cast(_Method, guarded)
