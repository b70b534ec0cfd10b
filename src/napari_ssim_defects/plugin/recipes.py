"""The job of the panel written down, after making sure that files alone can repeat it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..core.errors import InputError
from ..core.outputs import OutputConfig
from .exporting import Exportable
from .jobs import Fraction

if TYPE_CHECKING:
    from ..core.model import DefectModel
    from ..io.images import ImageFile
    from ..io.recipe import DetectionRecipe
    from ..io.spatial import SpatialMetadata

__all__ = ["RecipeReady", "writing_down"]

_Value = TypeVar("_Value")
_PixelSize = tuple[tuple[float, ...], str]
_SAVE_LAYER = (
    "save the layer as .ome.tif (File, Save Selected Layers), open that file and detect it"
)


@dataclass(frozen=True, slots=True)
class RecipeReady:
    """What was exported can be repeated by this."""

    recipe: DetectionRecipe


def writing_down(
    items: Sequence[Exportable],
    model: DefectModel | None,
    model_path: Path | None,
    folder: Path,
    outputs: OutputConfig,
    device: str,
) -> Generator[Fraction | RecipeReady, None, None]:
    """Find the recipe that writes the same files as an export of these items.

    Parameters
    ----------
    items
        What is exported.
    model, model_path
        The current model and its file, if there are any.
    folder, outputs
        Where to, and which files.
    device
        Where the network runs.

    Raises
    ------
    InputError
        If there is no such recipe: something has no file, differs from it, was done by hand or
        differs between the images. The sentence says what to do.
    """
    from ..io.recipe import DetectionRecipe

    paths = _image_paths(items)
    if model is None or model_path is None:
        raise InputError("Save the model first (Detect, Save …): a recipe needs its file.")
    _refuse_changed(model, model_path)
    for item in items:
        if item.origin.get("model_created", "") != model.provenance.get("created", ""):
            raise InputError(f"'{item.name}' was detected with another model; detect it again.")
    if outputs.kinds != ("residual",):
        for item in items:
            if item.painted:
                raise InputError(
                    f"The labels of '{item.name}' were painted by hand, which no recipe repeats; "
                    "create them again, or export the residual only."
                )
    stride = _common([int(item.origin["stride"]) for item in items], "strides; detect them again")
    threshold = _common([item.threshold for item in items], "thresholds; copy one at a time")
    segmentation = _common(
        [item.segmentation for item in items], "settings of their labels; create them again"
    )
    review = segmentation.review_threshold
    if review is not None and review >= threshold:  # it is left aside, and a command refuses it
        segmentation = segmentation.replace(review_threshold=None)
    sizes = []
    for number, (item, path) in enumerate(zip(items, paths, strict=True)):
        sizes.append(_pixel_size(item, path))
        yield Fraction((number + 1) / len(items))
    size = _common(sizes, "pixel sizes in napari, unlike in their files; copy one at a time")
    pixel_size, unit = size or (None, None)
    yield RecipeReady(
        DetectionRecipe(
            model=model_path.absolute(),
            images=tuple(paths),
            folder=folder.absolute(),
            threshold=threshold,
            segmentation=segmentation,
            outputs=outputs,
            residual=model.config.residual.kind,
            stride=stride,
            device=device,
            pixel_size=pixel_size,
            unit=unit,
        )
    )


def _image_paths(items: Sequence[Exportable]) -> list[Path]:
    paths: list[Path] = []
    for item in items:
        if item.source is None:
            raise InputError(f"The image '{item.name}' is gone; open its file and detect it again.")
        if item.path is None:
            raise InputError(f"'{item.name}' has no file; {_SAVE_LAYER}.")
        path = item.path.absolute()
        if path in paths:
            raise InputError(f"'{path}' is behind two layers; {_SAVE_LAYER}.")
        paths.append(path)
    return paths


def _refuse_changed(model: DefectModel, path: Path) -> None:
    """Refuse a model file that holds another model, or compares by something else."""
    from ..core.model import DefectModel

    kind = model.config.residual.kind
    saved = DefectModel.load(path)
    if saved.provenance.get("created", "") != model.provenance.get("created", "") or (
        saved.with_residual(kind).config.residual != model.config.residual
    ):
        raise InputError(f"'{path}' holds another model by now; save the current one again.")


def _pixel_size(item: Exportable, path: Path) -> _PixelSize | None:
    """Return what a recipe has to say about the pixel size; None: the file says it.

    Raises
    ------
    InputError
        If the layer's pixels are not those of the file, or no pixel size makes up the difference.
    """
    from ..io.images import find_images, read_image

    file = read_image(find_images([path])[0])
    if not _same_pixels(item, file):
        raise InputError(f"'{item.name}' differs from its file '{path}'; {_SAVE_LAYER}.")
    wanted, known = item.spatial, file.spatial.without_channels()
    if _distances(wanted) == _distances(known):
        return None
    if len({*wanted.units}) == 1:
        size = wanted.scale, wanted.units[0] or "pixel"
        if _distances(known.with_pixel_size(*size)) == _distances(wanted):
            return size
    raise InputError(f"'{item.name}' has another scale than its file '{path}'; {_SAVE_LAYER}.")


def _same_pixels(item: Exportable, file: ImageFile) -> bool:
    assert item.source is not None
    pixels = item.source.image
    if item.source.rgb:
        pixels = pixels[..., :3]  # files are read without opacity
    return pixels.shape == file.data.shape and np.array_equal(np.asarray(pixels), file.data)


def _distances(spatial: SpatialMetadata) -> list[tuple[float, str] | None]:
    """Return what TIFF stores about the distances along the axes."""
    return [
        None if unit is None else (float(f"{size:.9g}"), unit)
        for size, unit in zip(spatial.scale, spatial.units, strict=True)
    ]


def _common(values: Sequence[_Value], what: str) -> _Value:
    first, *others = values
    if any(other != first for other in others):
        raise InputError(f"The chosen heatmaps have different {what}.")
    return first
