"""How far a training is, and how long it still takes, over all of its phases.

Learning features and texture, the steps, the trial on painted defects and the measurement of good
images each know how far they are. What a person wants to know is when all of it is done.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence

import torch

from ..common.progress import CalibrationProgress, PreparationProgress
from ..config import TrainingConfig
from ..config.residual_kinds import parts
from ..detection.predictions import LOCAL_REACH, predict_plane
from ..networks.autoencoder import Autoencoder
from ..patches.areas import TrainingArea
from .messages import (
    FEATURES,
    MEASURING,
    STEPS,
    TEXTURE,
    TRIAL,
    TrainingMessage,
    TrainingOutlook,
    TrainingStarted,
    TrainingStep,
)

__all__ = ["measuring_seconds", "with_outlook"]

# Seconds on two cores, until the phases before tell how fast this computer is.
_NOMINAL = {FEATURES: 1.5, TEXTURE: 8.0, STEPS: 0.1, TRIAL: 5.0, MEASURING: 15.0}
_SURE = 0.25  # part of a phase after which its own speed tells how long it takes
_STEADY = 2.0  # seconds of steps after which theirs does
_CROP = 192  # pixels of an area that is measured for its time


class _Clock:
    """Seconds of work, phase by phase."""

    def __init__(self, config: TrainingConfig) -> None:
        self.steps = max(1, config.patches * config.epochs // config.batch_size)
        self.worked = 0.0
        self._phase = ""
        self._since = self._before = self._earlier = self._shown = 0.0
        self._pace = 1.0  # of this computer, by what it did before
        self._measured = False  # else the time left is not told
        self._expected = {
            phase: seconds * (self.steps if phase == STEPS else 1)
            for phase, seconds in _NOMINAL.items()
            if config.residual.kind == "rarity" or phase in (STEPS, MEASURING)
        }
        self._guessed = set(self._expected)

    def expect(self, phase: str, seconds: float) -> None:
        """Take note of a time that was measured."""
        self._expected[phase] = seconds
        self._guessed.discard(phase)

    def at(self, phase: str, fraction: float, told: float | None = None) -> TrainingOutlook:
        """Return the outlook from a part of a phase; ``told``: what it says is left of itself."""
        if phase != self._phase:
            self._begin(phase)
        spent = self.worked - self._since
        self._before = self.worked
        expected = self._expected[phase] * (self._pace if phase in self._guessed else 1.0)
        own = told if told is not None else spent * (1 - fraction) / max(fraction, 1e-9)
        sure = spent >= _STEADY if told is not None else fraction >= _SURE
        if sure and phase in self._guessed and told is None:
            self._pace *= (spent + own) / max(expected, 1e-9)
            self.expect(phase, spent + own)
        # What comes before the steps is too short to tell how long all of it takes.
        self._measured |= sure and phase not in (FEATURES, TEXTURE)
        left = own if sure else max(0.0, expected * (1 - fraction))
        left += sum(
            seconds * (self._pace if other in self._guessed else 1.0)
            for other, seconds in self._expected.items()
            if other != phase
        )
        done = self.worked + self._earlier
        self._shown = max(self._shown, min(0.999, done / max(done + left, 1e-9)))
        return TrainingOutlook(phase, self._shown, left if self._measured else None)

    def resumed_after(self, seconds: float) -> None:
        """Count the work of an earlier run."""
        self._earlier = max(0.0, seconds - (self.worked - self._since))

    def _begin(self, phase: str) -> None:
        phases = list(self._expected)
        if phase not in phases:  # weights are fetched
            self._expected = {phase: 0.0, **self._expected}
        else:
            for over in phases[: phases.index(phase)]:
                del self._expected[over]
        self._phase, self._since = phase, self._before


def with_outlook(
    messages: Generator[TrainingMessage, str | None, None], config: TrainingConfig
) -> Generator[TrainingMessage | TrainingOutlook, str | None, None]:
    """Pass on what `train` yields, each time with how far all of it is.

    Time in which nobody asks for the next message, as in a pause, does not count.
    """
    clock = _Clock(config)
    reply: str | None = None
    begun = False
    try:
        while True:
            start = time.perf_counter()
            try:
                message = messages.send(reply)
            except StopIteration:
                return
            clock.worked += time.perf_counter() - start
            reply = yield message
            outlook = None
            if isinstance(message, PreparationProgress):
                outlook = clock.at(message.text, message.fraction)
            elif isinstance(message, TrainingStarted):
                clock.expect(MEASURING, message.measuring_seconds)
                outlook = clock.at(STEPS, message.fraction)
            elif isinstance(message, TrainingStep):
                if not begun:
                    clock.resumed_after(message.elapsed)
                begun = True
                outlook = clock.at(STEPS, message.fraction, message.remaining)
            elif isinstance(message, CalibrationProgress):
                outlook = clock.at(MEASURING, message.fraction)
            if outlook is not None:
                reply = (yield outlook) or reply
    finally:
        messages.close()


def measuring_seconds(
    network: Autoencoder,
    areas: Sequence[TrainingArea],
    config: TrainingConfig,
    device: torch.device,
) -> float:
    """Estimate how long a network takes to look at areas, from a piece of one of them.

    Parameters
    ----------
    network, config, device
        What looks, and how.
    areas
        What it will look at, as often as it will.
    """
    pixels = areas[0].pixels[:, :_CROP, :_CROP]
    with torch.random.fork_rng(devices=[]):  # training goes on with the same random numbers
        network.eval()
        for _ in range(2):  # the first time is slower
            start = time.perf_counter()
            for _ in predict_plane(
                network, pixels, config, config.stride, device, parts(config.residual)
            ):
                pass
    seconds = time.perf_counter() - start

    def work(height: int, width: int) -> int:
        return (height + 2 * LOCAL_REACH) * (width + 2 * LOCAL_REACH)

    total = sum(work(*area.pixels.shape[1:]) for area in areas)
    return seconds * total / work(*pixels.shape[1:])
