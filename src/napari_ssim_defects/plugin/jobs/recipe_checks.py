"""The job of the panel written down, after making sure that files alone can repeat it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ...core.common.errors import InputError
from ...core.config import OutputConfig
from .export_job import Exportable
from .jobs import Fraction

if TYPE_CHECKING:
    from ...core.config.region import RegionOfInterest
    from ...core.images.inspected_area import InspectedArea
    from ...core.model.defect_model import DefectModel
    from ...io.artifacts.recipe import DetectionRecipe
    from ...io.files.spatial import SpatialMetadata
    from ...io.images.image_file import ImageFile
    from ..layers import Source

__all__ = [
    "FileImage",
    "RecipeReady",
    "common_pixel_size",
    "common_region",
    "detection_recipe",
    "image_paths",
    "make_recipe",
    "refuse_changed",
    "same_file",
]

_Value = TypeVar("_Value")
_PixelSize = tuple[tuple[float, ...], str]
_SAVE_LAYER = (
    "save the layer as .ome.tif (File, Save Selected Layers), open that file and detect it"
)


@dataclass(frozen=True, slots=True)
class RecipeReady:
    """What was exported can be repeated by this, with the model of a file."""

    model: Path
    recipe: DetectionRecipe


@dataclass(frozen=True, slots=True, eq=False)
class FileImage:
    """An image, the file that it came from, and its axes, distances and units, if that is known."""

    name: str
    source: Source | None
    path: Path | None
    spatial: SpatialMetadata | None


def make_recipe(
    items: Sequence[Exportable],
    model: DefectModel | None,
    model_path: Path | None,
    folder: Path,
    outputs: OutputConfig,
    device: str,
) -> Generator[Fraction | RecipeReady, None, None]:
    """Find the recipe that writes the same files as an export of these items.

    Raises
    ------
    InputError
        If there is no such recipe: something has no file, differs from it, was done by hand or
        differs between the images. The sentence says what to do.
    """
    paths = image_paths(items)
    if model is None or model_path is None:
        raise InputError("Save the model first (Detect, Save …): a recipe needs its file.")
    refuse_changed(model, model_path)
    recipe = yield from detection_recipe(items, paths, model, folder, outputs, device)
    yield RecipeReady(model_path.absolute(), recipe)


def detection_recipe(
    items: Sequence[Exportable],
    paths: Sequence[Path],
    model: DefectModel,
    folder: Path,
    outputs: OutputConfig,
    device: str,
    mask: Path | None = None,
) -> Generator[Fraction, None, DetectionRecipe]:
    """Find what an export of items of these files does with a model; as `make_recipe`."""
    from ...core.model.thresholds import FixedThreshold
    from ...io.artifacts.recipe import DetectionRecipe

    for item in items:
        if item.origin.get("model_created", "") != model.provenance.get("created", ""):
            raise InputError(f"'{item.name}' was detected with another model; detect it again.")
    if outputs.kinds != ("residual",):
        for item in items:
            if item.painted:
                raise InputError(
                    f"The labels of '{item.name}' were painted by hand, which a recipe cannot "
                    "repeat; create them again, or export the residual only."
                )
            if any(mark.verdict == "good" for mark in item.marks):
                raise InputError(
                    f"Regions of '{item.name}' are marked good, which a recipe cannot exclude; "
                    "remove the marks, or export the residual only."
                )
    stride = _common([int(item.origin["stride"]) for item in items], "strides; detect them again")
    threshold = _common([item.threshold for item in items], "thresholds; choose one at a time")
    segmentation = _common(
        [item.segmentation for item in items], "settings of their labels; create them again"
    )
    # A command refuses what the panel leaves aside.
    segmentation = segmentation.usable_at(threshold)
    size = yield from common_pixel_size(items, paths)
    return DetectionRecipe(
        images=tuple(paths),
        folder=folder.absolute(),
        threshold=FixedThreshold(value=threshold),
        segmentation=segmentation,
        outputs=outputs,
        residual=model.config.residual.kind,
        stride=stride,
        roi=common_region([item.origin.get("area") for item in items], mask),
        device=device,
        **size,
    )


def common_region(
    areas: Sequence[InspectedArea | None], mask: Path | None = None
) -> RegionOfInterest | None:
    """Return what of all images is inspected, as a recipe says it.

    Parameters
    ----------
    areas
        That of each image; None: all of it.
    mask
        A file to write it to where it is no rectangle; None: that is refused.

    Raises
    ------
    InputError
        If the images have different regions, or it would have to be written.
    """
    from ...core.config.region import BoxRegion, MaskRegion
    from ...io.writers.ome_tiff import write_ome_tiff

    if all(area is None for area in areas):
        return None
    first, *others = areas
    if first is None or not all(first.equals(other) for other in others):
        raise InputError("The chosen images have different regions; choose one at a time.")
    box = first.box
    if first.inside is None:
        return BoxRegion(rows=(box.top, box.bottom), columns=(box.left, box.right))
    if mask is None or first.inside.ndim > 2:
        raise InputError(
            "The region of the chosen images is not one rectangle for all planes; draw one, or "
            "save a recipe, which stores a mask of one plane."
        )
    write_ome_tiff(mask, first.mask())
    return MaskRegion(path=mask)


def common_pixel_size(
    items: Sequence[Exportable | FileImage], paths: Sequence[Path]
) -> Generator[Fraction, None, dict[str, Any]]:
    """Compare images with their files, and return what a recipe has to say about pixel sizes.

    Raises
    ------
    InputError
        If an image differs from its file, or there is no pixel size for all.
    """
    sizes = []
    for number, (item, path) in enumerate(zip(items, paths, strict=True)):
        assert item.source is not None
        file = same_file(item.name, item.source, path)
        sizes.append(_pixel_size(item, file))
        yield Fraction((number + 1) / len(items))
    size = _common(sizes, "pixel sizes in napari, unlike in their files; choose one at a time")
    return {} if size is None else {"pixel_size": size[0], "unit": size[1]}


def image_paths(items: Sequence[Exportable | FileImage]) -> list[Path]:
    """Return the files of images, each of which is there once.

    Raises
    ------
    InputError
        If one has no file, or two have the same one.
    """
    paths: list[Path] = []
    for item in items:
        if item.source is None:
            raise InputError(f"The image '{item.name}' is gone; open its file and detect it again.")
        if item.path is None:
            raise InputError(f"'{item.name}' has no file; {_SAVE_LAYER}.")
        path = item.path.absolute()
        if path in paths:
            raise InputError(f"'{path}' is the file of two layers; {_SAVE_LAYER}.")
        paths.append(path)
    return paths


def refuse_changed(model: DefectModel, path: Path) -> None:
    """Refuse a model file of another model, or with another residual or other corrections."""
    from ...core.model.defect_model import DefectModel

    kind = model.config.residual.kind
    saved = DefectModel.load(path).with_residual(kind)
    if saved.provenance.get("created", "") != model.provenance.get("created", "") or (
        (saved.config.residual, saved.corrections) != (model.config.residual, model.corrections)
    ):
        raise InputError(f"'{path}' now holds another model; save the current one again.")


def same_file(name: str, source: Source, path: Path) -> ImageFile:
    """Read the file of an image.

    Raises
    ------
    InputError
        If it cannot be read, or the image's pixels are not those of the file.
    """
    from ...io.images.image_file import find_images, read_image

    file = read_image(find_images([path])[0])
    pixels = source.image
    if source.rgb:
        pixels = pixels[..., :3]  # files are read without opacity
    if pixels.shape != file.data.shape or not np.array_equal(np.asarray(pixels), file.data):
        raise InputError(f"'{name}' differs from its file '{path}'; {_SAVE_LAYER}.")
    return file


def _pixel_size(item: Exportable | FileImage, file: ImageFile) -> _PixelSize | None:
    """Return what a recipe has to say about the pixel size; None: the file says it.

    Raises
    ------
    InputError
        If no pixel size makes up the difference.
    """
    wanted, known = item.spatial, file.spatial.without_channels()
    assert wanted is not None
    if _distances(wanted) == _distances(known):
        return None
    if len({*wanted.units}) == 1:
        size = wanted.scale, wanted.units[0] or "pixel"
        if _distances(known.with_pixel_size(*size)) == _distances(wanted):
            return size
    raise InputError(f"'{item.name}' has another scale than its file '{file.path}'; {_SAVE_LAYER}.")


def _distances(spatial: SpatialMetadata) -> list[tuple[float, str] | None]:
    """Return what TIFF stores about the distances along the axes."""
    return [
        None if unit is None else (float(f"{size:.9g}"), unit)
        for size, unit in zip(spatial.scale, spatial.units, strict=True)
    ]


def _common(values: Sequence[_Value], what: str) -> _Value:
    first, *others = values
    if any(other != first for other in others):
        raise InputError(f"The chosen images have different {what}.")
    return first
