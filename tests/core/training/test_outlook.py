"""One bar for all phases of a training, and a time left that comes true."""

from __future__ import annotations

import itertools

import pytest

from napari_ssim_defects.core.common.progress import CalibrationProgress, PreparationProgress
from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.training import outlook
from napari_ssim_defects.core.training.messages import (
    FEATURES,
    MEASURING,
    STEPS,
    TEXTURE,
    TRIAL,
    TrainingOutlook,
    TrainingStarted,
    TrainingStep,
)
from napari_ssim_defects.core.training.outlook import with_outlook

QUICK = TrainingConfig.preset("quick")
SECONDS = {FEATURES: 3.0, TEXTURE: 16.0, STEPS: 200.0, TRIAL: 10.0, MEASURING: 60.0}


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def _training(clock: _Clock, slower: float, parts: int = 50):
    """A training whose phases take known times, on a computer that is so much slower."""

    def passed(phase):
        for part in range(1, parts + 1):
            clock.now += slower * SECONDS[phase] / parts
            yield part / parts

    for phase in (FEATURES, TEXTURE):
        for fraction in passed(phase):
            yield PreparationProgress(phase, fraction)
    yield TrainingStarted("cpu", "float32", 1, 1, 0.0, slower * SECONDS[MEASURING] * 1.1)
    total = slower * SECONDS[STEPS]
    for fraction in passed(STEPS):
        done = fraction * total
        yield TrainingStep(int(1000 * fraction), fraction, 0.5, None, done, total - done, 1.0)
    for fraction in passed(TRIAL):
        yield PreparationProgress(TRIAL, fraction)
    for fraction in passed(MEASURING):
        yield CalibrationProgress(fraction)


@pytest.fixture
def clock(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(outlook, "time", clock)
    return clock


@pytest.mark.parametrize("slower", [0.5, 1.0, 4.0])
def test_the_time_left_comes_true_within_a_fifth_in_every_phase(clock, slower):
    messages = with_outlook(_training(clock, slower), QUICK)
    seen = [(clock.now, m) for m in messages if isinstance(m, TrainingOutlook)]
    end = clock.now
    assert [*dict.fromkeys(m.phase for _, m in seen)] == [*SECONDS]
    sure = [(now, m) for now, m in seen if m.remaining is not None]
    for now, message in sure:
        left = end - now
        assert message.remaining == pytest.approx(left, rel=0.2, abs=8 * slower)
    for now, message in seen:  # also before: no "0 s left" with minutes to go
        if message.remaining is not None:
            assert message.remaining > 0.3 * (end - now) - 1e-6
    # Features and texture are learned too soon to tell how long the steps take.
    unknown = {message.phase for _, message in seen if message.remaining is None}
    assert {FEATURES, TEXTURE} <= unknown <= {FEATURES, TEXTURE, STEPS}
    first = next(now for now, message in seen if message.remaining is not None)
    assert first < slower * (SECONDS[FEATURES] + SECONDS[TEXTURE]) + 10 * slower


def test_the_bar_never_falls_and_is_full_at_the_end_only(clock):
    fractions = [
        m.fraction
        for m in with_outlook(_training(clock, 2.0), QUICK)
        if isinstance(m, TrainingOutlook)
    ]
    assert all(before <= after for before, after in itertools.pairwise(fractions))
    assert fractions[0] < 0.05
    assert 0.99 < fractions[-1] < 1


def test_a_pause_does_not_count(clock):
    messages = with_outlook(_training(clock, 1.0), QUICK)
    for message in messages:
        if isinstance(message, TrainingStep) and message.step == 500:
            clock.now += 10_000
        if isinstance(message, TrainingOutlook):
            last = message
        if isinstance(message, TrainingStep) and message.step == 600:
            break
    assert last.remaining < 350


def test_a_stop_is_passed_on_whichever_message_it_answers(clock):
    heard = []

    def listening():
        for fraction in (0.2, 0.4, 0.6):
            reply = yield PreparationProgress(FEATURES, fraction)
            heard.append(reply)

    messages = with_outlook(listening(), QUICK)
    next(messages)
    next(messages)  # the outlook
    messages.send("stop")
    list(messages)
    assert heard[0] == "stop"
