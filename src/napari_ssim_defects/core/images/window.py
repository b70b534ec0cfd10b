"""Weighted means over a window at every pixel, and their gradients.

Every window is separable, so a mean is two filters of one dimension each. There are two ways to
apply them, with the same result but for rounding:

- `Bands`: products with banded matrices, one for each axis, whatever the window.
- `Lines`: convolutions along rows and columns, on processors that have fast ones of many channels,
  each by itself, which compute several channels by one instruction. Many images become the channels
  of one; in few, the columns of an image become its channels, then its rows. Elsewhere weighted
  sums of shifted images, which are for images too large for matrices.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional

__all__ = ["AT_ONCE", "Bands", "Lines", "Window"]

AT_ONCE = 32
"""Images, or channels, that a processor filters at once; they fit into its caches."""

_LARGEST_BAND = 512  # pixels per axis up to which there are matrices
_FEWEST_CHANNELS = 16  # images for which it pays to be the channels of one


@dataclass(frozen=True, slots=True)
class Window:
    """A window, and its rule at the border of images.

    Attributes
    ----------
    size
        Side K, in pixels; odd.
    shape
        ``"uniform"`` or ``"gaussian"``.
    sigma
        Standard deviation of the Gaussian window, in pixels.
    border
        ``"same"``: images are mirrored at their border, edge pixels repeated. ``"valid"``: only
        pixels whose window lies inside have a mean.
    """

    size: int
    shape: Literal["uniform", "gaussian"]
    sigma: float
    border: Literal["same", "valid"]

    @property
    def radius(self) -> int:
        """Pixels on either side of the middle."""
        return self.size // 2

    def filter_of(self, images: torch.Tensor) -> Bands | Lines:
        """Return the faster filter for images of shape (N, C, H, W)."""
        if _vectorised(images) or max(images.shape[-2:]) > _LARGEST_BAND:
            return Lines(self, images)
        return Bands(self, images)


class Bands:
    """Means by matrix products.

    Parameters
    ----------
    window
        The window.
    images
        Tensor of shape (N, C, H, W); gives the shape, type and device of all later ones.
    """

    def __init__(self, window: Window, images: torch.Tensor) -> None:
        options = window, images.dtype, images.device
        self._rows, self._columns = (_band(length, *options) for length in images.shape[-2:])

    def prepared(self, images: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """Subtract levels of the images, and arrange them for `mean`."""
        return images - levels

    def levels(self, images: torch.Tensor) -> torch.Tensor:
        """Return the mean of each image, in the arrangement of `mean`."""
        return images.mean(dim=(2, 3), keepdim=True)

    def mean(self, prepared: torch.Tensor) -> torch.Tensor:
        """Weighted mean over the window, at every pixel that has one."""
        return self._rows @ prepared @ self._columns.T

    def inside(self, prepared: torch.Tensor) -> torch.Tensor:
        """Return the pixels of the images themselves."""
        return prepared

    def transposed(self, slopes: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to the images, given that with respect to `mean`."""
        return self._rows.T @ slopes @ self._columns


