from __future__ import annotations

import pytest
import torch

from napari_ssim_defects.core.config import SSIMConfig, TrainingConfig
from napari_ssim_defects.core.networks.autoencoder import Autoencoder, initialise
from napari_ssim_defects.core.patches.corruption import corrupt, vary
from napari_ssim_defects.core.ssim import ssim_map
from napari_ssim_defects.core.training.losses import Criterion, discrimination_loss, training_loss


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(5, 2, 16, 16, generator=generator) for _ in range(2))


def test_system_l2_minimises_the_mean_squared_error(pair):
    x, y = pair
    expected = ((x - y) ** 2).sum() / x.numel()
    torch.testing.assert_close(training_loss(x, y, TrainingConfig(system="l2")), expected)


def test_system_ssim_minimises_the_mean_dissimilarity(pair):
    x, y = pair
    config = TrainingConfig(ssim=SSIMConfig(window_size=7, constants="paper"))
    expected = (1 - ssim_map(x, y, window_size=7, constants="paper")).mean()
    torch.testing.assert_close(training_loss(x, y, config), expected)


def test_squared_error_is_minimised_too_until_something_is_learned():
    config = TrainingConfig(patch_size=16, latent_dimension=4, squared_error_weight=0.5)
    network = Autoencoder.from_config(config, 1).eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 1, 16, 16, generator=generator)
    criterion = Criterion(config, generator)
    with torch.no_grad():
        alone, untrained = criterion(network, x), criterion(network, x, untrained=True)
        error = ((network(x) - x) ** 2).mean()
    torch.testing.assert_close(untrained, alone + 0.5 * error, rtol=0.01, atol=0)
    torch.testing.assert_close(alone, training_loss(x, network(x), config), rtol=0.01, atol=0)


def test_an_autoencoder_restores_corrupted_patches_once_something_is_learned():
    config = TrainingConfig(patch_size=16, latent_dimension=4, batch_norm=False, restoration=True)
    network = Autoencoder.from_config(config, 1)
    initialise(network, 0)
    x = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    varied = vary(x, generator)
    corrupted, _ = corrupt(varied, generator)

    criterion = Criterion(config, torch.Generator().manual_seed(1))
    corruption = criterion.corrupt(x)

    def check(found, wanted, seen):
        expected = training_loss(wanted, network(seen), config)
        torch.testing.assert_close(found, expected, rtol=0.01, atol=0)

    with torch.no_grad():
        check(criterion(network, x, corruption), varied, corrupted)
        check(criterion(network, x, corruption, untrained=True), varied, varied)
        network.eval()  # it is judged by patches as they are
        check(criterion(network, x, corruption), x, x)


def test_a_step_without_the_autoencoder_minimises_the_cross_entropy_alone():
    config = TrainingConfig(
        patch_size=16, latent_dimension=4, discriminator=True, reconstruction_interval=4
    )
    network = Autoencoder.from_config(config, 1)
    initialise(network, 0)
    x = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    criterion = Criterion(config, torch.Generator().manual_seed(1))
    corruption = criterion.corrupt(x)
    expected = discrimination_loss(network, corruption)
    loss = criterion(network, x, corruption, train_autoencoder=False)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(weights.grad is None for weights in network.encoder.parameters())
    assert all(weights.grad is not None for weights in network.discriminator.parameters())


@pytest.mark.parametrize("system", ["ssim", "l2"])
def test_perfect_reconstruction_costs_nothing_and_any_other_something(pair, system):
    x, y = pair
    config = TrainingConfig(system=system)
    assert training_loss(x, x.clone(), config).item() == pytest.approx(0, abs=1e-6)
    assert training_loss(x, y, config).item() > 0.05


@pytest.mark.parametrize("system", ["ssim", "l2"])
def test_loss_of_half_precision_outputs_is_float32_and_trains_them(pair, system):
    x, y = pair
    y = y.to(torch.bfloat16).requires_grad_()
    loss = training_loss(x, y, TrainingConfig(system=system))
    assert loss.dtype == torch.float32
    loss.backward()
    assert y.grad.abs().sum() > 0
