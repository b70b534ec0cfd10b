"""Where an image differs from its reconstruction (paper equations 2 and 5, section 4.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from .config import ReconstructionResidual, ResidualConfig
from .rarity import combined_rarity
from .reconstruction import PlaneViews
from .ssim import ssim_map

__all__ = ["residual_map", "score_plane"]


def score_plane(
    plane: npt.NDArray[np.float32], views: PlaneViews, config: ResidualConfig
) -> npt.NDArray[np.float32]:
    """Score a plane by any residual.

    Parameters
    ----------
    plane
        Normalised intensities, float32 of shape (C, H, W).
    views
        What `view_plane` says of it, with all that the residual needs.
    config
        The residual. A rarity must have been measured.

    Returns
    -------
    numpy.ndarray
        float32 of shape (H, W); the higher, the less like good material.
    """
    if config.kind == "rarity":
        maps = [score_plane(plane, views, view.residual) for view in config.views]
        return combined_rarity(maps, config)
    if config.kind == "discriminator":
        assert views.log_odds is not None
        return _smoothed(np.logaddexp(0, views.log_odds), config.smoothing)
    if config.kind == "texture":
        assert views.improbability is not None
        return _smoothed(views.improbability, config.smoothing)
    return residual_map(plane, views.reconstruction, config)


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
        What to compare by, and how much to smooth.

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
        x, y = (torch.as_tensor(np.array(image))[None] for image in (plane, reconstruction))
        with torch.inference_mode():
            maps = [1 - ssim_map(x, y, **ssim.model_dump())[0].mean(0) for ssim in config.ssim]
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


def _smoothed(residual: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    if sigma:
        residual = ndimage.gaussian_filter(residual, sigma)
    return np.asarray(residual, dtype=np.float32)
