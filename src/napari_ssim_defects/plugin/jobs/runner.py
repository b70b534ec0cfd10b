"""Runs one background job at a time; shows progress in the panel and the activity dock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from napari.utils import progress
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QTimer

from ..state.panel_state import Activity, PanelState
from . import jobs, workers

__all__ = [
    "ActivityBar",
    "Runner",
]

_STEPS = 1000
_INTERVAL = 200  # milliseconds


class ActivityBar:
    """Progress of one job.

    Whenever napari moves its bar it handles all events that wait, so that what a message of the
    job asked for, the next message and their drawing became one long pause. So the bar moves a few
    times a second, in turns of the event loop of its own.
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


class Runner:
    """Runs the jobs of a controller, and shows their progress in the state."""

    def __init__(self, state: PanelState) -> None:
        self._state = state
        self._job: workers.Job | None = None
        self._bar: ActivityBar | None = None

    def refuse_while_busy(self) -> bool:
        """Whether a job runs; says so if it does."""
        if self._state.busy:
            show_warning("Wait for the running job or stop it first.")
        return self._state.busy

    def begin(
        self,
        activity: Activity,
        text: str,
        job: Callable[[], Any],
        on_message: Callable[[Any], None],
    ) -> None:
        """Start a job; ``text`` is the status until it says something itself."""
        self._state.activity = activity
        self.say(text)
        self._bar = ActivityBar(f"SSIM defects: {activity}")
        self._job = workers.start(job, partial(self._on_message, on_message), self.finish)

    def send(self, value: Any) -> None:
        """Send a value to the job, and continue it if it is paused."""
        if self._job is not None:
            self._job.send(value)
            self.set_paused(False)

    def set_paused(self, paused: bool) -> None:
        """Pause or continue the job."""
        if self._job is not None:
            self._job.set_paused(paused)
            self._state.pausing = paused

    def advance(self, fraction: float) -> None:
        """Show that a part, in [0, 1], of the job is done."""
        self._state.progress = fraction
        if self._bar is not None:
            self._bar.show(fraction)

    def finish(self) -> None:
        """Drop the job, whether it has ended or not."""
        if self._job is not None:
            self._job.discard()
            self._job = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        state = self._state
        state.progress = state.remaining = None
        state.stopping = state.pausing = state.discardable = False
        state.activity = "idle"

    def say(self, text: str) -> None:
        """Show a line about the current activity."""
        self._state.status_is_error = False
        self._state.status = text

    def fail(self, text: str) -> None:
        """Show an error, and notify."""
        self._state.status_is_error = True
        self._state.status = text
        show_error(text)

    def report(self, message: object) -> None:
        """Show the messages that all jobs share: progress, refusals and results."""
        if isinstance(message, jobs.Fraction):
            self.advance(message.value)
        elif isinstance(message, jobs.Refused):
            self.fail(message.text)
        elif isinstance(message, jobs.Done):
            self.say(message.text)

    def _on_message(self, handle: Callable[[Any], None], message: Any) -> None:
        if isinstance(message, workers.Failure):
            self.fail(message.text)
        else:
            handle(message)
