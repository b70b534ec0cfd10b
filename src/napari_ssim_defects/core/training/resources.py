"""Processor threads of a training.

Threads of one step wait for each other many hundred times. When another program keeps a core
busy, each wait may cost a turn of the scheduler, and a step on all cores takes ten to fifty times
as long as on one (benchmarks/README.md). So the number of threads is chosen by timing steps.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

__all__ = [
    "ThreadRace",
    "thread_race",
]

_LAP = 3  # timed steps of each number of threads
_HOPELESS = 3.0  # times the best: such a slow step rules a number of threads out
_FIRST_PAUSE, _LONGEST_PAUSE = 4.0, 30.0  # seconds between races


class ThreadRace:
    """Chooses the number of threads from the time that steps take.

    Parameters
    ----------
    most
        Largest number of threads; halves of it race against it.
    """

    def __init__(self, most: int) -> None:
        self._numbers = sorted({max(1, most >> halvings) for halvings in range(3)}, reverse=True)
        self._pause = _FIRST_PAUSE
        self._racing = False
        self._fastest = self._numbers[0]
        self._lap = 0
        self._left = float("inf")  # seconds until the next race
        self._times: dict[int, list[float]] = {}
        if len(self._numbers) > 1:
            self._begin()

    @property
    def threads(self) -> int:
        """Number of threads for the next step."""
        return self._numbers[self._lap] if self._racing else self._fastest

    def settle(self, work: Callable[[], object]) -> None:
        """Time some other work with each number of threads, and use the fastest from now on."""
        while self._racing:
            torch.set_num_threads(self.threads)
            start = time.perf_counter()
            work()
            self.step_took(time.perf_counter() - start)
        torch.set_num_threads(self._fastest)

    def step_took(self, seconds: float) -> None:
        """Record the time of a step with `threads`."""
        if not self._racing:
            self._left -= seconds
            if self._left <= 0:
                self._begin()
            return
        times = self._times[self._numbers[self._lap]]
        times.append(seconds)
        best = min((min(other) for other in self._times.values() if other), default=seconds)
        # The first step after a change wakes up threads; it counts only when it is hopeless.
        if len(times) <= _LAP and not (len(times) > 1 and seconds > _HOPELESS * best):
            return
        self._lap += 1
        if self._lap == len(self._numbers):
            self._fastest = min(self._times, key=lambda n: statistics.median(self._times[n][1:]))
            self._racing = False
            self._left = self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _begin(self) -> None:
        self._racing = True
        self._lap = 0
        self._times = {number: [] for number in self._numbers}


@contextmanager
def thread_race() -> Iterator[ThreadRace]:
    """Try numbers of threads up to torch's current one, which is restored at the end."""
    before = torch.get_num_threads()
    try:
        yield ThreadRace(before)
    finally:
        torch.set_num_threads(before)
