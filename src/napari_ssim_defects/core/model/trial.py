"""The trial of a model on defects that are painted into good patches."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from scipy import ndimage

from ..common.progress import drained
from ..config import SegmentationConfig, TrainingConfig
from ..detection.predictions import predict_plane
from ..detection.residual import score_plane
from ..networks.autoencoder import Autoencoder
from ..patches.corruption import CORRUPTION_SEED, corrupt
from ..segmentation.regions import label_regions
from ..segmentation.segment import prepare
from .verdict import PaintedDefect

__all__ = ["try_on_painted"]

_PATCHES = 64
_DEFAULT = SegmentationConfig()
_NEVER = -float(np.finfo(np.float32).max)  # the level of a defect that no outline touches


def try_on_painted(
    network: Autoencoder, patches: torch.Tensor, config: TrainingConfig, device: torch.device
) -> Generator[float, None, tuple[PaintedDefect, ...]]:
    """Paint defects into good patches, and measure up to which threshold each is found.

    Found is what an outline of the default segmentation touches, as in an evaluation.

    Parameters
    ----------
    network, config, device
        As for `predict_plane`; a rarity must have been measured.
    patches
        Normalised intensities, float32 of shape (N, C, S, S), on the network's device.

    Yields
    ------
    float
        Part that is done, in (0, 1].

    Returns
    -------
    tuple of PaintedDefect
        Those of the smallest area that is outlined or more; the same ones for the same patches.
    """
    network.eval()
    generator = torch.Generator(patches.device).manual_seed(CORRUPTION_SEED)
    rounds = -(-_PATCHES // len(patches))
    painted = []
    for number in range(rounds):
        corrupted, masks = corrupt(patches, generator)
        squares = zip(corrupted.cpu().numpy(), masks[:, 0].cpu().numpy() > 0, strict=True)
        for place, (plane, mask) in enumerate(squares, start=1):
            steps = predict_plane(network, plane, config, config.stride, device, [config.residual])
            residual = prepare(score_plane(plane, drained(steps), config.residual), _DEFAULT)
            labels, count = label_regions(mask)
            sizes = np.bincount(labels.ravel(), minlength=1)[1:]
            levels = ndimage.maximum(residual, labels, np.arange(1, count + 1))
            painted += [
                PaintedDefect(int(size), max(_NEVER, float(level)))
                for size, level in zip(sizes, levels, strict=True)
                if size >= _DEFAULT.min_area
            ]
            yield (number + place / len(patches)) / rounds
    return tuple(painted)
