from __future__ import annotations

import pytest
import torch

from napari_ssim_defects.core.common.device import choose_device, full_precision, release_memory
from napari_ssim_defects.core.common.errors import InputError


@pytest.mark.parametrize("name", [None, "auto"])
def test_automatic_choice_is_a_device_that_computes(name):
    assert torch.ones(2, device=choose_device(name)).sum().item() == 2


def test_cpu_is_always_there():
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["", "gpu", "fast", "cuda:x", "cuda:-1"])
def test_unknown_name_says_which_names_there_are(name):
    with pytest.raises(InputError, match="use auto, cpu, cuda, mps or xpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda:99", "meta", "hpu", "vulkan"])
def test_missing_device_is_named(name):
    with pytest.raises(InputError, match=f"Device '{name}' is not available"):
        choose_device(name)


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_device_of_another_computer_is_refused(kind, monkeypatch):
    monkeypatch.setattr(
        "napari_ssim_defects.core.common.device._available", lambda name: name == "cpu"
    )
    with pytest.raises(InputError, match="not available on this computer"):
        choose_device(kind)
    assert choose_device("auto") == torch.device("cpu")


def test_releasing_memory_is_possible_everywhere(cpu):
    release_memory(cpu)


def test_full_precision_holds_inside_autocast(cpu):
    layer = torch.nn.Linear(4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(cpu):
        assert layer(torch.ones(1, 4)).dtype == torch.float32
