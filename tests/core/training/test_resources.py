from __future__ import annotations

import torch

from napari_ssim_defects.core.training.resources import ThreadRace, thread_race


def run(race: ThreadRace, seconds: dict[int, float], steps: int) -> list[int]:
    used = []
    for _ in range(steps):
        used.append(race.threads)
        race.step_took(seconds[race.threads])
    return used


def test_the_number_of_threads_that_steps_are_fastest_with_wins():
    assert run(ThreadRace(8), {8: 0.5, 4: 0.2, 2: 0.3}, 40)[-1] == 4


def test_all_threads_are_kept_where_they_are_fastest():
    assert run(ThreadRace(2), {2: 0.1, 1: 0.2}, 30)[-1] == 2


def test_a_busy_processor_costs_few_steps():
    used = run(ThreadRace(2), {2: 5.0, 1: 0.05}, 40)
    assert used.count(2) <= 4
    assert used[-1] == 1


def test_a_number_that_is_hopeless_is_given_up_at_once():
    race = ThreadRace(2)
    run(race, {2: 0.05, 1: 0.05}, 8)
    used = run(race, {2: 0.05, 1: 3.0}, 200)
    assert used.count(1) <= 4


def test_the_race_is_run_again_after_a_while():
    race = ThreadRace(2)
    assert run(race, {2: 5.0, 1: 0.05}, 40)[-1] == 1
    assert run(race, {2: 0.1, 1: 0.2}, 1000)[-1] == 2


def test_one_thread_has_nothing_to_race():
    assert set(run(ThreadRace(1), {1: 1.0}, 50)) == {1}


def test_the_number_of_threads_is_as_before_afterwards():
    before = torch.get_num_threads()
    with thread_race() as race:
        torch.set_num_threads(race.threads + 1)
    assert torch.get_num_threads() == before


def test_a_race_is_settled_with_any_work_before_the_first_step():
    used = []
    with thread_race() as race:
        most = torch.get_num_threads()
        race.settle(lambda: used.append(torch.get_num_threads()))
        assert torch.get_num_threads() == race.threads
        steps = len(used)
        race.settle(lambda: used.append(0))  # it is already
        assert len(used) == steps
    assert set(used) <= set(range(1, most + 1))
    assert (steps > 0) == (most > 1)
