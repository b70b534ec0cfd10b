"""The one exception that speaks to the person who gave the input."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """Input that cannot be used.

    The message is one sentence that says what is wrong and what to do about it. The command
    line prints it and exits with status 2; the panel shows it; nothing has been changed or
    written when it is raised.
    """
