"""What only an NVIDIA graphics card can show; passed over where there is none."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from napari_ssim_defects.core.common.device import choose_device, release_memory
from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import AugmentationConfig, SSIMConfig, TrainingConfig
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.networks.autoencoder import Autoencoder, initialise
from napari_ssim_defects.core.networks.precision import fast_dtype, use_dtype
from napari_ssim_defects.core.patches.areas import TrainingArea
from napari_ssim_defects.core.patches.patch_source import PatchSource
from napari_ssim_defects.core.ssim import ssim_loss, ssim_map
from napari_ssim_defects.core.training.messages import (
    TrainingCheckpoint,
    TrainingFinished,
    TrainingNotice,
    TrainingStarted,
    TrainingStep,
)
from napari_ssim_defects.core.training.train import STOP, train

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs an NVIDIA graphics card"
)

CUDA = torch.device("cuda")
SYSTEMS = {
    "patch_size": 16, "latent_dimension": 8, "batch_size": 8, "patches": 40, "epochs": 8,
    "stride": 8, "learning_rate": 5e-3, "ssim": {"window_size": 7},
}  # fmt: skip
VIEWS = TrainingConfig(
    **{**SYSTEMS, "batch_size": 2, "epochs": 5}, discriminator=True, features=True, texture=True,
    restoration=True, augmentation={"symmetries": True}, validation=0.25,
    residual=TrainingConfig.preset("quick").residual,
)  # fmt: skip


@pytest.fixture
def in_float32():
    use_dtype(CUDA, torch.float32)
    yield
    use_dtype(CUDA, None)


@pytest.fixture
def little_memory():
    """Give a function that leaves the process so many bytes of the card's memory."""
    total = torch.cuda.get_device_properties(CUDA).total_memory

    def leave(count):
        gc.collect()
        release_memory(CUDA)
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + count) / total)

    yield leave
    torch.cuda.set_per_process_memory_fraction(1.0)
    release_memory(CUDA)


@pytest.fixture(scope="module")
def good(grating):
    return [grating(96, 128), grating(96, 128, phase=1)]


@pytest.fixture(scope="module")
def messages(good):
    return list(train(good, VIEWS))


def spoilt(image):
    image = image.copy()
    image[30:50, 40:60] = 0.5
    return image


def test_it_is_chosen_where_there_is_one():
    assert choose_device(None).type == choose_device("auto").type == "cuda"


def test_a_training_runs_there_and_its_model_anywhere(messages, good, tmp_path):
    started = next(m for m in messages if isinstance(m, TrainingStarted))
    assert started.device == "cuda"
    assert started.precision == str(fast_dtype(CUDA)).removeprefix("torch.")
    model = messages[-1].model
    assert {p.device.type for p in model.network.parameters()} == {"cpu"}
    assert np.isfinite([entry.loss for entry in model.history]).all()
    model.save(tmp_path / "model.safetensors")
    read = DefectModel.load(tmp_path / "model.safetensors")
    maps = [read.residual(spoilt(good[0]), device=name) for name in ("cpu", "cuda")]
    for found in maps:
        assert found[34:46, 44:56].mean() > 2 * found[:, 70:].mean()


@pytest.mark.usefixtures("in_float32")
def test_every_view_is_the_same_as_on_the_processor(messages, good):
    model = messages[-1].model
    image = spoilt(good[1])
    for calibrated in model.calibrated_residuals:
        scored = model.with_residual(calibrated.residual.kind)
        here, there = (scored.residual(image, device=name) for name in ("cpu", "cuda"))
        scale = np.abs(here).max()
        np.testing.assert_allclose(there, here, atol=2e-3 * scale)
    here, there = (model.reconstruct(image, device=name) for name in ("cpu", "cuda"))
    np.testing.assert_allclose(there, here, atol=2e-3)


def test_the_texture_is_as_exact_as_on_the_processor(messages, good):
    texture = messages[-1].model.network.texture
    plane = spoilt(good[0])[None]
    planes = torch.as_tensor(plane)[None]
    with torch.inference_mode():
        exact = texture.double()(planes.double()).numpy()
        texture.float()
        there = texture.to(CUDA)(planes.to(CUDA)).cpu().numpy()
        texture.to("cpu")
        here = texture(planes).numpy()
    error, usual = (np.abs(found - exact) / (1 + exact) for found in (there, here))
    assert error.max() < max(1e-4, 4 * usual.max())


