"""Local statistics of a texture: Gaussian mixtures of small neighbourhoods at two scales."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional
from torch import nn

if TYPE_CHECKING:
    from ..patches.areas import TrainingArea

__all__ = ["TEXTURE_REACH", "TextureModel", "fit_texture"]

# Side of the squares that pixels are averaged over first, and number of principal components that
# are kept of a neighbourhood: a weave needs many, and cracks are found best by few.
_MIXTURES = ((2, 24), (2, 12), (4, 24), (4, 12))
_WINDOW = 7
TEXTURE_REACH = 32
"""Pixels beyond which nothing affects the output of a `TextureModel`; 8 coarsest ones."""

_COMPONENTS = 16
_AT_ONCE = 512  # points that are processed at once: they fit into a processor's cache
_SAMPLES = 20_000  # neighbourhoods that each mixture learns from
_ITERATIONS = 30
_NOISE = 0.02  # of normalised intensities: noise of averaged pixels
_REGULAR = 1e-3  # variance added to each whitened dimension of each component


class TextureModel(nn.Module):
    """How improbable the neighbourhood of a pixel is in a texture.

    Neighbourhoods of 7 x 7 pixels, at two scales, are whitened by many and by few of their
    principal components. A Gaussian mixture with full covariances gives their likelihood. It is
    widened by a little noise, because directions in which good images hardly vary would count most
    otherwise. It is fitted in seconds and does not know structure beyond the neighbourhood, as the
    autoencoder does.

    The means of several channels over the neighbourhood are used too: the colours of most
    materials vary so much less than their brightness that no principal component shows them.

    References
    ----------
    Böttger and Ulrich: Real-time texture error detection on textured surfaces with compressed
    sensing, Pattern Recognition and Image Analysis 26, 2016.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixtures = nn.ModuleList(_Mixture(channels, kept) for _, kept in _MIXTURES)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return how improbable each neighbourhood of planes (N, C, H, W) is, as (N, 1, H, W).

        Minus the log-likelihood in nats, summed over the mixtures, above its minimum; not
        negative.
        """
        height, width = planes.shape[2:]
        total = planes.new_zeros(len(planes), 1, height, width)
        for (scale, _), mixture in zip(_MIXTURES, self.mixtures, strict=True):
            coarse = mixture(_shrunk(planes, scale))
            fine = functional.interpolate(coarse, scale_factor=scale, mode="bilinear")
            total = total + fine[:, :, :height, :width]
        return total


class _Mixture(nn.Module):
    """A Gaussian mixture of the whitened neighbourhoods of one scale."""

    # Shape (D, C, 7, 7), (D), (K, D), (K, D, D) and (K).
    projection: torch.Tensor
    centre: torch.Tensor
    means: torch.Tensor
    whitening: torch.Tensor
    constants: torch.Tensor

    def __init__(self, channels: int, components: int) -> None:
        super().__init__()
        d, k = min(components, channels * _WINDOW**2) + channels - 1, _COMPONENTS
        self.register_buffer("projection", torch.zeros(d, channels, _WINDOW, _WINDOW))
        self.register_buffer("centre", torch.zeros(d))
        self.register_buffer("means", torch.zeros(k, d))
        self.register_buffer("whitening", torch.eye(d).repeat(k, 1, 1))
        self.register_buffer("constants", torch.zeros(k))

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        padded = functional.pad(planes, (_WINDOW // 2,) * 4, mode="replicate")
        components, dimensions = self.means.shape
        # A coordinate that is always 1 lets one matrix product whiten and subtract the mean, for
        # all components at once.
        kernels = functional.pad(self.projection, (0, 0) * 3 + (0, 1))
        points = _convolved(padded, kernels, functional.pad(-self.centre, (0, 1), value=1.0))
        shift = self.whitening @ self.means[:, :, None]
        whitening = torch.cat([self.whitening, -shift], dim=2).flatten(0, 1)

        def distances(part: torch.Tensor) -> torch.Tensor:
            squares = (whitening @ part).square_().view(components, dimensions, -1)
            return squares.sum(1)

        improbability = torch.cat([
            torch.cat([distances(part) for part in plane.split(_AT_ONCE, dim=1)], dim=1)
            .mul_(-0.5).add_(self.constants[:, None]).logsumexp(0).neg_()
            for plane in points
        ])  # fmt: skip
        improbability += torch.logsumexp(self.constants, dim=0)
        return improbability.reshape(len(planes), 1, *planes.shape[2:])

    def fit(self, neighbourhoods: torch.Tensor, generator: torch.Generator) -> Iterator[float]:
        """Fit to neighbourhoods of shape (N, C * 7 * 7), float64; yield the part done."""
        dimensions, channels = self.projection.shape[:2]
        mean = neighbourhoods.mean(0)
        covariance = torch.cov((neighbourhoods - mean).T)
        # Variances rise: the last columns are the leading axes. Contrasts of channels take the
        # place of channels - 1 of them.
        principal = torch.linalg.eigh(covariance)[1][:, channels - 1 - dimensions :]
        axes = torch.cat([_contrasts(covariance, channels, principal), principal], 1)
        variances = torch.einsum("ij,ik,kj->j", axes, covariance, axes)
        noise = _NOISE**2 * axes.square().sum(0)
        variances = variances.clamp_min(0) + noise
        axes = axes / variances.sqrt()
        means, whitening, constants = yield from _expectation_maximisation(
            (neighbourhoods - mean) @ axes, noise / variances, len(self.means), generator
        )
        self.projection.copy_(axes.T.reshape(self.projection.shape))
        self.centre.copy_(mean @ axes)
        self.means.copy_(means)
        self.whitening.copy_(whitening)
        self.constants.copy_(constants)


def _convolved(planes: torch.Tensor, kernels: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Convolve planes (N, C, H, W) with kernels (D, C, 7, 7); returns (N, D, pixels)."""
    if _convolves_exactly(planes.device):
        return functional.conv2d(planes, kernels, bias).flatten(2)
    return kernels.flatten(1) @ functional.unfold(planes, _WINDOW) + bias[:, None]


