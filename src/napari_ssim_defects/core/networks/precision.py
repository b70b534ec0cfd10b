"""Number formats, and which one is fastest on a device."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch

from ..common.device import to_device
from .autoencoder import Autoencoder

__all__ = [
    "autocast",
    "fast_dtype",
    "step_time",
    "use_dtype",
]

_CHOSEN: dict[torch.device, torch.dtype] = {}  # by `use_dtype`
_LAPS = 5  # of the race between number formats


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # detection, which needs no gradients, may be the first to ask
@torch.enable_grad()
def fast_dtype(device: torch.device) -> torch.dtype:
    """Return the number format that a training step is fastest in: float32 or bfloat16.

    On a GPU, bfloat16 if the hardware has it; on a CPU that may have it, the faster
    one in a short benchmark.
    """
    if device in _CHOSEN:
        return _CHOSEN[device]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float32
    if device.type == "xpu":
        return torch.bfloat16
    if device.type != "cpu":
        return torch.float32
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        return torch.float32  # it has no instructions for bfloat16, which takes ten times as long
    # They alternate, so that a busy moment does not affect only one of them.
    laps = [[step_time(dtype) for dtype in (torch.float32, torch.bfloat16)] for _ in range(_LAPS)]
    single, half = map(min, zip(*laps, strict=True))
    return torch.bfloat16 if half < 0.9 * single else torch.float32


def use_dtype(device: torch.device, dtype: torch.dtype | None) -> None:
    """Decide the number format of a device in this process, so that several compute the same.

    None: it is chosen by speed again.
    """
    _CHOSEN.pop(device, None)
    if dtype is not None:
        _CHOSEN[device] = dtype
    fast_dtype.cache_clear()


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Context in which a network's matrix work runs in the device's fast format."""
    if fast_dtype(device) == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def step_time(dtype: torch.dtype) -> float:
    """Time of a forward and backward pass of a few patches on the CPU, in seconds.

    Of this thread alone if the system can measure that, so that other programs do not matter.
    """
    precise = time.get_clock_info("thread_time").resolution < 1e-4
    clock = time.thread_time if precise else time.perf_counter
    # The real network and enough patches: neither a few patches nor a single convolution predict
    # which format is faster overall.
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
        network = to_device(Autoencoder(64, 1, 64), torch.device("cpu"))
    patches = torch.ones(16, 1, 64, 64).to(memory_format=torch.channels_last)
    start = clock()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        outputs = network(patches)
    outputs.float().mean().backward()
    return clock() - start
