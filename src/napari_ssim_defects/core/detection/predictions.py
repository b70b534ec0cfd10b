"""Predictions of the networks for a plane, from which its residuals are computed."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch

from ..common.progress import drained, relayed
from ..config import TrainingConfig
from ..config.residual_kinds import LocalKind, ResidualConfig, parts
from ..images.tiles import Box, tile_side, tiles
from ..networks.autoencoder import Autoencoder
from ..networks.backbone import MIRRORED, mirrored
from ..networks.precision import autocast
from ..networks.texture import TEXTURE_REACH
from ..patches.symmetry import orientations_of
from .reconstruction import reconstruct_plane, reconstructor

__all__ = [
    "LOCAL_REACH",
    "PlanePredictions",
    "local_predictions",
    "local_side",
    "local_steps",
    "needed_predictions",
    "predict_plane",
]

LOCAL_REACH = 224
"""Pixels beyond which nothing affects a prediction; a multiple of the backbone's 16."""

_BORDER = 16  # pixels along a border that take their odds from inside: mirrored padding looks odd
_LOCAL = 0.3  # part of the time, beside a reconstruction


@dataclass(frozen=True, slots=True, eq=False)
class PlanePredictions:
    """Predictions of the networks for a plane.

    Attributes
    ----------
    reconstruction
        float32 of shape (C, H, W); for the reconstruction probability (2C, H, W), followed by the
        variance of decoded samples. None if no residual needs it.
    local
        By kind, float32 of shape (H, W): the log-odds of a defect, the distance of features from
        good ones, and how improbable the neighbourhood is; only those that residuals need.
    """

    reconstruction: npt.NDArray[np.float32] | None
    local: Mapping[LocalKind, npt.NDArray[np.float32]]

    def cut(self, box: Box) -> PlanePredictions:
        """Return the predictions of a part of the plane."""
        reconstruction = self.reconstruction
        return PlanePredictions(
            None if reconstruction is None else reconstruction[:, *box.slices],
            {kind: found[box.slices] for kind, found in self.local.items()},
        )


def needed_predictions(residuals: Iterable[ResidualConfig]) -> tuple[bool, tuple[LocalKind, ...]]:
    """Return whether residuals need a reconstruction, and which local predictions they need."""
    kinds = {part.kind for residual in residuals for part in parts(residual)}
    local: tuple[LocalKind, ...] = tuple(kind for kind in get_args(LocalKind) if kind in kinds)
    return bool(kinds.difference(local)), local


def local_side() -> int:
    """Return the side of the tiles of local predictions, in pixels."""
    return tile_side(2 * LOCAL_REACH)


def predict_plane(
    network: Autoencoder,
    plane: npt.NDArray[np.float32],
    config: TrainingConfig,
    stride: int,
    device: torch.device,
    residuals: Iterable[ResidualConfig],
    *,
    reconstruct: bool = False,
    local: Mapping[LocalKind, npt.NDArray[np.float32]] | None = None,
) -> Generator[float, None, PlanePredictions]:
    """Compute the predictions that residuals of a plane need.

    Parameters
    ----------
    network
        In evaluation mode, on ``device``.
    plane
        Normalised intensities, float32 of shape (C, H, W).
    config
        The config.
    stride
        Distance between reconstructed patches, in pixels.
    device
        Where the network runs.
    residuals
        Residuals that the plane is to be scored by.
    reconstruct
        Whether to reconstruct even if no residual needs it.
    local
        Local predictions that are known already: all that are needed. None: they are computed.

    Yields
    ------
    float
        Fraction of the work that is done, in (0, 1].
    """
    wanted, kinds = needed_predictions(residuals)
    if local is not None:
        kinds = ()
    reconstruct = reconstruct or wanted
    shape = plane.shape[1], plane.shape[2]
    share = (_LOCAL if reconstruct else 1.0) if kinds else 0.0
    found_here = {kind: np.empty(shape, np.float32) for kind in kinds}
    boxes = [box for row in tiles(shape, local_side()) for box in row] if kinds else []

    def progress(number: int, part: float) -> float:
        return share * (number + part) / len(boxes)

    for number, tile in enumerate(boxes):
        around = tile.grown(LOCAL_REACH, shape)
        steps = local_steps(network, kinds, plane[:, *around.slices], tile.inside(around), device)
        found = yield from relayed(steps, partial(progress, number))
        for kind, values in zip(kinds, found, strict=True):
            found_here[kind][tile.slices] = values
    reconstruction = None
    if reconstruct:
        reconstruction = yield from relayed(
            reconstruct_plane(
                reconstructor(network, config),
                plane,
                config.patch_size,
                stride,
                device,
                orientations_of(config.augmentation),
            ),
            lambda fraction: share + (1 - share) * fraction,
        )
    return PlanePredictions(reconstruction, found_here if local is None else local)


def local_predictions(
    network: Autoencoder,
    kinds: Sequence[LocalKind],
    pixels: npt.NDArray[np.float32],
    tile: Box,
    device: torch.device,
) -> npt.NDArray[np.float32]:
    """Return the local predictions for each pixel of a tile, float32 of shape (K, H, W).

    Parameters
    ----------
    network, device
        As for `predict_plane`.
    kinds
        Kinds of predictions.
    pixels
        The tile and up to `LOCAL_REACH` pixels around it, float32 (C, h, w).
    tile
        Where in ``pixels`` the tile lies.
    """
    return drained(local_steps(network, kinds, pixels, tile, device))


@torch.inference_mode()
def local_steps(
    network: Autoencoder,
    kinds: Sequence[LocalKind],
    pixels: npt.NDArray[np.float32],
    tile: Box,
    device: torch.device,
) -> Generator[float, None, npt.NDArray[np.float32]]:
    """Return what `local_predictions` does; yields the fraction that is done, in (0, 1]."""
    found: dict[str, torch.Tensor] = {}
    by_backbone = "discriminator" in kinds or "features" in kinds
    # On two cores the backbone takes half of the time, and features hardly any.
    total = by_backbone + ("discriminator" in kinds) + ("texture" in kinds)
    done = 0
    if by_backbone:
        assert network.backbone is not None
        maps = network.backbone(torch.as_tensor(mirrored(pixels), device=device)[None])
        height, width = pixels.shape[1:]
        if "features" in kinds:
            assert network.features is not None
            found["features"] = network.features(maps, height, width)[0, 0][tile.slices]
        done += 1
        yield done / total
        if "discriminator" in kinds:
            assert network.discriminator is not None
            with autocast(device):
                odds = network.discriminator(maps).float()[0, 0]
            rows, columns = _inner(height), _inner(width)
            found["discriminator"] = odds[rows[:, None], columns][tile.slices]
            done += 1
            yield done / total
    if "texture" in kinds:
        assert network.texture is not None
        around = tile.grown(TEXTURE_REACH, (pixels.shape[1], pixels.shape[2]))
        part = torch.as_tensor(np.array(pixels[:, *around.slices]), device=device)
        found["texture"] = network.texture(part[None])[0, 0][tile.inside(around).slices]
        yield 1.0
    return np.stack([found[kind].cpu().numpy() for kind in kinds])


def _inner(length: int) -> torch.Tensor:
    """Positions in a mirrored image from which pixels along an axis take their odds."""
    border = min(_BORDER, length // 4)
    return torch.arange(length).clamp(border, length - 1 - border) + MIRRORED
