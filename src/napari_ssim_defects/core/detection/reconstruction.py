"""Reconstruction of a whole plane from overlapping patches (paper section 4.2)."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..common.progress import relayed
from ..config import TrainingConfig
from ..images.tiles import Box, PatchGrid
from ..networks.autoencoder import Autoencoder
from ..networks.precision import autocast
from ..patches.symmetry import orientation_at, oriented, restored

__all__ = [
    "SampledReconstruction",
    "reconstruct_plane",
    "reconstruct_tile",
    "reconstructor",
]

_BATCH = 32 * 128**2  # pixels; small enough that a batch takes well under half a second on a CPU


class SampledReconstruction(nn.Module):
    """Mean and variance of decoded samples of the latent distribution.

    The N latent samples of every patch are its mean and standard deviation combined with the same
    N vectors of standard normal noise, drawn once by the seed and shifted and scaled to a sample
    mean of exactly 0 and variance of exactly 1. So the result of a patch depends neither on other
    patches nor on their order, and its mean has no sampling error.

    Parameters
    ----------
    network
        A variational autoencoder.
    samples
        Number N of samples.
    seed
        Seed of the noise.
    """

    def __init__(self, network: Autoencoder, samples: int, seed: int) -> None:
        super().__init__()
        self._network = network
        dimension = network.latent_dimension
        noise = torch.randn(samples, dimension, 1, 1, generator=torch.Generator().manual_seed(seed))
        noise = noise - noise.mean(0)
        self._noise = noise / noise.square().mean(0).sqrt()

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Return mean and variance over the samples of patches (N, C, P, P), as (N, 2C, P, P)."""
        mean, log_variance = self._network.encode(patches)
        assert log_variance is not None
        spread = torch.exp(0.5 * log_variance)
        noises = self._noise.to(mean.device, mean.dtype)
        # Differences from the first sample: the variance is then not a difference of large sums.
        first = self._network.decoder(mean + noises[0] * spread).float()
        total, squares = torch.zeros_like(first), torch.zeros_like(first)
        for noise in noises[1:]:
            difference = self._network.decoder(mean + noise * spread).float() - first
            total += difference
            squares += difference.square()
        shift = total / len(self._noise)
        variance = (squares / len(self._noise) - shift.square()).clamp_min(0)
        return torch.cat([first + shift, variance], dim=1)


def reconstructor(network: Autoencoder, config: TrainingConfig) -> nn.Module:
    """Return the function from patches to the outputs that the config's residual needs."""
    residual = config.residual
    if residual.kind == "reconstruction_probability":
        return SampledReconstruction(network, residual.samples, config.seed)
    return network


def reconstruct_plane(
    network: nn.Module,
    plane: npt.NDArray[np.float32],
    patch_size: int,
    stride: int,
    device: torch.device,
    orientations: Sequence[int] = (0,),
) -> Generator[float, None, npt.NDArray[np.float32]]:
    """Reconstruct a plane patch by patch and average overlapping reconstructions.

    Parameters
    ----------
    network
        Maps patches (N, C, P, P) to their reconstructions, or to (N, R, P, P) with anything else
        to be averaged; in evaluation mode, on ``device``.
    plane
        Normalised intensities, float32 of shape (C, H, W). A plane smaller than a patch is
        mirrored to its size.
    patch_size
        Side P of the patches, in pixels.
    stride
        Distance between patches, in pixels; the paper uses 30.
    device
        Where the network runs.
    orientations
        Orientations of the patches that the network was trained on (see `orientations_of`).
        Neighbouring patches are oriented differently, and the outputs are oriented back.

    Yields
    ------
    float
        Fraction of the patches that are done, in (0, 1].

    Returns
    -------
    numpy.ndarray
        The reconstruction, float32 of shape (C, H, W), or (R, H, W).

    Notes
    -----
    With decoded samples, mean and variance of each patch are averaged where patches overlap. The
    average variance is the spread of the samples of one patch, whatever the stride. Pooling the
    samples of all patches would add the differences between patches, and averaging sample by sample
    would divide the variance by the number of patches, which is smaller at the border.
    """
    shape = plane.shape[1], plane.shape[2]
    whole = Box(0, 0, *shape)
    grid = PatchGrid.from_shape(shape, patch_size, stride)
    total = np.zeros(0, np.float32)
    done = 0

    def progress(part: float) -> float:
        return (done + part * len(grid.corners(tile))) / grid.patches

    for tile in grid:
        extent = grid.extent(tile)
        pixels = plane[:, *extent.slices]
        steps = reconstruct_tile(network, pixels, grid, tile, device, orientations)
        found = yield from relayed(steps, progress)
        if not total.size:
            total = np.zeros((len(found), *shape), np.float32)
        part = extent.clipped(whole)
        total[:, *part.slices] += found[:, *part.inside(extent).slices]
        done += len(grid.corners(tile))
    total /= grid.times(whole)
    return total


def reconstruct_tile(
    network: nn.Module,
    pixels: npt.NDArray[np.float32],
    grid: PatchGrid,
    tile: tuple[int, int],
    device: torch.device,
    orientations: Sequence[int] = (0,),
) -> Generator[float, None, npt.NDArray[np.float32]]:
    """Sum the outputs of a network for the overlapping patches of one tile.

    Parameters
    ----------
    network, device, orientations
        As for `reconstruct_plane`.
    pixels
        The extent of the tile inside the plane, float32 of shape (C, H, W).
    grid, tile
        Grid of the patches, and the tile.

    Yields
    ------
    float
        Fraction of the patches that are done, in (0, 1].

    Returns
    -------
    numpy.ndarray
        float32 of shape (R, H, W) with the height and width of the extent. Add the tiles to the
        left and above, then divide by `PatchGrid.times`.
    """
    height, width = grid.extent(tile).shape
    missing = ((0, 0), (0, height - pixels.shape[1]), (0, width - pixels.shape[2]))
    source = torch.as_tensor(np.pad(pixels, missing, mode="symmetric"), device=device)
    side = grid.rows.patch_size
    corners = grid.corners(tile)
    oriented_as = [orientation_at(row, column, orientations) for row, column in grid.places(tile)]
    total = torch.zeros(0)
    size = max(1, _BATCH // side**2)
    for start in range(0, len(corners), size):
        batch = list(zip(corners, oriented_as, strict=True))[start : start + size]
        patches = torch.stack([
            oriented(source[:, y : y + side, x : x + side], orientation)
            for (y, x), orientation in batch
        ])  # fmt: skip
        patches = patches.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), autocast(device):
            outputs = network(patches).float()
        if start == 0:
            total = source.new_zeros((outputs.shape[1], height, width))
        for ((y, x), orientation), output in zip(batch, outputs, strict=True):
            total[:, y : y + side, x : x + side] += restored(output, orientation)
        yield (start + len(batch)) / len(corners)
    return np.asarray(total.cpu().numpy())
