"""The command ``run``: carries out a recipe, and resumes an interrupted run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.common.errors import InputError
from .detect import run_detect
from .terminal import CommandResult
from .train import run_train, training_result

if TYPE_CHECKING:
    from ..io.artifacts.recipe import Recipe, TrainingRecipe

__all__ = ["run_recipe"]


def run_recipe(
    path: Path, device: str | None, cluster: str | None, *, overwrite: bool
) -> CommandResult:
    """Train and detect; the exit status is 1 if the training was stopped.

    Parameters
    ----------
    path
        The recipe.
    device, cluster
        Used instead of those of the recipe; None: those of the recipe.
    overwrite
        Whether to repeat finished work of an earlier run.

    Raises
    ------
    InputError
        If the recipe cannot be read or followed, or would replace the model of another one.
    """
    from ..io.artifacts.recipe import read_recipe

    recipe = _elsewhere(read_recipe(path), device, cluster)
    _refuse_missing(recipe)
    values: dict[str, Any] = {"recipe": str(path), "training": None, "detection": None}
    status, texts = 0, []
    if recipe.training is not None:
        trained = _train(recipe.training, recipe.model, overwrite)
        values["training"] = trained.values
        texts.append(trained.text)
        if trained.values["stopped"]:  # what it was to find is not asked for any more
            text = f"{trained.text} The same command continues the training."
            return CommandResult(values, text, status=1)
    if recipe.detection is not None:
        detected = run_detect(recipe.detection, recipe.model, overwrite=overwrite)
        values["detection"], status = detected.values, detected.status
        texts.append(detected.text)
    return CommandResult(values, "\n".join(texts), status)


def _elsewhere(recipe: Recipe, device: str | None, cluster: str | None) -> Recipe:
    """Return the recipe for another device or cluster."""
    training, detection = recipe.training, recipe.detection
    if device is not None:
        training = training and training.replace(device=device)
        detection = detection and detection.replace(device=device)
    if cluster is not None:
        detection = detection and detection.replace(cluster=cluster)
    return recipe.replace(training=training, detection=detection)


def _refuse_missing(recipe: Recipe) -> None:
    """Check before the training that the images for detection exist."""
    from ..io.files.atomic import ensure_folder
    from ..io.images.image_file import find_images

    if recipe.detection is not None:
        find_images(recipe.detection.images)
        ensure_folder(recipe.detection.folder)


def _train(recipe: TrainingRecipe, output: Path, overwrite: bool) -> CommandResult:
    """Train, resume a training, or skip a finished one."""
    from ..io.artifacts.checkpoint_file import checkpoint_path

    begun = checkpoint_path(output).exists()
    if output.exists() and not (begun or overwrite):
        return _trained_earlier(recipe, output)
    result = run_train(
        recipe, output, resume=begun and not overwrite, hint="without --overwrite it would"
    )
    return replace(result, values={**result.values, "earlier": False})


def _trained_earlier(recipe: TrainingRecipe, output: Path) -> CommandResult:
    """Return the existing model if it is that of the recipe."""
    from ..core.model.defect_model import DefectModel
    from ..core.training.train import trained_by
    from ..io.images.good_images import good_images

    model = DefectModel.load(output)
    good = good_images(recipe.images, recipe.masks, roi=recipe.roi)
    if not trained_by(
        model, good.pixels, recipe.config, masks=good.masks, channel_axis=good.channel_axis
    ):
        raise InputError(
            f"'{output}' was trained on other images or with other settings than the recipe's; "
            "name another model in the recipe, or train this one again with --overwrite."
        )
    policy = recipe.auto_threshold
    if policy is not None and policy != model.threshold:
        model = replace(model, threshold=policy)
        model.save(output)
    values = training_result(output, model, None, stopped=False)
    return CommandResult(
        {**values, "earlier": True},
        f"{output} had been trained earlier; --overwrite trains it again.",
    )
