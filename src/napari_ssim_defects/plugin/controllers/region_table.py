"""Controller of the Regions section: a table of committed regions, linked with the canvas.

Measurements are updated when a person edits the regions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels

from ...core.common.errors import InputError
from ...core.model.corrections import verdicts_of
from ...core.segmentation.regions import Region, measure_planes
from ...io.writers.tables import REGION_COLUMNS, found_by, tab_separated, write_csv
from ..jobs import workers
from ..jobs.jobs import Done, Fraction
from ..layers import is_committed, marks_on, show_verdicts, source_name
from ..layers.large import large_labels
from ..layers.provenance import made_by, provenance, update_provenance
from ..layers.region_features import RegionsMeasured, Spacing, checksum, regions_to_review
from ..layers.spatial import pixel_size
from ..previews.region_selection import RegionSelection
from ..state.panel_state import MARK, RegionKey, RegionTable
from .section import Panel, SectionController

if TYPE_CHECKING:
    from napari.layers import Labels

    from ...core.model.corrections import Mark

__all__ = [
    "MeasuredLabels",
    "RegionTableController",
    "measure_labels",
    "saving",
]

_REST = 200  # milliseconds without a change after which regions are measured
_PIXELS = ("paint", "labels_update", "set_data")  # undo emits only the last one
_PLACE = ("scale", "rotate", "shear", "affine", "units")

Rows = list[dict[str, object]]
Columns = dict[str, npt.NDArray[Any]]


class MeasuredLabels:
    """Updates the features of a layer of regions when its pixels or its scale change.

    Parameters
    ----------
    layer
        Committed regions; its provenance holds the residual and the checksum of the measured
        pixels.
    on_failure
        Called with a sentence when the regions cannot be measured.
    """

    def __init__(self, layer: Labels, on_failure: Callable[[str], None]) -> None:
        self._layer = layer
        self._spacing = pixel_size(layer)
        self._on_failure = on_failure
        self._job: workers.Job | None = None
        self._later = workers.Later(self._measure, _REST)
        for name in (*_PIXELS, *_PLACE):
            layer.events[name].connect(self._on_change)

    def close(self) -> None:
        """Disconnect from the layer."""
        for name in (*_PIXELS, *_PLACE):
            self._layer.events[name].disconnect(self._on_change)
        self._stop()

    def _on_change(self) -> None:
        if large_labels(self._layer) is not None:  # cannot be painted, but drawing emits set_data
            return
        self._stop()
        self._later.request()

    def _measure(self) -> None:
        layer = self._layer
        review = regions_to_review(layer)
        spacing = pixel_size(layer)
        origin = provenance(layer)
        self._job = workers.start(
            partial(
                measure_labels,
                layer.data,
                origin["residual"],
                review,
                spacing,
                origin["measured"] if spacing == self._spacing else None,
            ),
            partial(self._on_measured, spacing),
        )

    def _on_measured(self, spacing: Spacing, message: object) -> None:
        if isinstance(message, workers.Failure):
            self._layer.features = {}  # better none than outdated ones
            self._on_failure(message.text)
        elif isinstance(message, RegionsMeasured):
            self._spacing = spacing
            update_provenance(self._layer, measured=message.checksum)
            self._layer.features = message.features

    def _stop(self) -> None:
        self._later.cancel()
        if self._job is not None:
            self._job.discard()
            self._job = None


def measure_labels(
    labels: npt.NDArray[Any],
    residual: npt.NDArray[np.float32],
    review: Collection[int],
    spacing: Spacing,
    known: int | None,
) -> Generator[Fraction | RegionsMeasured, None, None]:
    """Measure the regions of a layer, unless its pixels were measured already.

    Parameters
    ----------
    labels, residual
        Both of shape (..., H, W).
    review
        Labels that are to be reviewed.
    spacing
        Size (y, x) of a pixel and its unit.
    known
        Checksum of pixels that need not be measured again.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if known is not None and checksum(labels) == known:
        return
    if labels.shape != residual.shape:
        raise InputError(
            "The regions cannot be measured: their layer and its heatmap differ in size."
        )
    regions: list[tuple[int, Region]] = []
    count = int(np.prod(labels.shape[:-2]))
    for plane, found in measure_planes(labels, residual, review):
        regions += [(plane, region) for region in found]
        yield Fraction((plane + 1) / count)
    yield RegionsMeasured.from_regions(labels, regions, spacing)


