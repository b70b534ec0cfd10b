"""Devices that networks run on, and their memory."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import nn

from .errors import InputError

__all__ = [
    "choose_device",
    "full_precision",
    "release_memory",
    "to_device",
]

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