def _convolves_exactly(device: torch.device) -> bool:
    """Whether convolutions keep float32: those of graphics cards may round to 10 bits (TF32)."""
    return device.type == "cpu"


def _contrasts(covariance: torch.Tensor, channels: int, principal: torch.Tensor) -> torch.Tensor:
    """Return the axes (C * 7 * 7, C - 1) in which the means of channels vary least.

    These are all combinations of the C means over a neighbourhood but the one that varies most,
    which is about the brightness, orthogonal to the ``principal`` axes.
    """
    means = torch.eye(channels, dtype=covariance.dtype).repeat_interleave(_WINDOW**2, 0)
    means = means / _WINDOW**2
    least: torch.Tensor = torch.linalg.eigh(means.T @ covariance @ means)[1][:, :-1]
    contrasts = means @ least
    return contrasts - principal @ (principal.T @ contrasts)


def fit_texture(model: TextureModel, areas: Sequence[TrainingArea], seed: int) -> Iterator[float]:
    """Fit a texture model to the good pixels of normalised areas.

    Parameters
    ----------
    model
        The model to fit; on the CPU.
    areas
        Defect-free areas.
    seed
        Seed of the choice of neighbourhoods and of the first guess.

    Yields
    ------
    float
        Fraction of the work that is done, in (0, 1].

    Notes
    -----
    If no neighbourhood of a scale consists of good pixels only, the others are used too.
    """
    generator = torch.Generator().manual_seed(seed)
    for number, ((scale, _), mixture) in enumerate(zip(_MIXTURES, model.mixtures, strict=True)):
        assert isinstance(mixture, _Mixture)
        for fraction in mixture.fit(_neighbourhoods(areas, scale, generator), generator):
            yield (number + fraction) / len(_MIXTURES)


