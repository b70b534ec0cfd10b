"""What the tests of the core share: random numbers, textures and a trained toy model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import settings

from napari_ssim_defects.core import device

settings.register_profile("core", derandomize=True, deadline=None, max_examples=40, database=None)
settings.load_profile("core")


@pytest.fixture(scope="module", autouse=True)
def _repeatable():
    """Compute in float32 on every machine, on one thread: small networks are fastest there."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "_step_time", lambda dtype: 1.0)
        device.fast_dtype.cache_clear()
        yield
    device.fast_dtype.cache_clear()
    torch.set_num_threads(threads)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def cpu():
    return torch.device("cpu")


def _grating(height=64, width=64, period=8.0, phase=0.0):
    """A sinusoidal texture between 0 and 1 with no two axes alike; float32 of shape (H, W)."""
    rows, columns = np.mgrid[:height, :width]
    waves = np.sin(2 * np.pi * rows / period + phase) + np.sin(2 * np.pi * columns / period)
    return (0.5 + 0.25 * waves).astype(np.float32)


@pytest.fixture(scope="session")
def grating():
    return _grating