class Lines:
    """Means by filters along rows and columns of images that are padded at their border."""

    def __init__(self, window: Window, images: torch.Tensor) -> None:
        n, c, self._height, self._width = images.shape
        self._vectorised = _vectorised(images)
        together = self._vectorised and n * c >= _FEWEST_CHANNELS
        self._images = (1, n * c) if together else (n * c, 1)
        self._by_lines = self._vectorised and not together
        self._around = window.radius if window.border == "same" else 0
        self._size = window.size
        taps = _weights(window)
        self._taps: list[float] = taps.tolist()
        self._weights = torch.as_tensor(taps, dtype=images.dtype)

    def prepared(self, images: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """Subtract levels of the images, and arrange them for `mean`."""
        around, height, width = self._around, self._height, self._width
        whole = self._empty(height + 2 * around, width + 2 * around, images)
        inside = whole[..., around : around + height, :]
        flat = images.reshape(*self._images, height, width)
        torch.sub(flat, levels, out=inside[..., around : around + width])
        for axis, part, length in ((-1, inside, width), (-2, whole, height)):
            _mirror(part, axis, around, length)
        return whole

    def levels(self, images: torch.Tensor) -> torch.Tensor:
        """Return the mean of each image, in the arrangement of `mean`."""
        return images.mean(dim=(2, 3)).reshape(*self._images, 1, 1)

    def mean(self, prepared: torch.Tensor) -> torch.Tensor:
        """Weighted mean over the window, at every pixel that has one."""
        if self._by_lines:
            for _ in "yx":
                maps = self._filtered(prepared.transpose(1, 3), (-1, 1))
                prepared = maps.permute(0, 3, 1, 2).contiguous()  # rows are columns now
            return prepared
        return self._filtered(self._filtered(prepared, (1, -1)), (-1, 1))

    def inside(self, prepared: torch.Tensor) -> torch.Tensor:
        """Return the pixels of the images themselves."""
        around = self._around
        return prepared[..., around : around + self._height, around : around + self._width]

    def transposed(self, slopes: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to the images, given that with respect to `mean`."""
        # Zeros all around by hand: convolutions that do it themselves take several times as long.
        maps = self.mean(functional.pad(slopes, 4 * (self._size - 1,)))
        for axis, length in ((-1, self._width), (-2, self._height)):
            maps = _folded(maps, axis, self._around, length)
        return maps

    def _filtered(self, maps: torch.Tensor, line: tuple[int, int]) -> torch.Tensor:
        """Filter each channel by the weights, which lie along the axis of size -1."""
        if self._vectorised:
            channels = maps.shape[1]
            weights = self._weights.view(1, 1, *line).expand(channels, -1, -1, -1)
            return functional.conv2d(maps, weights, groups=channels)
        # Convolutions of graphics cards may round to 10 bits (TF32); sums are exact everywhere.
        axis = line.index(-1) - 2
        length = maps.shape[axis] - self._size + 1
        total: torch.Tensor = maps.narrow(axis, 0, length) * self._taps[0]
        for tap, weight in enumerate(self._taps[1:], start=1):
            total.add_(maps.narrow(axis, tap, length), alpha=weight)
        return total

    def _empty(self, height: int, width: int, like: torch.Tensor) -> torch.Tensor:
        return torch.empty(
            (*self._images, height, width),
            dtype=like.dtype,
            device=like.device,
            memory_format=torch.channels_last if self._images[1] > 1 else torch.contiguous_format,
        )


def _vectorised(images: torch.Tensor) -> bool:
    """Whether convolutions of many channels, each by itself, are fast on these images."""
    # oneDNN has them for this kind of processor; elsewhere they may be slower than the matrices.
    return (
        images.device.type == "cpu"
        and images.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and platform.machine().lower() in ("x86_64", "amd64")
    )


def _mirror(maps: torch.Tensor, axis: int, radius: int, length: int) -> None:
    """Continue an axis, whose ``length`` pixels are there, by as many mirrored as the radius."""
    for first, last, count in _portions(radius, length):
        before = maps.narrow(axis, first, count).flip(axis)
        after = maps.narrow(axis, last - count, count).flip(axis)
        maps.narrow(axis, first - count, count).copy_(before)
        maps.narrow(axis, last, count).copy_(after)


def _portions(radius: int, length: int) -> list[tuple[int, int, int]]:
    """Return first and last pixel that are there, and how many are mirrored, until all are.

    At once, unless the axis is shorter than the radius: then as many as are there, again and again.
    """
    portions = []
    first, last = radius, radius + length
    while 0 < first < last:
        count = min(first, last - first)
        portions.append((first, last, count))
        first, last = first - count, last + count
    return portions


def _folded(maps: torch.Tensor, axis: int, radius: int, length: int) -> torch.Tensor:
    """Add what lies beyond the border to the pixels that `_mirror` copied there; changes maps."""
    for first, last, count in reversed(_portions(radius, length)):
        before = maps.narrow(axis, first - count, count).flip(axis)
        after = maps.narrow(axis, last, count).flip(axis)
        maps.narrow(axis, first, count).add_(before)
        maps.narrow(axis, last - count, count).add_(after)
    return maps.narrow(axis, radius, length)


def _weights(window: Window) -> npt.NDArray[np.float64]:
    """Weights along one axis; their sum is 1."""
    if window.shape == "uniform":
        return np.full(window.size, 1 / window.size)
    weights = np.exp(-0.5 * (np.arange(window.size) - window.radius) ** 2 / window.sigma**2)
    return np.asarray(weights / weights.sum())


@lru_cache(maxsize=64)
def _band(length: int, window: Window, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Matrix whose product with a column is its local mean, of shape (rows, length)."""
    radius = window.radius
    if window.border == "same":
        rows = length
        indices = np.arange(-radius, length + radius) % (2 * length)
        indices = np.where(indices < length, indices, 2 * length - 1 - indices)
    else:
        indices, rows = np.arange(length), length - 2 * radius
    band = np.zeros((rows, length))
    for tap, weight in enumerate(_weights(window)):
        np.add.at(band, (np.arange(rows), indices[tap : tap + rows]), weight)
    # Made once for detection and training: a tensor of inference mode would not train.
    with torch.inference_mode(False):
        return torch.as_tensor(band, dtype=dtype, device=device)
