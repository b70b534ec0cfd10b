from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.corruption import corrupt, vary
from napari_ssim_defects.core.losses import Objective
from napari_ssim_defects.core.networks import Autoencoder, initialise
from napari_ssim_defects.core.validation import Validation

CONFIG = TrainingConfig(patch_size=16, latent_dimension=4, discriminator=True, seed=5)


@pytest.fixture
def network():
    network = Autoencoder.of(CONFIG, 1)
    initialise(network, 0)
    return network


@pytest.fixture
def squares():
    return torch.rand(6, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def validation(config, squares):
    return Validation(config, Objective(config, torch.Generator()), squares, held_out=True)


@pytest.mark.parametrize("at_once", [6, 4])
def test_told_is_the_part_of_a_blind_guess_s_cross_entropy_that_is_gone(network, squares, at_once):
    looks = validation(CONFIG, squares)
    looks.at_once = at_once
    told = looks.told(network)
    assert looks.told(network) == told  # always of the same corruptions
    generator = torch.Generator().manual_seed(CONFIG.seed)
    odds, masks = [], []
    for part in squares.split(at_once):
        corrupted, mask = corrupt(vary(part, generator), generator)
        with torch.no_grad():
            odds.append(network.discriminator(corrupted).double().sigmoid().numpy().ravel())
        masks.append(mask.numpy().ravel())
    truth = np.concatenate(masks)
    blind = log_loss(truth, np.full(truth.size, truth.mean()))
    expected = 1 - log_loss(truth, np.concatenate(odds)) / blind
    assert told == pytest.approx(expected, abs=0.05)  # in bfloat16


class Blind(torch.nn.Module):
    def forward(self, patches):
        return torch.full_like(patches[:, :1], -1.5)


@pytest.mark.parametrize("discriminator", [Blind(), None])
def test_a_blind_discriminator_and_none_have_told_nothing(network, squares, discriminator):
    network.discriminator = discriminator
    assert validation(CONFIG, squares).told(network) <= 0
