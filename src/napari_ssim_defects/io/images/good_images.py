"""Opens defect-free image files for a training, and refuses those that do not fit together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.common.errors import InputError
from ...core.config.region import RegionOfInterest
from ...core.images.planes import as_planes, bit_depth
from ..readers.raster import has_palette
from .checks import as_grey, data_bar_notice, is_grey
from .image_file import (
    ImageFile,
    find_images,
    inspected_area,
    located,
    match_masks,
    open_image,
    read_mask,
    unread_notice,
)

if TYPE_CHECKING:
    from ...core.model.defect_model import DefectModel

__all__ = ["GoodImages", "good_images"]


@dataclass(frozen=True, slots=True)
class GoodImages:
    """Defect-free images that were opened, as `train` takes them.

    Attributes
    ----------
    pixels
        The images; where a region of interest limits them, `Planes` of the box around it.
    masks
        Where each of them is free of defects, of the shape of its pixels; None: everywhere.
    channel_axis
        Of all of them.
    names
        What error messages call them.
    notices
        Sentences about them that a person should read.
    """

    pixels: list[Any]
    masks: list[npt.NDArray[np.bool_]] | None
    channel_axis: int | None
    names: list[str]
    notices: list[str] = field(default_factory=list)


def good_images(
    inputs: Iterable[str | Path],
    masks: Path | None = None,
    model: DefectModel | None = None,
    roi: RegionOfInterest | None = None,
) -> GoodImages:
    """Open the defect-free images that files, folders and patterns mean, and their masks.

    Parameters
    ----------
    inputs
        As for `find_images`.
    masks
        Folder with a mask for each of them (see `match_masks`).
    model
        A model that was trained before, which the images have to fit; None: they train one.
    roi
        What of all of them counts; None: all that the masks leave.

    Raises
    ------
    InputError
        If one cannot be read or is of another kind than the others.
    """
    inputs = [*inputs]
    images = [open_image(path) for path in find_images(inputs)]
    unread = unread_notice(inputs)
    notices = [unread] if unread else []
    images, grey = _grey_if_all_are(images, model)
    if grey:
        which = f"'{grey[0].path}' has" if len(grey) == 1 else f"{len(grey)} images have"
        notices.append(f"{which} three equal channels; they are read as grey.")
    _refuse_other_kinds(images)
    axis = images[0].channel_axis
    matched = None
    if masks is not None:
        files = match_masks([image.path for image in images], masks)
        matched = [
            read_mask(file, _without_axis(image.data.shape, image.channel_axis))
            for file, image in zip(files, images, strict=True)
        ]
    names = [f"'{image.path}'" for image in images]
    planes = [
        as_planes(image.data, axis, grey=axis is None, name=name)
        for image, name in zip(images, names, strict=True)
    ]
    if roi is not None:
        region = located(roi)
        parts = [inspected_area(region, stack.shape, stack.name) for stack in planes]
        areas = [area for area in parts if area is not None]
        wanted = [area.mask() for area in areas]
        if matched is not None:
            wanted = [inside & mask for inside, mask in zip(wanted, matched, strict=True)]
        # What is left out has no part in anything that is measured either.
        planes = [stack.cut(area.box) for stack, area in zip(planes, areas, strict=True)]
        matched = [mask[..., *area.box.slices] for mask, area in zip(wanted, areas, strict=True)]
    if roi is None and masks is None:
        bar = data_bar_notice(planes)
        notices += [bar] if bar else []
    if model is not None and planes[0].channels == model.channels:
        found = map(model.intensity_notice, planes)
        notices += [notice for notice in found if notice is not None]
    pixels = [image.data for image in images] if roi is None else planes
    return GoodImages([*pixels], matched, axis, names, notices)


def _grey_if_all_are(
    images: list[ImageFile], model: DefectModel | None
) -> tuple[list[ImageFile], list[ImageFile]]:
    """Read grey that was saved as RGB as grey, if all images are grey then; return those too."""
    coloured = [image for image in images if image.channel_axis is not None]
    wanted = model is None or model.channels == 1
    if not wanted or not all(map(is_grey, coloured)):
        return images, []
    return [image if image.channel_axis is None else as_grey(image) for image in images], coloured


def _refuse_other_kinds(images: Sequence[ImageFile]) -> None:
    """Refuse images that have other channels, or another bit depth, than most of the others."""
    for kind_of, advice in (
        (_channels, "train on images of one kind"),
        (_depth, "save it in the bit depth of the others"),
    ):
        kinds = [kind_of(image) for image in images]
        usual = max(kinds, key=kinds.count)
        for image, kind in zip(images, kinds, strict=True):
            if kind != usual:
                other = images[kinds.index(usual)]
                raise InputError(
                    f"'{image.path}' is {_shown(image, kind)}, and '{other.path}' "
                    f"{_shown(other, usual)}; {advice}."
                )


def _shown(image: ImageFile, kind: str) -> str:
    """Call what a palette makes RGB what its file is."""
    return "a palette image" if kind == "RGB" and has_palette(image.path) else kind


def _channels(image: ImageFile) -> str:
    axis = image.channel_axis
    if axis is None:
        return "grey"
    count = image.data.shape[axis]
    return "RGB" if axis == -1 and count == 3 else f"an image of {count} channels (axis {axis})"


def _depth(image: ImageFile) -> str:
    return bit_depth(image.data.dtype)


def _without_axis(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    return shape if axis is None else (*shape[:axis], *shape[axis % len(shape) + 1 :])
