from __future__ import annotations

import pytest
import torch

from napari_ssim_defects.core.patches.corruption import corrupt, vary


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def patches():
    """Gratings of different directions, with a little noise."""
    axis = torch.linspace(0, 20, 64)
    angles = torch.linspace(0, 3, 12)[:, None, None]
    waves = torch.sin(axis[:, None] * angles.cos() + axis * angles.sin())
    return (0.5 + 0.3 * waves + 0.02 * torch.randn(12, 64, 64, generator=seeded()))[:, None]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [32, 128])
def test_corruptions_lie_where_the_mask_says(channels, side):
    patches = torch.rand(8, channels, side, side, generator=seeded())
    corrupted, mask = corrupt(patches, seeded(1))
    assert corrupted.shape == patches.shape
    assert mask.shape == (8, 1, side, side)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert corrupted.isfinite().all()
    changed = (corrupted - patches).abs().amax(1, keepdim=True)
    assert changed[mask == 1].mean() > 0.1
    assert changed[mask == 0].mean() < 0.05


def test_some_patches_stay_good_and_no_defect_covers_everything(patches):
    masks = torch.cat([corrupt(patches, seeded(seed))[1] for seed in range(10)])
    shares = masks.mean((1, 2, 3))
    assert 0.05 < (shares == 0).float().mean() < 0.5
    assert 0.02 < shares.mean() < 0.3


def test_corruption_and_variation_follow_from_the_seed_and_leave_the_patches(patches):
    before = patches.clone()
    for change in (lambda g: corrupt(patches, g)[0], lambda g: vary(patches, g)):
        assert torch.equal(change(seeded(3)), change(seeded(3)))
        assert not torch.equal(change(seeded(3)), change(seeded(4)))
    assert torch.equal(patches, before)


def test_variations_are_small(patches):
    varied = vary(patches, seeded())
    assert varied.shape == patches.shape
    assert (varied.mean((1, 2, 3)) - patches.mean((1, 2, 3))).abs().max() < 0.3
    ratio = varied.std((1, 2, 3)) / patches.std((1, 2, 3))
    assert ratio.min() > 0.4
    assert ratio.max() < 1.8
