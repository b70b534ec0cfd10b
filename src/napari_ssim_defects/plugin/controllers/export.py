"""Controller of the Export section: results as files, and the job as a command or program."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

import numpy as np

from ...core.common.errors import InputError
from ...core.config import SegmentationConfig
from ...io.artifacts.recipe import detection_line, detection_program
from .. import layers
from ..jobs.export_job import Exportable, export_results
from ..jobs.recipe_checks import RecipeReady, make_recipe
from ..layers.provenance import is_by, made_by, provenance
from ..layers.region_features import regions_to_review
from ..layers.spatial import file_metadata, pixel_size
from ..previews.camera import follow_scale
from ..state.panel_state import Activity
from ..state.preferences import preferences
from .section import Panel, SectionController, starts_a_job, tells_errors

if TYPE_CHECKING:
    from napari.layers import Image, Layer

__all__ = ["RESULTS", "ExportController"]

RESULTS = "results"
"""The folder beside the images that is proposed."""

_LANGUAGES = {
    "command": (detection_line, "command"),
    "script": (detection_program, "Python program"),
}


class ExportController(SectionController):
    """Writes the chosen results in a thread."""

    holds = ("export_layers",)

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._sized: WeakSet[Layer] = WeakSet()
        self._connect(panel.state.events.model, self._on_model)

    def lacks_pixel_size(self) -> bool:
        """Whether a chosen heatmap has no pixel size but, perhaps, one that was given here."""
        chosen = self._state.export_layers
        return any(layer in self._sized or pixel_size(layer)[1] is None for layer in chosen)

    def set_pixel_size(self, size: float, unit: str) -> None:
        """Give all layers that lie in pixels a pixel size; once more corrects it."""
        image = self._state.image
        before = None if image is None else image.scale[-1]
        for layer in self._viewer.layers:
            if layer in self._sized or pixel_size(layer)[1] is None:
                self._sized.add(layer)
                factors = np.ones(layer.ndim)
                factors[-2:] = size / layer.scale[-1]
                layer.scale, layer.translate = layer.scale * factors, layer.translate * factors
                layer.units = (*layer.units[:-2], unit, unit)
        self._preview.show_counts()
        if image is not None and before is not None:
            follow_scale(self._viewer, image.scale[-1] / before)

    def _on_layer_removed(self, event: Any) -> None:
        super()._on_layer_removed(event)
        if not any(map(layers.is_heatmap, self._viewer.layers)):
            self._state.export_folder = None  # the next images may be elsewhere

    def _on_model(self) -> None:
        """Choose no more what another model has made."""
        state = self._state
        state.export_layers = tuple(
            layer for layer in state.export_layers if is_by(state.model, layer)
        )

    def start(self, folder: str | Path | None = None) -> None:
        """Write the chosen results of the chosen heatmaps to a folder."""
        state = self._state
        where = Path(folder) if folder else self.folder()
        self._begin(
            "exporting",
            "Exporting …",
            partial(
                export_results, folder=where, outputs=state.outputs, overwrite=state.replace_files
            ),
            self._runner.report,
        )

    @tells_errors
    def copy(self, language: Literal["command", "script"], put: Callable[[str], None]) -> None:
        """Write down the job as a line of the shell or a Python program.

        Parameters
        ----------
        language
            Shell or Python.
        put
            Called with the text, after a check that it gives the same files.
        """
        state = self._state
        for heatmap in state.export_layers:
            layers.refuse_large(heatmap, "the section Folder inspects files of any size")
        self._begin(
            "comparing",
            "Comparing with the files …",
            partial(
                make_recipe,
                model=state.model,
                model_path=state.model_path,
                folder=self.folder(),
                outputs=state.outputs,
                device=preferences().device,
            ),
            partial(self._on_recipe, language, put),
        )

    def _on_recipe(
        self, language: Literal["command", "script"], put: Callable[[str], None], message: object
    ) -> None:
        if isinstance(message, RecipeReady):
            write, what = _LANGUAGES[language]
            put(write(message.model, message.recipe))
            self._runner.say(f"Copied the {what} that writes the same files.")
        else:
            self._runner.report(message)

    def items(self) -> list[Exportable]:
        """Return the chosen results, for a thread."""
        return [self._exportable(layer) for layer in self._state.export_layers]

    def folder(self) -> Path:
        """Return where it goes to: what was chosen, or a folder beside the images."""
        chosen = self._state.export_folder
        if chosen is None and preferences().export_folder == Path.home():
            images = map(self._source, self._state.export_layers)
            paths = [image.source.path for image in images if image is not None]
            folders = [Path(path).parent for path in paths if path]
            chosen = (folders or [Path.home()])[-1] / RESULTS  # of the image that came last
        return Path(chosen or preferences().export_folder)

    @starts_a_job
    def _begin(
        self,
        activity: Activity,
        text: str,
        job: Callable[..., Generator[Any, None, None]],
        on_message: Callable[[object], None],
    ) -> None:
        """Start a job on the chosen heatmaps."""
        if not self._state.export_layers:
            raise InputError("Choose at least one heatmap to export; detection makes them.")
        self._runner.begin(activity, text, partial(job, self.items()), on_message)

    def _exportable(self, heatmap: Image) -> Exportable:
        image = self._source(heatmap)
        path = None if image is None else image.source.path
        labels = layers.created_labels(heatmap, self._viewer.layers)
        large = layers.large_residual(heatmap)
        if large is not None:
            large.refuse_incomplete(heatmap)
        made = {} if labels is None else provenance(labels)
        names = SegmentationConfig.model_fields
        return Exportable(
            name=layers.source_name(heatmap) if image is None else image.name,
            source=None if image is None else layers.source_of(image),
            path=None if path is None else Path(path),
            model=made_by(heatmap, self._state.models),
            origin=provenance(heatmap),
            residual=heatmap.data if large is None else large.levels[0],
            spatial=file_metadata(heatmap),
            labels=None if labels is None else labels.data,
            review=frozenset() if labels is None else regions_to_review(labels),
            painted=labels is not None and layers.is_painted(labels),
            threshold=made.get("threshold", self._preview.threshold_of(heatmap)),
            marks=layers.marks_on(heatmap, self._state.model),
            segmentation=SegmentationConfig(**{name: made[name] for name in names})
            if made
            else self._state.segmentation,
            large=large,
            large_labels=None if labels is None else layers.large_labels(labels),
        )

    def _source(self, heatmap: Image) -> Image | None:
        """Return the image that a heatmap was made from, if it is still there."""
        key = provenance(heatmap)["source_id"]
        return next((layer for layer in self._viewer.layers if str(layer.unique_id) == key), None)