@pytest.mark.parametrize("size", [48, 700])  # by matrices, and by sums of shifted images
@pytest.mark.parametrize("window", ["uniform", "gaussian"])
def test_ssim_and_its_gradient_are_as_exact_as_on_the_processor(size, window):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 1, size, size, generator=generator)
    y = (x + 0.1 * torch.rand(x.shape, generator=generator)).clamp(0, 1)
    exact = ssim_map(x.double(), y.double(), window=window)
    found = ssim_map(x.to(CUDA), y.to(CUDA), window=window)
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu().double(), exact, atol=1e-5, rtol=0)
    gradients = []
    for inputs in ((x.double(), y.double()), (x.to(CUDA), y.to(CUDA))):
        second = inputs[1].detach().requires_grad_()
        ssim_loss(inputs[0], second, SSIMConfig(window=window)).backward()
        gradients.append(second.grad.cpu().double())
    torch.testing.assert_close(
        gradients[1], gradients[0], atol=1e-4 * float(gradients[0].abs().max()), rtol=0
    )


@pytest.mark.parametrize("system", ["ssim", "l2", "vae"])
def test_every_system_trains_there(system, good):
    config = TrainingConfig(system=system, **SYSTEMS)
    *_, last = train(good, config, device="cuda")
    for calibrated in last.model.calibrated_residuals:
        found = last.model.with_residual(calibrated.residual.kind).residual(good[0], device="cuda")
        assert np.isfinite(found).all()
    assert last.model.history[-1].loss < last.model.history[0].loss


def test_an_interrupted_training_goes_on_there_and_on_the_processor(good):
    steps = train(good, VIEWS, device="cuda")
    state = next(m for m in steps if isinstance(m, TrainingCheckpoint)).state
    steps.close()
    for device in ("cuda", "cpu"):
        resumed = list(train(good, VIEWS, device=device, state=state))
        first = next(m for m in resumed if isinstance(m, TrainingStep))
        assert first.step > state.loop_state.steps
        assert isinstance(resumed[-1], TrainingFinished)


def test_it_stops_when_told(good):
    steps = train(good, VIEWS.replace(epochs=100_000), device="cuda")
    message = next(steps)
    while not isinstance(message, TrainingStep):
        message = next(steps)
    steps.send(STOP)
    *_, last = steps
    assert last.stopped


def test_pixels_live_there_and_in_main_memory_where_they_do_not_fit(little_memory, grating):
    area = TrainingArea(grating(1024, 1024)[None])
    augmentation = AugmentationConfig(rotation=5, brightness=0.1)

    def patches():
        source = PatchSource([area], 64, augmentation, CUDA)
        rng = np.random.default_rng(0)
        cut = source.cut_augmented(source.positions(8, rng), rng)
        assert cut.device.type == "cuda"
        return source, cut.cpu()

    source, expected = patches()
    assert {plane.device.type for plane in source._planes} == {"cuda"}
    del source
    little_memory(3 << 20)  # of the four that the pixels need
    source, found = patches()
    assert {plane.device.type for plane in source._planes} == {"cpu"}
    torch.testing.assert_close(found, expected)


def test_batches_are_halved_when_its_memory_runs_out(little_memory, grating):
    config = TrainingConfig(
        patch_size=128, batch_size=512, patches=512, epochs=1, stride=64, system="l2"
    )
    network = Autoencoder.from_config(config, 1)
    initialise(network, 0)
    network.to(CUDA)
    network(torch.rand(2, 1, 128, 128, device=CUDA)).mean().backward()  # what libraries need
    del network
    little_memory(1 << 30)  # 512 patches need two or three gigabytes
    messages = list(train([grating(256, 256)], config, device="cuda"))
    notices = [m.text for m in messages if isinstance(m, TrainingNotice)]
    assert any("not enough memory for 512 patches at once" in text for text in notices)
    assert isinstance(messages[-1], TrainingFinished)


def test_too_little_memory_for_any_batch_is_one_sentence(little_memory, grating):
    config = TrainingConfig(patch_size=256, batch_size=4, patches=4, epochs=1, stride=256)
    steps = train([grating(256, 256)], config, device="cuda")
    assert isinstance(next(steps), TrainingStarted)
    little_memory(1 << 20)
    with pytest.raises(InputError, match="not enough memory"):
        list(steps)
