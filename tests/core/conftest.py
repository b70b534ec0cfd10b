"""What the tests of the core share: random numbers, textures and a trained toy model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import settings

from napari_ssim_defects.core.networks.backbone import Backbone
from napari_ssim_defects.io.artifacts.pretrained_weights import read_backbone_weights

settings.register_profile("core", derandomize=True, deadline=None, max_examples=40, database=None)
settings.load_profile("core")


@pytest.fixture(scope="module", autouse=True)
def _repeatable():
    """Compute on one thread: small networks are fastest there."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def cpu():
    return torch.device("cpu")


@pytest.fixture(scope="session")
def backbone():
    backbone = Backbone()
    backbone.load_pretrained(read_backbone_weights())
    return backbone


def _grating(height=64, width=64, period=8.0, phase=0.0):
    """A sinusoidal texture between 0 and 1 with no two axes alike; float32 of shape (H, W)."""
    rows, columns = np.mgrid[:height, :width]
    waves = np.sin(2 * np.pi * rows / period + phase) + np.sin(2 * np.pi * columns / period)
    return (0.5 + 0.25 * waves).astype(np.float32)


@pytest.fixture(scope="session")
def grating():
    return _grating
