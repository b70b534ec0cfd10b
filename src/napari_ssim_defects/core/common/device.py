"""Devices that networks run on, and memory that is used again and again."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import nn

from .errors import InputError

__all__ = [
    "choose_device",
    "full_precision",
    "memory_kept",
    "release_memory",
    "to_device",
]

# Each step of a training, and each image of a detection, needs the same hundreds of megabytes. The
# C library of Linux gives large pieces back to the system as soon as they are free, which then has
# to clear them, page by page, for the next one: a third of the time of a step with the paper's
# network (benchmarks/EXPERIMENTS.md).
# Numbers of malloc.h, and what they are while memory is kept and afterwards: the library's own
# largest values, which it would not have changed back either once large pieces were used.
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = -3, -1, -2
_KEPT = {_MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26}
_USUAL = {_MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26, _TOP_PAD: 2**17}

_lock = threading.Lock()
_keeping = 0  # contexts that are open, in any thread

_Network = TypeVar("_Network", bound=nn.Module)


def choose_device(name: str | None = None) -> torch.device:
    """Return the named device, or the fastest that there is.

    Parameters
    ----------
    name
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, ``"xpu"``; None or ``"auto"`` chooses.

    Raises
    ------
    InputError
        If the device is not there.
    """
    if name in (None, "auto"):
        for kind in ("cuda", "mps", "xpu"):
            if _available(kind):
                return torch.device(kind)
        return torch.device("cpu")
    try:
        device = torch.device(str(name))
    except RuntimeError:
        raise InputError(f"'{name}' is not a device; use auto, cpu, cuda, mps or xpu.") from None
    count = getattr(torch, device.type).device_count() if _available(device.type) else 0
    if device.type != "cpu" and (not count or (device.index or 0) >= count):
        raise InputError(f"Device '{name}' is not available on this computer; use auto or cpu.")
    return device


def _available(kind: str) -> bool:
    module = torch.backends.mps if kind == "mps" else getattr(torch, kind, None)
    return kind == "cpu" or (module is not None and bool(module.is_available()))


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Context without automatic casts between number formats."""
    if not torch.amp.is_autocast_available(device.type):  # on MPS before torch 2.5
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def to_device(network: _Network, device: torch.device) -> _Network:
    """Move a network to a device, in the memory layout that convolutions are fastest in."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def release_memory(device: torch.device) -> None:
    """Release cached memory that no tensor uses."""
    gc.collect()
    if device.type != "cpu":
        getattr(torch, device.type).empty_cache()


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep freed memory until the end, if the C library supports that (glibc).

    Contexts may overlap: the end is that of the last one.
    """
    global _keeping
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        yield
        return
    assert library is not None
    with _lock:
        _keeping += 1
        for option, value in _KEPT.items():
            library.mallopt(option, value)
    try:
        yield
    finally:
        with _lock:
            _keeping -= 1
            if not _keeping:
                for option, value in _USUAL.items():
                    library.mallopt(option, value)
                library.malloc_trim(0)
