"""The Folder section: many files, inspected as the command ``detect`` does it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Labels
from PIL import Image as Picture
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog

from napari_ssim_defects.core.model.thresholds import FalsePositiveRateThreshold
from napari_ssim_defects.io.artifacts.recipe import DetectionSettings
from napari_ssim_defects.io.images.image_file import find_images, read_image
from napari_ssim_defects.plugin.controllers.panel_controller import controller_of
from napari_ssim_defects.plugin.state.preferences import Preferences
from napari_ssim_defects.plugin.views.panel import DefectPanel
from napari_ssim_defects.plugin.views.sections.batch import BatchView
from napari_ssim_defects.scale.folders import detect_files


@pytest.fixture
def model(grey_model):
    """A model that finds white squares."""
    return replace(grey_model, threshold=FalsePositiveRateThreshold(rate=0.05))


@pytest.fixture
def parts(tmp_path, material):
    """A folder of three images, the second with the largest defect."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in "abc":
        image = material(1, spoilt=name != "a")
        if name == "b":
            image[20:40, 5:25] = 0
        Picture.fromarray(image).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def batch(controller, state, model, parts):
    """The section with a model and a folder."""
    state.model = model
    state.stride = 8
    state.segmentation = state.segmentation.replace(opening=2)
    controller.batch.choose([parts])
    return state.batch


def table(folder):
    with (folder / "regions.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def test_the_files_are_those_of_the_command(
    controller, state, batch, model, parts, tmp_path, wait_idle
):
    controller.batch.start()
    wait_idle()
    there = tmp_path / "command"
    assert batch.threshold == model.auto_threshold
    list(
        detect_files(
            model,
            find_images([parts]),
            there,
            DetectionSettings(
                threshold=model.auto_threshold,
                segmentation=state.segmentation,
                outputs=state.outputs,
                stride=8,
                device="cpu",
                report=True,
            ),
        )
    )
    assert batch.folder == parts / "results"
    assert table(batch.folder) == table(there)
    for path in there.glob("*.ome.tif"):
        np.testing.assert_array_equal(
            read_image(path).data, read_image(batch.folder / path.name).data
        )
    assert batch.summary.report == batch.folder / "report.html"
    assert batch.summary.report.exists()
    assert batch.summary.worst[0].path.name == "b.png"
    assert state.status == "Inspected 3 of 3 images."


def test_finished_images_are_left_alone_unless_asked(controller, state, batch, parts, wait_idle):
    controller.batch.start()
    wait_idle()
    written = {path: path.stat().st_mtime_ns for path in batch.folder.glob("*.ome.tif")}
    controller.batch.start()
    wait_idle()
    assert (batch.summary.done, batch.summary.earlier) == (3, 3)
    assert "3 had been finished earlier" in state.status
    assert written == {path: path.stat().st_mtime_ns for path in written}
    batch.overwrite = True
    controller.batch.start()
    wait_idle()
    assert (batch.summary.done, batch.summary.earlier) == (3, 0)
    assert all(path.stat().st_mtime_ns > time for path, time in written.items())


def test_an_image_that_cannot_be_used_does_not_stop_the_others(
    controller, state, batch, parts, wait_idle
):
    (parts / "b.png").write_text("no picture")
    controller.batch.start()
    wait_idle()
    assert batch.summary.done == 2
    ((path, reason),) = batch.summary.failures
    assert path.name == "b.png"
    assert "b.png" in reason
    assert state.status_is_error
    assert "'b.png' could not be used" in state.status
    assert {row[0] for row in table(batch.folder)[1:]} <= {"a.png", "c.png"}
    assert "b.png" in batch.summary.report.read_text(encoding="utf-8")


def test_a_stopped_run_keeps_what_is_finished_and_goes_on(
    controller, state, batch, parts, material, wait_idle, qtbot
):
    for number in range(20):
        Picture.fromarray(material(number, spoilt=True)).save(parts / f"z{number}.png")
    controller.batch.start()
    qtbot.waitUntil(lambda: batch.summary is not None and batch.summary.done > 1, timeout=30_000)
    controller.stop()
    assert not state.busy
    assert "Stopped" in state.status
    finished = batch.summary.done
    assert finished < 23
    controller.batch.start()
    wait_idle()
    assert batch.summary.done == 23
    assert finished <= batch.summary.earlier < 23
    assert not list(batch.folder.glob("*.tmp*"))
    for path in batch.folder.glob("*.ome.tif"):
        assert read_image(path).data.shape == (64, 72)


def test_the_threshold_is_the_one_that_was_dragged_for_this_model(
    state, viewer, material, detected, batch, model
):
    assert batch.threshold == model.auto_threshold
    detected(viewer.add_image(material(1)))
    state.threshold = 0.123
    assert batch.threshold == 0.123
    state.model = None
    assert batch.threshold is None


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [("model", "no model"), ("inputs", "folder or the files"), ("folder", "for the results")],
)
def test_what_is_missing_is_said(controller, state, batch, missing, sentence):
    if missing == "model":
        state.model = None
    else:
        setattr(batch, missing, () if missing == "inputs" else None)
    controller.batch.start()
    assert state.status_is_error
    assert sentence in state.status


def test_a_folder_without_images_is_one_sentence(controller, state, batch, tmp_path, wait_idle):
    empty = tmp_path / "empty"
    empty.mkdir()
    controller.batch.choose([empty])
    controller.batch.start()
    wait_idle()
    assert state.status_is_error
    assert str(empty) in state.status


