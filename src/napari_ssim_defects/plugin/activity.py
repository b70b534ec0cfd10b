"""A bar in napari's activity dock, moved from the GUI thread."""

from __future__ import annotations

from contextlib import suppress

from napari.utils import progress

__all__ = ["ActivityBar"]

_STEPS = 1000


class ActivityBar:
    """Progress of one job.

    Parameters
    ----------
    text
        What the dock calls the job.
    """

    def __init__(self, text: str) -> None:
        self._bar = progress(total=_STEPS, desc=text)

    def show(self, fraction: float) -> None:
        """Move to a part, in [0, 1], of the job; a later phase may begin at 0 again."""
        steps = round(_STEPS * fraction) - self._bar.n
        if steps:
            self._bar.update(steps)

    def close(self) -> None:
        """Take the bar away."""
        with suppress(RuntimeError):  # the dock went before the bar when the viewer closed
            self._bar.close()
