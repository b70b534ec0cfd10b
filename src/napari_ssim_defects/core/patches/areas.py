"""Defect-free areas of the training images: read, checked, and divided for validation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..common.array_checks import truth_array
from ..common.errors import InputError, counted
from ..config import TrainingConfig
from ..images.intensity import IntensityRange
from ..images.planes import ImageLike, Planes, as_planes
from ..images.tiles import Box, tile_side, tiles

__all__ = [
    "TrainingArea",
    "corners_of",
    "fingerprint",
    "read_areas",
    "refuse_other_number",
    "refuse_single_patches",
    "split",
    "spread_over",
    "training_planes",
    "training_side",
]

_SAMPLED_PIXELS = 2**26
_PATCHES_PER_SIDE = 4
_SINGLE_PIXEL = 16  # pixels: side of patches that are encoded as one pixel


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
        """Return a larger copy, padded by mirroring."""
        border = (margin, margin)
        return TrainingArea(
            np.pad(self.pixels, ((0, 0), border, border), mode="symmetric"),
            None if self.allowed is None else np.pad(self.allowed, margin, mode="symmetric"),
        )


def training_planes(
    images: Sequence[ImageLike], channel_axis: int | None, names: Sequence[str] | None
) -> list[Planes]:
    """Give access to images as planes with the same channels; nothing is read yet.

    Raises
    ------
    InputError
        If there are none, one cannot be used, their channels differ, or there are more or fewer
        names than images.
    """
    if len(images) == 0:
        raise InputError("There is no training image; choose at least one without defects.")
    if names is None:
        names = [f"training image {number}" for number in range(1, len(images) + 1)]
    refuse_other_number(names, len(images), "name")
    planes = [
        image if isinstance(image, Planes) else as_planes(image, channel_axis, name=name)
        for image, name in zip(images, names, strict=True)
    ]
    for other in planes[1:]:
        if other.channels != planes[0].channels:
            raise InputError(
                f"Training images must have the same channels, but {planes[0].name} has "
                f"{planes[0].channels} and {other.name} has {other.channels}; choose images "
                "of one kind."
            )
    return planes


def read_areas(
    stacks: Sequence[Planes],
    masks: Sequence[npt.NDArray[np.bool_] | None] | None,
    patch_size: int = 1,
) -> list[TrainingArea]:
    """Read planes, with the part of them that may be trained on.

    Of images that are not in memory, such as zarr, dask and memory-mapped arrays, a sample is read
    if they are large: squares at random places, always the same ones, of 67 million pixels in all.

    Parameters
    ----------
    stacks
        The images.
    masks
        Per image, the pixels that may be trained on, bool of shape (H, W) or (..., H, W);
        None: all.
    patch_size
        Side of the patches, in pixels; the squares have room for many.

    Raises
    ------
    InputError
        If an image has NaN pixels, or a mask another shape or no truth values, or there are more
        or fewer masks than images.
    """
    if masks is None:
        masks = [None] * len(stacks)
    refuse_other_number(masks, len(stacks), "mask")
    areas = []
    outside = sum(math.prod(stack.shape) for stack in stacks if not _in_memory(stack))
    for stack, mask in zip(stacks, masks, strict=True):
        allowed = None
        if mask is not None:
            allowed = truth_array(mask, f"mask of {stack.name}")
            try:
                allowed = np.broadcast_to(allowed, stack.shape)
            except ValueError:
                raise InputError(
                    f"The mask of {stack.name} has shape {np.shape(mask)}, which does not fit "
                    f"its planes of {stack.height} x {stack.width} pixels."
                ) from None
            allowed = allowed.reshape(len(stack), stack.height, stack.width)
        for index, box in _boxes(stack, allowed, patch_size, outside):
            part = None if allowed is None else allowed[index][box.slices]
            areas.append(TrainingArea(stack.read(index, *box.slices), part))
    return areas


def _boxes(
    stack: Planes, allowed: npt.NDArray[np.bool_] | None, patch_size: int, outside: int
) -> list[tuple[int, Box]]:
    """Return what is read of a stack, given the pixels of all that are not in memory."""
    shape = stack.height, stack.width
    if _in_memory(stack) or outside <= _SAMPLED_PIXELS:
        return [(index, Box(0, 0, *shape)) for index in range(len(stack))]
    side = tile_side(_PATCHES_PER_SIDE * patch_size)
    squares = [
        (index, box) for index in range(len(stack)) for row in tiles(shape, side) for box in row
        if allowed is None or allowed[index][box.slices].any()
    ]  # fmt: skip
    share = _SAMPLED_PIXELS * math.prod(stack.shape) / outside
    count = max(1, round(share / np.mean([math.prod(box.shape) for _, box in squares] or [1])))
    if count >= len(squares):
        return squares
    chosen = np.random.default_rng(0).choice(len(squares), count, replace=False)
    return [squares[place] for place in sorted(chosen)]


def _in_memory(stack: Planes) -> bool:
    return isinstance(stack.image, np.ndarray) and not isinstance(stack.image, np.memmap)


def fingerprint(areas: Sequence[TrainingArea]) -> str:
    """Return a fingerprint of these areas in this order.

    Examples
    --------
    >>> area = TrainingArea(np.zeros((1, 4, 4), np.float32))
    >>> fingerprint([area]) == fingerprint([area, area])
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for area in areas:
        digest.update(str(area.pixels.shape).encode())
        digest.update(np.ascontiguousarray(area.pixels).data)
        if area.allowed is not None:
            digest.update(np.packbits(area.allowed).data)
    return digest.hexdigest()