def test_a_cluster_that_is_not_there_is_one_sentence(
    controller, state, batch, monkeypatch, tmp_path, wait_idle
):
    pytest.importorskip("distributed")
    chosen = Preferences("cpu", 1, tmp_path, tmp_path, cluster="tcp://127.0.0.1:9")
    monkeypatch.setattr("napari_ssim_defects.plugin.controllers.batch.preferences", lambda: chosen)
    monkeypatch.setattr("napari_ssim_defects.scale.cluster._PATIENCE", 0.2)
    controller.batch.start()
    wait_idle()
    assert state.status_is_error
    assert "'tcp://127.0.0.1:9' cannot be reached" in state.status
    assert "\n" not in state.status


def test_a_cluster_without_its_package_is_one_sentence(
    controller, state, batch, monkeypatch, tmp_path, wait_idle
):
    chosen = Preferences("cpu", 1, tmp_path, tmp_path, cluster="tcp://127.0.0.1:9")
    monkeypatch.setattr("napari_ssim_defects.plugin.controllers.batch.preferences", lambda: chosen)
    monkeypatch.setattr(
        "napari_ssim_defects.scale.folders.importlib.util.find_spec", lambda name: None
    )
    controller.batch.start()
    wait_idle()
    assert "pip install napari-ssim-defects[dask]" in state.status


def test_a_cluster_inspects_the_files(controller, state, batch, monkeypatch, tmp_path, wait_idle):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp"
    ) as cluster:
        chosen = Preferences("cpu", 1, tmp_path, tmp_path, cluster=cluster.scheduler_address)
        monkeypatch.setattr(
            "napari_ssim_defects.plugin.controllers.batch.preferences", lambda: chosen
        )
        controller.batch.start()
        assert cluster.scheduler_address in state.status
        wait_idle()
    assert batch.summary.done == 3
    assert batch.summary.worst[0].path.name == "b.png"
    assert batch.summary.report.exists()


def test_an_image_opens_with_its_residual_and_its_regions(
    controller, state, viewer, batch, wait_idle
):
    controller.batch.start()
    wait_idle()
    worst = batch.summary.worst[0]
    controller.batch.open(worst)
    wait_idle()
    image, heatmap, labels = (
        layer for layer in viewer.layers if not layer.name.endswith("threshold")
    )
    assert (image.name, heatmap.name, labels.name) == ("b", "b residual", "b defects")
    np.testing.assert_array_equal(heatmap.data, read_image(worst.residual).data)
    written = read_image(batch.folder / "b.labels.ome.tif").data
    np.testing.assert_array_equal(labels.data, written)
    assert isinstance(labels, Labels)
    assert state.heatmap is heatmap
    assert state.threshold == batch.threshold
    controller.batch.open(worst)
    assert not state.busy
    assert sum(layer.name == "b" for layer in viewer.layers) == 1


def test_an_image_without_a_residual_says_what_to_do(controller, state, viewer, batch, wait_idle):
    state.outputs = state.outputs.replace(kinds=("table",))
    controller.batch.start()
    wait_idle()
    controller.batch.open(batch.summary.worst[0])
    wait_idle()
    assert state.status_is_error
    assert "choose Residual in the Export section" in state.status


class TestByClicks:
    @pytest.fixture
    def viewer(self, make_napari_viewer):
        return make_napari_viewer()

    @pytest.fixture
    def controller(self, viewer):
        return controller_of(viewer)

    @pytest.fixture
    def view(self, viewer, state, model) -> BatchView:
        state.model = model
        state.segmentation = state.segmentation.replace(opening=2)
        panel = DefectPanel(viewer)
        viewer.window.add_dock_widget(panel, name="SSIM defects")
        panel._sections["Folder"].set_expanded(True)
        return panel.batch

    def test_a_person_inspects_a_folder_and_opens_report_folder_and_worst_image(
        self, view, viewer, state, parts, monkeypatch, qtbot, wait_idle
    ):
        assert not view.start_button.isEnabled()
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(parts))
        qtbot.mouseClick(view.folder_button, Qt.MouseButton.LeftButton)
        assert view.inputs.text() == str(parts)
        assert view.results.text() == str(parts / "results")
        assert not view.report_button.isEnabled()
        qtbot.mouseClick(view.start_button, Qt.MouseButton.LeftButton)
        assert view.start_button.text() == "Stop"
        wait_idle()
        assert view.start_button.text() == "Start"
        assert "3 of 3 done" in view.summary.text()
        assert view.worst.topLevelItem(0).text(0) == "b.png"

        opened: list[Path] = []
        monkeypatch.setattr(
            QDesktopServices, "openUrl", lambda url: opened.append(Path(url.toLocalFile()))
        )
        qtbot.mouseClick(view.report_button, Qt.MouseButton.LeftButton)
        qtbot.mouseClick(view.open_button, Qt.MouseButton.LeftButton)
        assert opened == [parts / "results" / "report.html", parts / "results"]
        view.worst.itemActivated.emit(view.worst.topLevelItem(0), 0)
        wait_idle()
        assert "b residual" in viewer.layers

    def test_files_are_chosen_and_boxes_bind_to_the_state(
        self, view, state, parts, tmp_path, monkeypatch, qtbot
    ):
        files = [str(parts / "a.png"), str(parts / "c.png")]
        monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (files, ""))
        qtbot.mouseClick(view.files_button, Qt.MouseButton.LeftButton)
        assert view.inputs.text() == "2 files"
        assert state.batch.inputs == tuple(map(Path, files))
        view.results.setText(str(tmp_path / "elsewhere"))
        view.results.editingFinished.emit()
        assert state.batch.folder == tmp_path / "elsewhere"
        view.overwrite.click()
        view.report.click()
        assert (state.batch.overwrite, state.batch.report) == (True, False)
        state.model = None
        assert not view.start_button.isEnabled()
        assert "no model" in view.settings.text()
