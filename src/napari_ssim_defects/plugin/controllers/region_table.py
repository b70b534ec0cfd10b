"""What the Regions section does: the committed regions as a table, and where they are."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Labels

from ...io.writers.tables import REGION_COLUMNS, tab_separated, write_csv
from ..jobs import workers
from ..jobs.jobs import Done
from ..jobs.runner import Runner
from ..layers import is_committed, source_name
from ..layers.region_features import MeasuredLabels
from ..layers.spatial import pixel_size
from ..state.panel_state import PanelState, RegionTable
from .region_selection import RegionSelection

if TYPE_CHECKING:
    from napari.components import ViewerModel

__all__ = ["RegionTableController", "saving"]

Rows = list[dict[str, object]]


class RegionTableController:
    """Keeps the table of regions in step with the layer that was selected or created last.

    Parameters
    ----------
    viewer
        Holds the layers.
    state
        Gets the table.
    runner
        Says what happened.
    """

    def __init__(self, viewer: ViewerModel, state: PanelState, runner: Runner) -> None:
        self._viewer = viewer
        self._state = state
        self._runner = runner
        self._measured: dict[Labels, MeasuredLabels] = {}
        self._saving: workers.Job | None = None  # its messages arrive as long as it is kept
        self._selection = RegionSelection(viewer, state)
        self.select = self._selection.select
        for layer in viewer.layers:
            self._follow(layer)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)
        state.events.labels_layer.connect(self._show)

    def close(self) -> None:
        """Stop threads and listen no more."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        self._state.events.labels_layer.disconnect(self._show)
        for layer in list(self._measured):
            self._forget(layer)
        self._selection.close()

    def text(self, rows: Sequence[int]) -> str:
        """Return rows of the table as text for a spreadsheet, with the columns of the file."""
        return tab_separated(self._rows(rows), REGION_COLUMNS)

    def save(self, path: str | Path, rows: Sequence[int]) -> None:
        """Write rows of the table to a CSV file."""
        path = Path(path)
        if path.suffix.lower() != ".csv":
            path = path.with_name(f"{path.name}.csv")
        # Beside whatever job runs: a table need not wait for the end of a training.
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
        columns = {name: values.tolist() for name, values in table.columns.items()}
        image = source_name(self._state.labels_layer)
        return [
            {"image": image, "plane": 0, **{name: columns[name][row] for name in columns}}
            for row in rows
        ]

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
        self._state.labels_layer = layer

    def _forget(self, layer: Labels) -> None:
        layer.events.features.disconnect(self._on_features)
        self._measured.pop(layer).close()

    def _on_features(self, event: Any) -> None:
        if event.source is self._state.labels_layer:
            self._show()

    def _show(self) -> None:
        state = self._state
        state.regions = None if state.labels_layer is None else _table(state.labels_layer)
        key = state.selected_region
        if key is not None and (state.regions is None or state.regions.row(key) is None):
            state.selected_region = None


def _table(layer: Labels) -> RegionTable | None:
    """Read the table from the features of a layer; None if a person has taken columns away."""
    columns = {
        "label" if name == "index" else str(name): layer.features[name].to_numpy()
        for name in layer.features
    }
    if not set(REGION_COLUMNS[2:13]) <= set(columns):
        return None
    _, unit = pixel_size(layer)
    known = {name: values for name, values in columns.items() if name in REGION_COLUMNS}
    return RegionTable(known, unit if unit and "area" in known else "")


def saving(path: Path, rows: Rows) -> Generator[Done, None, None]:
    """Write rows of the table of regions to a CSV file."""
    write_csv(path, rows, REGION_COLUMNS)
    yield Done(f"Saved {len(rows)} region{'s' * (len(rows) != 1)} to '{path}'.")