class RegionTableController(SectionController):
    """Shows the regions of the layer that was selected or created last as a table."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._measured: dict[Labels, MeasuredLabels] = {}
        self._saving: workers.Job | None = None  # its messages arrive as long as it is referenced
        self._selection = RegionSelection(panel.viewer, panel.state)
        self.select = self._selection.select
        self._later = workers.Later(self._gather, _REST)
        for layer in panel.viewer.layers:
            self._follow(layer)
        self._connect(panel.viewer.layers.events.inserted, self._on_inserted)
        self._connect(panel.viewer.layers.events.removed, self._on_removed)
        self._connect(panel.viewer.layers.selection.events.active, self._on_active)
        self._connect(panel.state.events.labels_layer, self._show)
        self._connect(panel.state.events.model, self._on_model)
        self._connect(panel.state.events.model, self._later.request)

    def close(self) -> None:
        """Stop threads, and disconnect from the viewer and the state."""
        super().close()
        self._later.cancel()
        for layer in list(self._measured):
            self._forget(layer)
        self._selection.close()

    def choose(self, layer: Labels) -> None:
        """List the regions of a layer, and show its image."""
        self._state.labels_layer = layer
        self._viewer.layers.selection.active = layer

    def go_to(self, layer: Labels, key: RegionKey) -> None:
        """Go to a region of any layer, as to one of the table."""
        self.choose(layer)
        self._state.labels_layer = layer  # not newer ones of the same image
        row = None if self._state.regions is None else self._state.regions.row(key)
        if row is not None:
            self.select(row)

    def text(self, rows: Sequence[int]) -> str:
        """Return rows of the table as text for a spreadsheet, with the columns of the file."""
        return tab_separated(self._rows(rows), REGION_COLUMNS)

    def save(self, path: str | Path, rows: Sequence[int]) -> None:
        """Write rows of the table to a CSV file."""
        path = Path(path)
        if path.suffix.lower() != ".csv":
            path = path.with_name(f"{path.name}.csv")
        # Beside any other job: a table need not wait for the end of a training.
        self._saving = workers.start(partial(saving, path, self._rows(rows)), self._on_saved)

    def _on_saved(self, message: object) -> None:
        if isinstance(message, workers.Failure):
            self._runner.fail(message.text)
        elif isinstance(message, Done):
            self._runner.say(message.text)

    def _rows(self, rows: Sequence[int]) -> Rows:
        table = self._state.regions
        if table is None:
            return []
        # Plain numbers, as NumPy's would be written with their type.
        columns = {
            name: values.tolist()
            for name, values in table.columns.items()
            if name in REGION_COLUMNS
        }
        layer = self._state.labels_layer
        origin = provenance(layer)
        same = {
            "image": source_name(layer),
            "plane": 0,
            **found_by(
                made_by(layer, self._state.models),
                origin.get("model_created", ""),
                origin["threshold"],
            ),
        }
        return [{**same, **{name: columns[name][row] for name in columns}} for row in rows]

    def _on_inserted(self, event: Any) -> None:
        self._follow(event.value)

    def _on_removed(self, event: Any) -> None:
        removed = event.value
        if removed not in self._measured:
            return
        self._forget(removed)
        if self._state.labels_layer is removed:
            left = [layer for layer in self._viewer.layers if layer in self._measured]
            self._state.labels_layer = left[-1] if left else None

    def _on_active(self, event: Any) -> None:
        if event.value in self._measured:
            self._state.labels_layer = event.value

    def _follow(self, layer: Any) -> None:
        if not is_committed(layer):
            return
        self._measured[layer] = MeasuredLabels(layer, self._runner.fail)
        layer.events.features.connect(self._on_features)
        self._judge(layer)
        self._state.labels_layer = layer
        self._later.request()

    def _forget(self, layer: Labels) -> None:
        layer.events.features.disconnect(self._on_features)
        self._measured.pop(layer).close()
        known = self._state.all_regions
        self._state.all_regions = tuple(each for each in known if each[0] is not layer)

    def _on_features(self, event: Any) -> None:
        self._later.request()
        self._judge(event.source)
        if event.source is self._state.labels_layer:
            self._show()

    def _on_model(self) -> None:
        for layer in self._measured:
            self._judge(layer)
        self._show()

    def _judge(self, layer: Labels) -> None:
        """Say in the features of a layer what of it was marked good, and show it."""
        features = layer.features
        if not {"index", "verdict"} <= set(features):
            return
        marked = _marked(layer, marks_on(layer, self._state.model))
        review = regions_to_review(layer)
        verdicts = [
            "good" if mark == "good" else "review" if label in review else "defect"
            for label, mark in zip(features["index"], marked, strict=True)
        ]
        if verdicts != features["verdict"].tolist():
            layer.features = {**features, "verdict": verdicts}
            show_verdicts(layer)

    def _show(self) -> None:
        state = self._state
        layer = state.labels_layer
        marks = () if layer is None else marks_on(layer, state.model)
        state.regions = None if layer is None else _table(layer, marks)
        key = state.selected_region
        if key is not None and (state.regions is None or state.regions.row(key) is None):
            state.selected_region = None

    def _gather(self) -> None:
        """Show the regions of all layers."""
        model = self._state.model
        tables = [(layer, _table(layer, marks_on(layer, model))) for layer in self._measured]
        self._state.all_regions = tuple(
            (layer, table) for layer, table in tables if table is not None
        )


def _table(layer: Labels, marks: Sequence[Mark]) -> RegionTable | None:
    """Read the table from the features of a layer; None if a person has taken columns away."""
    columns = {
        "label" if name == "index" else str(name): layer.features[name].to_numpy()
        for name in layer.features
    }
    if not set(REGION_COLUMNS[2:13]) <= set(columns):
        return None
    _, unit = pixel_size(layer)
    known = {name: values for name, values in columns.items() if name in REGION_COLUMNS}
    if marks:
        known[MARK] = _marked(layer, marks)
    return RegionTable(known, unit if unit and "area" in known else "")


def _marked(layer: Labels, marks: Sequence[Mark]) -> npt.NDArray[Any]:
    """Return how each region of a layer is marked: ``"good"``, ``"defect"`` or ``""``."""
    features = layer.features
    result = np.full(len(features), "", dtype=object)
    planes = features["plane"] if "plane" in features else np.zeros(len(features), int)
    for plane in {mark.plane for mark in marks}:
        shape = layer.data.shape
        if plane < int(np.prod(shape[:-2])):
            index = np.unravel_index(plane, shape[:-2]) if layer.ndim > 2 else ()
            verdicts = verdicts_of(np.asarray(layer.data[index]), plane, marks)
            for row in np.flatnonzero(planes == plane):
                result[row] = verdicts.get(int(features["index"][row]), "")
    return result


def saving(path: Path, rows: Rows) -> Generator[Done, None, None]:
    """Write rows of the table of regions to a CSV file."""
    write_csv(path, rows, REGION_COLUMNS)
    yield Done(f"Saved {len(rows)} region{'s' * (len(rows) != 1)} to '{path}'.")
