"""Residual of an image and its reconstruction (paper equations 2 and 5, section 4.2)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from ..common.errors import InputError
from ..config import ReconstructionResidual, ResidualConfig
from ..config.residual_kinds import LocalResidual, SimpleResidual, parts
from ..images.tiles import Box, tile_side, tiles
from ..ssim import NEAR, similarity
from .anomaly_score import ensemble_score, offsets
from .predictions import PlanePredictions

__all__ = [
    "needs_whole_plane",
    "plane_offsets",
    "residual_map",
    "residual_maps",
    "score_of",
    "score_plane",
    "score_tiles",
    "score_whole_plane",
    "typical_tiles",
    "within",
]

_TRUNCATED = 4.0  # standard deviations after which a Gaussian is cut off


def score_plane(
    plane: npt.NDArray[np.float32],
    predictions: PlanePredictions,
    config: ResidualConfig,
    inside: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.float32]:
    """Return the residual of a plane, float32 of shape (H, W); see `score_whole_plane`."""
    return score_whole_plane(plane, predictions, config, inside)[0]


def score_whole_plane(
    plane: npt.NDArray[np.float32],
    predictions: PlanePredictions,
    config: ResidualConfig,
    inside: npt.NDArray[np.bool_] | None = None,
) -> tuple[npt.NDArray[np.float32], tuple[float, ...]]:
    """Score a plane by any residual, tile by tile.

    Parameters
    ----------
    plane
        Normalised intensities, float32 of shape (C, H, W).
    predictions
        From `predict_plane`, with everything that the residual needs.
    config
        The residual. An ensemble must have been calibrated.
    inside
        Pixels that say what all of the plane is like, bool of shape (H, W); None: all.

    Returns
    -------
    residual, excess
        float32 of shape (H, W), higher values are less like good material; and the `offsets` of
        the plane, none but for an ensemble.
    """
    shape = plane.shape[1], plane.shape[2]
    side, reach = score_tiles(config)
    boxes = tiles(shape, side)

    def maps_of(tile: Box) -> npt.NDArray[np.float32]:
        around = tile.grown(reach, shape)
        maps = residual_maps(plane[:, *around.slices], predictions.cut(around), config)
        return maps[:, *tile.inside(around).slices]

    typical = typical_tiles(boxes, inside) if needs_whole_plane(config) else []
    known = {tile: maps_of(tile) for tile in typical}
    excess = plane_offsets([within(maps, tile, inside) for tile, maps in known.items()], config)
    score = np.empty(shape, np.float32)
    for tile in itertools.chain.from_iterable(boxes):
        maps = known.pop(tile) if tile in known else maps_of(tile)
        score[tile.slices] = score_of(maps, config, excess)
    return score, excess


def score_tiles(config: ResidualConfig) -> tuple[int, int]:
    """Return the side of the tiles for scoring, and the margin of pixels that a tile needs.

    No tile is smaller than its margin.
    """
    reach = max(map(_reach, parts(config)))
    return tile_side(2 * reach), reach


def needs_whole_plane(config: ResidualConfig) -> bool:
    """Whether the score of a pixel depends on the whole plane."""
    return config.kind == "rarity"


def within(
    maps: npt.NDArray[np.float32], tile: Box, inside: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.float32]:
    """Return residual maps of a tile, NaN where pixels of the plane are not to count."""
    return maps if inside is None else np.where(inside[tile.slices], maps, np.float32(np.nan))


def typical_tiles(boxes: list[list[Box]], inside: npt.NDArray[np.bool_] | None = None) -> list[Box]:
    """Return the tiles that represent a plane if a score depends on all of it.

    Four at most, in the middle: people look there first, and neighbours share their margins. If
    only pixels ``inside`` count, it is those that have most of them.
    """
    if inside is not None:
        flat = [tile for row in boxes for tile in row]
        return sorted(flat, key=lambda tile: -int(np.count_nonzero(inside[tile.slices])))[:4]
    rows, columns = (
        slice(max(0, count // 2 - 1), count // 2 + 1) for count in (len(boxes), len(boxes[0]))
    )
    return [tile for row in boxes[rows] for tile in row[columns]]


def residual_maps(
    plane: npt.NDArray[np.float32], predictions: PlanePredictions, config: ResidualConfig
) -> npt.NDArray[np.float32]:
    """Compute the members of a residual in a part of a plane.

    Pixels within the margin (see `score_tiles`) of an inner border are wrong.

    Parameters
    ----------
    plane, predictions, config
        As for `score_plane`.

    Returns
    -------
    numpy.ndarray
        float32 of shape (V, H, W): the members of an ensemble, or the one residual itself.

    Raises
    ------
    InputError
        If the network gives no finite residual.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # such values are refused below
        maps = np.stack([_map(plane, predictions, part) for part in parts(config)])
    if not np.isfinite(maps).all():
        raise InputError(
            "The model gives no finite residual of this image: its network outputs NaN or "
            "infinity; train it again."
        )
    return maps


