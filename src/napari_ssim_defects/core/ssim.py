"""Structural similarity (Wang et al. 2004; paper section 3.2), fast and differentiable.

Local means are those of `Window`; the gradient is computed by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch.autograd.function import once_differentiable

from .common.array_checks import finite_number
from .common.device import full_precision
from .common.errors import InputError
from .config import SSIMConfig
from .images.window import AT_ONCE, Window

__all__ = ["NEAR", "similarity", "ssim_loss", "ssim_map"]

_RANGES = 1e-100, 1e100  # data ranges whose squares, and those of the pixels, are float64
_FARTHEST = 1e7  # data ranges from 0, beyond which float64 is not exact enough
_USUAL_RANGES = 1e-15, 1e15  # the squares of others are computed in float64

NEAR = 10.0
"""Data ranges from 0, beyond which float32 is not exact enough and float64 is used."""


def ssim_map(
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    window_size: int = 11,
    window: Literal["uniform", "gaussian"] = "uniform",
    sigma: float = 1.5,
    data_range: float = 1.0,
    constants: str = "standard",
    border: Literal["same", "valid"] = "same",
) -> torch.Tensor:
    """Structural similarity of two images at each pixel (paper equation 5).

    Parameters
    ----------
    x, y
        Tensors of real numbers, of shape (N, C, H, W). float64 is computed in float64, anything
        else in float32 where that is exact enough; the map is float64 or float32 accordingly.
    window_size
        Side K of the window, in pixels; odd and at least 3.
    window
        ``"uniform"`` or ``"gaussian"``.
    sigma
        Standard deviation of the Gaussian window, in pixels.
    data_range
        Largest minus smallest possible value, L, from 1e-100 to 1e100.
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
        If shapes differ or are not four-dimensional, a value is out of its range or farther from
        0 than ten million times the data range (NaN included), or the window does not fit
        the image with ``border="valid"``.

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
    config = SSIMConfig(window_size=window_size, window=window, sigma=sigma, constants=constants)
    window_size = config.window_size  # accepted as a number above
    if not all(isinstance(z, torch.Tensor) and not z.is_complex() for z in (x, y)):
        raise InputError("SSIM compares two tensors of real numbers; convert the images first.")
    if x.shape != y.shape or x.ndim != 4:
        raise InputError(
            "SSIM compares two tensors of the same shape (N, C, H, W), not "
            f"{tuple(x.shape)} and {tuple(y.shape)}."
        )
    data_range = finite_number(data_range, "data range of SSIM")
    if not _RANGES[0] <= data_range <= _RANGES[1]:
        raise InputError(
            f"The data range of SSIM must lie between {_RANGES[0]:g} and {_RANGES[1]:g}, not "
            f"{data_range:g}; scale the images."
        )
    if border not in ("same", "valid"):
        raise InputError(f"The border of SSIM is 'same' or 'valid', not '{border}'.")
    if border == "valid" and min(x.shape[-2:]) < window_size:
        raise InputError(
            f"A window of {window_size} pixels does not fit an image of {x.shape[-2]} x "
            f"{x.shape[-1]}; use a smaller window or border 'same'."
        )
    farthest = max(map(_farthest, (x, y)))
    if not farthest <= _FARTHEST * data_range:
        raise InputError(
            f"The values of the images (up to {farthest:g}) are too far from 0 for a data range of "
            f"{data_range:g}, or not finite; give their true range, or subtract their mean."
        )
    c1, c2 = _constants(constants, data_range)
    local = Window(window_size, config.window, config.sigma, border)
    if farthest <= NEAR * data_range and _USUAL_RANGES[0] <= data_range <= _USUAL_RANGES[1]:
        return _similarity(x, y, local, c1, c2)
    dtype, device = _dtype_of(x, y), x.device
    x, y = x.cpu().double(), y.cpu().double()  # not every device has float64
    return _similarity(x, y, local, c1, c2).to(device, dtype)


def ssim_loss(x: torch.Tensor, y: torch.Tensor, config: SSIMConfig) -> torch.Tensor:
    """Mean of 1 - SSIM over patches of shape (N, C, H, W), normalised to a data range of 1."""
    return 1 - similarity(x, y, config).mean()


def similarity(x: torch.Tensor, y: torch.Tensor, config: SSIMConfig) -> torch.Tensor:
    """Map of SSIM as `ssim_map`, for a data range of 1, without checks."""
    window = Window(config.window_size, config.window, config.sigma, "same")
    return _similarity(x, y, window, *_constants(config.constants, 1.0))


def _constants(kind: str, data_range: float) -> tuple[float, float]:
    return (0.01, 0.03) if kind == "paper" else ((0.01 * data_range) ** 2, (0.03 * data_range) ** 2)


