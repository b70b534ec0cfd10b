"""Controller of the recipe buttons: the settings of the panel to and from a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.common.errors import InputError
from .. import layers
from ..jobs.recipe_checks import FileImage
from ..jobs.recipe_job import PanelJob, RecipeOpened, fitted, opening_recipe, saving_recipe
from ..layers.regions_of_interest import region_mask
from ..layers.spatial import file_metadata
from ..state.preferences import preferences
from .export import ExportController
from .section import Panel, SectionController, starts_a_job
from .training import training_image

if TYPE_CHECKING:
    from napari.layers import Image

    from ...core.model.defect_model import DefectModel
    from ...io.artifacts.recipe import Recipe

__all__ = ["RecipeController"]


class RecipeController(SectionController):
    """Saves the settings of the panel as a recipe, and applies a recipe to the panel."""

    def __init__(
        self,
        panel: Panel,
        export: ExportController,
        adopt: Callable[[DefectModel, Path], None],
    ) -> None:
        super().__init__(panel)
        self._export = export
        self._adopt = adopt
        self._recipe: Recipe | None = None

    @starts_a_job
    def save(self, path: str | Path) -> None:
        """Save the settings of the panel to a file."""
        path = Path(path)
        if path.suffix != ".toml":
            path = path.with_name(f"{path.name}.toml")
        job = partial(saving_recipe, path, self._job())
        self._runner.begin("saving", "Saving the recipe …", job, self._runner.report)

    @starts_a_job
    def open(self, path: str | Path) -> None:
        """Apply a recipe to the panel; nothing changes if that fails."""
        job = partial(opening_recipe, Path(path))
        self._runner.begin("opening", "Opening the recipe …", job, self._on_opened)

    def fit(self, model: DefectModel) -> DefectModel:
        """Return a new model with the threshold and residual of the opened recipe."""
        if self._recipe is None:
            return model
        try:
            return fitted(model, self._recipe)
        except InputError as error:
            self._runner.fail(str(error))
            return model

    def forget(self) -> None:
        """Forget the opened recipe, because a person has chosen another model."""
        self._recipe = None

    def _job(self) -> PanelJob:
        state, chosen = self._state, preferences()
        return PanelJob(
            training=[training_image(layer, state.region_layer) for layer in state.training_layers],
            training_paths=[_path(layer) for layer in state.training_layers],
            config=state.config,
            items=self._export.items(),
            planned=[
                FileImage(layer.name, layers.source_of(layer), _path(layer), file_metadata(layer))
                for layer in state.detection_layers
            ],
            planned_masks=[
                None
                if state.inspected_layer is None
                else region_mask(state.inspected_layer, layer, what="inspected")
                for layer in state.detection_layers
            ],
            stride=state.stride,
            segmentation=state.segmentation,
            outputs=state.outputs,
            folder=self._export.folder(),
            model=state.model,
            model_path=state.model_path,
            device=chosen.device,
            alexnet=chosen.alexnet,
            opened=self._recipe,
        )

    def _on_opened(self, message: object) -> None:
        if not isinstance(message, RecipeOpened):
            return
        state, recipe = self._state, message.recipe
        training, detection = recipe.training, recipe.detection
        self._recipe = recipe
        chosen: list[Any] = []
        if training is not None:
            state.config = training.config
            state.training_layers = self._layers(message.training_files)
            state.region_layer = None
            chosen += state.training_layers
        if detection is not None:
            state.stride = detection.stride
            state.segmentation = detection.segmentation
            state.outputs = detection.outputs
            state.export_folder = detection.folder
            state.batch.roi = "" if detection.roi is None else str(detection.roi)
            state.inspected_layer = None
            state.detection_layers = self._layers(message.detection_files)
            chosen += state.detection_layers
        if message.model is not None:
            self._adopt(message.model, recipe.model)
            policy = None if detection is None else detection.threshold
            if policy is not None:
                state.threshold = policy.threshold_for(message.model.corrected.calibration)
        files = len(message.training_files) + len(message.detection_files)
        self._runner.say(" ".join(_sentences(message, files, len(chosen))))

    def _layers(self, files: Sequence[Path]) -> tuple[Image, ...]:
        """Return the images that are open from these files."""
        found = []
        for layer in self._viewer.layers:
            path = _path(layer) if layers.is_inspectable(layer) else None
            if path is not None and path.resolve() in files:
                found.append(layer)
        return tuple(found)


def _sentences(message: RecipeOpened, files: int, chosen: int) -> list[str]:
    """Return sentences about the applied settings, and what is left to do."""
    recipe = message.recipe
    parts = {"training": recipe.training, "detection": recipe.detection}
    set_now = " and ".join(name for name, part in parts.items() if part is not None)
    model = f"the model '{recipe.model.stem}'" if message.model else "no model yet"
    texts = [
        f"Opened the recipe '{message.path.name}': settings of {set_now}, {model}; {chosen} of "
        f"{files} image{'s' * (files != 1)} are open and selected."
    ]
    if recipe.training is not None and recipe.training.masks is not None:
        texts.append("Its masks are left out here; choose a region in Train.")
    if recipe.detection is not None and recipe.detection.roi is not None:
        texts.append(
            f"Its region {recipe.detection.roi} is set in Folder; draw it and choose it in Detect."
        )
    return texts


def _path(layer: Any) -> Path | None:
    path = layer.source.path
    return None if path is None else Path(path)
