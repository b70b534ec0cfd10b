"""The background job that reads a recipe, and the model and the images that it names."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.common.errors import InputError
from .torch_loading import load_torch

if TYPE_CHECKING:
    from ...core.model.defect_model import DefectModel
    from ...io.artifacts.recipe import Recipe

__all__ = ["RecipeOpened", "fitted", "opening_recipe"]


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
    from ...io.artifacts.recipe_file import read_recipe

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
