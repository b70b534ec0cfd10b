"""Random variations and corruptions of good patches, from which a discriminator learns.

Corruptions are made of the patches themselves or of noise, never of real defects. A network that
finds them finds whatever does not belong to the material. Variations are the differences between
images of the same material; the network must not find these.
"""

from __future__ import annotations

import math
from typing import Any, Self

import torch
import torch.nn.functional as functional

__all__ = ["CORRUPTION_SEED", "corrupt", "vary"]

CORRUPTION_SEED = 2018
"""Seed of the corruptions that a model is tried on: the same in every training.

They make most of the noise of what is measured on them, which is compared with fixed limits
(benchmarks/EXPERIMENTS.md).
"""

_GOOD = 0.15  # part of the patches that stay as they are
_SPOTS = (1, 0.6, 0.6, 0.4, 0.4)  # probability of a first corruption in the others, a second, ...
_THREADS = 0.5  # part of the corruptions that are thin lines instead of blobs
_SOLID = 0.3  # opacity from which a corrupted pixel counts
_VISIBLE = 0.04  # change of normalised intensity that a pixel's neighbourhood must show to count
_TURN, _ZOOM = math.radians(4), 0.06  # largest variation either way
_CONTRAST, _BRIGHTNESS, _NOISE = 0.35, 0.15, 0.03
_CONTRAST_DRIFT, _BRIGHTNESS_DRIFT = 0.25, 0.08  # largest spread of what changes within a patch
_SHARPER, _SOFTER = -0.5, 0.7  # part of the way to the mean of 3 x 3 pixels
_CELLS = (3, 5, 8, 12, 20, 32)  # bumps of smooth noise along a side