def plane_offsets(maps: list[npt.NDArray[np.float32]], config: ResidualConfig) -> tuple[float, ...]:
    """Return `offsets` of a plane from the `residual_maps` of its typical tiles."""
    if config.kind != "rarity":
        return ()
    return offsets(
        [np.concatenate(member, axis=None) for member in zip(*maps, strict=True)], config
    )


def score_of(
    maps: npt.NDArray[np.float32], config: ResidualConfig, excess: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Return the score of part of a plane.

    Parameters
    ----------
    maps
        From `residual_maps`, float32 of shape (V, H, W).
    config
        The residual.
    excess
        From `plane_offsets`.

    Returns
    -------
    numpy.ndarray
        float32 of shape (H, W).
    """
    return ensemble_score(list(maps), config, excess) if config.kind == "rarity" else maps[0]


def _map(
    plane: npt.NDArray[np.float32],
    predictions: PlanePredictions,
    config: SimpleResidual,
) -> npt.NDArray[np.float32]:
    if isinstance(config, LocalResidual):
        found = predictions.local[config.kind]
        if config.kind == "discriminator":
            found = np.logaddexp(0, found)
        return _smoothed(found, config.smoothing)
    assert predictions.reconstruction is not None
    return residual_map(plane, predictions.reconstruction, config)


def residual_map(
    plane: npt.NDArray[np.float32],
    reconstruction: npt.NDArray[np.float32],
    config: ReconstructionResidual,
) -> npt.NDArray[np.float32]:
    """Compare a plane with its reconstruction.

    Parameters
    ----------
    plane
        Normalised intensities (data range 1), float32 of shape (C, H, W).
    reconstruction
        The same; for the reconstruction probability of shape (2C, H, W), the mean of decoded
        samples followed by their variance.
    config
        The residual and its smoothing.

    Returns
    -------
    numpy.ndarray
        float32 of shape (H, W); 0 = identical.

    References
    ----------
    An and Cho: Variational autoencoder based anomaly detection using reconstruction probability,
    SNU Data Mining Center, technical report, 2015.
    """
    if config.kind == "ssim":
        far = plane.size and not abs(plane).max() <= NEAR
        dtype = torch.float64 if far else torch.float32
        x, y = (torch.as_tensor(np.array(z), dtype=dtype)[None] for z in (plane, reconstruction))
        with torch.inference_mode():
            maps = [1 - similarity(x, y, ssim)[0].mean(0) for ssim in config.ssim]
        residual = torch.stack(maps).mean(0).clamp_min(0).numpy()
    elif config.kind == "squared_error":
        residual = np.square(plane - reconstruction).mean(0)
    else:
        mean, variance = np.split(reconstruction, 2)
        floor = np.float32(config.noise**2)
        variance = variance + floor
        likelihood = np.square(plane - mean) / variance + np.log(variance / floor)
        residual = 0.5 * likelihood.mean(0)
    return _smoothed(residual, config.smoothing)


def _reach(config: SimpleResidual) -> int:
    """Distance in pixels over which predictions affect a residual."""
    window = max(ssim.window_size // 2 for ssim in config.ssim) if config.kind == "ssim" else 0
    return window + int(_TRUNCATED * config.smoothing + 0.5)


def _smoothed(residual: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    if sigma:
        residual = ndimage.gaussian_filter(residual, sigma, truncate=_TRUNCATED)
    return np.asarray(residual, dtype=np.float32)
