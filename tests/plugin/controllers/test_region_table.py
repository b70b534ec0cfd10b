"""The table of created regions: what it measures, and its link with the canvas."""

from __future__ import annotations

import csv
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)

from napari_ssim_defects.core.segmentation.regions import measure_regions
from napari_ssim_defects.io.writers.tables import REGION_COLUMNS

MEASURED = REGION_COLUMNS[2:13]


def two_regions() -> np.ndarray:
    labels = np.zeros((40, 60), np.int32)
    labels[5:9, 10:20], labels[30:32, 40:44] = 1, 2
    return labels


def stack() -> np.ndarray:
    labels = np.zeros((3, 40, 60), np.int32)
    labels[0, 5:9, 10:20], labels[2, 30:32, 40:44] = 1, 2
    return labels


def column(state: Any, name: str) -> list[Any]:
    return state.regions.columns[name].tolist()


def row_of(state: Any, label: int) -> int:
    return column(state, "label").index(label)


def centre(viewer: Any) -> tuple[float, ...]:
    """Where the camera looks, in the plane."""
    camera = getattr(viewer, "scene", viewer).camera  # 0.9, 0.7
    return tuple(camera.center[-2:])


def click(viewer: Any, layer: Any, position: tuple[float, ...], *, drag: bool = False) -> None:
    """Press and release a button over a pixel of a layer."""
    event = SimpleNamespace(
        type="mouse_press",
        button=1,
        modifiers=(),
        position=tuple(layer.data_to_world(position)),
        view_direction=None,
        dims_displayed=tuple(viewer.dims.displayed),
        is_dragging=drag,
        handled=False,
    )
    mouse_press_callbacks(viewer, event)
    if drag:
        event.type = "mouse_move"
        mouse_move_callbacks(viewer, event)
    event.type = "mouse_release"
    mouse_release_callbacks(viewer, event)


def test_created_regions_are_listed_in_pixels_and_in_the_unit_of_the_layer(state, commit):
    commit(two_regions(), scale=(0.5, 0.25), units="um")
    assert state.regions.unit == "µm"
    assert column(state, "label") == [1, 2]
    assert column(state, "area_px") == [40, 8]
    assert column(state, "area") == [5.0, 1.0]
    assert [column(state, side)[0] for side in ("top", "left", "bottom", "right")] == [5, 10, 9, 20]
    assert column(state, "height")[0] == 2.0
    assert column(state, "width")[0] == 2.5
    assert column(state, "centroid_y")[0] == 6.5 * 0.5
    assert column(state, "verdict") == ["defect", "review"]
    assert "plane" not in state.regions.columns


def test_the_features_of_the_layer_have_the_same_measurements(state, commit):
    layer = commit(two_regions(), scale=(0.5, 0.25), units="um")
    for name in MEASURED[1:]:
        assert list(layer.features[name]) == column(state, name)
    assert list(layer.features["index"]) == [1, 2]


def test_regions_without_a_unit_are_listed_in_pixels_only(state, commit):
    layer = commit(two_regions())
    assert state.regions.unit == ""
    assert "area" not in state.regions.columns
    assert "area_unit" not in layer.features


def test_painted_regions_are_measured_again_on_the_residual_they_were_made_from(
    state, viewer, commit, qtbot
):
    layer = commit(two_regions())
    residual = layer.metadata["napari-ssim-defects"]["residual"]
    viewer.layers.remove("image")
    layer.selected_label = 7
    layer.paint((20, 20), 7)
    layer.fill((6, 12), 0)
    qtbot.waitUntil(lambda: column(state, "label") == [2, 7], timeout=5000)
    expected = measure_regions(layer.data, residual)
    assert column(state, "area_px") == [region.area for region in expected]
    assert column(state, "mean_residual") == [region.mean_residual for region in expected]
    assert column(state, "verdict") == ["review", "defect"]
    assert list(layer.features["index"]) == [2, 7]


def test_undo_and_replaced_data_are_measured_again(state, commit, qtbot):
    layer = commit(two_regions())
    layer.fill((6, 12), 0)
    qtbot.waitUntil(lambda: column(state, "label") == [2], timeout=5000)
    layer.undo()
    qtbot.waitUntil(lambda: column(state, "label") == [1, 2], timeout=5000)
    layer.data = 3 * two_regions()
    qtbot.waitUntil(lambda: column(state, "label") == [3, 6], timeout=5000)


def test_a_changed_scale_is_followed(state, commit, qtbot):
    layer = commit(two_regions(), scale=(0.5, 0.25), units="um")
    layer.scale = (1, 1)
    qtbot.waitUntil(lambda: column(state, "area") == [40, 8], timeout=5000)


def test_regions_painted_while_another_layer_is_listed_are_measured_too(state, commit, qtbot):
    first, second = commit(two_regions(), "first"), commit(two_regions(), "second")
    assert state.labels_layer is second
    first.fill((6, 12), 0)
    qtbot.waitUntil(lambda: list(first.features["index"]) == [2], timeout=5000)
    assert column(state, "label") == [1, 2]


def test_data_of_another_size_empties_the_table_and_says_why(state, commit, qtbot):
    layer = commit(two_regions())
    layer.data = np.ones((10, 10), np.int32)
    qtbot.waitUntil(lambda: state.regions is None, timeout=5000)
    assert "its heatmap differ in size" in state.status


def test_the_selected_or_the_latest_layer_is_listed(state, viewer, commit):
    first, second = commit(two_regions(), "first"), commit(two_regions(), "second")
    viewer.layers.selection.active = first
    assert state.labels_layer is first
    viewer.layers.selection.active = viewer.layers["first"]
    assert state.labels_layer is first
    viewer.layers.remove(first)
    assert state.labels_layer is second
    viewer.layers.remove(second)
    assert state.labels_layer is None
    assert state.regions is None


