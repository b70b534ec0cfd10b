"""Tiles: what is computed tile by tile is what is computed at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_ssim_defects.core.config import (
    DiscriminatorResidual,
    EnsembleMember,
    EnsembleResidual,
    FeaturesResidual,
    SSIMConfig,
    SSIMResidual,
    TextureResidual,
    TrainingConfig,
)
from napari_ssim_defects.core.detection.predictions import predict_plane
from napari_ssim_defects.core.detection.residual import score_plane, score_tiles
from napari_ssim_defects.core.images import tiles as tiling
from napari_ssim_defects.core.images.tiles import Box, PatchGrid, patch_starts, spans
from napari_ssim_defects.core.networks.autoencoder import Autoencoder, initialise
from napari_ssim_defects.io.artifacts.pretrained_weights import read_backbone_weights

LEVELS = tuple(float(level) for level in np.linspace(0, 3, 41))


@given(st.integers(1, 5000), st.integers(1, 600))
def test_spans_cover_an_axis_and_none_is_much_smaller_or_larger(length, side):
    found = spans(length, side)
    assert found[0][0] == 0
    assert found[-1][1] == length
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(found))
    if length >= side:
        assert all(side / 2 <= end - start < 1.5 * side + 1 for start, end in found)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([4, 16, 50]), st.integers(1, 60))
def test_a_pixel_is_seen_by_its_own_tile_and_the_ones_before_only(height, width, size, stride):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiling, "SIDE", 32)
        grid = PatchGrid.from_shape((height, width), size, stride)
        whole = Box(0, 0, height, width)
        blocks = np.zeros((height, width), int)
        times = np.zeros((height, width), int)
        for tile in grid:
            blocks[grid.block(tile).slices] += 1
            extent = grid.extent(tile)
            for y, x in grid.corners(tile):
                times[extent.top + y :, extent.left + x :][:size, :size] += 1
            after = [(tile[0] + down, tile[1] + right) for down in (0, 1) for right in (0, 1)]
            own = sum(
                np.prod(extent.clipped(grid.block(other)).shape)
                for other in after
                if other in set(grid)
            )
            assert own == np.prod(extent.clipped(whole).shape)
    assert (blocks == 1).all()
    np.testing.assert_array_equal(grid.times(whole), times)
    assert grid.patches == len(patch_starts(height, size, stride)) * len(
        patch_starts(width, size, stride)
    )


def _views(plane, config, cpu):
    network = Autoencoder.from_config(config, len(plane)).eval()
    initialise(network, 0)
    torch.manual_seed(0)
    network.backbone.load_pretrained(read_backbone_weights())
    for mixture in network.texture.mixtures:
        mixture.projection.normal_(0, 0.2)
    steps = predict_plane(network, plane, config, config.stride, cpu, [config.residual])
    fractions = []
    while True:
        try:
            fractions.append(next(steps))
        except StopIteration as finished:
            return fractions, finished.value


@pytest.mark.slow
def test_tiles_of_all_views_fit_together(rng, cpu, monkeypatch):
    parts = (
        SSIMResidual(ssim=(SSIMConfig(window_size=5), SSIMConfig(window_size=9)), smoothing=1.5),
        DiscriminatorResidual(smoothing=1),
        FeaturesResidual(smoothing=1),
        TextureResidual(smoothing=1),
    )
    config = TrainingConfig(
        patch_size=16,
        latent_dimension=8,
        stride=6,
        discriminator=True,
        features=True,
        texture=True,
        residual=EnsembleResidual(
            members=tuple(EnsembleMember(residual=part, levels=LEVELS) for part in parts),
            levels=LEVELS,
        ),
    )
    plane = rng.random((1, 700, 500)).astype(np.float32)
    _, whole = _views(plane, config, cpu)
    expected = score_plane(plane, whole, config.residual)
    monkeypatch.setattr(tiling, "SIDE", 448)
    side, reach = score_tiles(config.residual)
    assert (side, reach) == (448, 4 + 6)
    fractions, views = _views(plane, config, cpu)
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    np.testing.assert_allclose(views.reconstruction, whole.reconstruction, atol=1e-4)
    for kind, atol in {"discriminator": 0.05, "features": 1e-3, "texture": 1e-2}.items():
        np.testing.assert_allclose(views.local[kind], whole.local[kind], atol=atol)
    np.testing.assert_allclose(score_plane(plane, views, config.residual), expected, atol=2e-3)


def test_tiles_are_larger_where_a_residual_sees_far():
    assert score_tiles(SSIMResidual()) == (1024, 5)
    assert score_tiles(SSIMResidual(smoothing=100, ssim=(SSIMConfig(window_size=255),))) == (
        2048,
        527,
    )