def corrupt(patches: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Corrupt part of each patch at random, some patches not at all.

    A blob or a thin line of random size, direction, edge and opacity is filled with one of: another
    patch, turned and scaled; a flat grey or colour; grain; the patch blurred, with other brightness
    and contrast, from elsewhere, or stained: darker or brighter as a whole.

    Parameters
    ----------
    patches
        Normalised intensities, float32 of shape (N, C, P, P).
    generator
        Source of the randomness, on the patches' device.

    Returns
    -------
    corrupted
        float32 of shape (N, C, P, P); equal to ``patches`` where nothing was changed.
    mask
        float32 of shape (N, 1, P, P): 1 where a patch was changed visibly, else 0.

    References
    ----------
    Zavrtanik, Kristan, Skocaj: DRAEM, a discriminatively trained reconstruction embedding for
    surface anomaly detection, ICCV 2021.

    Examples
    --------
    >>> patches = torch.rand(4, 1, 32, 32)
    >>> corrupted, mask = corrupt(patches, torch.Generator().manual_seed(0))
    >>> corrupted.shape == patches.shape and mask.shape == (4, 1, 32, 32)
    True
    """
    draw = _Draw.per(patches, generator)
    corrupted = patches.clone()
    cover = torch.zeros_like(patches[:, :1])
    touched = draw.uniform(0, 1) >= _GOOD
    for probability in _SPOTS:
        chosen = torch.nonzero((touched & (draw.uniform(0, 1) < probability)).flatten())[:, 0]
        if not len(chosen):
            continue
        part = draw.select(chosen)
        below = corrupted[chosen]
        others = corrupted[torch.randint(draw.count, (part.count,), **draw.random)]
        spot = _spots(part)
        opacity = part.uniform(0.3, 1.5).clamp(max=1)
        corrupted[chosen] = below + spot * opacity * (_fillings(part, below, others) - below)
        cover[chosen] = torch.maximum(cover[chosen], spot)
    change = (corrupted - patches).abs().amax(dim=1, keepdim=True)
    visible = _largest(change, 5) > _VISIBLE
    return corrupted, ((cover > _SOLID) & visible).to(patches.dtype)


def vary(patches: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Vary patches as another image of the same material might differ.

    Each is turned, scaled, sharpened or softened, and changed in contrast and brightness a little,
    as a whole and slowly from one side to another, and gets some noise. Without this, a
    discriminator takes a whole image for a defect if its light or angle differs slightly
    (benchmarks/EXPERIMENTS.md).

    Parameters
    ----------
    patches
        Normalised intensities, float32 of shape (N, C, P, P).
    generator
        Source of the randomness, on the patches' device.

    Returns
    -------
    torch.Tensor
        float32 of shape (N, C, P, P).

    Examples
    --------
    >>> patches = torch.rand(4, 1, 32, 32)
    >>> vary(patches, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 32, 32])
    """
    draw = _Draw.per(patches, generator)
    varied = _warped(patches, draw.uniform(-_TURN, _TURN), 1 + draw.uniform(-_ZOOM, _ZOOM))
    varied = varied + draw.uniform(_SHARPER, _SOFTER) * (_blurred(varied, 3) - varied)
    middle = varied.mean(dim=(2, 3), keepdim=True)
    contrast = draw.uniform(1 - _CONTRAST, 1 + _CONTRAST) * draw.drift(_CONTRAST_DRIFT).exp()
    brightness = draw.uniform(-_BRIGHTNESS, _BRIGHTNESS) + draw.drift(_BRIGHTNESS_DRIFT)
    noise = torch.randn(varied.shape, **draw.random)
    varied = (varied - middle) * contrast + middle
    return varied + brightness + draw.uniform(0, _NOISE) * noise


class _Draw:
    """Random numbers, fields and choices, one per patch, on the patches' device."""

    def __init__(self, count: int, side: int, random: Any) -> None:
        self.count, self.side = count, side
        self.random = random
        self.device = random["device"]

    @classmethod
    def per(cls, patches: torch.Tensor, generator: torch.Generator) -> Self:
        """Return a source of random numbers for patches (N, C, P, P)."""
        random = {"generator": generator, "device": patches.device}
        return cls(len(patches), patches.shape[-1], random)

    def select(self, chosen: torch.Tensor) -> Self:
        """Return the source for some of the patches, given as indices."""
        return type(self)(len(chosen), self.side, self.random)

    def uniform(self, low: float, high: float) -> torch.Tensor:
        """Return numbers of shape (N, 1, 1, 1)."""
        numbers = torch.rand(self.count, 1, 1, 1, **self.random)
        return low + (high - low) * numbers

    def log_uniform(self, low: float, high: float) -> torch.Tensor:
        """Return numbers of shape (N, 1, 1, 1), each order of magnitude equally likely."""
        return self.uniform(math.log(low), math.log(high)).exp()

    def noise(self, cells: tuple[int, ...] = _CELLS) -> torch.Tensor:
        """Return smooth noise of shape (N, 1, P, P), standard normal at so many cells a side."""
        noise = torch.empty(self.count, 1, self.side, self.side, device=self.device)
        for number, chosen in zip(cells, self.deal(len(cells)), strict=True):
            coarse = torch.randn(len(chosen), 1, number, number, **self.random)
            if len(chosen):
                noise[chosen] = functional.interpolate(
                    coarse,
                    size=(self.side, self.side),
                    mode="bicubic" if number < 8 else "bilinear",  # few cells would show
                    align_corners=False,
                )
        return noise

    def drift(self, spread: float) -> torch.Tensor:
        """Return smooth fields of shape (N, 1, P, P), normal with a spread of so much at most."""
        corners = torch.randn(self.count, 1, 3, 3, **self.random)
        field = functional.interpolate(
            corners, size=(self.side, self.side), mode="bicubic", align_corners=True
        )
        return self.uniform(0, spread) * field

    def deal(self, hands: int) -> list[torch.Tensor]:
        """Deal the patches into so many groups; returns the indices of each group."""
        hand = torch.randint(hands, (self.count,), **self.random)
        return [torch.nonzero(hand == number)[:, 0] for number in range(hands)]


def _spots(draw: _Draw) -> torch.Tensor:
    """Opacity of blobs and threads in [0, 1], of shape (N, 1, P, P)."""
    side = draw.side
    axis = torch.arange(side, device=draw.device, dtype=torch.float32) - (side - 1) / 2
    y = axis.view(1, 1, -1, 1) - side * draw.uniform(-0.5, 0.5)
    x = axis.view(1, 1, 1, -1) - side * draw.uniform(-0.5, 0.5)
    radius, aspect = draw.log_uniform(3, max(4, side / 2)), draw.log_uniform(0.55, 1.8)
    angle = draw.uniform(0, math.pi)
    along = (x * angle.cos() + y * angle.sin()) / (radius * aspect)
    across = (y * angle.cos() - x * angle.sin()) / (radius / aspect)
    distance = along.square() + across.square()
    blobs = 1 - distance + draw.uniform(0, 1) * draw.noise()
    blobs = (blobs / draw.uniform(0.02, 0.4)).clamp(0, 1)
    # A thread is where smooth noise crosses zero, within twice the ellipse.
    noise = draw.noise((2, 3, 5, 8))
    slope = noise.diff(dim=2).abs().mean((1, 2, 3)) + noise.diff(dim=3).abs().mean((1, 2, 3))
    width = draw.uniform(0.7, 3)
    threads = (width - noise.abs() / slope.view(-1, 1, 1, 1)).clamp(0, 1) * (distance < 4)
    return torch.where(draw.uniform(0, 1) < _THREADS, threads, blobs)


def _fillings(draw: _Draw, patches: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Contents of corrupted pixels, of shape (N, C, P, P)."""
    fillings = torch.empty_like(patches)
    kinds = (_strange, _flat, _grained, _softened, _shaded, _moved, _stained, _stained)
    for filling, chosen in zip(kinds, draw.deal(len(kinds)), strict=True):
        if len(chosen):
            fillings[chosen] = filling(draw.select(chosen), patches[chosen], others[chosen])
    return fillings


def _strange(draw: _Draw, _: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    turned = _warped(others, draw.uniform(0, 2 * math.pi), draw.log_uniform(0.3, 1.5))
    return turned * draw.uniform(0.7, 1.3) + draw.uniform(-0.3, 0.3)


def _flat(draw: _Draw, patches: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return _level(draw, patches) + draw.uniform(0, 0.15) * draw.noise((3,))


def _grained(draw: _Draw, patches: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return _level(draw, patches) + draw.uniform(0.05, 0.3) * draw.noise((8, 16, 32, draw.side))


def _softened(draw: _Draw, patches: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return _blurred(patches, 9) + draw.uniform(-0.2, 0.2)


def _shaded(draw: _Draw, patches: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    middle = patches.mean(dim=(2, 3), keepdim=True)
    return (patches - middle) * draw.uniform(0.3, 1.7) + middle + draw.uniform(-0.5, 0.5)


def _moved(draw: _Draw, patches: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    offsets = torch.randint(draw.side, (2,), **draw.random).tolist()
    return patches.roll(offsets, (2, 3)).flip(-1)


def _stained(draw: _Draw, patches: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    sign = torch.where(draw.uniform(-1, 1) < 0, -1.0, 1.0)
    return patches + sign * draw.uniform(0.15, 0.9)


def _level(draw: _Draw, patches: torch.Tensor) -> torch.Tensor:
    """A flat grey or colour, of shape (N, C, 1, 1)."""
    return torch.cat([draw.uniform(-0.1, 1.1) for _ in range(patches.shape[1])], dim=1)


def _warped(patches: torch.Tensor, angle: torch.Tensor, zoom: torch.Tensor) -> torch.Tensor:
    """Turn each patch by its angle, in radians, and scale it; beyond its border it is mirrored."""
    cos, sin = (zoom * angle.cos()).flatten(), (zoom * angle.sin()).flatten()
    zero = torch.zeros_like(cos)
    theta = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = functional.affine_grid(theta, list(patches.shape), align_corners=False)
    return functional.grid_sample(patches, grid, padding_mode="reflection", align_corners=False)


def _blurred(patches: torch.Tensor, size: int) -> torch.Tensor:
    """Mean over so many pixels either way; of those inside the patch at its border."""
    return functional.avg_pool2d(patches, size, 1, size // 2, count_include_pad=False)


def _largest(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Maximum over so many pixels either way."""
    rows = functional.max_pool2d(maps, (1, size), 1, (0, size // 2))
    return functional.max_pool2d(rows, (size, 1), 1, (size // 2, 0))
