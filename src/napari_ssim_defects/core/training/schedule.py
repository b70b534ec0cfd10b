"""How a training spends its budget: learning rate, new attempts, early end, and time left.

With the SSIM loss a network may reconstruct nothing but flat grey for a long time, or for ever
(benchmarks/README.md). So the schedule depends on the loss on validation patches: where nothing is
learned the training starts again from other weights, and where nothing improves any more it anneals
and ends before its budget is used up.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from ..common.frozen_model import Values

__all__ = [
    "LEARNED",
    "Count",
    "Course",
    "Look",
    "Pace",
]

LEARNED = 0.02
"""Part of a flat reconstruction's loss that must be gone for a network to have learned anything."""

_WARM_UP = 0.1  # part of an attempt in which the learning rate rises
_LAST_START = 0.5  # no new attempt begins after this part of the budget
_FLAT_PATIENCE = 0.25  # part of an attempt after which it must have learned something
_FLAT_STEPS = 300  # and number of steps; most that learn at all have begun by then
_RISE = 0.01  # more of the flat loss gone: on the way to having learned something
_HOPE = 0.12  # part of the budget after a rise in which it goes on: three looks
_PATIENCE = 0.25  # part of the budget in which the loss must improve
_PATIENT_STEPS = 800  # and number of steps: plateaus of 500 steps were seen to end well
_IMPROVEMENT = 0.01  # by this fraction at least
_COOLING = 0.1  # part of the budget that the annealing before an early end takes

Count = Annotated[int, Field(ge=0, le=10**15)]
"""Of patches, steps and attempts, as a file may say: no more than can be computed with."""

_Part = Annotated[float, Field(ge=0, le=1)]

_STEADY_SECONDS = 3.0  # after which the speed tells the time left: first steps are slow


class Look(Values):
    """What a look at the validation patches shows.

    Attributes
    ----------
    used
        Part of the budget that is used.
    step
        Number of steps made.
    learned
        Part of a flat reconstruction's loss that is gone, at most 1; 0 or less: nothing learned.
    loss
        Loss on held-out patches; None without them, and where it is not finite.
    """

    used: _Part
    step: int
    learned: float
    loss: float | None


class Course(Values):
    """Where a training is between its beginning and its end, in parts of its budget.

    Attributes
    ----------
    attempt
        Number of attempts that were given up before.
    begun, begun_step
        When the present attempt began.
    learned
        What it had learned at its last clear rise before it had learned anything, or when it
        had; None before its first look.
    risen
        When that was.
    best
        Loss at the last clear improvement; None before the first look.
    improved, improved_step
        When that was.
    cooling
        When the annealing before an early end began; None: it has not.
    end
        When the training ends.
    """

    attempt: Count = 0
    begun: _Part = 0.0
    begun_step: Count = 0
    learned: float | None = None
    risen: _Part = 0.0
    best: float | None = None
    improved: _Part = 0.0
    improved_step: Count = 0
    cooling: _Part | None = None
    end: _Part = 1.0

    @property
    def blank(self) -> bool:
        """Whether the present attempt has not learned anything yet."""
        return self.learned is None or self.learned < LEARNED

    def after(self, look: Look, schedule: Literal["constant", "one_cycle"]) -> Course:
        """Return the course after a look."""
        if look.learned < LEARNED:
            if self._in_vain(look):
                return self._again(look)
            if self.learned is None or (self.blank and look.learned >= self.learned + _RISE):
                return self.replace(learned=look.learned, risen=look.used)
            return self
        course = self.replace(learned=look.learned, risen=look.used) if self.blank else self
        return course._going_on(look, schedule)

    def rate(self, schedule: Literal["constant", "one_cycle"], used: float) -> float:
        """Return the learning rate as a fraction of its peak when so much of the budget is used."""
        # Other weights alone help more often (benchmarks/README.md); a lower rate comes after that.
        peak = 0.5 ** max(0, self.attempt - 1)
        if schedule == "constant":
            return peak
        # A training that goes on after its time was up has used less of it again.
        part = max(0.0, used - self.begun) / (1 - self.begun)
        if part < _WARM_UP:
            peak *= 0.1 + 0.9 * part / _WARM_UP
        else:
            peak *= _fall((part - _WARM_UP) / (1 - _WARM_UP))
        if self.cooling is not None and self.end > self.cooling:
            peak *= _fall((used - self.cooling) / (self.end - self.cooling))
        return peak

    def _going_on(self, look: Look, schedule: Literal["constant", "one_cycle"]) -> Course:
        if look.loss is None:
            return self
        if self.best is None or look.loss < (1 - _IMPROVEMENT) * self.best:
            return self.replace(best=look.loss, improved=look.used, improved_step=look.step)
        end = look.used + (_COOLING if schedule == "one_cycle" else 0.0)
        if self.cooling is None and self._stagnates(look) and end < 1:
            return self.replace(cooling=look.used, end=end)
        return self

    def _in_vain(self, look: Look) -> bool:
        return (
            self.blank
            and look.used <= _LAST_START
            and look.used - self.begun >= _FLAT_PATIENCE * (1 - self.begun)
            and look.step - self.begun_step >= _FLAT_STEPS
            and look.used - self.risen >= _HOPE
        )

    def _stagnates(self, look: Look) -> bool:
        return (
            look.used - self.improved >= _PATIENCE
            and look.step - self.improved_step >= _PATIENT_STEPS
        )

    def _again(self, look: Look) -> Course:
        return Course(attempt=self.attempt + 1, begun=look.used, begun_step=look.step)


def _fall(part: float) -> float:
    """Cosine from 1 to 0 over a part in [0, 1]."""
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, part))


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
