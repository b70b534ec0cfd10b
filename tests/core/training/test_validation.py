from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from napari_ssim_defects.core.config import (
    DiscriminatorResidual,
    EnsembleMember,
    EnsembleResidual,
    SSIMResidual,
    TextureResidual,
    TrainingConfig,
)
from napari_ssim_defects.core.networks.autoencoder import Autoencoder, initialise
from napari_ssim_defects.core.patches.corruption import corrupt
from napari_ssim_defects.core.training import validation as validating
from napari_ssim_defects.core.training.losses import Criterion
from napari_ssim_defects.core.training.validation import Validation
from napari_ssim_defects.io.artifacts.pretrained_weights import read_backbone_weights

CONFIG = TrainingConfig(
    patch_size=16,
    latent_dimension=4,
    discriminator=True,
    texture=True,
    seed=5,
    residual=EnsembleResidual(
        members=(
            EnsembleMember(residual=DiscriminatorResidual()),
            EnsembleMember(residual=TextureResidual()),
            EnsembleMember(residual=SSIMResidual()),
        )
    ),
)


@pytest.fixture
def network():
    network = Autoencoder.from_config(CONFIG, 1)
    initialise(network, 0)
    network.backbone.load_pretrained(read_backbone_weights())
    return network.eval()


@pytest.fixture
def squares():
    return torch.rand(6, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def validation(config, squares):
    return Validation(config, Criterion(config, torch.Generator()), squares, held_out=True)


def skills_of(looks, network):
    """What the trial on painted corruptions returns in the end."""
    steps, fractions = looks.skills(network), []
    while True:
        try:
            fractions.append(next(steps))
        except StopIteration as finished:
            assert fractions == sorted(fractions)
            assert fractions[-1:] in ([], [1.0])
            return finished.value[0]


@pytest.mark.slow
def test_skill_is_the_area_below_the_roc_curve_of_painted_corruptions(
    network, squares, monkeypatch
):
    monkeypatch.setattr(validating, "_CORRUPTED", 8 * len(squares))
    validations = validation(CONFIG, squares)
    skills = skills_of(validations, network)
    assert skills_of(validations, network) == skills  # always of the same corruptions
    assert set(skills) == {member.residual for member in CONFIG.residual.members[:2]}
    generator = torch.Generator().manual_seed(2018)
    residuals, masks = [], []
    for _ in range(8):
        corrupted, mask = corrupt(squares, generator)
        masks.append(mask.numpy())
        padded = np.pad(corrupted.numpy(), [(0, 0), (0, 0), (64, 64), (64, 64)], mode="symmetric")
        with torch.no_grad():
            odds = network.discriminator(network.backbone(torch.as_tensor(padded)))
        places = 64 + np.arange(32).clip(8, 23)  # at a border, from within
        residuals.append(odds.exp().log1p()[:, :, places[:, None], places].numpy())
    truth, found = (np.concatenate(each)[..., ::2, ::2].ravel() for each in (masks, residuals))
    expected = roc_auc_score(truth > 0, found)
    assert skills[DiscriminatorResidual()] == pytest.approx(expected, abs=0.02)  # in bfloat16


def test_a_member_that_tells_nothing_has_the_skill_of_chance(network, squares):
    """Here of a texture model that has not learned anything."""
    skills = skills_of(validation(CONFIG, squares), network)
    assert skills[TextureResidual()] == pytest.approx(0.5)


@pytest.mark.slow
def test_corruptions_are_the_same_in_every_training(network, squares):
    """They make most of the noise of a skill, which is compared with fixed limits."""
    other = CONFIG.replace(seed=CONFIG.seed + 1)
    skills = [skills_of(validation(config, squares), network) for config in (CONFIG, other)]
    assert skills[0] == skills[1]


def test_preview_shows_probabilities_of_the_discriminator(network, squares):
    validations = validation(CONFIG, squares)
    preview = validations.preview(network, validations.reconstruct(network))
    with torch.no_grad():
        padded = np.pad(preview.tried[:1], [(0, 0), (0, 0), (64, 64), (64, 64)], mode="symmetric")
        odds = network.discriminator(network.backbone(torch.as_tensor(padded)))
    places = 64 + np.arange(32).clip(8, 23)
    expected = torch.sigmoid(odds)[0, 0, places[:, None], places].numpy()
    np.testing.assert_allclose(preview.scores[0].squeeze(), expected, atol=0.02)


def test_only_a_rarity_has_members_to_be_judged(network, squares):
    config = CONFIG.replace(residual=DiscriminatorResidual())
    assert skills_of(validation(config, squares), network) == {}
