"""What each system minimises (paper section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from .config import TrainingConfig
from .ssim import ssim_loss

__all__ = ["training_loss"]


def training_loss(
    patches: torch.Tensor, reconstructions: torch.Tensor, config: TrainingConfig
) -> torch.Tensor:
    """Loss of the configured system over patches of shape (N, C, P, P).

    System ``ssim``: mean of 1 - SSIM (equation 5). System ``l2``: mean squared error
    (equation 2, divided by the number of pixels).
    """
    reconstructions = reconstructions.float()
    if config.system == "ssim":
        return ssim_loss(patches, reconstructions, config.ssim)
    return functional.mse_loss(reconstructions, patches)
