"""One background job at a time, with its progress in the state and in the activity dock."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from napari.utils.notifications import show_error, show_warning

from ..state.panel_state import Activity, PanelState
from . import jobs, workers
from .activity import ActivityBar

__all__ = ["Runner"]


class Runner:
    """Runs the jobs of a controller and tells the state how they go.

    Parameters
    ----------
    state
        Its activity, progress and status are kept here.
    """

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
        """Send a value into the job, and wake it if it pauses."""
        if self._job is not None:
            self._job.send(value)
            self.set_paused(False)

    def set_paused(self, paused: bool) -> None:
        """Hold the job, or let it go on."""
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
        state.stopping = state.pausing = False
        state.activity = "idle"

    def say(self, text: str) -> None:
        """Show a line about what happens."""
        self._state.status_is_error = False
        self._state.status = text

    def fail(self, text: str) -> None:
        """Show a line about what went wrong, and notify."""
        self._state.status_is_error = True
        self._state.status = text
        show_error(text)

    def report(self, message: object) -> None:
        """Show what any job may report: how far it is, what it refused, what it has done."""
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
