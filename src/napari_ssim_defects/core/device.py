"""Where networks run, and in which number format."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TypeVar

import torch
from torch import nn

from .errors import InputError

__all__ = ["autocast", "choose_device", "fast_dtype", "place"]

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


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # detection, which needs no gradients, may be the first to ask
@torch.enable_grad()
def fast_dtype(device: torch.device) -> torch.dtype:
    """Return the number format that a training step is fastest in: float32 or bfloat16.

    On a GPU, bfloat16 where the hardware has it; on a CPU, whichever wins a brief race.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float32
    if device.type == "xpu":
        return torch.bfloat16
    if device.type != "cpu":
        return torch.float32
    times = {dtype: _step_time(dtype) for dtype in (torch.float32, torch.bfloat16)}
    return torch.bfloat16 if times[torch.bfloat16] < 0.9 * times[torch.float32] else torch.float32


def autocast(device: torch.device) -> torch.autocast:
    """Context in which a network's matrix work runs in the device's fast format."""
    dtype = fast_dtype(device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def place(network: _Network, device: torch.device) -> _Network:
    """Move a network to a device, in the memory layout that convolutions are fastest in."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _step_time(dtype: torch.dtype) -> float:
    """Shortest of three forward and backward passes of a small convolution, in seconds."""
    layer = place(nn.Conv2d(32, 32, 3, padding=1), torch.device("cpu"))
    maps = torch.ones(8, 32, 64, 64).to(memory_format=torch.channels_last).requires_grad_()
    times = []
    for _ in range(4):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            layer(maps).sum().backward()
        times.append(time.perf_counter() - start)
    return min(times[1:])
