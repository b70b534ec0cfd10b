"""Reconstruction of a whole plane from overlapping patches (paper section 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .config import TrainingConfig
from .device import autocast
from .networks import Autoencoder
from .residual_kinds import ResidualConfig, parts

__all__ = [
    "PlaneViews",
    "SampledReconstruction",
    "patch_starts",
    "reconstruct_plane",
    "reconstructor",
    "relayed",
    "view_plane",
]

_Message = TypeVar("_Message")
_Result = TypeVar("_Result")

_RECONSTRUCTION = 0.8  # part of the time, beside a discriminator
_BATCH = 32 * 128**2  # pixels; small enough that a batch takes well under half a second on a CPU


class SampledReconstruction(nn.Module):
    """What decoded samples of the latent distribution have in common, and how much they vary.

    The N latent samples of every patch are its mean and standard deviation combined with the same
    N vectors of standard normal noise, drawn once by the seed and shifted and scaled to a sample
    mean of exactly 0 and variance of exactly 1. So the result of a patch depends neither on other
    patches nor on their order, and its mean is not off by the chance of few samples.

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
        # Differences from the first sample: a variance is no difference of large sums then.
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
    """Return what maps patches to all that the recipe's residual needs to know of them."""
    residual = config.residual
    if residual.kind == "reconstruction_probability":
        return SampledReconstruction(network, residual.samples, config.seed)
    return network


def patch_starts(length: int, patch_size: int, stride: int) -> list[int]:
    """Return where patches start along one axis so that they cover all of it.

    Starts are ``stride`` apart; the last patch ends at the end of the axis. A stride above the
    patch size is taken as the patch size.
    """
    last = max(0, length - patch_size)
    starts = list(range(0, last, min(stride, patch_size)))
    return [*starts, last]


def reconstruct_plane(
    network: nn.Module,
    plane: npt.NDArray[np.float32],
    patch_size: int,
    stride: int,
    device: torch.device,
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
    Of decoded samples, mean and variance of each patch are averaged where patches overlap. The
    average variance is the spread of the samples of one patch, whatever the stride; pooling the
    samples of all patches instead would add how much patches differ, and averaging sample by
    sample would divide it by the number of patches, which is smaller at the border.
    """
    height, width = plane.shape[1:]
    missing = [max(0, patch_size - side) for side in (height, width)]
    if any(missing):
        plane = np.pad(plane, [(0, 0), *((0, m) for m in missing)], mode="symmetric")
    pixels = torch.as_tensor(np.array(plane), device=device)  # a copy: it may be read-only
    rows, columns = (patch_starts(side, patch_size, stride) for side in plane.shape[1:])
    corners = [(y, x) for y in rows for x in columns]
    total = torch.zeros(0)
    size = max(1, _BATCH // patch_size**2)
    for start in range(0, len(corners), size):
        batch = corners[start : start + size]
        patches = torch.stack(
            [pixels[:, y : y + patch_size, x : x + patch_size] for y, x in batch]
        ).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), autocast(device):
            outputs = network(patches).float()
        if start == 0:
            total = pixels.new_zeros((outputs.shape[1], *pixels.shape[1:]))
        for (y, x), output in zip(batch, outputs, strict=True):
            total[:, y : y + patch_size, x : x + patch_size] += output
        yield (start + len(batch)) / len(corners)
    times = [
        np.add.reduce([(np.arange(side) >= s) & (np.arange(side) < s + patch_size) for s in starts])
        for side, starts in zip(plane.shape[1:], (rows, columns), strict=True)
    ]
    total /= torch.as_tensor(np.outer(*times), dtype=total.dtype, device=device)
    return np.ascontiguousarray(total[:, :height, :width].cpu().numpy())


@dataclass(frozen=True, slots=True, eq=False)
class PlaneViews:
    """All that the residuals of a plane are made of.

    Attributes
    ----------
    reconstruction
        float32 of shape (C, H, W); for the reconstruction probability (2C, H, W), followed by the
        variance of decoded samples.
    log_odds
        Logarithm of the odds of a defect, float32 of shape (H, W); None if no residual needs it.
    improbability
        How improbable each neighbourhood is, float32 of shape (H, W); None if no residual needs
        it.
    """

    reconstruction: npt.NDArray[np.float32]
    log_odds: npt.NDArray[np.float32] | None = None
    improbability: npt.NDArray[np.float32] | None = None


def view_plane(
    network: Autoencoder,
    plane: npt.NDArray[np.float32],
    config: TrainingConfig,
    stride: int,
    device: torch.device,
    residuals: Iterable[ResidualConfig],
) -> Generator[float, None, PlaneViews]:
    """Compute what residuals of a plane are made of, and nothing else.

    Parameters
    ----------
    network
        In evaluation mode, on ``device``.
    plane
        Normalised intensities, float32 of shape (C, H, W).
    config
        The recipe.
    stride
        Distance between reconstructed patches, in pixels.
    device
        Where the network runs.
    residuals
        What the plane is to be scored by. A reconstruction there is in any case.

    Yields
    ------
    float
        Fraction of the work that is done, in (0, 1].

    Returns
    -------
    PlaneViews
        The views.
    """
    kinds = {part.kind for residual in residuals for part in parts(residual)}
    texture = network.texture if "texture" in kinds else None
    discriminator = network.discriminator if "discriminator" in kinds else None
    improbability = None
    if texture is not None:
        with torch.inference_mode():
            pixels = torch.as_tensor(np.array(plane), device=device)[None]
            improbability = texture(pixels)[0, 0].cpu().numpy()
    share = 1.0 if discriminator is None else _RECONSTRUCTION
    reconstruction = yield from relayed(
        reconstruct_plane(reconstructor(network, config), plane, config.patch_size, stride, device),
        lambda fraction: share * fraction,
    )
    log_odds = None
    if discriminator is not None:
        side = 2 * config.patch_size
        log_odds = yield from relayed(
            reconstruct_plane(discriminator, plane, side, side // 2, device),
            lambda fraction: share + (1 - share) * fraction,
        )
        log_odds = log_odds[0]
    return PlaneViews(reconstruction, log_odds, improbability)


def relayed(
    steps: Generator[float, None, _Result], message: Callable[[float], _Message]
) -> Generator[_Message, None, _Result]:
    """Pass on what a generator yields as another message, and return what it returns."""
    while True:
        try:
            fraction = next(steps)
        except StopIteration as finished:
            result: _Result = finished.value
            return result
        yield message(fraction)
