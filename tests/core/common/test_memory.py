"""Memory is kept between the steps of a training, and given back after it."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own, as what others do with memory would decide it otherwise.
PROGRAM = """
import resource
import numpy as np
from napari_ssim_defects.core.common.memory import memory_kept

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


@pytest.mark.skipif(sys.platform != "linux", reason="other systems manage memory by themselves")
def test_a_step_finds_the_memory_of_the_last_and_the_end_gives_it_back():
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["True", "True", "True"]


def test_nothing_happens_where_the_library_cannot_be_told(monkeypatch):
    from napari_ssim_defects.core.common import memory

    monkeypatch.setattr(memory.sys, "platform", "darwin")
    with memory.memory_kept():
        pass
