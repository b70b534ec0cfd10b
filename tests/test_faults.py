"""A part of what `benchmarks/faults.py` tries: everything that writes files is interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("limits the size of files and kills forked processes", allow_module_level=True)

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_full_disks_forbidden_folders_and_kills_leave_every_file_old_or_new_and_whole() -> None:
    command = [sys.executable, BENCHMARKS / "faults.py", "--json", "--most", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout, done.stderr
    results = json.loads(done.stdout)
    found = {name: result["failures"] for name, result in results.items() if result["failures"]}
    assert found == {}
    assert sum(sum(result["tried"].values()) for result in results.values()) > 250


@pytest.mark.slow
def test_what_finds_nothing_can_find_something(tmp_path: Path) -> None:
    script = (
        "import json, pathlib, sys; sys.path.insert(0, sys.argv[1]); import faults\n"
        "def careless(folder, version): (folder / 'a').write_bytes(bytes([version]) * 10_000)\n"
        "faults.WRITERS['model'] = careless\n"
        "print(json.dumps(faults.attempt('model', pathlib.Path(sys.argv[2]))['failures']))\n"
    )
    command = [sys.executable, "-c", script, BENCHMARKS, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {
        failure.rsplit(": ", 1)[0].rstrip("0123456789 ") for failure in json.loads(done.stdout)
    }
    assert len(found) >= 3, found
