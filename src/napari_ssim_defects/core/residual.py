"""Where an image differs from its reconstruction (paper equations 2 and 5, section 4.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from .config import ResidualConfig
from .ssim import ssim_map

__all__ = ["residual_map"]


def residual_map(
    plane: npt.NDArray[np.float32],
    reconstruction: npt.NDArray[np.float32],
    config: ResidualConfig,
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
    if config.smoothing:
        residual = ndimage.gaussian_filter(residual, config.smoothing)
    return np.asarray(residual, dtype=np.float32)
