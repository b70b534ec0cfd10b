"""Regions that a person marks as good or as defects, by the buttons and keys of the table."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QItemSelectionModel, Qt

from napari_ssim_defects.core.config import SegmentationConfig
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.model.thresholds import FalseRegionsThreshold
from napari_ssim_defects.plugin.controllers.panel_controller import controller_of
from napari_ssim_defects.plugin.views.sections.region_table import RegionTableView

MARKED = "Marked"


pytestmark = pytest.mark.usefixtures("make_napari_viewer")  # a window


@pytest.fixture
def view(controller: Any, docked: Any) -> RegionTableView:
    return docked(RegionTableView(controller), show=True)


@pytest.fixture
def regions(viewer: Any, view: Any, state: Any, images: Any, detected: Any, wait_idle: Any) -> Any:
    """The regions of a spoilt image, at an automatic threshold that is a little too low for it."""
    controller = controller_of(viewer)
    (heatmap,) = detected(viewer.add_image(images.spoilt(6), name="bad"))
    measured = state.model.calibration
    low = float(np.quantile(heatmap.data, 0.8))
    rising = np.linspace(low, low + 0.1, len(measured.region_rates))
    state.model = replace(state.model, calibration=replace(measured, region_thresholds=rising))
    controller.proposals.follow_model(heatmap)
    controller.proposals.use_automatic()
    state.segmentation = SegmentationConfig(opening=0, min_area=5)
    controller.labelling.start()
    wait_idle()
    assert len(state.regions) > 2
    return state.labels_layer


def choose(view: RegionTableView, *places: int) -> None:
    selection = view.table.selectionModel()
    selection.clearSelection()
    for place in places:
        selection.select(
            view.model.index(place, 0),
            QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows,
        )


def marked(view: RegionTableView) -> list[str]:
    titles = [
        view.model.headerData(place, Qt.Orientation.Horizontal)
        for place in range(view.model.columnCount())
    ]
    if MARKED not in titles:
        return []
    column = titles.index(MARKED)
    return [view.model.index(row, column).data() for row in range(view.model.rowCount())]


def test_a_good_region_is_shown_and_said_and_raises_the_automatic_threshold(view, regions, state):
    before = state.auto_threshold
    assert not view.corrections.isVisible()
    choose(view, 0, 1, 2)
    view.good_button.click()
    assert marked(view)[:3] == ["good"] * 3
    told = state.model.corrected
    assert told.before == before
    assert told.threshold > before
    assert state.auto_threshold == state.threshold == told.threshold
    assert state.heatmap.metadata["napari-ssim-defects"]["auto_threshold"] == told.threshold
    assert state.status.startswith("Marked 3 regions as good: they are left out of this image's")
    assert "(without marks" in state.status
    assert view.corrections.isVisible()
    assert view.corrections.text() == told.text


def test_one_click_undoes_all_of_it(view, regions, state):
    before = state.auto_threshold
    choose(view, 0, 1)
    view.good_button.click()
    choose(view, 2)
    view.defect_button.click()
    view.undo_button.click()
    assert state.model.corrections == ()
    assert state.auto_threshold == state.threshold == before
    assert marked(view) == []
    assert state.status.startswith("Took back 3 marks.")
    assert not view.undo_button.isEnabled()
    assert not view.corrections.isVisible()


def test_keys_in_the_table_mark_and_the_same_key_takes_the_mark_back(view, regions, state, qtbot):
    choose(view, 1)
    qtbot.keyClick(view.table, Qt.Key.Key_D)
    assert marked(view)[1] == "defect"
    qtbot.keyClick(view.table, Qt.Key.Key_G)  # the region is still chosen, and has one mark only
    assert marked(view)[1] == "good"
    assert len(state.model.corrections) == 1
    qtbot.keyClick(view.table, Qt.Key.Key_G)
    assert state.model.corrections == ()


def test_the_menu_of_the_table_marks(view, regions, state):
    choose(view, 0)
    actions = {action.text(): action for action in view.table.actions()}
    actions["This is a defect"].trigger()
    assert [mark.verdict for mark in state.model.corrections] == ["defect"]


def test_buttons_wait_for_a_region(view, regions):
    choose(view)
    assert not view.good_button.isEnabled()
    assert not view.defect_button.isEnabled()
    choose(view, 0)
    assert view.good_button.isEnabled()
    assert view.defect_button.isEnabled()


def test_a_missed_defect_that_was_painted_is_marked(view, regions, state, qtbot):
    new = int(regions.data.max()) + 1
    with qtbot.waitSignal(regions.events.features, timeout=10_000, raising=False):
        regions.data_setitem(np.nonzero(np.eye(96, 80)[:12]), new)
    qtbot.waitUntil(lambda: new in state.regions.columns["label"], timeout=10_000)
    choose(view, view.model.place(state.regions.row((0, new))))
    view.defect_button.click()
    (mark,) = state.model.corrections
    assert mark.box == (0, 0, 12, 12)


def test_a_threshold_that_a_person_has_set_stays(view, regions, state):
    state.threshold = mine = state.auto_threshold * 1.7
    choose(view, 0, 1, 2)
    view.good_button.click()
    assert state.threshold == mine
    assert state.auto_threshold != state.model.corrected.before
    heatmap, state.heatmap = state.heatmap, None
    state.heatmap = heatmap
    assert state.threshold == mine


def test_the_file_of_the_model_keeps_the_marks(
    view, regions, controller, state, wait_idle, tmp_path
):
    choose(view, 0, 1)
    view.good_button.click()
    kept = state.model.corrections
    controller.save_model(tmp_path / "model.safetensors")
    wait_idle()
    assert DefectModel.load(tmp_path / "model.safetensors").corrections == kept
    controller.open_model(tmp_path / "model.safetensors")
    wait_idle()
    assert marked(view)[:2] == ["good", "good"]
    assert view.undo_button.isEnabled()


def test_a_proposal_does_not_count_the_marks_twice(view, regions, controller, state):
    choose(view, 0, 1, 2)
    view.good_button.click()
    once, measured = state.model.auto_threshold, state.model.calibration
    controller.proposals.propose(FalseRegionsThreshold())
    assert state.model.auto_threshold == pytest.approx(once)
    assert state.model.calibration is measured


def test_regions_of_another_model_are_not_marked(view, regions, state):
    other = {**state.model.provenance, "created": "1999-01-01"}
    state.model = replace(state.model, provenance=other)
    choose(view, 0)
    view.good_button.click()
    assert state.status_is_error
    assert "was not made by the current model" in state.status
    assert state.model.corrections == ()


def outlined(viewer: Any) -> Any:
    return viewer.layers["bad threshold"].data


def verdicts(state: Any) -> list[str]:
    return state.regions.columns["verdict"].tolist()


def test_a_region_marked_good_is_neither_outlined_nor_counted_until_that_is_undone(
    view, regions, viewer, state, qtbot
):
    state.threshold += 1e-4  # outlines follow a threshold that is touched
    qtbot.waitUntil(lambda: state.summary is not None, timeout=5000)
    before, here = state.summary.regions, regions.data == state.regions.columns["label"][0]
    assert outlined(viewer)[here].any()
    choose(view, 0)
    view.good_button.click()
    assert not outlined(viewer)[here].any()
    assert (state.summary.regions, state.summary.good) == (before - 1, 1)
    assert verdicts(state) == ["good", *["defect"] * (len(state.regions) - 1)]
    assert regions.features["verdict"].tolist() == verdicts(state)
    assert view.model.data(view.model.index(0, 0), Qt.ItemDataRole.ForegroundRole) is not None
    assert view.model.data(view.model.index(1, 0), Qt.ItemDataRole.ForegroundRole) is None
    assert tuple(regions.get_color(1)[:3]) != tuple(regions.get_color(2)[:3])
    view.undo_button.click()
    assert outlined(viewer)[here].any()
    assert (state.summary.regions, state.summary.good) == (before, 0)
    assert set(verdicts(state)) == {"defect"}


def test_a_region_marked_good_is_no_false_region_in_evaluate(
    view, regions, viewer, controller, state, wait_idle
):
    truth = viewer.add_labels(np.zeros_like(regions.data), name="truth")
    state.truth_layer = truth
    counts = []
    for marked_now in (False, True):
        if marked_now:
            choose(view, 0)
            view.good_button.click()
            state.threshold = state.model.corrected.before
        controller.evaluation.start()
        wait_idle()
        counts.append(int(state.evaluation.rows[0][2]))
    assert counts[1] == counts[0] - 1


@pytest.mark.parametrize("created", [True, False])
def test_a_region_marked_good_is_exported_as_good_and_in_no_label(
    view, regions, viewer, controller, state, wait_idle, tmp_path, created
):
    here = regions.data == state.regions.columns["label"][0]
    choose(view, 0)
    view.good_button.click()
    state.threshold = state.model.corrected.before
    if not created:
        viewer.layers.remove(regions)
    controller.export.start(tmp_path / "results")
    wait_idle()
    assert not state.status_is_error
    labels = tifffile.imread(tmp_path / "results" / "bad.labels.ome.tif")
    assert labels.any()
    assert not labels[here].any()
    with (tmp_path / "results" / "regions.csv").open(newline="") as table:
        assert [row["verdict"] for row in csv.DictReader(table)].count("good") == 1


def test_labels_that_are_created_again_know_what_is_good(
    view, regions, controller, state, wait_idle
):
    choose(view, 0)
    view.good_button.click()
    controller.labelling.start()
    wait_idle()
    assert verdicts(state).count("good") == 1
    assert state.status.startswith(f"Created {len(state.regions) - 1} region")


def test_a_mark_is_of_its_image_only(view, regions, viewer, state, images, detected, qtbot):
    choose(view, 0)
    view.good_button.click()
    told = state.model
    (heatmap,) = detected(viewer.add_image(images.spoilt(6), name="same pixels, another image"))
    state.model, state.heatmap = told, heatmap
    qtbot.waitUntil(lambda: state.summary is not None, timeout=5000)
    assert state.summary.good == 0
