"""Background jobs that write the settings of the panel to a recipe, and read one."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...core.common.errors import InputError
from ...core.config import OutputConfig, SegmentationConfig, TrainingConfig
from .jobs import Done, Fraction
from .recipe_checks import (
    FileImage,
    common_pixel_size,
    common_region,
    detection_recipe,
    image_paths,
    refuse_changed,
    same_file,
)
from .torch_loading import load_torch
from .training_job import TrainingImage

if TYPE_CHECKING:
    from ...core.images.inspected_area import InspectedArea
    from ...core.model.defect_model import DefectModel
    from ...io.artifacts.recipe import DetectionRecipe, Recipe, TrainingRecipe
    from .export_job import Exportable

__all__ = [
    "PanelJob",
    "RecipeOpened",
    "fitted",
    "opening_recipe",
    "saving_recipe",
]


@dataclass(frozen=True, slots=True, eq=False)
class PanelJob:
    """What the panel is set to do.

    Attributes
    ----------
    training, training_paths
        Images to train on, and the files that they came from.
    config
        The settings of the training.
    items
        Heatmaps to export.
    planned, planned_masks
        Images to inspect, which count where there are no heatmaps, and what limits each of them;
        None: all of it is inspected.
    stride, segmentation, outputs, folder
        How they are inspected, what is outlined and written, and where to.
    model, model_path
        The current model and its file, if there are any.
    device, alexnet
        Where networks run; file with AlexNet's weights.
    opened
        The recipe that was opened, if there is one: it has settings that the panel does not show.
    """

    training: Sequence[TrainingImage]
    training_paths: Sequence[Path | None]
    config: TrainingConfig
    items: Sequence[Exportable]
    planned: Sequence[FileImage]
    planned_masks: Sequence[npt.NDArray[np.bool_] | None]
    stride: int | None
    segmentation: SegmentationConfig
    outputs: OutputConfig
    folder: Path
    model: DefectModel | None
    model_path: Path | None
    device: str
    alexnet: Path | None
    opened: Recipe | None


def saving_recipe(path: Path, job: PanelJob) -> Generator[Fraction | Done, None, None]:
    """Write down what the panel is set to do, after making sure that files alone can repeat it.

    Parameters
    ----------
    path
        The recipe. The model is beside it unless it has a file, and so are masks of a region.
    job
        What to write.

    Raises
    ------
    InputError
        If there is no such recipe: nothing is chosen, something has no file or differs from it, or
        the model came from elsewhere. The sentence says what to do.
    """
    load_torch()
    from ...io.artifacts.recipe import Recipe, write_recipe
    from ...io.files.atomic import ensure_folder

    if not (job.training or job.items or job.planned):
        raise InputError("Choose images in Train or in Detect for the recipe.")
    detection = yield from _detection(job, path)
    repeatable = _made_model(job)
    training = (yield from _training(job, path)) if job.training else None
    if training is not None and repeatable:
        assert job.model is not None
        training = training.replace(auto_threshold=job.model.threshold)
    note = ""
    if detection is not None and job.model is not None and not repeatable:
        if job.model_path is None:
            raise InputError(
                "The model was trained with other images or settings than those chosen in Train; "
                "save it first (Detect, Save …), or choose them again."
            )
        if training is not None:
            note = " Its training is left out: the model was made by another one."
        training = None
    if training is None and job.model is None:
        raise InputError("There is no model to detect with; open one, or choose images in Train.")
    model_path = path.with_suffix(".safetensors").absolute()
    if job.model_path is not None and (repeatable or training is None):
        assert job.model is not None
        refuse_changed(job.model, job.model_path)
        model_path = job.model_path.absolute()
    ensure_folder(path.parent)
    if training is not None and training.masks is not None:
        _write_masks(job, training)
    write_recipe(Recipe(model=model_path, training=training, detection=detection), path)
    parts = [name for name, part in (("training", training), ("detection", detection)) if part]
    yield Done(f"Saved the recipe of {' and '.join(parts)} to '{path}'.{note}")


def _detection(job: PanelJob, path: Path) -> Generator[Fraction, None, DetectionRecipe | None]:
    """Return what the chosen heatmaps were made by, or else what is planned."""
    mask = path.absolute().with_name(f"{path.stem}-region.ome.tif")
    if job.items:
        paths = image_paths(job.items)
        if job.model is None:
            raise InputError("The model of the heatmaps is gone; open its file, or detect again.")
        recipe = yield from detection_recipe(
            job.items, paths, job.model, job.folder, job.outputs, job.device, mask
        )
    elif job.planned:
        recipe = yield from _planned(job, mask)
    else:
        return None
    opened = None if job.opened is None else job.opened.detection
    if opened is not None:
        recipe = recipe.replace(report=opened.report, cluster=opened.cluster)
    return recipe


def _planned(job: PanelJob, mask: Path) -> Generator[Fraction, None, DetectionRecipe]:
    """Return how images are to be inspected of which there are no heatmaps."""
    from ...io.artifacts.recipe import DetectionRecipe

    residual, threshold = None, None
    if job.model is not None:
        residual, threshold = job.model.config.residual.kind, job.model.threshold
    elif job.opened is not None and job.opened.detection is not None:
        residual, threshold = job.opened.detection.residual, job.opened.detection.threshold
    paths = image_paths(job.planned)
    size = yield from common_pixel_size(job.planned, paths)
    return DetectionRecipe(
        images=tuple(paths),
        folder=job.folder.absolute(),
        segmentation=job.segmentation,
        outputs=job.outputs,
        threshold=threshold,
        residual=residual,
        stride=job.stride,
        roi=common_region(_planned_areas(job), mask),
        device=job.device,
        **size,
    )


def _planned_areas(job: PanelJob) -> list[InspectedArea | None]:
    from ...core.images.inspected_area import InspectedArea

    areas: list[InspectedArea | None] = []
    for image, mask in zip(job.planned, job.planned_masks, strict=True):
        if mask is None:
            areas.append(None)
            continue
        assert image.source is not None
        shape = image.source.image.shape[: -1 if image.source.rgb else None]
        areas.append(InspectedArea.from_mask(mask, shape, image.source.quoted))
    return areas


def _training(job: PanelJob, path: Path) -> Generator[Fraction, None, TrainingRecipe]:
    """Return the training that is set, or was done."""
    from ...io.artifacts.recipe import TrainingRecipe

    images = [
        FileImage(image.source.name, image.source, file, None)
        for image, file in zip(job.training, job.training_paths, strict=True)
    ]
    paths = image_paths(images)
    for number, (image, file) in enumerate(zip(images, paths, strict=True)):
        assert image.source is not None
        read = same_file(image.name, image.source, file)
        if (read.channel_axis is not None) != image.source.rgb:
            raise InputError(
                f"'{image.name}' has channels in its file '{file}', which napari shows as planes; "
                "train on files of single channels, or of RGB."
            )
        yield Fraction((number + 1) / len(images))
    masked = any(image.mask is not None for image in job.training)
    return TrainingRecipe(
        images=tuple(paths),
        masks=path.absolute().with_name(f"{path.stem}-masks") if masked else None,
        config=job.config,
        device=job.device,
        alexnet=job.alexnet,
    )


def _made_model(job: PanelJob) -> bool:
    """Whether the current model was made by the training that is set."""
    from ...core.training.train import trained_by

    if job.model is None or not job.training:
        return False
    return trained_by(
        job.model,
        [image.source.image for image in job.training],
        job.config,
        masks=[image.mask for image in job.training],
    )


def _write_masks(job: PanelJob, recipe: TrainingRecipe) -> None:
    """Write what limits the training: one file for each image, found by its name."""
    from ...io.files.atomic import ensure_folder
    from ...io.files.naming import image_stem
    from ...io.writers.ome_tiff import write_ome_tiff

    assert recipe.masks is not None
    stems = [image_stem(path) for path in recipe.images]
    if len({stem.casefold() for stem in stems}) < len(stems):
        raise InputError(
            "Some images to train on in different folders have the same name, so their masks "
            "cannot be told apart; rename their files, or choose no region."
        )
    ensure_folder(recipe.masks)
    for image, stem in zip(job.training, stems, strict=True):
        assert image.mask is not None  # one region limits all of them
        shape = image.source.image.shape[: -1 if image.source.rgb else None]
        mask = np.ascontiguousarray(np.broadcast_to(image.mask, shape))
        write_ome_tiff(recipe.masks / f"{stem}_mask.ome.tif", mask)


@dataclass(frozen=True, slots=True, eq=False)
class RecipeOpened:
    """A recipe was read.

    Attributes
    ----------
    path, recipe
        The file and what it says.
    model
        The model that it names, as it is to be used; None if there is no such file yet.
    training_files, detection_files
        The images that it means, as far as they are there.
    """

    path: Path
    recipe: Recipe
    model: DefectModel | None
    training_files: tuple[Path, ...]
    detection_files: tuple[Path, ...]


def opening_recipe(path: Path) -> Generator[RecipeOpened, None, None]:
    """Read a recipe, and the model that it names if that is there."""
    from ...io.artifacts.recipe import read_recipe

    recipe = read_recipe(path)
    model = None
    if recipe.model.exists():
        load_torch()
        from ...core.model.defect_model import DefectModel

        model = fitted(DefectModel.load(recipe.model), recipe)
    training, detection = recipe.training, recipe.detection
    yield RecipeOpened(
        path,
        recipe,
        model,
        () if training is None else _found(training.images),
        () if detection is None else _found(detection.images),
    )


def fitted(model: DefectModel, recipe: Recipe) -> DefectModel:
    """Return a model that compares and chooses its threshold as a recipe says.

    Raises
    ------
    InputError
        If the model cannot be scored by what the recipe asks for.
    """
    policy = None
    if recipe.detection is not None:
        model = model.with_residual(recipe.detection.residual)
        policy = recipe.detection.threshold
    if policy is None and recipe.training is not None:
        policy = recipe.training.auto_threshold
    return model if policy is None else replace(model, threshold=policy)


def _found(images: Iterable[Path]) -> tuple[Path, ...]:
    from ...io.images.image_file import find_images

    found: list[Path] = []
    for image in images:
        try:
            found += find_images([image])
        except InputError:  # it is told how many there are
            continue
    return tuple(path.resolve() for path in found)
