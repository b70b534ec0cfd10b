"""Interrupt everything that writes files, at every point; count what is not as promised.

python benchmarks/faults.py [--only NAME ...] [--json]

Each writer replaces an old version of its file by a new one in a process of its own, again and
again, and each time something else goes wrong:

- the disk is full before the n-th change of the folder (n = 0, 1, ... until it is not reached), in
  the middle of a file, or only when the file is forced to the disk;
- the folder is read-only, or somebody else's;
- the process is killed before the n-th change, or in the middle of a write.

Afterwards every file is the old one or the new one, whole. Whoever was not killed has said one
sentence (`InputError`) and left nothing behind; after a kill, writing once more gives the new
files. Needs Linux.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from fault_writers import JOURNAL, WRITERS, prepare

from napari_ssim_defects import InputError
from napari_ssim_defects.io.files.safetensors_file import read_safetensors
from napari_ssim_defects.io.writers.journal import Journal

CHANGES = {"open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir"}
REMOVALS = {"os.remove", "os.rmdir"}
FAULTS = ("full", "full in a file", "full at last", "read-only", "denied",
          "killed", "killed in a file")  # fmt: skip
DONE, COUNTED = "done", "counted"
Files = dict[str, Any]


def content(file: Path) -> Any:
    """Contents of a file, but for what differs each time; of a zarr folder, of all files in it."""
    if file.is_dir():
        parts = (part for part in file.rglob("*") if part.is_file())
        return {str(part.relative_to(file)): content(part) for part in parts}
    if file.suffix == ".safetensors":
        try:
            tensors, texts = read_safetensors(file)
        except InputError as error:
            return str(error)
        return {name: array.tobytes() for name, array in tensors.items()} | texts
    return re.sub(rb"urn:uuid:[0-9a-f-]+", b"", file.read_bytes())


def files(folder: Path, name: str) -> Files:
    """Contents of the visible files in a folder."""
    if name == JOURNAL:
        journal = Journal(folder)
        return {image: journal.find(Path("/", image)) for image in ("old.png", "new.png")}
    found: Files = {}
    for path in folder.glob("[!.]*"):
        if path.is_dir() and path.suffix != ".zarr":
            found |= {f"{path.name}/{key}": value for key, value in files(path, name).items()}
        else:
            found[path.name] = content(path)
    return found


def hidden(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name[0] == "."}


def _watch(folder: Path, act: Callable[[str, str, int], None]) -> None:
    """Call a function before each change in a folder, with path and number; for ever."""
    number = itertools.count()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        path = os.fsdecode(arguments[0])
        if path.startswith(str(folder)) or not path.startswith(os.sep):  # relative: of rmtree
            act(event, path, next(number))

    sys.addaudithook(hook)


def _inject(folder: Path, fault: str, number: int) -> list[int]:
    """Let a fault happen in this process from now on; return a list that changes are added to."""
    counted: list[int] = []
    os.fsync = lambda file: None  # slow, and of no use to those who are killed

    def refuse(code: int, *path: str) -> None:
        raise OSError(code, os.strerror(code), *path)

    def full(event: str, path: str, change: int) -> None:
        if change >= number and event not in REMOVALS:
            refuse(errno.ENOSPC, path)

    def kill(event: str, path: str, change: int) -> None:
        if change == number:
            os.kill(os.getpid(), signal.SIGKILL)

    if fault == COUNTED:
        _watch(folder, lambda event, path, change: counted.append(change))
    elif fault == "full":
        _watch(folder, full)
    elif fault == "full at last":
        os.fsync = lambda file: refuse(errno.ENOSPC)
    elif fault in ("read-only", "denied"):
        code = errno.EROFS if fault == "read-only" else errno.EACCES
        _watch(folder, lambda event, path, change: refuse(code, path))
    elif fault == "killed":
        _watch(folder, kill)
    elif "in a file" in fault:  # Python ignores the signal, so that the write fails
        if fault == "killed in a file":
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
    return counted


def run(name: str, folder: Path, version: int, fault: str = "", number: int = 0) -> str | None:
    """Run a writer in a process of its own; return what it said, or None if it was killed."""
    receive, send = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(receive)
        try:
            with open(os.devnull, "w") as nowhere:  # noqa: PTH123
                os.dup2(nowhere.fileno(), 2)
            counted = _inject(folder, fault, number)
            WRITERS[name](folder, version)
            said = str(len(counted)) if fault == COUNTED else DONE
        except InputError as error:
            said = f"InputError: {error}"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(send, said.encode(errors="replace"))
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as stream:
        said = stream.read()
    _, status = os.waitpid(process, 0)
    return None if os.WIFSIGNALED(status) else said


def problem(name: str, folder: Path, said: str | None, old: Files, new: Files) -> str | None:
    """Return what is not as promised after a fault."""
    now = files(folder, name)
    # What goes on after a failure may count what was whole by then.
    resumed = name in (JOURNAL, "detection")
    allowed = (new,) if said == DONE else (old, new) if said is None or resumed else (old,)
    for file in {*now, *old, *new}:
        if not any(now.get(file) == version.get(file) for version in allowed):
            return f"'{file}' is not the one that it should be, whole ({said})"
    if said is None:
        if (again := run(name, folder, 1)) != DONE or files(folder, name) != new:
            return f"could not be written after a kill: {again}"
    elif said != DONE and (not said.startswith("InputError: ") or not said.endswith(".")):
        return f"no sentence: {said[:300]}"
    return None


def numbers(fault: str, changes: int, largest: int, most: int) -> Iterator[int]:
    """Where to place a fault: before changes, or at some sizes of the largest file."""
    if fault in ("full", "killed"):
        step = max(1, changes // most)
        yield from (n for n in range(changes) if n % step == 0 or changes - n < 5)
    elif "in a file" in fault:
        yield from sorted({0, 1, largest // 2, largest - 1})
    else:
        yield 0


def changes_of(name: str, before: Path, after: Path) -> int:
    """Write without a fault; return how many changes of the folder it takes."""
    shutil.copytree(before, after)
    said = run(name, after, 1, COUNTED)
    assert said is not None
    return int(said)


def attempt(name: str, place: Path, most: int = 10**9) -> dict[str, Any]:
    """Try faults on a writer, before about so many changes; return how many, and what was found."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, after = place / "before", place / "after"
        prepare(name, place)
        before.mkdir()
        assert run(name, before, 0) == DONE
        changes = changes_of(name, before, after)
        old, new, usual = files(before, name), files(after, name), hidden(after)
        largest = max((file.stat().st_size for file in after.rglob("*")), default=3200)
        tried: Counter[str] = Counter()
        found: list[str] = []
        for fault in FAULTS:
            for number in numbers(fault, changes, largest, most):
                folder = place / "folder"
                shutil.copytree(before, folder)
                said = run(name, folder, 1, fault, number)
                wrong = problem(name, folder, said, old, new)
                left = hidden(folder) - usual
                if wrong is None and said is not None and left:
                    wrong = f"left behind: {sorted(left)}"
                shutil.rmtree(folder)
                if wrong is not None:
                    found.append(f"{fault} {number}: {wrong}")
                tried[fault] += 1
    return {"tried": dict(tried), "failures": found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(WRITERS), default=list(WRITERS))
    parser.add_argument("--most", type=int, default=10**9, metavar="CHANGES")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = attempt(name, Path(folder), options.most)
        if not options.json:
            tried = ", ".join(f"{n} {fault}" for fault, n in results[name]["tried"].items())
            print(f"{name}: {tried}", *results[name]["failures"], sep="\n  ", flush=True)
    if options.json:
        print(json.dumps(results))
    return 1 if any(result["failures"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
