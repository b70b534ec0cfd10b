from __future__ import annotations

import pytest
import torch

from napari_ssim_defects.core.common.device import full_precision
from napari_ssim_defects.core.networks import precision
from napari_ssim_defects.core.networks.precision import autocast, fast_dtype

STEP_TIME = precision.step_time  # before it is replaced for all tests of the core


def test_fast_format_is_one_that_training_is_stable_in(cpu):
    assert fast_dtype(cpu) in (torch.float32, torch.bfloat16)
    assert fast_dtype(cpu) is fast_dtype(torch.device("cpu"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_runs_matrix_work_in_the_fast_format(cpu, dtype, monkeypatch):
    monkeypatch.setattr(precision, "fast_dtype", lambda where: dtype)
    layer = torch.nn.Linear(4, 4)
    with autocast(cpu):
        assert layer(torch.ones(1, 4)).dtype == dtype
    assert layer(torch.ones(1, 4)).dtype == torch.float32


@pytest.fixture
def may_have_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


def test_a_processor_without_bfloat16_is_not_timed_with_it(cpu, monkeypatch):
    """A step with it takes a second there."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(precision, "step_time", lambda dtype: pytest.fail("timed"))
    assert fast_dtype.__wrapped__(cpu) == torch.float32


@pytest.mark.usefixtures("may_have_bfloat16")
@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad])
def test_fast_format_is_found_where_gradients_are_switched_off(cpu, context):
    # Detection, which needs no gradients, may be the first to ask; the answer is remembered.
    with context():
        assert fast_dtype.__wrapped__(cpu) in (torch.float32, torch.bfloat16)


def test_finding_the_fast_format_leaves_random_numbers_alone(cpu):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    STEP_TIME(torch.float32)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.usefixtures("may_have_bfloat16")
@pytest.mark.parametrize(("half", "expected"), [(0.5, torch.bfloat16), (0.95, torch.float32)])
def test_the_faster_format_must_win_clearly(cpu, monkeypatch, half, expected):
    times = {torch.float32: 1.0, torch.bfloat16: half}
    monkeypatch.setattr(precision, "step_time", times.get)
    assert fast_dtype.__wrapped__(cpu) == expected


@pytest.mark.usefixtures("may_have_bfloat16")
def test_one_slow_step_does_not_decide(cpu, monkeypatch):
    busy = iter([9.0, *[1.0] * 100])
    monkeypatch.setattr(
        precision, "step_time", lambda dtype: next(busy) if dtype == torch.bfloat16 else 1.5
    )
    assert fast_dtype.__wrapped__(cpu) == torch.bfloat16


def test_devices_without_autocast_compute_in_full_precision(cpu, monkeypatch):
    """As MPS before torch 2.5, where even asking for no autocast is an error."""

    def refuse(*_, **__):
        raise RuntimeError("User specified an unsupported autocast device_type")

    monkeypatch.setattr(torch, "autocast", refuse)
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda kind: False)
    with full_precision(cpu), autocast(cpu):
        assert torch.ones(2).sum() == 2


def test_the_number_format_can_be_decided_and_be_left_to_speed_again(monkeypatch):
    monkeypatch.setattr(
        precision, "step_time", lambda dtype: 1.0 if dtype == torch.float32 else 2.0
    )
    cpu = torch.device("cpu")
    precision.fast_dtype.cache_clear()
    assert precision.fast_dtype(cpu) == torch.float32
    precision.use_dtype(cpu, torch.bfloat16)
    assert precision.fast_dtype(cpu) == torch.bfloat16
    precision.use_dtype(cpu, None)
    assert precision.fast_dtype(cpu) == torch.float32