def spread_over(areas: Sequence[TrainingArea], pixels: int) -> list[TrainingArea]:
    """Return evenly spread areas with good pixels, about so many pixels in all."""
    areas = [area for area in areas if area.allowed is None or area.allowed.any()]
    total = sum(area.pixels[0].size for area in areas)
    if total <= pixels:
        return list(areas)
    wanted = max(1, int(len(areas) * pixels / total))
    return [areas[i] for i in np.linspace(0, len(areas) - 1, wanted).round().astype(int)]


def refuse_single_patches(config: TrainingConfig, side: int) -> None:
    """Refuse settings whose batches have a single value per channel, so that they cannot be
    normalised.

    Parameters
    ----------
    config
        The config.
    side
        Side of the squares that are trained on, in pixels.

    Raises
    ------
    InputError
        If a batch could be of one patch, and its encoding of one pixel.
    """
    size, patches = config.batch_size, config.patches
    # Batches are of nearly equal size: pairs of an odd number leave one, threes never do.
    single = min(size, patches) == 1 or (size == 2 and patches % 2)
    if config.batch_norm and side == _SINGLE_PIXEL and single:
        raise InputError(
            f"Batch normalisation needs more than one patch of {side} pixels at a time; choose "
            "larger batches or patches, or batch_norm=False."
        )


def refuse_other_number(given: Sequence[Any], images: int, what: str) -> None:
    """Refuse more or fewer masks, say, than there are images."""
    if len(given) != images:
        raise InputError(
            f"There {'is' if images == 1 else 'are'} {counted(images, 'image')} but "
            f"{counted(len(given), what)}; give one {what} per image."
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
    roomy = [index for index, area in enumerate(areas) if corners_of(area, patch_size).any()]
    if len(roomy) >= 5:
        # Spread over the images, whose order is often that in which they were taken.
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
        if all(corners_of(part, patch_size).any() for part in parts):
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
    fitting = [area for area in areas if corners_of(area, config.patch_size).any()]
    if config.discriminator and fitting and all(corners_of(area, larger).any() for area in fitting):
        return larger
    return config.patch_size


def corners_of(area: TrainingArea, size: int) -> npt.NDArray[np.bool_]:
    """Upper left corners (H - P + 1, W - P + 1) of the patches that lie in the area."""
    height, width = area.pixels.shape[1:]
    rows, columns = max(0, height - size + 1), max(0, width - size + 1)
    if area.allowed is None or not rows or not columns:
        return np.ones((rows, columns), dtype=bool)
    sums = np.pad(area.allowed.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return np.asarray(inside == size * size)
