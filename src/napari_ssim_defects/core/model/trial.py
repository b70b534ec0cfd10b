"""The trial of a model on defects that are painted into good patches."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from ..common.progress import drained
from ..config import SegmentationConfig, TrainingConfig
from ..config.residual_kinds import LocalKind
from ..detection.predictions import local_predictions, needed_predictions, predict_plane
from ..detection.residual import score_plane
from ..images.tiles import Box
from ..networks.autoencoder import Autoencoder
from ..patches.corruption import CORRUPTION_SEED, corrupt
from ..segmentation.regions import label_regions
from ..segmentation.segment import prepare
from .verdict import PaintedDefect

__all__ = ["PaintedSquare", "painted_squares", "try_on_painted"]

_PATCHES = 64
_DEFAULT = SegmentationConfig()
_NEVER = -float(np.finfo(np.float32).max)  # the level of a defect that no outline touches


@dataclass(frozen=True, slots=True, eq=False)
class PaintedSquare:
    """A good patch with painted defects, and what the networks see in it.

    Attributes
    ----------
    pixels
        Normalised intensities, float32 of shape (C, S, S).
    mask
        Where it is painted visibly, bool of shape (S, S).
    local
        Local predictions by kind (see `PlanePredictions`).
    """

    pixels: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    local: Mapping[LocalKind, npt.NDArray[np.float32]]


def painted_squares(
    network: Autoencoder,
    patches: torch.Tensor,
    kinds: Sequence[LocalKind],
    count: int,
    device: torch.device,
) -> Iterator[PaintedSquare]:
    """Paint defects into good patches and look at them; always the same ones for the same patches.

    Parameters
    ----------
    network, device
        As for `predict_plane`.
    patches
        Normalised intensities, float32 of shape (N, C, S, S), on the network's device.
    kinds
        The local predictions that are needed.
    count
        Least number of squares. Each patch is painted equally often.
    """
    network.eval()
    generator = torch.Generator(patches.device).manual_seed(CORRUPTION_SEED)
    for _ in range(-(-count // len(patches))):
        corrupted, masks = corrupt(patches, generator)
        squares = zip(corrupted.cpu().numpy(), masks[:, 0].cpu().numpy() > 0, strict=True)
        for pixels, mask in squares:
            whole = Box(0, 0, *mask.shape)
            local = local_predictions(network, kinds, pixels, whole, device) if kinds else ()
            yield PaintedSquare(pixels, mask, dict(zip(kinds, local, strict=True)))


def try_on_painted(
    network: Autoencoder,
    patches: torch.Tensor,
    config: TrainingConfig,
    device: torch.device,
    known: Sequence[PaintedSquare] = (),
) -> Generator[float, None, tuple[PaintedDefect, ...]]:
    """Measure up to which threshold defects are found that are painted into good patches.

    Found is what an outline of the default segmentation touches, as in an evaluation.

    Parameters
    ----------
    network, config, device
        As for `predict_plane`; a rarity must have been measured.
    patches
        As for `painted_squares`.
    known
        The first `painted_squares` of these patches, with all predictions that the residual needs,
        if they are known.

    Yields
    ------
    float
        Part that is done, in (0, 1].

    Returns
    -------
    tuple of PaintedDefect
        Those of the smallest area that is outlined or more; the same ones for the same patches.
    """
    kinds = needed_predictions([config.residual])[1]
    total = len(patches) * -(-_PATCHES // len(patches))
    squares = known[:total] or painted_squares(network, patches, kinds, _PATCHES, device)
    painted = []
    for number, square in enumerate(squares, start=1):
        steps = predict_plane(
            network, square.pixels, config, config.stride, device, [config.residual],
            local=square.local,
        )  # fmt: skip
        score = score_plane(square.pixels, drained(steps), config.residual)
        residual = prepare(score, _DEFAULT)
        labels, count = label_regions(square.mask)
        sizes = np.bincount(labels.ravel(), minlength=1)[1:]
        levels = ndimage.maximum(residual, labels, np.arange(1, count + 1))
        painted += [
            PaintedDefect(int(size), max(_NEVER, float(level)))
            for size, level in zip(sizes, levels, strict=True)
            if size >= _DEFAULT.min_area
        ]
        yield number / total
    return tuple(painted)
