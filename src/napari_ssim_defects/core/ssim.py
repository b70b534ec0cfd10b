"""Structural similarity (Wang et al. 2004; paper section 3.2), fast and differentiable.

Every window is separable, so local sums are two one-dimensional filters. Small images are
filtered by banded matrix products (one per axis, whatever the window), which is many times
faster than convolutions, forward and backward; large ones by adding up shifted copies.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from .config import SSIMConfig
from .device import full_precision
from .errors import InputError

__all__ = ["ssim_loss", "ssim_map"]

_LARGEST_BAND = 512  # pixels per axis up to which a dense band matrix is the fastest filter


def ssim_map(
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    window_size: int = 11,
    window: str = "uniform",
    sigma: float = 1.5,
    data_range: float = 1.0,
    constants: str = "standard",
    border: str = "same",
) -> torch.Tensor:
    """Structural similarity of two images at each pixel (paper equation 5).

    Parameters
    ----------
    x, y
        Floating-point tensors of shape (N, C, H, W). float64 is computed in float64, anything
        else in float32.
    window_size
        Side K of the window, in pixels; odd and at least 3.
    window
        ``"uniform"`` or ``"gaussian"``.
    sigma
        Standard deviation of the Gaussian window, in pixels.
    data_range
        Largest minus smallest possible value, L.
    constants
        ``"standard"`` for c1 = (0.01 L)^2 and c2 = (0.03 L)^2, ``"paper"`` for c1 = 0.01 and
        c2 = 0.03.
    border
        ``"same"``: images are mirrored at their border (edge pixels repeated), the map has
        their size. ``"valid"``: only pixels whose window lies inside.

    Returns
    -------
    torch.Tensor
        Shape (N, C, H, W), or (N, C, H - K + 1, W - K + 1) for ``"valid"``; in [-1, 1]; 1 where
        the windows are identical.

    Raises
    ------
    InputError
        If shapes differ or are not four-dimensional, a value is out of its range, or the
        window does not fit the image with ``border="valid"``.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli: Image quality assessment: from error visibility to
    structural similarity, IEEE Transactions on Image Processing 13, 2004.

    Examples
    --------
    >>> import torch
    >>> image = torch.rand(1, 1, 32, 32)
    >>> bool((ssim_map(image, image) > 0.9999).all())
    True
    """
    SSIMConfig(window_size=window_size, window=window, sigma=sigma, constants=constants)
    if x.shape != y.shape or x.ndim != 4:
        raise InputError(
            "SSIM compares two tensors of the same shape (N, C, H, W), not "
            f"{tuple(x.shape)} and {tuple(y.shape)}."
        )
    if not 0 < data_range < math.inf:
        raise InputError(f"The data range of SSIM must be positive and finite, not {data_range}.")
    if border not in ("same", "valid"):
        raise InputError(f"The border of SSIM is 'same' or 'valid', not '{border}'.")
    if border == "valid" and min(x.shape[-2:]) < window_size:
        raise InputError(
            f"A window of {window_size} pixels does not fit an image of {x.shape[-2]} x "
            f"{x.shape[-1]}; use a smaller window or border 'same'."
        )
    c1, c2 = (0.01, 0.03)
    if constants == "standard":
        c1, c2 = (c1 * data_range) ** 2, (c2 * data_range) ** 2
    with full_precision(x.device):
        dtype = torch.float64 if torch.float64 in (x.dtype, y.dtype) else torch.float32
        x, y = x.to(dtype), y.to(dtype)
        # Variances are differences of large sums: subtracting a constant first keeps float32
        # exact to 1e-6. The constants cancel in every moment but the means.
        level_x, level_y = (image.detach().mean(dim=(2, 3), keepdim=True) for image in (x, y))
        x, y = x - level_x, y - level_y
        moments = _local_mean(
            torch.cat([x, y, x * x, y * y, x * y], dim=1), window_size, window, sigma, border
        )
        mean_x, mean_y, square_x, square_y, product = moments.chunk(5, dim=1)
        variances = (square_x - mean_x * mean_x).clamp_min(0) + (
            square_y - mean_y * mean_y
        ).clamp_min(0)
        covariance = product - mean_x * mean_y
        mean_x, mean_y = mean_x + level_x, mean_y + level_y
        luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
        return luminance * (2 * covariance + c2) / (variances + c2)


def ssim_loss(x: torch.Tensor, y: torch.Tensor, config: SSIMConfig) -> torch.Tensor:
    """Mean of 1 - SSIM over patches of shape (N, C, H, W), normalised to a data range of 1."""
    return 1 - ssim_map(x, y, **config.model_dump()).mean()


def _local_mean(
    maps: torch.Tensor, size: int, window: str, sigma: float, border: str
) -> torch.Tensor:
    """Weighted mean over the window at every pixel of (N, C, H, W)."""
    height, width = maps.shape[-2:]
    if max(height, width) <= _LARGEST_BAND:
        options = (size, window, sigma, border, maps.dtype, maps.device)
        rows, columns = _band(height, *options), _band(width, *options)
        return rows @ maps @ columns.T
    if border == "same":
        maps = _mirror(_mirror(maps, size // 2, -1), size // 2, -2)
    weights = _weights(size, window, sigma).tolist()
    return _shifted_sums(_shifted_sums(maps, weights, -1), weights, -2)


def _shifted_sums(maps: torch.Tensor, weights: list[float], axis: int) -> torch.Tensor:
    """Filter along an axis, without its border, by adding up shifted copies.

    Ten times as fast as a convolution, which unfolds what it filters, and in less memory.
    """
    length = maps.shape[axis] - len(weights) + 1
    total = weights[0] * maps.narrow(axis, 0, length)
    for shift, weight in enumerate(weights[1:], start=1):
        total = total.add_(maps.narrow(axis, shift, length), alpha=weight)
    return total


def _weights(size: int, window: str, sigma: float) -> npt.NDArray[np.float64]:
    if window == "uniform":
        return np.full(size, 1 / size)
    weights = np.exp(-0.5 * (np.arange(size) - size // 2) ** 2 / sigma**2)
    return np.asarray(weights / weights.sum())


def _mirrored_indices(length: int, radius: int) -> npt.NDArray[np.int64]:
    """Indices of a mirrored axis: d c b a | a b c d | d c b a, repeated where it is short."""
    indices = np.arange(-radius, length + radius) % (2 * length)
    return np.where(indices < length, indices, 2 * length - 1 - indices)


def _mirror(maps: torch.Tensor, radius: int, axis: int) -> torch.Tensor:
    indices = torch.as_tensor(_mirrored_indices(maps.shape[axis], radius), device=maps.device)
    return maps.index_select(axis, indices)


@lru_cache(maxsize=64)
def _band(
    length: int,
    size: int,
    window: str,
    sigma: float,
    border: str,
    dtype: torch.dtype,
    device: torch.device,
) -> torch.Tensor:
    """Matrix whose product with a column is its local mean, of shape (rows, length)."""
    radius = size // 2
    if border == "same":
        indices, rows = _mirrored_indices(length, radius), length
    else:
        indices, rows = np.arange(length), length - 2 * radius
    band = np.zeros((rows, length))
    for tap, weight in enumerate(_weights(size, window, sigma)):
        np.add.at(band, (np.arange(rows), indices[tap : tap + rows]), weight)
    # Made once for detection and training: a tensor of inference mode would not train.
    with torch.inference_mode(False):
        return torch.as_tensor(band, dtype=dtype, device=device)
