"""Where an image differs from its reconstruction (paper equations 2 and 5)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from .config import SquaredErrorResidual, SSIMResidual
from .ssim import ssim_map

__all__ = ["residual_map"]


def residual_map(
    plane: npt.NDArray[np.float32],
    reconstruction: npt.NDArray[np.float32],
    config: SSIMResidual | SquaredErrorResidual,
) -> npt.NDArray[np.float32]:
    """Compare a plane with its reconstruction.

    Parameters
    ----------
    plane, reconstruction
        Normalised intensities (data range 1), float32 of shape (C, H, W).
    config
        What to compare by, and how much to smooth.

    Returns
    -------
    numpy.ndarray
        float32 of shape (H, W); 0 = identical.
    """
    if config.kind == "ssim":
        x, y = (torch.as_tensor(np.array(image))[None] for image in (plane, reconstruction))
        with torch.inference_mode():
            maps = [1 - ssim_map(x, y, **ssim.model_dump())[0].mean(0) for ssim in config.ssim]
        residual = torch.stack(maps).mean(0).clamp_min(0).numpy()
    else:
        residual = np.square(plane - reconstruction).mean(0)
    if config.smoothing:
        residual = ndimage.gaussian_filter(residual, config.smoothing)
    return np.asarray(residual, dtype=np.float32)
