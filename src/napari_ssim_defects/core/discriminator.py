"""The network that tells what does not belong to the material from what does."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as functional
from torch import nn

__all__ = ["FASTER", "Discriminator"]

_WIDTHS = (48, 64, 96)  # channels at 1/4, 1/8 and 1/16 of the resolution
_STEM = 4  # pixels that become one at first, and are told apart at last

FASTER = 2.0
"""Its learning rate, as a multiple of the autoencoder's (benchmarks/README.md)."""


class Discriminator(nn.Module):
    """A small U-Net whose output is the logarithm of the odds that a pixel is defective.

    It learns from good patches of which a part was corrupted (see `corrupt`), never from a real
    defect. Unlike the autoencoder it sees wide surroundings of a pixel at every scale and has
    nothing to redraw, so it learns in the same time what the other misses, and fails elsewhere.

    Parameters
    ----------
    channels
        Number of image channels C.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net, convolutional networks for biomedical image segmentation,
    MICCAI 2015.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        first = _WIDTHS[0]
        self.stem = nn.Sequential(_block(channels, first, 2 * _STEM, _STEM), _block(first, first))
        steps = list(itertools.pairwise(_WIDTHS))
        self.down = nn.ModuleList(
            nn.Sequential(_block(fine, coarse, 3, 2), _block(coarse, coarse))
            for fine, coarse in steps
        )
        self.up = nn.ModuleList(_block(fine + coarse, fine) for fine, coarse in reversed(steps))
        self.head = nn.Sequential(nn.Conv2d(first, _STEM**2, 1), nn.PixelShuffle(_STEM))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Return the log-odds (N, 1, P, P) of patches (N, C, P, P); P is a multiple of 16."""
        maps = self.stem(patches)
        finer = []
        for down in self.down:
            finer.append(maps)
            maps = down(maps)
        for up in self.up:
            maps = functional.interpolate(maps, scale_factor=2, mode="nearest")
            maps = up(torch.cat([maps, finer.pop()], dim=1))
        return torch.as_tensor(self.head(maps))


def _block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    padding = (kernel - stride + 1) // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
