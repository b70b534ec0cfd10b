from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from napari_ssim_defects.core.common.device import (
    choose_device,
    full_precision,
    memory_kept,
    release_memory,
)
from napari_ssim_defects.core.common.errors import InputError

# In a process of its own, as what others do with memory would decide it otherwise.
PROGRAM = """
import resource
import numpy as np
from napari_ssim_defects.core.common.device import memory_kept

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [np.ones(2**20) for _ in range(20)]  # 8 MB each
    del pieces
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

start = resident()
with memory_kept():
    first, second = faults_of_a_step(), faults_of_a_step()
print(first > 10_000, second < 1000, resident() < start + 80 * 2**20)
"""


@pytest.mark.parametrize("name", [None, "auto"])
def test_automatic_choice_is_a_device_that_computes(name):
    assert torch.ones(2, device=choose_device(name)).sum().item() == 2


def test_cpu_is_always_there():
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["", "gpu", "fast", "cuda:x", "cuda:-1"])
def test_unknown_name_says_which_names_there_are(name):
    with pytest.raises(InputError, match="use auto, cpu, cuda, mps or xpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda:99", "meta", "hpu", "vulkan"])
def test_missing_device_is_named(name):
    with pytest.raises(InputError, match=f"Device '{name}' is not available"):
        choose_device(name)


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_device_of_another_computer_is_refused(kind, monkeypatch):
    monkeypatch.setattr(
        "napari_ssim_defects.core.common.device._available", lambda name: name == "cpu"
    )
    with pytest.raises(InputError, match="not available on this computer"):
        choose_device(kind)
    assert choose_device("auto") == torch.device("cpu")


def test_releasing_memory_is_possible_everywhere(cpu):
    release_memory(cpu)


def test_full_precision_holds_inside_autocast(cpu):
    layer = torch.nn.Linear(4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(cpu):
        assert layer(torch.ones(1, 4)).dtype == torch.float32


@pytest.mark.skipif(sys.platform != "linux", reason="other systems manage memory by themselves")
def test_a_step_finds_the_memory_of_the_last_and_the_end_gives_it_back():
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["True", "True", "True"]


def test_nothing_happens_where_the_library_cannot_be_told(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with memory_kept():
        pass
