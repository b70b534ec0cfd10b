"""The job that a person does, by clicks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels
from napari.layers._source import layer_source
from napari.utils import progress
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFileDialog,
    QPushButton,
    QScrollArea,
)

from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.io.writers.ome_tiff import write_ome_tiff
from napari_ssim_defects.plugin.jobs.jobs import Fraction
from napari_ssim_defects.plugin.jobs.runner import Runner
from napari_ssim_defects.plugin.views.panel import DefectPanel

pytestmark = pytest.mark.usefixtures("make_napari_viewer")  # a window


@pytest.fixture
def panel(viewer, controller):
    controller.state.config = TrainingConfig(
        patch_size=16, latent_dimension=8, patches=64, epochs=2, stride=16, name="quick"
    )
    panel = DefectPanel(viewer)
    viewer.window.add_dock_widget(panel, name="SSIM defects")
    return panel


@pytest.fixture
def endless(panel, viewer, images, qtbot):
    """A training that never ends by itself, past its first steps."""
    panel.state.config = panel.state.config.replace(epochs=1_000_000)
    panel.state.training_layers = (viewer.add_image(images.texture(1), name="good"),)
    panel.train.train_button.click()
    qtbot.waitUntil(lambda: len(panel.state.losses) > 1, timeout=30_000)
    return panel


def no_thread_is_left() -> bool:
    return QThreadPool.globalInstance().activeThreadCount() == 0


def click(qtbot: Any, button: Any) -> None:
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_a_person_trains_detects_segments_and_exports_by_clicks(
    viewer, panel, qtbot, wait_idle, tmp_path, images, monkeypatch
):
    good = viewer.add_image(images.texture(1), name="good", scale=(0.5, 0.5), units="um")
    bad = viewer.add_image(images.spoilt(2), name="bad", scale=(0.5, 0.5), units="um")
    state = panel.state

    panel.train.picker.set_selected([good])
    panel.train.picker.selection_changed.emit()
    click(qtbot, panel.train.train_button)
    assert panel.train.train_button.text() == "Stop"
    wait_idle()
    assert "Trained" in state.status
    assert state.losses
    assert state.preview is not None
    assert "Not saved" in panel.detect.model_label.text()

    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "texture"), ""))
    click(qtbot, panel.detect.save_button)
    wait_idle()
    assert (tmp_path / "texture.safetensors").exists()
    assert panel.detect.model_label.text().startswith("texture")

    panel.detect.picker.set_selected([bad])
    panel.detect.picker.selection_changed.emit()
    click(qtbot, panel.detect.detect_button)
    wait_idle()
    heatmap = state.heatmap
    assert isinstance(heatmap, Image)
    assert heatmap.name == "bad residual"
    assert state.threshold == state.auto_threshold == state.model.auto_threshold

    qtbot.waitUntil(lambda: state.summary is not None, timeout=5000)
    panel.segment.slider.value_changed.emit(0.4)
    qtbot.waitUntil(lambda: state.summary is not None, timeout=5000)
    assert "px" in panel.segment.summary.text()
    assert "µm²" in panel.segment.summary.text()
    click(qtbot, panel.segment.auto_button)
    assert panel.segment.slider.value() == pytest.approx(state.auto_threshold)
    click(qtbot, panel.segment.create_button)
    wait_idle()
    labels = viewer.layers["bad defects"]
    assert isinstance(labels, Labels)
    assert labels.data.dtype == "int32"

    panel.export.kinds["mask"].click()
    click(qtbot, panel.export.export_button)
    wait_idle()
    assert {path.name for path in panel.controller.export.folder().glob("*.*")} >= {
        "bad.residual.ome.tif",
        "bad.labels.ome.tif",
        "bad.mask.ome.tif",
        "regions.csv",
    }
    with tifffile.TiffFile(tmp_path / "bad.residual.ome.tif") as file:
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata


def test_a_copied_recipe_is_on_the_clipboard(
    panel, viewer, images, model, qtbot, wait_idle, tmp_path
):
    path = tmp_path / "bad.ome.tif"
    write_ome_tiff(path, images.spoilt(2))
    with layer_source(path=str(path)):  # as if napari had opened it
        bad = viewer.add_image(images.spoilt(2), name="bad")
    panel.state.model = model
    panel.controller.save_model(tmp_path / "model")
    wait_idle()
    panel.state.detection_layers = (bad,)
    panel.controller.detection.start()
    wait_idle()
    for button, start in (
        (panel.export.command_button, "napari-ssim-defects detect "),
        (panel.export.script_button, "from pathlib import Path"),
    ):
        click(qtbot, button)
        wait_idle()
        assert QApplication.clipboard().text().startswith(start)


def test_a_recipe_is_saved_and_opened(
    panel, viewer, images, qtbot, wait_idle, tmp_path, monkeypatch
):
    path = tmp_path / "good.ome.tif"
    write_ome_tiff(path, images.texture(2))
    with layer_source(path=str(path)):  # as if napari had opened it
        panel.state.training_layers = (viewer.add_image(images.texture(2), name="good"),)
    config = panel.state.config
    file = tmp_path / "a recipe.toml"
    answers = {"getSaveFileName": file.with_suffix(""), "getOpenFileName": file}
    for name, answer in answers.items():
        monkeypatch.setattr(QFileDialog, name, lambda *_, answer=answer: (str(answer), ""))
    click(qtbot, panel.export.save_recipe_button)
    wait_idle()
    assert panel.state.status == f"Saved the recipe of training to '{file}'."
    panel.state.config = TrainingConfig.preset("paper")
    panel.state.training_layers = ()
    click(qtbot, panel.export.open_recipe_button)
    wait_idle()
    assert panel.state.config == config
    assert panel.train.fields["patch_size"].value() == 16
    assert [layer.name for layer in panel.train.picker.selected()] == ["good"]


def test_napari_opens_the_installed_panel_once(viewer):
    dock, panel = viewer.window.add_plugin_dock_widget("napari-ssim-defects", "SSIM defects")
    assert isinstance(panel, DefectPanel)
    again, same = viewer.window.add_plugin_dock_widget("napari-ssim-defects", "SSIM defects")
    assert again is dock
    assert same is panel
    # Layers that the panel handles are the viewer's own, not proxies of them.
    layer = viewer.add_image(np.zeros((20, 20)))
    panel.train.picker.set_selected([layer])
    assert panel.train.picker.selected()[0] is layer


def test_everything_fits_into_350_pixels(panel, viewer, images, detected, qtbot):
    bad = viewer.add_image(images.spoilt(2), name="an image with quite a long name for a layer")
    detected(bad)
    for section in panel._sections.values():
        section.set_expanded(True)
    content = panel.train.parentWidget().parentWidget()
    assert content.minimumSizeHint().width() <= 350


def test_closing_the_panel_keeps_the_model(panel, viewer, model, qtbot):
    panel.state.model = model
    again = DefectPanel(viewer)
    qtbot.addWidget(again)
    assert again.state.model is model
    assert again.detect.model_label.text() == panel.detect.model_label.text()
    assert "SSIM" in again.detect.model_label.toolTip()


def test_preset_and_system_fill_the_fields(panel):
    train = panel.train
    train.preset.chosen.emit("paper")
    assert train.fields["epochs"].value() == 200
    assert train.fields["minutes"].text() == "no limit"
    train.preset.chosen.emit("quick")
    assert train.fields["epochs"].value() == panel.state.config.epochs
    train.fields["minutes"].setValue(2.5)
    assert panel.state.config.minutes == 2.5
    train.fields["minutes"].setValue(0)
    assert panel.state.config.minutes is None
    train.fields["system"].chosen.emit("l2")
    assert panel.state.config.residual.kind == "squared_error"
    assert not train.window_size.isEnabled()
    train.fields["system"].chosen.emit("ssim")
    train.window_size.setValue(8)  # even
    assert panel.state.config.ssim.window_size % 2 == 1
    train.fields["patch_size"].setValue(100)
    assert panel.state.config.patch_size % 16 == 0


def test_every_field_has_a_tool_tip_and_a_name(panel):
    views = (panel.train, panel.detect, panel.segment, panel.export)
    fields = [
        field
        for view in views
        for kind in (QAbstractSpinBox, QComboBox)
        for field in view.findChildren(kind)
    ]
    assert fields
    for field in fields:
        inherited = field.parentWidget().toolTip()  # Qt shows a parent's where there is none
        assert field.toolTip() or inherited, field.accessibleName()
        assert field.accessibleName(), field.toolTip()
    buttons = [button for view in views for button in view.findChildren(QPushButton)]
    for button in buttons:
        assert button.focusPolicy() & Qt.FocusPolicy.TabFocus, button.text()


def test_closing_the_viewer_mid_training_leaves_no_thread(endless, viewer, qtbot):
    viewer.close()
    qtbot.waitUntil(no_thread_is_left, timeout=10_000)
    assert endless.state.activity == "idle"


def test_a_training_whose_viewer_was_closed_goes_on_by_a_click_in_the_next_one(
    endless, viewer, images, qtbot, make_napari_viewer
):
    assert not endless.train.resume_button.isVisibleTo(endless.train)
    viewer.close()
    qtbot.waitUntil(no_thread_is_left, timeout=10_000)
    other = make_napari_viewer()
    panel = DefectPanel(other)
    other.window.add_dock_widget(panel, name="SSIM defects")
    layer = other.add_image(images.texture(1), name="good")
    assert panel.train.resume_button.isVisibleTo(panel.train)
    click(qtbot, panel.train.resume_button)
    assert panel.train.picker.selected() == [layer]
    qtbot.waitUntil(lambda: len(panel.state.losses) > 1, timeout=30_000)
    assert not panel.train.resume_button.isVisibleTo(panel.train)
    assert "training" in panel.train.plot.accessibleDescription()
    panel.controller.stop()
    qtbot.waitUntil(lambda: not panel.state.busy, timeout=30_000)
    assert panel.state.model is not None


def test_closing_the_viewer_while_the_training_pauses_leaves_no_thread(endless, viewer, qtbot):
    endless.train.pause_button.click()
    assert endless.train.pause_button.text() == "Resume"
    viewer.close()
    qtbot.waitUntil(no_thread_is_left, timeout=10_000)


def test_closing_the_panel_does_not_end_the_training(endless, viewer, qtbot, wait_idle):
    viewer.window.remove_dock_widget(endless)
    count = len(endless.state.losses)
    qtbot.waitUntil(lambda: len(endless.state.losses) > count, timeout=10_000)
    endless.controller.stop()
    wait_idle()
    assert endless.state.model is not None
    endless.deleteLater()


def test_a_running_training_shows_in_panel_and_activity_dock_and_blocks_other_jobs(
    endless, qtbot, wait_idle
):
    assert endless.footer.bar.isVisibleTo(endless.footer)
    assert 0 < endless.state.progress < 1
    qtbot.waitUntil(lambda: (endless.state.remaining or 0) > 0, timeout=30_000)
    qtbot.waitUntil(
        lambda: any("SSIM defects: training" in str(bar) for bar in progress._all_instances)
    )
    assert not endless.detect.detect_button.isEnabled()
    assert not endless.detect.open_button.isEnabled()
    click(qtbot, endless.train.train_button)  # now it says Stop
    assert not endless.train.train_button.isEnabled()
    endless.state.discardable = True
    assert endless.train.train_button.isEnabled()
    assert endless.train.train_button.text() == "Discard"
    wait_idle()
    assert endless.train.train_button.text() == "Train"
    assert not endless.footer.bar.isVisibleTo(endless.footer)
    assert not progress._all_instances


def test_each_message_of_a_job_is_dealt_with_before_the_next_one(panel, qtbot, wait_idle):
    # napari's activity dock handles all waiting events whenever its bar moves.
    runner, under_way, most = Runner(panel.state), [], []

    def job():
        for number in range(300):
            yield Fraction(number / 300)

    def on_message(message: Fraction) -> None:
        under_way.append(message)
        most.append(len(under_way))
        runner.report(message)
        under_way.pop()

    runner.begin("detecting", "Detecting …", job, on_message)
    wait_idle()
    assert len(most) == 300
    assert max(most) == 1


def test_an_error_stands_in_the_panel_with_a_sign(panel, qtbot):
    click(qtbot, panel.train.train_button)
    assert panel.footer.status.text().startswith("⚠ Choose at least one image layer")


def test_settings_of_the_segmentation_are_edited_and_shown(panel, viewer, images, detected):
    detected(viewer.add_image(images.spoilt(2), name="bad"))
    state, view = panel.state, panel.segment
    view.fields["closing"].setValue(6)
    view.fields["max_area"].setValue(500)
    view.fields["connectivity"].chosen.emit(4)
    view.fields["clear_border"].click()
    view.two_thresholds.click()
    assert view.fields["hysteresis"].isEnabled()
    view.fields["hysteresis"].click()
    settings = state.segmentation
    assert settings.closing == 6
    assert settings.max_area == 500
    assert settings.connectivity == 4
    assert settings.clear_border
    assert settings.review_threshold == state.threshold / 2
    assert not settings.hysteresis
    view.review.setValue(state.threshold + 1)  # never above the threshold for defects
    assert state.segmentation.review_threshold == state.threshold
    view.slider.review_changed.emit(state.threshold / 4)  # dragged in the histogram
    assert view.review.value() == pytest.approx(state.threshold / 4, abs=1e-4)
    view.two_thresholds.click()
    view.fields["max_area"].setValue(0)
    assert state.segmentation.review_threshold is None
    assert state.segmentation.max_area is None
    view.shared.click()
    assert not state.shared_threshold


def test_a_person_evaluates_by_clicks(panel, viewer, images, detected, qtbot, wait_idle):
    detected(viewer.add_image(images.spoilt(6), name="bad"))
    labels = np.zeros((96, 80), np.int32)
    labels[30:50, 20:40] = 1
    viewer.add_labels(labels, name="truth")
    view = panel.evaluate
    assert not view.evaluate_button.isEnabled()
    assert not view.table.isVisibleTo(view)
    view.truth.setCurrentIndex(view.truth.findText("truth"))
    view.truth.activated.emit(view.truth.currentIndex())
    click(qtbot, view.evaluate_button)
    wait_idle()
    assert view.table.isVisibleTo(view)
    headings = [view.table.horizontalHeaderItem(i).text() for i in range(view.table.columnCount())]
    assert float(view.table.item(0, headings.index("AUROC")).text()) > 0.5
    for index, text in enumerate(["ROC: AUROC", "Precision and recall: AUPRC", "Overlap"]):
        view.curve.setCurrentIndex(index)
        view.curve.activated.emit(index)
        assert view.plot.accessibleDescription().startswith(text)
        assert not view.plot.grab().isNull()


def test_every_system_can_be_chosen(panel):
    field = panel.train.fields["system"]
    for system in ("l2", "vae", "fmae", "ssim"):
        index = field.findData(system)
        field.setCurrentIndex(index)
        field.activated.emit(index)
        config = panel.state.config
        assert config.system == system
        assert config.residual == TrainingConfig(system=system).residual or system == "ssim"


def test_messages_of_any_length_leave_the_buttons_where_they_are(panel, qtbot):
    panel.resize(300, 700)
    panel.show()
    qtbot.waitExposed(panel)
    heights = set()
    for text in ("", "Done.", "A message that takes two lines at least. " * 3):
        panel.state.status = text
        panel.layout().activate()
        heights.add((panel.footer.height(), panel.footer.minimumSizeHint().height()))
        assert panel.footer.status.toolTip() == text
    assert len(heights) == 1


def test_a_narrow_panel_shows_all_of_its_width(panel, viewer, images, detected, qtbot):
    detected(viewer.add_image(images.spoilt(1), name="a name that is far too long for a panel"))
    for section in panel._sections.values():
        section.set_expanded(True)
    scroll = panel.findChild(QScrollArea)
    assert scroll.widget().minimumSizeHint().width() <= 284  # beside the scroll bar
    assert scroll.horizontalScrollBarPolicy() != Qt.ScrollBarPolicy.ScrollBarAlwaysOff


def test_the_number_of_regions_stands_by_the_slider(viewer, controller, images, detected, qtbot):
    panel = DefectPanel(viewer)  # in a window of its own, which is laid out at once
    qtbot.addWidget(panel)
    panel.resize(350, 1000)
    panel.show()
    qtbot.waitExposed(panel)
    detected(viewer.add_image(images.spoilt(1), name="bad"))
    qtbot.waitUntil(lambda: "region" in panel.segment.summary.text())
    summary = panel.segment.summary
    assert not panel._sections["Train"].is_expanded()
    qtbot.waitUntil(lambda: summary.mapTo(panel, summary.rect().bottomLeft()).y() < 700)


def test_napari_asks_before_it_closes_with_a_model_that_is_not_saved(
    panel, viewer, images, controller, wait_idle, tmp_path
):
    tasks = getattr(viewer.window, "_task_status_manager", None)
    if tasks is None:
        pytest.skip("this napari asks about nothing")
    panel.state.training_layers = (viewer.add_image(images.texture(1), name="good"),)
    controller.training.start()
    wait_idle()
    assert tasks.get_status() == ["SSIM defects: model 1, not saved"]
    controller.save_model(tmp_path / "model.safetensors")
    wait_idle()
    assert not tasks.get_status()
