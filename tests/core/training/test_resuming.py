"""A training that was interrupted goes on as if it had not been."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.training import schedule, trainer
from napari_ssim_defects.core.training import train as training
from napari_ssim_defects.core.training.messages import (
    TrainingCheckpoint,
    TrainingFinished,
    TrainingStarted,
    TrainingStep,
)
from napari_ssim_defects.core.training.train import STOP, train

pytestmark = pytest.mark.slow

TINY = TrainingConfig(
    name="tiny", patch_size=16, latent_dimension=8, batch_size=8, patches=24, epochs=3, stride=8,
    learning_rate=5e-3, ssim={"window_size": 7}, residual={"kind": "ssim"},
)  # fmt: skip
RARITY = TrainingConfig.preset("quick").residual


@pytest.fixture
def often(monkeypatch):
    """Have a checkpoint with every report, and a report with every step."""
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "_REPORT_SECONDS", 0.0)


def interrupted(images, config, count, **options):
    """The count-th checkpoint of a training that is then thrown away."""
    messages = train(images, config, device="cpu", **options)
    checkpoints = (m for m in messages if isinstance(m, TrainingCheckpoint))
    state = next(itertools.islice(checkpoints, count - 1, None)).state
    messages.close()
    return state


def finished(messages):
    *_, last = messages
    assert isinstance(last, TrainingFinished)
    return last.model


def assert_same(first, second):
    one, other = first.network.state_dict(), second.network.state_dict()
    for name in one:
        assert torch.equal(one[name], other[name]), name
    np.testing.assert_array_equal(first.calibration.thresholds, second.calibration.thresholds)
    losses = [[(e.step, e.loss, e.validation_loss) for e in m.history] for m in (first, second)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"system": "vae", "residual": {"kind": "squared_error"}},
        {"fixed_patches": True, "schedule": "constant", "batch_norm": False, "validation": 0.0},
        {"augmentation": {"flips": True, "rotation": 5, "scale": 0.05, "brightness": 0.1}},
        pytest.param(
            {"discriminator": True, "features": True, "texture": True, "residual": RARITY},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(grating, often, changes):
    config = TINY.replace(**changes)
    whole = finished(train([grating()], config, device="cpu"))
    for count in (1, 7):
        state = interrupted([grating()], config, count)
        assert state.loop_state.steps == count
        torch.manual_seed(5)  # no global generator matters
        assert_same(finished(train([grating()], config, device="cpu", state=state)), whole)


def test_an_autoencoder_that_misses_steps_misses_the_same_ones(grating, often, monkeypatch):
    monkeypatch.setattr(trainer, "_VALIDATIONS", 3)
    monkeypatch.setattr(schedule, "LEARNED_SKILL", -9.0)  # whatever it does in so few steps
    config = TINY.replace(discriminator=True, reconstruction_interval=3)
    whole = finished(train([grating()], config, device="cpu"))
    for count in (3, 4, 5, 6):
        state = interrupted([grating()], config, count)
        assert state.loop_state.steps == count
        assert_same(finished(train([grating()], config, device="cpu", state=state)), whole)


def test_a_training_can_be_interrupted_again_and_again(grating, often):
    whole = finished(train([grating()], TINY, device="cpu"))
    state = interrupted([grating()], TINY, 1)
    for _ in range(3):
        state = interrupted([grating()], TINY, 2, state=state)
    assert state.loop_state.steps == 7
    assert_same(finished(train([grating()], TINY, device="cpu", state=state)), whole)


def test_the_recipe_of_the_interrupted_training_is_the_default(grating, often):
    state = interrupted([grating()], TINY, 2)
    assert finished(train([grating()], device="cpu", state=state)).config == TINY


def test_a_checkpoint_does_not_change_while_the_training_goes_on(grating, often):
    messages = train([grating()], TINY, device="cpu")
    state = next(m for m in messages if isinstance(m, TrainingCheckpoint)).state
    before = {name: array.copy() for name, array in state.network.items()}
    finished(messages)
    for name, array in state.network.items():
        np.testing.assert_array_equal(array, before[name])


def test_what_was_done_before_shows_in_progress_and_history(grating, often):
    state = interrupted([grating()], TINY, 5)
    messages = list(train([grating()], TINY, device="cpu", state=state))
    assert messages[0].fraction == pytest.approx(5 / 9)
    first = next(m for m in messages if isinstance(m, TrainingStep))
    assert first.step == 6
    assert first.elapsed > state.loop_state.elapsed
    assert messages[-1].model.history[:5] == state.loop_state.history


def test_a_training_that_was_cut_short_goes_on_with_its_limit_anew(grating, often):
    config = TINY.replace(minutes=1.0)
    state = interrupted([grating()], config, 5)
    state = replace(state, loop_state=state.loop_state.replace(elapsed=100.0, validations=25))
    for minutes in (1.0, 5.0, None):  # another limit is no other training
        resumed = config.replace(minutes=minutes)
        messages = list(train([grating()], resumed, device="cpu", state=state))
        assert messages[0].fraction == pytest.approx(5 / 9)
        assert messages[-1].share == 1
        assert len(messages[-1].model.history) > 5  # it is still looked at


def test_a_training_whose_steps_were_all_done_only_measures_what_is_left(grating):
    *_, state = (
        m.state for m in train([grating()], TINY, device="cpu") if isinstance(m, TrainingCheckpoint)
    )
    messages = list(train([grating()], TINY, device="cpu", state=state))
    assert not any(isinstance(m, TrainingStep) for m in messages)
    assert_same(messages[-1].model, finished(train([grating()], TINY, device="cpu")))


def test_a_stopped_training_can_go_on(grating):
    messages = train([grating()], TINY.replace(epochs=1000), device="cpu")
    next(m for m in messages if isinstance(m, TrainingStep))
    rest = [messages.send(STOP), *messages]
    state = next(m for m in reversed(rest) if isinstance(m, TrainingCheckpoint)).state
    again = train([grating()], TINY.replace(epochs=1000), device="cpu", state=state)
    started = next(m for m in again if isinstance(m, TrainingStarted))
    assert 0 < started.fraction < 1
    again.close()


def test_checkpoints_come_early_then_twice_a_minute_and_at_the_end(grating, monkeypatch):
    seconds = iter(np.arange(0, 1e6, 0.5))
    clock = SimpleNamespace(perf_counter=lambda: float(next(seconds)))
    monkeypatch.setattr(trainer, "time", clock)
    messages = list(train([grating()], TINY.replace(minutes=1.5, epochs=10**6), device="cpu"))
    elapsed = 0.0
    at = []
    for message in messages:
        if isinstance(message, TrainingStep):
            elapsed = message.elapsed
        elif isinstance(message, TrainingCheckpoint):
            at.append(elapsed)
    assert at[0] < 2
    assert np.diff(at)[:-1] == pytest.approx(30, abs=1)
    assert at[-1] >= 90


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, r"another setting 'seed' \(0, not 1\)"),
        ({"epochs": 7}, "another setting 'epochs'"),
        ({"augmentation": {"flips": True}}, "another setting 'augmentation'"),
    ],
)
def test_other_settings_are_refused(grating, often, changes, message):
    state = interrupted([grating()], TINY, 1)
    with pytest.raises(InputError, match=message):
        next(train([grating()], TINY.replace(**changes), device="cpu", state=state))


def test_other_images_are_refused(grating, often):
    state = interrupted([grating(), grating(48, 80)], TINY, 1)
    changed = grating()
    changed[5, 5] += 0.01
    mask = np.ones((64, 64), bool)
    mask[0, 0] = False
    for images, masks in [
        ([changed, grating(48, 80)], None),
        ([grating(48, 80), grating()], None),
        ([grating()], None),
        ([grating(), grating(48, 80)], [mask, None]),
    ]:
        with pytest.raises(InputError, match="other images or another region"):
            next(train(images, TINY, masks=masks, device="cpu", state=state))


@pytest.mark.parametrize("part", ["network", "best", "optimiser"])
def test_weights_of_another_network_are_refused(grating, often, part):
    state = interrupted([grating()], TINY, 2)
    broken = {name: np.zeros(7, np.float32) for name in getattr(state, part)}
    messages = train([grating()], TINY, device="cpu", state=replace(state, **{part: broken}))
    with pytest.raises(InputError, match="start a new training"):
        next(messages)
