"""How a training spends its budget: learning rate, restarts, early stopping, and time left.

With the SSIM loss a network may reconstruct nothing but flat grey for a long time, or for ever
(benchmarks/EXPERIMENTS.md). So the schedule depends on the loss on validation patches. If nothing
is learned, the training starts again from other weights. If nothing improves any more, the learning
rate is annealed, and the training ends before its budget is used up.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from ..common.frozen_model import FrozenModel

__all__ = [
    "LEARNED_SKILL",
    "Count",
    "EtaEstimator",
    "TrainingSchedule",
    "ValidationResult",
]

LEARNED_SKILL = 0.02
"""Part of a flat reconstruction's loss that must be gone for a network to have learned anything."""

_WARM_UP = 0.1  # part of an attempt in which the learning rate rises
_LAST_START = 0.5  # no new attempt begins after this part of the budget
_FLAT_PATIENCE = 0.25  # part of an attempt after which it must have learned something
_FLAT_STEPS = 300  # and number of steps; most that learn at all have begun by then
_RISE = 0.01  # more of the flat loss gone: on the way to having learned something
_RISE_PATIENCE = 0.12  # part of the budget after a rise in which it goes on: three validations
_PATIENCE = 0.25  # part of the budget in which the loss must improve
_PATIENT_STEPS = 800  # and number of steps: plateaus of 500 steps were seen to end well
_IMPROVEMENT = 0.01  # by this fraction at least
_ANNEALING = 0.1  # part of the budget that the annealing before an early end takes

Count = Annotated[int, Field(ge=0, le=10**15)]
"""Of patches, steps and attempts, as a file may say: no more than can be computed with."""

_Part = Annotated[float, Field(ge=0, le=1)]

_STEADY_SECONDS = 3.0  # after which the speed tells the time left: first steps are slow


class ValidationResult(FrozenModel):
    """Result of a validation.

    Attributes
    ----------
    used
        Part of the budget that is used.
    step
        Number of steps made.
    reconstruction_skill
        Part of a flat reconstruction's loss that is gone, at most 1; 0 or less: nothing learned.
    loss
        Loss on held-out patches; None without them, and where it is not finite.
    """

    used: _Part
    step: int
    reconstruction_skill: float
    loss: float | None


class TrainingSchedule(FrozenModel):
    """Where a training is between its beginning and its end, in parts of its budget.

    Attributes
    ----------
    attempt
        Number of attempts that were given up before.
    begun, begun_step
        When the present attempt began.
    reconstruction_skill
        Skill at its last clear rise before anything was learned, or when something was; None
        before the first validation.
    risen
        When that was.
    best
        Loss at the last clear improvement; None before the first validation.
    improved, improved_step
        When that was.
    anneal_start
        When the annealing before an early end began; None: it has not.
    end
        When the training ends.
    """

    attempt: Count = 0
    begun: _Part = 0.0
    begun_step: Count = 0
    reconstruction_skill: float | None = Field(default=None, alias="learned")
    risen: _Part = 0.0
    best: float | None = None
    improved: _Part = 0.0
    improved_step: Count = 0
    anneal_start: _Part | None = Field(default=None, alias="cooling")
    end: _Part = 1.0

    @property
    def untrained(self) -> bool:
        """Whether the present attempt has not learned anything yet."""
        return self.reconstruction_skill is None or self.reconstruction_skill < LEARNED_SKILL

    def after(
        self, result: ValidationResult, decay: Literal["constant", "one_cycle"]
    ) -> TrainingSchedule:
        """Return the schedule after a validation; ``decay`` is that of the learning rate."""
        skill = result.reconstruction_skill
        if skill < LEARNED_SKILL:
            if self._has_failed(result):
                return self._restarted(result)
            known = self.reconstruction_skill
            if known is None or (self.untrained and skill >= known + _RISE):
                return self.replace(reconstruction_skill=skill, risen=result.used)
            return self
        if self.untrained:
            learned = self.replace(reconstruction_skill=skill, risen=result.used)
            return learned._continued(result, decay)
        return self._continued(result, decay)

    def rate(self, decay: Literal["constant", "one_cycle"], used: float) -> float:
        """Return the learning rate as a fraction of its peak when so much of the budget is used."""
        # Other weights alone help more often, so a lower rate comes only after them
        # (benchmarks/EXPERIMENTS.md).
        peak = 0.5 ** max(0, self.attempt - 1)
        if decay == "constant":
            return peak
        # A training that is resumed after its time was up has used less of its budget again.
        part = max(0.0, used - self.begun) / (1 - self.begun)
        if part < _WARM_UP:
            peak *= 0.1 + 0.9 * part / _WARM_UP
        else:
            peak *= _cosine((part - _WARM_UP) / (1 - _WARM_UP))
        if self.anneal_start is not None and self.end > self.anneal_start:
            peak *= _cosine((used - self.anneal_start) / (self.end - self.anneal_start))
        return peak

    def _continued(
        self, result: ValidationResult, decay: Literal["constant", "one_cycle"]
    ) -> TrainingSchedule:
        if result.loss is None:
            return self
        if self.best is None or result.loss < (1 - _IMPROVEMENT) * self.best:
            return self.replace(best=result.loss, improved=result.used, improved_step=result.step)
        end = result.used + (_ANNEALING if decay == "one_cycle" else 0.0)
        if self.anneal_start is None and self._stagnates(result) and end < 1:
            return self.replace(anneal_start=result.used, end=end)
        return self

    def _has_failed(self, result: ValidationResult) -> bool:
        return (
            self.untrained
            and result.used <= _LAST_START
            and result.used - self.begun >= _FLAT_PATIENCE * (1 - self.begun)
            and result.step - self.begun_step >= _FLAT_STEPS
            and result.used - self.risen >= _RISE_PATIENCE
        )

    def _stagnates(self, result: ValidationResult) -> bool:
        return (
            result.used - self.improved >= _PATIENCE
            and result.step - self.improved_step >= _PATIENT_STEPS
        )

    def _restarted(self, result: ValidationResult) -> TrainingSchedule:
        return TrainingSchedule(attempt=self.attempt + 1, begun=result.used, begun_step=result.step)


def _cosine(part: float) -> float:
    """Cosine from 1 to 0 over a part in [0, 1]."""
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, part))


class EtaEstimator:
    """Estimates the time left, from the speed since it was steady or since the beginning.

    Parameters
    ----------
    used
        Part of the budget that was used at the beginning, in [0, 1].
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
