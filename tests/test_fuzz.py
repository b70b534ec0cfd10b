"""A short, repeatable part of what `benchmarks/fuzz.py` tries for as long as there is time."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

if not hasattr(os, "fork"):
    pytest.skip("fuzzing needs child processes that share memory", allow_module_level=True)

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# How many inputs of each target are tried here; trainings take longest.
TRIED = {
    "model file": 150,
    "checkpoint": 40,
    "safetensors": 300,
    "TIFF": 120,
    "PNG, JPEG, BMP": 200,
    "journal": 120,
    "names and folders": 150,
    "calls": 300,
    "training": 150,
    "recipe": 150,
    "zarr": 100,
}


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("fuzz")


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("target", list(TRIED))
def test_damaged_files_and_odd_arguments_are_refused_in_a_sentence(
    fuzz: ModuleType, target: str, capfd: pytest.CaptureFixture[str]
) -> None:
    found = {number: fuzz.attempt(target, number) for number in range(TRIED[target])}
    capfd.readouterr()  # what decoders in C have to say
    assert {number: what for number, what in found.items() if what} == {}


def test_every_target_is_tried(fuzz: ModuleType) -> None:
    assert list(fuzz.TARGETS) == list(TRIED)


@pytest.mark.slow
def test_the_long_command_finds_failures_hangs_and_crashes(
    fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What finds nothing must be able to find something."""
    script = (
        "import os, sys, json, time; sys.path.insert(0, sys.argv[1]); import fuzz, numpy\n"
        "kept = []\n"
        "faults = {'raises': lambda r, f: [][0], 'hangs': lambda r, f: time.sleep(60),"
        " 'ends': lambda r, f: os._exit(3),"
        " 'grows': lambda r, f: kept.append(bytearray(9 << 27))}\n"
        "number = [0]\n"
        "def late(fault):\n"
        "    def target(random, folder):\n"
        "        number[0] += 1\n"
        "        if number[0] == 3: fault(random, folder)\n"
        "    return target\n"
        "fuzz.TARGETS.clear(); fuzz.TARGETS.update({n: late(f) for n, f in faults.items()})\n"
        "fuzz.BATCH_SECONDS = 0.3\n"
        "limits = {name: 3.0 if name == 'hangs' else 60.0 for name in faults}\n"
        "print(json.dumps({n: fuzz.batch(n, 0, limits[n])['failures'] for n in faults}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(BENCHMARKS)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert {name: what[0][1].split(" ")[0].rstrip(":") for name, what in found.items()} == {
        "raises": "IndexError", "hangs": "hang", "ends": "crash", "grows": "memory",
    }  # fmt: skip
