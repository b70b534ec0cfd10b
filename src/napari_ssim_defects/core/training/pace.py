"""How long what is left of a training by epochs will take."""

from __future__ import annotations

import math

__all__ = ["Pace"]

_STEADY_SECONDS = 3.0  # after which the speed tells the time left: first steps are slow


class Pace:
    """The speed of a training since it was steady, or since it began.

    Parameters
    ----------
    used
        Part of the budget that was used when it began, in [0, 1].
    elapsed
        Seconds of work until then.
    """

    def __init__(self, used: float = 0.0, elapsed: float = 0.0) -> None:
        self._since = used, elapsed
        self._steady_at = elapsed + _STEADY_SECONDS

    def seconds_for(self, part: float, used: float, elapsed: float) -> float:
        """Return how long a part of the budget takes, when so much was used in so many seconds."""
        since, seconds = self._since
        # Clocks may stand still, and one step may be nothing of ten million epochs.
        speed = max(used - since, 1e-18) / max(elapsed - seconds, 1e-9)
        if elapsed >= self._steady_at:
            self._since, self._steady_at = (used, elapsed), math.inf
        return max(0.0, part / speed)