def _neighbourhoods(
    areas: Sequence[TrainingArea],
    scale: int,
    generator: torch.Generator,
    everywhere: bool = False,
) -> torch.Tensor:
    """Draw neighbourhoods of good pixels, float64 of shape (N, C * 7 * 7)."""
    share = -(-_SAMPLES // len(areas))
    margin = _WINDOW // 2
    drawn = []
    for area in areas:
        plane = _shrunk(torch.as_tensor(np.array(area.pixels))[None], scale)
        allowed = np.ones(area.pixels.shape[1:], dtype=bool)
        if area.allowed is not None and not everywhere:
            allowed = area.allowed
        forbidden = functional.max_pool2d(
            _shrunk(torch.as_tensor(~allowed, dtype=torch.float32)[None, None], scale),
            _WINDOW, stride=1, padding=margin,
        )  # fmt: skip
        places = torch.nonzero(forbidden[0, 0] == 0)
        if not len(places):
            continue
        places = places[torch.randint(len(places), (share,), generator=generator)]
        padded = functional.pad(plane, (margin,) * 4, mode="replicate")[0]
        windows = padded.unfold(1, _WINDOW, 1).unfold(2, _WINDOW, 1)
        drawn.append(windows[:, places[:, 0], places[:, 1]].transpose(0, 1).flatten(1))
    if not drawn:
        return _neighbourhoods(areas, scale, generator, everywhere=True)
    return torch.cat(drawn).double()


def _shrunk(planes: torch.Tensor, scale: int) -> torch.Tensor:
    """Average over squares; over their remaining parts at the lower and right border."""
    return functional.avg_pool2d(planes, scale, ceil_mode=True, count_include_pad=False)


def _expectation_maximisation(
    points: torch.Tensor, noise: torch.Tensor, components: int, generator: torch.Generator
) -> Generator[float, None, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Fit a Gaussian mixture to points (N, D), and to noise of these variances (D) around them.

    Yields
    ------
    float
        Fraction of the iterations that are done.

    Returns
    -------
    means, whitening, constants
        Of shape (K, D), (K, D, D) and (K): the log-density of a component, weighted, is its
        constant minus half the square of the whitened distance to its mean.
    """
    count, dimensions = points.shape
    means = points[torch.randperm(count, generator=generator)[:components]]
    if len(means) < components:  # hardly any pixels: several components start from one
        means = means.repeat(-(-components // len(means)), 1)[:components]
    shares = functional.one_hot(torch.cdist(points, means).argmin(1), components).double().T
    regular = torch.diag(noise + _REGULAR)
    # Moments and distances are sums over the products of any two coordinates, which stay the same.
    points = points.T.contiguous()
    row, column = torch.triu_indices(dimensions, dimensions)
    products = points[row] * points[column]
    once = torch.where(row == column, 1.0, 2.0)  # that of two coordinates stands for both orders
    for iteration in range(_ITERATIONS):
        mass = shares.sum(1, keepdim=True) + 1e-10
        means = shares @ points.T / mass
        moments = points.new_empty(components, dimensions, dimensions)
        moments[:, row, column] = moments[:, column, row] = (products @ shares.T).T / mass
        covariances = moments - means[:, :, None] * means[:, None, :]
        whitening = torch.linalg.inv(torch.linalg.cholesky(covariances + regular))
        constants = (mass[:, 0] / mass.sum()).log()
        constants += whitening.diagonal(dim1=1, dim2=2).log().sum(1)
        constants -= 0.5 * dimensions * math.log(2 * math.pi)
        precision = whitening.mT @ whitening
        linear = (precision @ means[:, :, None])[:, :, 0]
        distances = (precision[:, row, column] * once) @ products
        distances -= 2 * linear @ points
        distances += (linear * means).sum(1, keepdim=True)
        shares = torch.softmax(constants[:, None] - 0.5 * distances, dim=0)
        yield (iteration + 1) / _ITERATIONS
    return means, whitening, constants
