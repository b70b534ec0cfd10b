"""Training images, read and checked: the areas that patches come from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .patches import TrainingArea
from .planes import ImageLike, Planes, as_planes

__all__ = ["fingerprint", "read_areas", "spread_over", "training_planes"]


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
    stacks: Sequence[Planes], masks: Sequence[npt.NDArray[np.bool_] | None] | None
) -> list[TrainingArea]:
    """Read every plane, with the part of it that may be trained on.

    Parameters
    ----------
    stacks
        The images.
    masks
        Per image, the pixels that may be trained on, bool of shape (H, W) or (..., H, W);
        None: all.

    Raises
    ------
    InputError
        If an image has NaN pixels, or a mask another shape, or there are more or fewer masks
        than images.
    """
    if masks is None:
        masks = [None] * len(stacks)
    _check_number(masks, len(stacks), "mask")
    areas = []
    for stack, mask in zip(stacks, masks, strict=True):
        allowed = None
        if mask is not None:
            try:
                allowed = np.broadcast_to(np.asarray(mask, dtype=bool), stack.shape)
            except ValueError:
                raise InputError(
                    f"The mask of {stack.name} has shape {np.shape(mask)}, which does not fit "
                    f"its planes of {stack.height} x {stack.width} pixels."
                ) from None
            allowed = allowed.reshape(len(stack), stack.height, stack.width)
        for index, plane in enumerate(stack):
            areas.append(TrainingArea(plane, None if allowed is None else allowed[index]))
    return areas


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


def _check_number(given: Sequence[Any], images: int, what: str) -> None:
    if len(given) != images:
        raise InputError(
            f"There {'is' if images == 1 else 'are'} {images} image{'s' * (images != 1)} but "
            f"{len(given)} {what}{'s' * (len(given) != 1)}; give one {what} per image."
        )
