from __future__ import annotations

import pytest
import torch

from napari_ssim_defects.core.device import autocast, choose_device, fast_dtype
from napari_ssim_defects.core.errors import InputError


@pytest.mark.parametrize("name", [None, "auto"])
def test_automatic_choice_is_a_device_that_computes(name):
    device = choose_device(name)
    assert torch.ones(2, device=device).sum().item() == 2


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
    monkeypatch.setattr("napari_ssim_defects.core.device._available", lambda name: name == "cpu")
    with pytest.raises(InputError, match="not available on this computer"):
        choose_device(kind)
    assert choose_device("auto") == torch.device("cpu")


def test_fast_format_is_one_that_training_is_stable_in(cpu):
    assert fast_dtype(cpu) in (torch.float32, torch.bfloat16)
    assert fast_dtype(cpu) is fast_dtype(torch.device("cpu"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_runs_matrix_work_in_the_fast_format(cpu, dtype, monkeypatch):
    monkeypatch.setattr("napari_ssim_defects.core.device.fast_dtype", lambda device: dtype)
    layer = torch.nn.Linear(4, 4)
    with autocast(cpu):
        assert layer(torch.ones(1, 4)).dtype == dtype
    assert layer(torch.ones(1, 4)).dtype == torch.float32


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad])
def test_fast_format_is_found_where_gradients_are_switched_off(cpu, context):
    # Detection, which needs no gradients, may be the first to ask; the answer is remembered.
    with context():
        assert fast_dtype.__wrapped__(cpu) in (torch.float32, torch.bfloat16)
