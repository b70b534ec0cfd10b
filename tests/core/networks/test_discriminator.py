from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.networks.autoencoder import Autoencoder, initialise
from napari_ssim_defects.core.networks.discriminator import Discriminator
from napari_ssim_defects.core.patches.corruption import corrupt, vary
from napari_ssim_defects.core.patches.patch_source import split_patches
from napari_ssim_defects.core.training.losses import Criterion, corruption_weights


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 48])
def test_log_odds_have_the_size_of_the_patches(backbone, channels, side):
    odds = Discriminator()(backbone(torch.rand(2, channels, side, side)))
    assert odds.shape == (2, 1, side, side)


def test_tiles_are_the_parts_of_a_square_row_by_row():
    squares = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8)
    parts = split_patches(squares, 4)
    assert parts.shape == (8, 3, 4, 4)
    assert torch.equal(parts[1], squares[0, :, :4, 4:])
    assert torch.equal(parts[6], squares[1, :, 4:, :4])
    assert torch.equal(split_patches(squares, 8), squares)


def test_objective_adds_the_cross_entropy_of_what_was_corrupted():
    config = TrainingConfig(patch_size=16, latent_dimension=4, discriminator=True, seed=5)
    network = Autoencoder.from_config(config, 1)
    initialise(network, 0)
    network.eval()
    squares = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(5)
    corrupted, mask = corrupt(vary(squares, generator), generator)
    with torch.no_grad():
        criterion = Criterion(config, torch.Generator().manual_seed(5))
        whole = criterion(network, squares, criterion.corrupt(squares))
        odds = network.discriminator(network.backbone(corrupted)).double()
        network.discriminator = None
        alone = Criterion(config, torch.Generator())(network, split_patches(squares, 16))
    likelihood = torch.where(mask == 1, odds.sigmoid(), 1 - odds.sigmoid()).log()
    expected = -(corruption_weights(mask) * likelihood).mean()
    np.testing.assert_allclose(whole - alone, expected, rtol=0.05)  # in bfloat16


def test_a_thin_corruption_weighs_more_than_a_wide_one_but_not_without_limit():
    mask = torch.zeros(3, 1, 100, 100)
    mask[0, 0, :50] = 1
    mask[1, 0, :2, :50] = 1
    mask[2, 0, 0, 0] = 1
    weights = corruption_weights(mask)
    assert bool((weights[mask == 0] == 1).all())
    assert [float(w[m == 1][0]) for w, m in zip(weights, mask, strict=True)] == pytest.approx(
        [1, 5**0.5, 5]
    )


def test_it_learns_to_find_what_does_not_belong(backbone):
    generator = torch.Generator().manual_seed(0)
    network = Discriminator()
    initialise(network, 0)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    flat = 0.5 + 0.02 * torch.randn(8, 1, 32, 32, generator=generator)
    for _ in range(30):
        corrupted, mask = corrupt(flat, generator)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            network(backbone(corrupted)), mask
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    spotted = flat.clone()
    spotted[:, :, 10:20, 12:22] = 0.95
    odds = network.eval()(backbone(spotted))
    inside = odds[:, :, 12:18, 14:20].mean()
    assert inside > 1 + odds[:, :, :, 28:].mean()
