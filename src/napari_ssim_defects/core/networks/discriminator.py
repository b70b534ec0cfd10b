"""The network that separates defects from good material."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import nn

from .backbone import BACKBONE_CHANNELS, BACKBONE_STRIDES

__all__ = ["DISCRIMINATOR_LR_FACTOR", "Discriminator"]

_WIDTHS = (16, 32, 48, 64)  # channels at 1/2, 1/4, 1/8 and 1/16 of the resolution
_FINEST = BACKBONE_STRIDES[0]

DISCRIMINATOR_LR_FACTOR = 2.0
"""Its learning rate, as a multiple of the autoencoder's (benchmarks/EXPERIMENTS.md)."""


class Discriminator(nn.Module):
    """The decoder of a U-Net whose output is the logarithm of the odds that a pixel is defective.

    Its encoder is the pretrained `Backbone`, so it is trained in a thousand
    steps. It learns from good patches that were partly corrupted (see `corrupt`), never from a
    real defect.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net, convolutional networks for biomedical image segmentation,
    MICCAI 2015. Liu et al.: SimpleNet, CVPR 2023, for a discriminator on pretrained features.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(c, affine=False) for c in BACKBONE_CHANNELS)
        coarsest = _WIDTHS[-1]
        self.entry = nn.Sequential(
            _block(BACKBONE_CHANNELS[-1], coarsest, 1), _block(coarsest, coarsest)
        )
        # From 1/16 to 1/2 of the resolution.
        self.up = nn.ModuleList(
            _block(coarse + channels, fine)
            for (fine, coarse), channels in zip(
                reversed(list(itertools.pairwise(_WIDTHS))), BACKBONE_CHANNELS[-2::-1], strict=True
            )
        )
        self.head = nn.Sequential(nn.Conv2d(_WIDTHS[0], _FINEST**2, 1), nn.PixelShuffle(_FINEST))

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the log-odds (N, 1, H, W) from the maps of a `Backbone`."""
        *finer, coarsest = (norm(each) for norm, each in zip(self.norms, maps, strict=True))
        merged = self.entry(coarsest)
        for up in self.up:
            merged = functional.interpolate(merged, scale_factor=2, mode="nearest")
            merged = up(torch.cat([merged, finer.pop()], dim=1))
        return torch.as_tensor(self.head(merged))


def _block(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
