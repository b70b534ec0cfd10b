"""Damage files and call functions oddly for as long as there is time; count what goes wrong.

python benchmarks/fuzz.py [--minutes 10] [--seed 0] [--only NAME ...] [--again SEED] [--json]

Each input follows from its target and a number, so that `--only NAME --again NUMBER` tries it
once more, with a traceback. Batches run in child processes with a limit on memory; an input that
neither returns nor raises our own `InputError`, takes longer than `--limit` seconds, ends the
process, or takes more than a gigabyte of memory is a failure. Needs an operating system that forks.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_targets import TARGETS

from napari_ssim_defects import InputError

BATCH_SECONDS = 15
SPARE = 4 * 2**30  # bytes of addresses beyond those that a batch begins with
MOST = 2**20  # kilobytes that an input may add to the memory in use


def attempt(target: str, seed: int) -> str | None:
    """Try one input; return what went wrong, if anything did."""
    random = np.random.default_rng([list(TARGETS).index(target), seed])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)  # can freeze a viewer
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            TARGETS[target](random, Path(folder))
        except InputError as error:
            if not str(error).endswith(".") or len(str(error)) > 1500 + 2 * len(folder):
                return f"no sentence: {str(error)[:200]}"
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in frames if "napari_ssim_defects" in frame.filename]
            place = (ours or frames)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            return f"{type(error).__name__} at {where}: {str(error)[:120]}"
    return None


def _child(target: str, first: int, pipe: int) -> None:
    """Try inputs one after another, and tell the number of each before and after it."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)  # of decoders written in C
    torch.set_num_threads(1)
    addresses = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (addresses + SPARE,) * 2)
    attempt(target, first)  # what is made once does not count
    end, seed = time.monotonic() + BATCH_SECONDS, first
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while time.monotonic() < end:
        _tell(pipe, {"begin": seed})
        found = attempt(target, seed)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        if grown > MOST and found is None:
            found = f"memory: {grown / 2**10:.0f} MB"
        _tell(pipe, {"end": seed, "found": found, "grown": grown})
        if grown > MOST:
            break
        seed += 1


def _tell(pipe: int, message: dict[str, Any]) -> None:
    os.write(pipe, (json.dumps(message) + "\n").encode())


def batch(target: str, first: int, limit: float) -> dict[str, Any]:
    """Run a batch in a process of its own; return its last number, failures and memory."""
    receive, send = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(receive)
        status = 1
        try:
            _child(target, first, send)
            status = 0
        finally:
            os._exit(status)
    os.close(send)
    done, failures, grown, current = 0, [], 0, first
    with os.fdopen(receive, "rb") as stream:
        while True:
            ready, _, _ = select.select([stream], [], [], limit + (20 if not done else 0))
            line = stream.readline() if ready else b""
            if not line:
                break
            message = json.loads(line)
            current = message.get("begin", message.get("end"))
            if "end" in message:
                done += 1
                grown = max(grown, message["grown"])
                if message["found"]:
                    failures.append((current, message["found"]))
    if not ready:
        os.kill(process, signal.SIGKILL)
        failures.append((current, f"hang: more than {limit:g} s"))
    _, status = os.waitpid(process, 0)
    if ready and status:
        failures.append((current, f"crash: status {status}"))
    return {"done": done, "next": current + 1, "failures": failures, "grown": grown}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--again", type=int, metavar="NUMBER")
    parser.add_argument("--limit", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.again is not None:
        random = np.random.default_rng([list(TARGETS).index(options.only[0]), options.again])
        with tempfile.TemporaryDirectory() as folder:
            TARGETS[options.only[0]](random, Path(folder))
        return 0
    end = time.monotonic() + 60 * options.minutes
    tried: Counter[str] = Counter()
    grown: Counter[str] = Counter()
    following = dict.fromkeys(options.only, options.seed * 10**9)
    failures: dict[str, dict[str, Any]] = {}
    while time.monotonic() < end:
        for target in options.only:
            result = batch(target, following[target], options.limit)
            following[target] = result["next"]
            tried[target] += result["done"]
            grown[target] = max(grown[target], result["grown"] // 2**10)
            for number, what in result["failures"]:
                entry = failures.setdefault(
                    f"{target}: {what.split(': ')[0]}",
                    {"target": target, "number": number, "what": what, "times": 0},
                )
                entry["times"] += 1
                if entry["times"] == 1 and not options.json:
                    print(f"{target} {number}: {what}", flush=True)
            if time.monotonic() > end:
                break
    summary = {
        "seed": options.seed,
        "minutes": options.minutes,
        "tried": sum(tried.values()),
        "by_target": dict(tried),
        "memory_mb": dict(grown),
        "failures": list(failures.values()),
    }
    if options.json:
        print(json.dumps(summary))
    else:
        for target in options.only:
            print(f"{target}: {tried[target]:,} inputs, at most {grown[target]} MB more memory")
        print(f"{summary['tried']:,} inputs, {len(failures)} kinds of failure.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
