"""The region table as a person sees and uses it, in a viewer with a window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_ssim_defects.io.writers.tables import REGION_COLUMNS
from napari_ssim_defects.plugin.state.panel_state import RegionTable
from napari_ssim_defects.plugin.views.sections.region_table import RegionModel, RegionTableView

ASCENDING, DESCENDING = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder


def table_of(number: int, unit: str = "µm", **columns: Any) -> RegionTable:
    random = np.random.default_rng(0)
    measured: dict[str, np.ndarray] = {
        name: random.random(number) for name in REGION_COLUMNS[2:] if name != "area_unit"
    }
    for name in ("area_px", "top", "left", "bottom", "right"):
        measured[name] = random.integers(0, 1000, number)
    measured["label"] = np.arange(1, number + 1)
    measured["verdict"] = np.full(number, "defect", dtype=object)
    return RegionTable({**measured, **columns}, unit)


def texts(model: RegionModel, column: int) -> list[str]:
    return [model.index(row, column).data() for row in range(model.rowCount())]


def titles(model: RegionModel) -> list[str]:
    return [
        model.headerData(place, Qt.Orientation.Horizontal) for place in range(model.columnCount())
    ]


@pytest.fixture
def model(qapp: Any) -> RegionModel:
    return RegionModel()


@pytest.mark.parametrize("in_units", [False, True])
def test_any_column_sorts_both_ways_by_value(model, in_units):
    table = table_of(50)
    model.show_table(table, in_units=in_units)
    for column in range(model.columnCount()):
        model.sort(column, ASCENDING)
        ascending = model.regions()
        name = model._columns[column].name
        assert ascending == np.argsort(table.columns[name], kind="stable").tolist()
        model.sort(column, DESCENDING)
        values = table.columns[name][model.regions()]
        assert (values[:-1] >= values[1:]).all()


def test_another_table_is_sorted_as_the_one_before(model):
    model.show_table(table_of(3, area_px=np.array([2, 9, 5])), in_units=False)
    model.sort(1, DESCENDING)
    assert texts(model, 1) == ["9", "5", "2"]
    model.show_table(table_of(4, area_px=np.array([1, 1200, 3, 2])), in_units=False)
    assert texts(model, 1) == ["1,200", "3", "2", "1"]


def test_equal_rows_keep_their_order_and_the_selection_moves_along(model):
    model.show_table(table_of(4, area_px=np.array([5, 7, 5, 7])), in_units=False)
    index = _persistent(model.index(1, 0))
    model.sort(1, DESCENDING)
    assert texts(model, 0) == ["2", "4", "1", "3"]
    assert index.row() == 0


def _persistent(index: Any) -> Any:
    from qtpy.QtCore import QPersistentModelIndex

    return QPersistentModelIndex(index)


def test_columns_are_those_of_pixels_or_of_units(model):
    model.show_table(table_of(2), in_units=False)
    assert titles(model) == [
        "Label", "Area px", "Max", "Mean", "Ecc.", "Row", "Column", "Top", "Left", "Bottom",
        "Right",
    ]  # fmt: skip
    model.show_table(table_of(2), in_units=True)
    assert titles(model) == [
        "Label", "Area µm²", "Max", "Mean", "Ecc.", "y µm", "x µm", "Height µm", "Width µm",
    ]  # fmt: skip
    model.show_table(table_of(2, unit=""), in_units=True)
    assert "Area px" in titles(model)


def test_plane_and_verdict_are_shown_where_they_tell_regions_apart(model):
    verdict = np.array(["defect", "review"], dtype=object)
    model.show_table(table_of(2, plane=np.array([0, 3]), verdict=verdict), in_units=False)
    assert titles(model)[:3] == ["Label", "Plane", "Verdict"]
    assert texts(model, 2) == ["defect", "review"]
    model.show_table(None, in_units=False)
    assert model.rowCount() == 0


@pytest.fixture
def viewer(make_napari_viewer: Any) -> Any:
    return make_napari_viewer()


@pytest.fixture
def view(controller: Any, docked: Any) -> RegionTableView:
    return docked(RegionTableView(controller), show=True)


@pytest.fixture
def many(viewer: Any, view: Any, commit: Any) -> Any:
    """A layer of 100 regions, the larger the further on."""
    labels = np.zeros((200, 200), np.int32)
    for number in range(100):
        row, column = 20 * (number // 10), 20 * (number % 10)
        labels[row : row + 2 + number // 10, column : column + 2 + number % 10] = number + 1
    return commit(labels, scale=(0.5, 0.5), units="um")


def test_arrow_keys_lead_from_region_to_region(view, many, state, qtbot):
    view.table.setFocus()
    view.table.selectRow(0)
    assert state.selected_region == (0, 1)
    qtbot.keyClick(view.table, Qt.Key.Key_Down)
    assert state.selected_region == (0, 2)
    assert many.selected_label == 2


def test_a_region_chosen_in_the_canvas_is_selected_and_scrolled_to(view, many, state):
    view.table.sortByColumn(titles(view.model).index("Area µm²"), DESCENDING)
    many.selected_label = 3
    (selected,) = view.table.selectionModel().selectedRows()
    assert selected.data() == "3"
    shown = view.table.viewport().rect()
    assert shown.contains(view.table.visualRect(selected).center())


def test_the_selected_row_stays_while_a_person_paints(view, many, state, qtbot):
    many.selected_label = 60
    scrolled = view.table.verticalScrollBar().value()
    assert scrolled > 0
    many.paint((150, 150), 200)
    qtbot.waitUntil(lambda: view.model.rowCount() == 101, timeout=5000)
    (selected,) = view.table.selectionModel().selectedRows()
    assert selected.data() == "60"
    assert view.table.verticalScrollBar().value() == scrolled


def test_rows_are_copied_by_key_and_all_by_the_button(view, many, qtbot):
    view.table.sortByColumn(titles(view.model).index("Area µm²"), DESCENDING)
    view.table.selectRow(0)
    qtbot.keyClick(view.table, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClick(view.table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = QApplication.clipboard().text().splitlines()
    assert len(lines) == 3
    place = REGION_COLUMNS.index("label")
    assert lines[1].split("\t")[place] == "100"
    view.copy_button.click()
    lines = QApplication.clipboard().text().splitlines()
    assert len(lines) == 101
    assert lines[0].split("\t") == list(REGION_COLUMNS)


def test_the_table_is_saved_as_it_is_sorted(view, many, state, tmp_path, monkeypatch, qtbot):
    path = tmp_path / "regions.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    view.table.sortByColumn(titles(view.model).index("Area µm²"), DESCENDING)
    view.save_button.click()
    qtbot.waitUntil(lambda: "Saved 100 regions" in state.status, timeout=5000)
    first = path.read_text("utf-8").splitlines()[1].split(",")
    assert first[REGION_COLUMNS.index("label")] == "100"


def test_units_are_chosen_and_kept(view, many, viewer, commit):
    assert view.units.currentText() == "µm"
    view.units.setCurrentIndex(view.units.findText("px"))
    view.units.activated.emit(view.units.currentIndex())
    assert "Area px" in titles(view.model)
    labels = np.ones((20, 20), np.int32)
    commit(labels, "other", scale=(2, 2), units="mm")
    assert view.units.currentText() == "px"
    commit(labels, "without")
    assert not view.units.isEnabled()


def test_the_layer_is_chosen_and_renamed_in_the_list(view, many, viewer, commit, state):
    commit(np.ones((20, 20), np.int32), "other")
    assert view.model.rowCount() == 1
    many.name = "first"
    index = view.layer.findText("first")
    view.layer.setCurrentIndex(index)
    view.layer.activated.emit(index)
    assert state.labels_layer is many
    assert view.model.rowCount() == 100


def test_without_regions_the_table_is_empty_and_says_how_to_get_some(view, viewer):
    assert "Create labels" in view.layer.currentText()
    assert not view.copy_button.isEnabled()
    assert "press Create labels" in view.count.text()


def test_thousands_of_regions_are_asked_for_as_they_come_in_sight(view, state, monkeypatch):
    asked = []
    data = RegionModel.data
    monkeypatch.setattr(
        RegionModel,
        "data",
        lambda self, index, role: asked.append(index.row()) or data(self, index, role),
    )
    state.regions = table_of(20_000)
    QApplication.processEvents()
    assert asked
    assert len(set(asked)) < 200


def test_everything_is_reached_by_keyboard_and_explained(view):
    for widget in (view.layer, view.units, view.table, view.copy_button, view.save_button):
        assert widget.toolTip()
        assert widget.focusPolicy() & Qt.FocusPolicy.TabFocus
    assert view.table.accessibleName()
