"""Random training patches, cut and augmented on the device that holds the planes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional

from ..common.device import release_memory
from ..common.errors import InputError, is_out_of_memory
from ..config import AugmentationConfig, TrainingConfig
from .areas import TrainingArea, corners_of
from .symmetry import orientations_of, oriented

__all__ = [
    "PatchSource",
    "fixed_patches",
    "split_patches",
]

_FIXED_PATCHES = 64

# A patch's position: index of the area, row and column of its upper left corner.
_Positions = npt.NDArray[np.int64]


class PatchSource:
    """Draws patches from training areas, each possible position with the same probability.

    Pixels that are not allowed are never used: a patch that could touch one when turned or
    scaled is neither turned nor scaled.

    Parameters
    ----------
    areas
        Where patches come from. Areas without room for a patch are skipped.
    patch_size
        Side P of the patches, in pixels.
    augmentation
        How a patch may differ from its image.
    device
        Where the pixels live and the patches are cut; pixels that do not fit stay on the CPU.

    Raises
    ------
    InputError
        If no area has room for a patch.
    """

    def __init__(
        self,
        areas: Sequence[TrainingArea],
        patch_size: int,
        augmentation: AugmentationConfig,
        device: torch.device,
    ) -> None:
        self._size = patch_size
        self._augmentation = augmentation
        self._device = device
        # A rotated or enlarged patch covers a larger square of the image.
        angle = np.deg2rad(augmentation.rotation)
        self._warps = augmentation.rotation > 0 or augmentation.scale > 0
        reach = (1 + augmentation.scale) * (np.cos(angle) + np.sin(angle))
        self._margin = int(np.ceil(patch_size * (reach - 1) / 2)) + 1 if self._warps else 0
        planes: list[torch.Tensor] = []
        self._corners: list[npt.NDArray[np.int64]] = []
        self._free: list[npt.NDArray[np.bool_]] = []  # where patches may be turned and scaled
        for area in areas:
            corners = np.flatnonzero(corners_of(area, patch_size))
            if len(corners):
                larger = area.mirrored(self._margin)
                planes.append(torch.as_tensor(larger.pixels))
                self._corners.append(corners)
                self._free.append(corners_of(larger, patch_size + 2 * self._margin))
        if not planes:
            raise InputError(
                f"No training image has room for a patch of {patch_size} x {patch_size} pixels; "
                "choose larger images or a smaller patch size."
            )
        self._planes = _on_device(planes, device)
        self._ends = np.cumsum([len(corners) for corners in self._corners])

    def positions(self, count: int, generator: np.random.Generator) -> _Positions:
        """Draw ``count`` positions; an int64 array of shape (count, 3)."""
        chosen = generator.integers(self._ends[-1], size=count)
        areas = np.searchsorted(self._ends, chosen, side="right")
        rows = np.empty((count, 3), dtype=np.int64)
        for row, area, index in zip(rows, areas, chosen, strict=True):
            corner = self._corners[area][index - self._ends[area]]
            width = self._planes[area].shape[2] - 2 * self._margin - self._size + 1
            row[:] = area, *divmod(int(corner), width)
        return rows

    def cut(self, positions: _Positions) -> torch.Tensor:
        """Cut patches as they are; float32 of shape (N, C, P, P)."""
        inset = self._margin
        return self._squares(positions + np.array([0, inset, inset]), self._size)

    def cut_augmented(self, positions: _Positions, generator: np.random.Generator) -> torch.Tensor:
        """Cut patches and change each at random; float32 of shape (N, C, P, P)."""
        augmentation, count = self._augmentation, len(positions)
        patches = self._warped(positions, generator) if self._warps else self.cut(positions)
        choices = orientations_of(augmentation)
        if len(choices) > 1:
            chosen = generator.integers(len(choices), size=count).tolist()
            patches = torch.stack([
                oriented(patch, choices[number])
                for patch, number in zip(patches, chosen, strict=True)
            ])  # fmt: skip
        if augmentation.brightness or augmentation.contrast:
            shape = (count, 1, 1, 1)
            gain = 1 + augmentation.contrast * generator.uniform(-1, 1, shape)
            shift = augmentation.brightness * generator.uniform(-1, 1, shape)
            tensors = (torch.as_tensor(a, dtype=torch.float32) for a in (gain, shift))
            gain_t, shift_t = (tensor.to(self._device) for tensor in tensors)
            middle = patches.mean(dim=(2, 3), keepdim=True)
            patches = (patches - middle) * gain_t + middle + shift_t
        return patches

    def _squares(self, positions: _Positions, side: int) -> torch.Tensor:
        return torch.stack([
            self._planes[area][:, y : y + side, x : x + side] for area, y, x in positions.tolist()
        ]).to(self._device)  # fmt: skip

    def _warped(self, positions: _Positions, generator: np.random.Generator) -> torch.Tensor:
        side, count = self._size + 2 * self._margin, len(positions)
        squares = self._squares(positions, side)
        free = np.array([self._free[area][y, x] for area, y, x in positions.tolist()])
        angle = free * np.deg2rad(self._augmentation.rotation) * generator.uniform(-1, 1, count)
        scale = 1 + free * self._augmentation.scale * generator.uniform(-1, 1, count)
        # Coordinates of grid_sample run from -1 to 1 over the square.
        cos, sin = (scale * f(angle) * self._size / side for f in (np.cos, np.sin))
        zero = np.zeros(count)
        theta = np.stack([np.stack([cos, -sin, zero], -1), np.stack([sin, cos, zero], -1)], 1)
        grid = functional.affine_grid(
            torch.as_tensor(theta, dtype=torch.float32, device=self._device),
            [count, squares.shape[1], self._size, self._size],
            align_corners=False,
        )
        return functional.grid_sample(squares, grid, mode="bilinear", align_corners=False)


def fixed_patches(
    areas: Sequence[TrainingArea], side: int, config: TrainingConfig, device: torch.device
) -> torch.Tensor:
    """Cut patches (N, C, S, S) of a side S from areas, always the same ones for a seed."""
    source = PatchSource(areas, side, config.augmentation, device)
    count = _FIXED_PATCHES * config.patch_size**2 // side**2
    return source.cut(source.positions(count, np.random.default_rng(config.seed + 1)))


def split_patches(patches: torch.Tensor, side: int) -> torch.Tensor:
    """Split patches (N, C, S, S) into smaller ones (N', C, side, side), row by row."""
    count, channels, size, _ = patches.shape
    across = size // side
    grid = patches.reshape(count, channels, across, side, across, side)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, side, side)


def _on_device(planes: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Move all planes to a device, or none if they do not fit."""
    try:
        return [plane.to(device) for plane in planes]
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    release_memory(device)
    return planes
