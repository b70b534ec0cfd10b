"""A bar in napari's activity dock, moved from the GUI thread."""

from __future__ import annotations

from contextlib import suppress

from napari.utils import progress
from qtpy.QtCore import QTimer

__all__ = ["ActivityBar"]

_STEPS = 1000
_INTERVAL = 200  # milliseconds


class ActivityBar:
    """Progress of one job.

    Whenever napari moves its bar it handles all events that wait, so that what a message of the
    job asked for, the next message and their drawing became one long pause. So the bar moves a few
    times a second, in turns of the event loop of its own.

    Parameters
    ----------
    text
        What the dock calls the job.
    """

    def __init__(self, text: str) -> None:
        # At once: while the job imports PyTorch, every call of Qt waits for its turn with Python.
        self._bar = progress(total=_STEPS, desc=text)
        self._steps = 0
        self._timer = QTimer()
        self._timer.setInterval(_INTERVAL)
        self._timer.timeout.connect(self._move)
        self._timer.start()

    def show(self, fraction: float) -> None:
        """Move to a part, in [0, 1], of the job; a later phase may begin at 0 again."""
        self._steps = round(_STEPS * fraction)

    def close(self) -> None:
        """Take the bar away."""
        with suppress(RuntimeError):  # Qt deleted the timer, or the viewer's dock went before
            self._timer.stop()
            self._bar.close()

    def _move(self) -> None:
        steps = self._steps - self._bar.n
        if steps:
            self._bar.update(steps)
