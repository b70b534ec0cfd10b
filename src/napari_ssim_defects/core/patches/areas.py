"""Training images, read and checked: the areas that patches come from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..common.array_checks import truth_array
from ..common.errors import InputError
from ..config import TrainingConfig
from ..images.planes import ImageLike, Planes, as_planes
from ..images.tiles import Box, tile_side, tiles
from .sampler import TrainingArea

__all__ = [
    "fingerprint",
    "read_areas",
    "refuse_single_patches",
    "spread_over",
    "training_planes",
]

_SAMPLED_PIXELS = 2**26
_PATCHES_PER_SIDE = 4
_SINGLE_PIXEL = 16  # pixels: side of patches that are encoded as one pixel


def training_planes(
    images: Sequence[ImageLike], channel_axis: int | None, names: Sequence[str] | None
) -> list[Planes]:
    """See images as planes of the same channels; nothing is read yet.

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
    _check_number(names, len(images), "name")
    planes = [
        as_planes(image, channel_axis, name=name) for image, name in zip(images, names, strict=True)
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
    _check_number(masks, len(stacks), "mask")
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
    """Return a text that tells these areas, in this order, from all others.

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
    """Return areas with good pixels, evenly spread, of about so many pixels in all."""
    areas = [area for area in areas if area.allowed is None or area.allowed.any()]
    total = sum(area.pixels[0].size for area in areas)
    if total <= pixels:
        return list(areas)
    wanted = max(1, int(len(areas) * pixels / total))
    return [areas[i] for i in np.linspace(0, len(areas) - 1, wanted).round().astype(int)]


def refuse_single_patches(config: TrainingConfig, side: int) -> None:
    """Refuse batches that cannot be normalised, as all that is known of them is one pixel.

    Parameters
    ----------
    config
        The recipe.
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


def _check_number(given: Sequence[Any], images: int, what: str) -> None:
    if len(given) != images:
        raise InputError(
            f"There {'is' if images == 1 else 'are'} {images} image{'s' * (images != 1)} but "
            f"{len(given)} {what}{'s' * (len(given) != 1)}; give one {what} per image."
        )
