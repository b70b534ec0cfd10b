"""What is offered for export, and where to, in a viewer with a window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers._source import layer_source

from napari_ssim_defects.plugin.views.sections.export import ExportView

pytestmark = pytest.mark.usefixtures("make_napari_viewer")  # a window


@pytest.fixture
def view(controller: Any, docked: Any) -> ExportView:
    return docked(ExportView(controller))


def rows(view: ExportView) -> list[str]:
    return [view.picker._list.item(row).text() for row in range(view.picker._list.count())]


def test_heatmaps_of_another_model_are_marked_and_not_chosen(
    view, viewer, controller, state, images, detected, wait_idle
):
    first, second = (viewer.add_image(images.spoilt(n), name=f"image {n}") for n in (1, 2))
    heatmaps = detected(first, second)
    assert view.picker.selected() == heatmaps
    made = {**state.model.provenance, "created": "another day"}
    state.model = replace(state.model, provenance=made)
    assert view.picker.selected() == []
    assert rows(view) == ["image 2 residual (another model)", "image 1 residual (another model)"]
    state.detection_layers = (second,)
    controller.detection.start()
    wait_idle()
    assert rows(view) == ["image 2 residual", "image 1 residual (another model)"]
    assert [layer.name for layer in view.picker.selected()] == ["image 2 residual"]


@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_exported_files_say_model_and_threshold(
    view, viewer, controller, state, images, detected, wait_idle, tmp_path, kind
):
    detected(viewer.add_image(images.spoilt(1), name="bad"))
    state.threshold = 1.25
    state.outputs = state.outputs.replace(format=kind)
    controller.export.start(tmp_path / "results")
    wait_idle()
    (path,) = (tmp_path / "results").glob("bad.labels*.tif")
    with tifffile.TiffFile(path) as file:
        text = file.ome_metadata or file.imagej_metadata["Info"]
    assert "at threshold 1.25" in text
    assert state.model.provenance["created"] in text


def test_the_folder_follows_the_images_until_one_is_typed_for_them(
    view, viewer, state, images, detected, tmp_path, monkeypatch
):
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)  # what the preferences name here
    layers = []
    for material in ("gravel", "fibres"):
        with layer_source(path=str(tmp_path / material / "bad.tif")):
            layers.append(viewer.add_image(images.spoilt(1), name=material))
        detected(layers[-1])
        assert view.folder.text() == str(tmp_path / material / "results")
    view.folder.setText(str(tmp_path / "mine"))
    view.folder.editingFinished.emit()
    detected(layers[0])
    assert view.folder.text() == str(tmp_path / "mine")
    viewer.layers.clear()
    with layer_source(path=str(tmp_path / "steel" / "bad.tif")):
        detected(viewer.add_image(images.spoilt(1), name="steel"))
    assert view.folder.text() == str(tmp_path / "steel" / "results")


def test_a_pixel_size_is_typed_for_images_without_one(
    view, viewer, controller, state, images, detected, wait_idle, tmp_path, qtbot
):
    bad = viewer.add_image(images.spoilt(1), name="bad")
    truth = viewer.add_labels(np.eye(96, 80, dtype=int), name="truth")
    (heatmap,) = detected(bad)
    assert view.size_row.isVisibleTo(view)
    qtbot.waitUntil(lambda: state.summary is not None, timeout=5000)
    assert state.summary.area == ""
    camera = getattr(viewer, "scene", viewer).camera
    zoom = camera.zoom
    view.pixel.setValue(2.0)
    assert camera.zoom == pytest.approx(zoom / 2)
    view.pixel.setValue(0.5)  # corrected
    assert "µm²" in state.summary.area
    for layer in (bad, heatmap, truth, viewer.layers["bad threshold"]):
        assert tuple(layer.scale) == (0.5, 0.5)
    controller.export.start(tmp_path / "results")
    wait_idle()
    with tifffile.TiffFile(tmp_path / "results" / "bad.labels.ome.tif") as file:
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata
    detected(viewer.add_image(images.spoilt(2), name="known", scale=(3, 3), units="um"))
    view.pixel.setValue(0.25)
    assert tuple(viewer.layers["known"].scale) == (3, 3)
    state.export_layers = (viewer.layers["known residual"],)
    assert not view.size_row.isVisibleTo(view)
