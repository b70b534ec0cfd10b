"""Random training patches, cut and augmented on the device that holds the planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional

from ..common.device import release_memory
from ..common.errors import InputError, is_out_of_memory
from ..config import AugmentationConfig, TrainingConfig
from ..images.intensity import IntensityRange
from .symmetry import orientations_of, oriented

__all__ = ["PatchSource", "TrainingArea", "split", "tiles", "training_side"]

# A patch's position: index of the area, row and column of its upper left corner.
_Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TrainingArea:
    """A defect-free part of an image.

    Attributes
    ----------
    pixels
        float32 array of shape (C, H, W).
    allowed
        bool array of shape (H, W): pixels that patches may contain; None = all.
    """

    pixels: npt.NDArray[np.float32]
    allowed: npt.NDArray[np.bool_] | None = None

    @property
    def good_pixels(self) -> npt.NDArray[np.float32]:
        """Pixels that patches may contain, of shape (C, N)."""
        if self.allowed is None:
            return self.pixels.reshape(len(self.pixels), -1)
        return self.pixels[:, self.allowed]

    def normalised(self, intensity: IntensityRange) -> TrainingArea:
        """Return the area with its intensities normalised."""
        return TrainingArea(intensity.normalise(self.pixels, "a training image"), self.allowed)

    def cut(self, axis: int, start: int, stop: int) -> TrainingArea:
        """Return the part between two rows (axis 0) or columns (axis 1)."""
        part = (slice(start, stop), slice(None)) if axis == 0 else (slice(None), slice(start, stop))
        return TrainingArea(
            self.pixels[(slice(None), *part)], None if self.allowed is None else self.allowed[part]
        )

    def mirrored(self, margin: int) -> TrainingArea:
        """Return a larger copy that goes on beyond its border as its mirror image."""
        border = (margin, margin)
        return TrainingArea(
            np.pad(self.pixels, ((0, 0), border, border), mode="symmetric"),
            None if self.allowed is None else np.pad(self.allowed, margin, mode="symmetric"),
        )


def split(
    areas: Sequence[TrainingArea], fraction: float, patch_size: int
) -> tuple[list[TrainingArea], list[TrainingArea]]:
    """Hold out part of the training areas.

    Whole areas are held out if there are five or more with room for a patch; else a band across
    the longer side of each area that is long enough for patches in either part.

    Parameters
    ----------
    areas
        Training areas.
    fraction
        Fraction to hold out, in [0, 1).
    patch_size
        Side of the patches, in pixels.

    Returns
    -------
    training, held_out
        The second is empty if ``fraction`` is 0 or nothing can be spared. A band keeps its
        surroundings, but no pixel of them is allowed.
    """
    if not fraction:
        return list(areas), []
    roomy = [index for index, area in enumerate(areas) if _corners(area, patch_size).any()]
    if len(roomy) >= 5:
        count = max(1, round(fraction * len(roomy)))
        spread = np.linspace(0, len(roomy) - 1, count + 2).round().astype(int)[1:-1]
        chosen = {roomy[index] for index in spread}
        return (
            [area for index, area in enumerate(areas) if index not in chosen],
            [area for index, area in enumerate(areas) if index in chosen],
        )
    training, held_out = [], []
    for area in areas:
        sides = area.pixels.shape[1:]
        axis = int(np.argmax(sides))
        band = max(patch_size, round(fraction * sides[axis]))
        rest = sides[axis] - band
        if rest < 2 * patch_size:
            training.append(area)
            continue
        allowed = np.ones(sides, dtype=bool) if area.allowed is None else area.allowed.copy()
        (allowed if axis == 0 else allowed.T)[:rest] = False
        parts = area.cut(axis, 0, rest), TrainingArea(area.pixels, allowed)
        if all(_corners(part, patch_size).any() for part in parts):
            training.append(parts[0])
            held_out.append(parts[1])
        else:
            training.append(area)
    return training, held_out


def training_side(areas: Sequence[TrainingArea], config: TrainingConfig) -> int:
    """Return the side of the squares to train on, in pixels.

    Twice the patch size for a discriminator, which needs surroundings, if all areas with room for
    a patch have room for that; else the patch size.
    """
    larger = 2 * config.patch_size
    if config.discriminator and all(
        _corners(area, larger).any() for area in areas if _corners(area, config.patch_size).any()
    ):
        return larger
    return config.patch_size


class PatchSource:
    """Draws patches from training areas, each possible position with the same probability.

    Pixels that are not allowed are never looked at: where a turned or scaled patch could touch
    one, it is neither turned nor scaled.

    Parameters
    ----------
    areas
        Where patches come from. Areas that hold no patch are passed over.
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
        # Rotated or enlarged patches look at a larger square of the image.
        angle = np.deg2rad(augmentation.rotation)
        self._warps = augmentation.rotation > 0 or augmentation.scale > 0
        reach = (1 + augmentation.scale) * (np.cos(angle) + np.sin(angle))
        self._margin = int(np.ceil(patch_size * (reach - 1) / 2)) + 1 if self._warps else 0
        planes: list[torch.Tensor] = []
        self._corners: list[npt.NDArray[np.int64]] = []
        self._free: list[npt.NDArray[np.bool_]] = []  # where patches may be turned and scaled
        for area in areas:
            corners = np.flatnonzero(_corners(area, patch_size))
            if len(corners):
                larger = area.mirrored(self._margin)
                planes.append(torch.as_tensor(larger.pixels))
                self._corners.append(corners)
                self._free.append(_corners(larger, patch_size + 2 * self._margin))
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


def tiles(patches: torch.Tensor, side: int) -> torch.Tensor:
    """Cut patches (N, C, S, S) into tiles (N', C, side, side), row by row."""
    count, channels, size, _ = patches.shape
    across = size // side
    grid = patches.reshape(count, channels, across, side, across, side)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, side, side)


def _on_device(planes: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Move planes to a device, all of them or, where they do not fit, none."""
    try:
        return [plane.to(device) for plane in planes]
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    release_memory(device)
    return planes


def _corners(area: TrainingArea, size: int) -> npt.NDArray[np.bool_]:
    """Upper left corners (H - P + 1, W - P + 1) of the patches that lie in the area."""
    height, width = area.pixels.shape[1:]
    rows, columns = max(0, height - size + 1), max(0, width - size + 1)
    if area.allowed is None or not rows or not columns:
        return np.ones((rows, columns), dtype=bool)
    sums = np.pad(area.allowed.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return np.asarray(inside == size * size)