def test_a_row_leads_to_its_region_in_the_world(state, controller, viewer, commit):
    labels = np.pad(two_regions(), ((0, 360), (0, 540)))  # a small image is seen whole
    layer = commit(labels, scale=(0.5, 0.25), translate=(100, 200), rotate=30, units="um")
    viewer.layers.selection.active = viewer.layers["image"]
    controller.regions.select(row_of(state, 2))
    assert state.selected_region == (0, 2)
    assert viewer.layers.selection.active is layer
    assert layer.selected_label == 2
    np.testing.assert_allclose(centre(viewer), layer.data_to_world((30.5, 41.5)))


def test_a_row_of_a_stack_leads_to_its_plane(state, controller, viewer, commit):
    labels = np.pad(stack(), ((0, 0), (0, 360), (0, 540)))
    layer = commit(labels, scale=(2, 0.5, 0.5), translate=(10, 0, 0), units="um")
    assert column(state, "plane") == [0, 2]
    controller.regions.select(row_of(state, 2))
    assert viewer.dims.current_step[0] == 2
    np.testing.assert_allclose(centre(viewer), layer.data_to_world((2, 30.5, 41.5))[1:])
    controller.regions.select(row_of(state, 1))
    assert viewer.dims.current_step[0] == 0


def test_a_row_of_an_image_beside_a_stack_moves_no_plane(state, controller, viewer, commit):
    viewer.add_image(np.zeros((4, 40, 60), np.uint8))
    viewer.dims.set_current_step(0, 3)
    commit(two_regions())
    controller.regions.select(0)
    assert viewer.dims.current_step[0] == 3


@pytest.mark.parametrize("place", [{}, {"scale": (0.5, 0.25), "translate": (9, 9), "rotate": 20}])
def test_a_click_on_a_region_selects_its_row(state, viewer, commit, place):
    layer = commit(two_regions(), **place)
    click(viewer, layer, (31, 41))
    assert state.selected_region == (0, 2)
    assert layer.selected_label == 2
    click(viewer, layer, (0, 0))  # no region: what is selected stays
    assert state.selected_region == (0, 2)


def test_a_click_in_a_stack_selects_the_region_of_the_plane(state, viewer, commit):
    labels = stack()
    labels[1, 5:9, 10:20] = 1
    layer = commit(labels)
    viewer.dims.set_current_step(0, 1)
    click(viewer, layer, (1, 6, 12))
    assert state.selected_region == (1, 1)


def test_neither_dragging_nor_painting_selects(state, viewer, commit):
    layer = commit(two_regions())
    click(viewer, layer, (31, 41), drag=True)
    assert state.selected_region is None
    layer.mode = "paint"
    click(viewer, layer, (31, 41))
    assert state.selected_region is None


def test_a_click_on_a_region_of_another_layer_lists_that_layer(state, viewer, commit):
    first = commit(two_regions(), "first")
    commit(two_regions(), "second", translate=(0, 100))
    click(viewer, first, (31, 41))
    assert state.labels_layer is first
    assert state.selected_region == (0, 2)


def test_a_label_that_is_picked_selects_its_row(state, commit):
    layer = commit(two_regions())
    layer.selected_label = 2
    assert state.selected_region == (0, 2)
    layer.selected_label = 99
    assert state.selected_region == (0, 2)


def test_a_region_that_is_gone_is_selected_no_more(state, commit, qtbot):
    layer = commit(two_regions())
    layer.selected_label = 2
    layer.fill((31, 41), 0)
    qtbot.waitUntil(lambda: column(state, "label") == [1], timeout=5000)
    assert state.selected_region is None


def test_rows_are_copied_as_a_spreadsheet_pastes_them(state, controller, commit):
    commit(two_regions(), scale=(0.5, 0.25), units="um")
    lines = [line.split("\t") for line in controller.regions.text([1, 0]).splitlines()]
    assert tuple(lines[0]) == REGION_COLUMNS
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    assert [row["label"] for row in rows] == ["2", "1"]
    assert rows[1]["image"] == "image"
    assert (rows[1]["model"], rows[1]["threshold"]) == ("fibres", "0.5")
    assert rows[1]["area_px"] == "40"
    assert float(rows[1]["mean_residual"]) == column(state, "mean_residual")[0]


def test_the_table_is_saved_with_the_columns_of_the_export(
    state, controller, viewer, commit, tmp_path, qtbot
):
    commit(stack())
    viewer.layers["image defects"].name = "renamed"
    controller.regions.save(tmp_path / "table", [0, 1])
    qtbot.waitUntil(lambda: "Saved 2 regions" in state.status, timeout=5000)
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == REGION_COLUMNS
    assert [row["plane"] for row in rows] == ["0", "2"]
    assert {row["image"] for row in rows} == {"image"}
    assert {row["area"] for row in rows} == {""}


def test_a_row_zooms_to_its_region_and_shows_it_alone_for_a_moment(
    viewer, controller, commit, qtbot
):
    labels = np.zeros((400, 500), np.int32)
    labels[100:110, 200:210] = 1
    labels[300:340, 400:440] = 2
    layer = commit(labels)
    camera = getattr(viewer, "scene", viewer).camera
    camera.zoom = 1.0
    controller.regions.select(0)
    assert tuple(camera.center)[-2:] == pytest.approx((104.5, 204.5))
    assert camera.zoom > 3
    assert layer.show_selected_label
    qtbot.waitUntil(lambda: not layer.show_selected_label)
    qtbot.waitUntil(lambda: controller.regions._selection._flashing is None)
    assert layer.contour == 0
