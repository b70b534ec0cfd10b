from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from napari_ssim_defects.core.detection.reconstruction import reconstruct_plane
from napari_ssim_defects.core.images.tiles import patch_starts
from napari_ssim_defects.core.networks.autoencoder import Autoencoder, initialise


class Nonlinear(nn.Module):
    """Every output pixel depends on its place in the patch and on the whole patch."""

    def forward(self, patches):
        places = torch.linspace(0, 1, patches[0].numel(), dtype=patches.dtype)
        centred = patches - patches.mean(dim=(1, 2, 3), keepdim=True)
        return torch.tanh(centred.flip(-1)) + places.reshape(patches.shape[1:])


def finish(steps):
    """Run a generator to its end; returns what it yielded and what it returned."""
    yielded = []
    while True:
        try:
            yielded.append(next(steps))
        except StopIteration as finished:
            return yielded, finished.value


def reconstruct(network, plane, patch_size, stride):
    return finish(reconstruct_plane(network, plane, patch_size, stride, torch.device("cpu")))[1]


@given(st.integers(1, 300), st.integers(1, 64), st.integers(1, 100))
def test_patches_cover_the_axis_at_most_a_stride_apart(length, patch_size, stride):
    starts = patch_starts(length, patch_size, stride)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - patch_size)
    steps = np.diff(starts)
    assert (steps >= 1).all()
    assert (steps <= min(stride, patch_size)).all()
    assert (steps[:-1] == min(stride, patch_size)).all()


def test_papers_image_takes_as_many_patches_as_its_stride_says():
    rows, columns = patch_starts(700, 128, 30), patch_starts(1024, 128, 30)
    assert len(rows) == 21  # 0, 30, ..., 570 and 572
    assert len(columns) == 31  # 0, 30, ..., 870 and 896


@pytest.mark.parametrize("stride", [1, 3, 5, 15, 16, 17, 100])
@pytest.mark.parametrize(
    "shape",
    [(1, 16, 16), (1, 40, 33), (3, 17, 31), (1, 5, 9), (2, 1, 40), (1, 40, 1), (1, 1, 1)],
)
def test_network_that_copies_gives_back_every_pixel(rng, shape, stride):
    plane = rng.normal(size=shape).astype(np.float32)
    before = plane.copy()
    result = reconstruct(nn.Identity(), plane, 16, stride)
    assert result.shape == shape
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, plane, atol=1e-5)
    np.testing.assert_array_equal(plane, before)


def brute_force(network, plane, patch_size, stride):
    """Average over all patches that see a pixel, in plain loops and float64."""
    height, width = plane.shape[1:]
    total, times = np.zeros(plane.shape), np.zeros(plane.shape[1:])
    stride = min(stride, patch_size)
    rows = sorted({*range(0, height - patch_size, stride), height - patch_size})
    columns = sorted({*range(0, width - patch_size, stride), width - patch_size})
    for y in rows:
        for x in columns:
            patch = torch.as_tensor(plane[:, y : y + patch_size, x : x + patch_size].copy())
            total[:, y : y + patch_size, x : x + patch_size] += network(patch[None])[0].numpy()
            times[y : y + patch_size, x : x + patch_size] += 1
    return total / times


@pytest.mark.parametrize(("patch_size", "stride"), [(8, 3), (8, 8), (8, 20), (5, 1), (20, 7)])
@pytest.mark.parametrize("shape", [(1, 20, 29), (2, 27, 20)])
def test_overlapping_reconstructions_are_averaged(rng, shape, patch_size, stride):
    plane = rng.normal(size=shape).astype(np.float32)
    expected = brute_force(Nonlinear(), plane, patch_size, stride)
    result = reconstruct(Nonlinear(), plane, patch_size, stride)
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 5, 20), (1, 20, 5), (2, 3, 4), (1, 1, 1)])
def test_plane_smaller_than_a_patch_is_mirrored(rng, shape):
    plane = rng.normal(size=shape).astype(np.float32)
    missing = [(0, 0), *((0, max(0, 12 - side)) for side in shape[1:])]
    mirrored = np.pad(plane, missing, mode="symmetric")
    expected = brute_force(Nonlinear(), mirrored, 12, 4)[:, : shape[1], : shape[2]]
    result = reconstruct(Nonlinear(), plane, 12, 4)
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_batches_make_no_difference(rng):
    network = Autoencoder(16, 1, 8).eval()
    initialise(network, 0)
    plane = rng.random((1, 40, 40), dtype=np.float32)
    with torch.no_grad():
        expected = brute_force(network, plane, 16, 4)
    np.testing.assert_allclose(reconstruct(network, plane, 16, 4), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 10, 10), (1, 100, 100), (1, 70, 16)])
def test_progress_rises_to_one(shape, cpu):
    steps = reconstruct_plane(nn.Identity(), np.zeros(shape, np.float32), 16, 8, cpu)
    fractions, _ = finish(steps)
    assert fractions[-1] == 1
    assert fractions[0] > 0
    assert (np.diff(fractions) > 0).all()


def test_large_patches_are_reported_one_by_one(cpu):
    sizes = []

    class Counting(nn.Identity):
        def forward(self, patches):
            sizes.append(patches.shape[0] * patches[0, 0].numel())
            return patches

    plane = np.zeros((1, 1100, 1100), np.float32)
    finish(reconstruct_plane(Counting(), plane, 512, 100, cpu))
    assert max(sizes) <= 32 * 128**2  # memory and time of a batch do not grow with the patch


def test_read_only_planes_are_fine(cpu):
    plane = np.ones((1, 20, 20), np.float32)
    plane.flags.writeable = False
    np.testing.assert_array_equal(reconstruct(nn.Identity(), plane, 16, 8), plane)
