"""Reconstruction of a whole plane from overlapping patches (paper section 4.2)."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .device import autocast

__all__ = ["patch_starts", "reconstruct_plane"]

_BATCH = 32 * 128**2  # pixels; small enough that a batch takes well under half a second on a CPU


def patch_starts(length: int, patch_size: int, stride: int) -> list[int]:
    """Return where patches start along one axis so that they cover all of it.

    Starts are ``stride`` apart; the last patch ends at the end of the axis. A stride above the
    patch size is taken as the patch size.
    """
    last = max(0, length - patch_size)
    starts = list(range(0, last, min(stride, patch_size)))
    return [*starts, last]


def reconstruct_plane(
    network: nn.Module,
    plane: npt.NDArray[np.float32],
    patch_size: int,
    stride: int,
    device: torch.device,
) -> Generator[float, None, npt.NDArray[np.float32]]:
    """Reconstruct a plane patch by patch and average overlapping reconstructions.

    Parameters
    ----------
    network
        Maps patches (N, C, P, P) to their reconstructions; in evaluation mode, on ``device``.
    plane
        Normalised intensities, float32 of shape (C, H, W). A plane smaller than a patch is
        mirrored to its size.
    patch_size
        Side P of the patches, in pixels.
    stride
        Distance between patches, in pixels; the paper uses 30.
    device
        Where the network runs.

    Yields
    ------
    float
        Fraction of the patches that are done, in (0, 1].

    Returns
    -------
    numpy.ndarray
        The reconstruction, float32 of shape (C, H, W).
    """
    height, width = plane.shape[1:]
    missing = [max(0, patch_size - side) for side in (height, width)]
    if any(missing):
        plane = np.pad(plane, [(0, 0), *((0, m) for m in missing)], mode="symmetric")
    pixels = torch.as_tensor(np.array(plane), device=device)  # a copy: it may be read-only
    rows, columns = (patch_starts(side, patch_size, stride) for side in plane.shape[1:])
    corners = [(y, x) for y in rows for x in columns]
    total = torch.zeros_like(pixels)
    size = max(1, _BATCH // patch_size**2)
    for start in range(0, len(corners), size):
        batch = corners[start : start + size]
        patches = torch.stack(
            [pixels[:, y : y + patch_size, x : x + patch_size] for y, x in batch]
        ).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), autocast(device):
            outputs = network(patches).float()
        for (y, x), output in zip(batch, outputs, strict=True):
            total[:, y : y + patch_size, x : x + patch_size] += output
        yield (start + len(batch)) / len(corners)
    times = [
        np.add.reduce([(np.arange(side) >= s) & (np.arange(side) < s + patch_size) for s in starts])
        for side, starts in zip(plane.shape[1:], (rows, columns), strict=True)
    ]
    total /= torch.as_tensor(np.outer(*times), dtype=total.dtype, device=device)
    return np.ascontiguousarray(total[:, :height, :width].cpu().numpy())