def _similarity(
    x: torch.Tensor, y: torch.Tensor, window: Window, c1: float, c2: float
) -> torch.Tensor:
    return torch.cat(list(_maps(x, y, window, c1, c2)))


def _farthest(x: torch.Tensor) -> float:
    """Largest magnitude; NaN if there is one."""
    if not x.numel():
        return 0.0
    x = x.detach()
    return float((x if x.is_floating_point() else x.double()).abs().max())


def _dtype_of(x: torch.Tensor, y: torch.Tensor) -> torch.dtype:
    return torch.float64 if torch.float64 in (x.dtype, y.dtype) else torch.float32


def _maps(
    x: torch.Tensor, y: torch.Tensor, window: Window, c1: float, c2: float
) -> Iterator[torch.Tensor]:
    """Compute the map of some images after the other."""
    dtype = _dtype_of(x, y)
    if not x.numel():
        yield x.to(dtype)
        return
    count = max(1, AT_ONCE // max(1, x.shape[1])) if x.device.type == "cpu" else max(1, len(x))
    with full_precision(x.device):
        for first, second in zip(x.split(count), y.split(count), strict=True):
            yield _SSIM.apply(first.to(dtype), second.to(dtype), window, c1, c2)  # type: ignore[no-untyped-call]


class _SSIM(torch.autograd.Function):
    """Structural similarity, with its gradient by hand.

    In terms of local means a and b, variances v and w, and the covariance s, SSIM is the product
    of luminance (2 a b + c1) / (a^2 + b^2 + c1) and structure (2 s + c2) / (v + w + c2). Its
    derivatives by b, w and s go back to the pixels through the transposed window: three means, each
    at the cost of one of the four on the way forward.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, y: torch.Tensor, window: Window, c1: float, c2: float
    ) -> torch.Tensor:
        filters = window.filter_of(x)
        # Variances are differences of large sums: subtracting a constant first keeps float32
        # exact to 1e-6. The constants cancel in every moment but the means.
        level_x, level_y = filters.levels(x), filters.levels(y)
        near_x, near_y = filters.prepared(x, level_x), filters.prepared(y, level_y)
        mean_x, mean_y = filters.mean(near_x), filters.mean(near_y)
        spread = filters.mean((near_x * near_x).addcmul_(near_y, near_y))
        spread.addcmul_(mean_x, mean_x, value=-1).addcmul_(mean_y, mean_y, value=-1)
        spread.clamp_min_(0).add_(c2)
        structure = filters.mean(near_x * near_y).addcmul_(mean_x, mean_y, value=-1)
        structure.mul_(2).add_(c2).div_(spread)
        a, b = mean_x + level_x, mean_y + level_y
        power = (a * a).addcmul_(b, b).add_(c1)
        luminance = (a * b).mul_(2).add_(c1).div_(power)
        ctx.filters = filters
        ctx.save_for_backward(
            near_x, near_y, mean_x, mean_y, a, b, spread, power, structure, luminance
        )
        return (luminance * structure).reshape(*x.shape[:2], *luminance.shape[-2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        near_x, near_y, mean_x, mean_y, a, b, spread, power, structure, luminance = (
            ctx.saved_tensors
        )
        filters = ctx.filters
        shape, slope = slope.shape, slope.reshape(structure.shape)
        # The slope comes last, because a result has the memory layout of its first operand.
        by_luminance = (structure * slope).div_(power).mul_(2)
        by_structure = luminance * slope
        by_covariance = (by_structure / spread).mul_(2)
        by_variance = by_structure.mul_(structure).div_(spread).neg_()

        def gradient(
            near: torch.Tensor, mean: torch.Tensor, level: torch.Tensor,
            other_near: torch.Tensor, other_mean: torch.Tensor, other_level: torch.Tensor,
        ) -> torch.Tensor:  # fmt: skip
            by_mean = torch.addcmul(other_level, level, luminance, value=-1).mul_(by_luminance)
            by_mean.addcmul_(by_covariance, other_mean, value=-1)
            by_mean.addcmul_(by_variance, mean, value=-2)
            found = filters.inside(near) * filters.transposed(by_variance)
            found.mul_(2).addcmul_(filters.inside(other_near), filters.transposed(by_covariance))
            found.add_(filters.transposed(by_mean))
            found = found.reshape(*shape[:2], *found.shape[-2:])
            return torch.as_tensor(found)

        first, second = (near_x, mean_x, a), (near_y, mean_y, b)
        return (
            gradient(*first, *second) if ctx.needs_input_grad[0] else None,
            gradient(*second, *first) if ctx.needs_input_grad[1] else None,
            *(None,) * 3,
        )
