"""What a training makes of its budget, without training."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ssim_defects.core.training.schedule import TrainingSchedule, ValidationResult

STEPS = 4000  # of the whole budget


def schedules_after(losses, learned, decay="one_cycle", steps=STEPS):
    """The schedules after validations that are spread evenly over the budget."""
    schedules = [TrainingSchedule()]
    for number, (loss, part) in enumerate(zip(losses, learned, strict=True), start=1):
        used = number / len(losses)
        if used > schedules[-1].end:
            break
        result = ValidationResult(
            used=used, step=round(used * steps), reconstruction_skill=part, loss=loss
        )
        schedules.append(schedules[-1].after(result, decay))
    return schedules


def test_a_training_that_improves_to_its_end_uses_its_budget():
    losses = np.geomspace(0.9, 0.1, 25)
    assert schedules_after(losses, [0.5] * 25)[-1] == TrainingSchedule(
        reconstruction_skill=0.5, risen=0.04, best=losses[-1], improved=1.0, improved_step=STEPS
    )


def test_a_training_that_improves_no_more_ends_early():
    losses = [*np.geomspace(0.9, 0.3, 5), *[0.3] * 20]
    last = schedules_after(losses, [0.5] * 25)[-1]
    assert last.improved == 0.2
    assert last.anneal_start == pytest.approx(0.48)  # a quarter of the budget later
    assert last.end == pytest.approx(0.58)


def test_without_annealing_a_training_ends_at_once():
    last = schedules_after([0.3] * 25, [0.5] * 25, "constant")[-1]
    assert last.end == last.anneal_start == pytest.approx(0.32)


def test_small_improvements_are_none():
    losses = 0.3 * 0.9999 ** np.arange(25)
    assert schedules_after(losses, [0.5] * 25)[-1].anneal_start is not None


def test_few_steps_without_improvement_are_not_enough_to_end():
    assert schedules_after([0.3] * 25, [0.5] * 25, steps=500)[-1].anneal_start is None


def test_a_rising_loss_ends_the_training():
    losses = [*np.geomspace(0.9, 0.3, 5), *np.linspace(0.3, 0.6, 20)]
    assert schedules_after(losses, [0.5] * 25)[-1].anneal_start is not None


def test_a_training_near_its_end_is_left_alone():
    losses = [*np.geomspace(0.9, 0.3, 17), *[0.3] * 8]
    assert schedules_after(losses, [0.5] * 25)[-1].end == 1


def test_without_held_out_patches_the_budget_is_used():
    assert schedules_after([None] * 25, [0.5] * 25)[-1] == TrainingSchedule(
        reconstruction_skill=0.5, risen=0.04
    )


def test_a_schedule_is_untrained_until_something_is_learned():
    schedules = schedules_after([0.5] * 5, [-0.3, -0.1, 0.1, 0.0, 0.2])
    assert [schedule.untrained for schedule in schedules] == [True, True, True, False, False, False]
    assert schedules_after([0.9] * 25, [0.0] * 25)[-1].untrained


def test_where_nothing_is_learned_the_training_begins_again_twice_at_most():
    schedules = schedules_after([0.9] * 25, [0.0] * 25)
    begun = sorted({schedule.begun for schedule in schedules})
    assert [schedule.attempt for schedule in schedules][-1] == 2
    assert begun == pytest.approx([0, 0.28, 0.48])
    assert schedules[-1].end == 1


def test_what_is_about_to_learn_is_not_given_up():
    learned = [*np.linspace(-0.6, -0.1, 5), *np.linspace(-0.09, 0.02, 10), *[0.1] * 10]
    assert schedules_after([0.9] * 25, learned)[-1].attempt == 0


def test_what_rose_once_and_then_no_more_is_given_up():
    learned = [*np.linspace(-0.6, -0.1, 5), *[-0.095] * 20]
    assert schedules_after([0.9] * 25, learned)[-1].attempt == 1


def test_what_has_learned_is_never_given_up():
    learned = [*[0.0] * 5, 0.1, *[0.0] * 19]
    assert schedules_after([0.5] * 25, learned)[-1].attempt == 0


def test_few_steps_are_not_enough_to_give_up():
    assert schedules_after([0.9] * 25, [0.0] * 25, steps=500)[-1].attempt == 0


def test_the_rate_rises_and_falls_to_zero():
    rates = [TrainingSchedule().rate("one_cycle", used) for used in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1
    assert rates[-1] == pytest.approx(0)
    assert (np.diff(rates[:11]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert {TrainingSchedule().rate("constant", used) for used in (0, 0.5, 1)} == {1}


@pytest.mark.parametrize(("attempt", "peak"), [(1, 1.0), (2, 0.5)])
def test_a_new_attempt_warms_up_again_and_the_second_one_is_slower(attempt, peak):
    schedule = TrainingSchedule(attempt=attempt, begun=0.4)
    rates = [schedule.rate("one_cycle", used) for used in np.linspace(0.4, 1, 101)]
    assert rates[0] == pytest.approx(0.1 * peak)
    assert max(rates) == rates[10] == pytest.approx(peak)
    assert rates[-1] == pytest.approx(0)
    assert schedule.rate("constant", 0.7) == peak


def test_an_early_end_anneals_from_the_rate_that_there_was():
    before = TrainingSchedule().rate("one_cycle", 0.5)
    schedule = TrainingSchedule(anneal_start=0.5, end=0.6)
    assert schedule.rate("one_cycle", 0.5) == pytest.approx(before)
    assert schedule.rate("one_cycle", 0.6) == pytest.approx(0)
