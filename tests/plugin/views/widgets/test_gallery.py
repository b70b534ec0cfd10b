"""The gallery of the regions of all images, as a person sees and uses it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_ssim_defects.core.config import SegmentationConfig
from napari_ssim_defects.plugin.controllers.region_table import RegionTableController
from napari_ssim_defects.plugin.layers.region_pictures import region_picture
from napari_ssim_defects.plugin.state.panel_state import RegionTable
from napari_ssim_defects.plugin.views.panel import DefectPanel
from napari_ssim_defects.plugin.views.widgets.gallery import GalleryModel

TEXT, TIP = Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole


pytestmark = pytest.mark.usefixtures("make_napari_viewer")  # a window


@pytest.fixture
def panel(viewer: Any, docked: Any) -> DefectPanel:
    return docked(DefectPanel(viewer), show=True)


def squares(*values: int) -> np.ndarray:
    labels = np.zeros((60, 90), np.int32)
    for number, value in enumerate(values):
        labels[20:30, 20 * number + 5 : 20 * number + 15] = value
    return labels


@pytest.fixture
def two(panel: Any, commit: Any, qtbot: Any) -> Any:
    """Two images with regions, shown in the gallery."""
    layers = commit(large(1, 2), "first"), commit(large(1, 3, 5), "second")
    gallery = panel.regions.gallery
    qtbot.waitUntil(lambda: gallery.pictures.rowCount() == 5, timeout=5000)
    return (*layers, gallery)


def large(*values: int) -> np.ndarray:
    return np.pad(squares(*values), 150)


def outline_a_tenth(state: Any) -> None:
    state.segmentation = SegmentationConfig(opening=0, min_area=5)
    state.threshold = float(np.quantile(state.heatmap.data, 0.9))


def residuals(gallery: Any) -> list[float]:
    model = gallery.pictures
    return [float(model.index(row).data(TEXT)) for row in range(model.rowCount())]


def place(gallery: Any, layer: Any, label: int) -> Any:
    return gallery.pictures.index(gallery.pictures.place(layer, (0, label)))


def test_regions_of_all_images_are_shown_the_worst_first(two):
    *_, gallery = two
    shown = residuals(gallery)
    assert shown == sorted(shown, reverse=True)
    tips = [gallery.pictures.index(row).data(TIP) for row in range(5)]
    assert sum(tip.startswith("first\n") for tip in tips) == 2
    assert sum(tip.startswith("second\n") for tip in tips) == 3


def test_a_click_goes_to_the_region_of_another_image_as_its_row_does(two, panel, state, qtbot):
    first, second, gallery = two
    assert state.labels_layer is second
    panel.controller.regions.go_to(second, (0, 1))
    index = place(gallery, first, 2)
    gallery.scrollTo(index)
    where = gallery.visualRect(index).center()
    qtbot.mouseClick(gallery.viewport(), Qt.MouseButton.LeftButton, pos=where)
    assert state.labels_layer is first
    assert state.selected_region == (0, 2)
    assert state.image.name == "first"
    (row,) = panel.regions.table.selectionModel().selectedRows()
    assert row.data() == "2"
    centre = panel.controller.viewer.scene.camera.center[-2:]
    assert centre == pytest.approx((174.5, 179.5))


def test_a_row_of_the_table_chooses_its_picture(two, panel):
    _, second, gallery = two
    panel.regions.table.selectRow(1)
    layer, key = gallery.pictures.region(gallery.currentIndex().row())
    assert layer is second
    assert key == (0, 3)


def test_a_picture_is_marked_by_key_as_the_row_is(two, panel, state, model, qtbot, monkeypatch):
    first, _, gallery = two
    marked = []
    monkeypatch.setattr(panel.controller.corrections, "mark", lambda *told: marked.append(told))
    gallery.setCurrentIndex(place(gallery, first, 2))
    qtbot.keyClick(gallery, Qt.Key.Key_G)
    qtbot.keyClick(gallery, Qt.Key.Key_D)
    {action.text(): action for action in gallery.actions()}["This is good"].trigger()
    assert marked == [([1], "good"), ([1], "defect"), ([1], "good")]


def test_a_mark_is_shown_at_the_picture(panel, viewer, images, detected, state, wait_idle, qtbot):
    detected(viewer.add_image(images.spoilt(6), name="bad"))
    outline_a_tenth(state)
    panel.segment.create_button.click()
    wait_idle()
    gallery = panel.regions.gallery
    qtbot.waitUntil(lambda: gallery.pictures.rowCount() > 0, timeout=5000)
    gallery.setCurrentIndex(gallery.pictures.index(0))
    panel.regions.defect_button.click()
    qtbot.waitUntil(lambda: gallery.pictures.index(0).data(TEXT) == "✗ defect", timeout=5000)
    assert gallery.currentIndex().row() == 0


def test_one_click_creates_labels_of_all_images_and_shows_those_of_one(
    panel, viewer, images, detected, state, wait_idle, qtbot
):
    layers = [viewer.add_image(images.spoilt(seed), name=f"bad {seed}") for seed in (6, 7, 8)]
    detected(*layers)
    outline_a_tenth(state)
    for _ in range(2):  # the second time into the same layers
        panel.segment.all_button.click()
        wait_idle()
        assert state.status.endswith("in 3 images.")
        created = [layer for layer in viewer.layers if layer.name.endswith("defects")]
        assert len(created) == 3
        assert [layer.name for layer in created if layer.visible] == ["bad 8 defects"]
        assert state.labels_layer.name == "bad 8 defects"
    panel.images.previous_button.click()
    assert viewer.layers["bad 7 defects"].visible
    assert not viewer.layers["bad 8 defects"].visible
    qtbot.waitUntil(lambda: len(state.all_regions) == 3, timeout=5000)


def test_a_region_that_is_removed_or_painted_over_leaves_the_gallery(two, viewer, state, qtbot):
    first, second, gallery = two
    viewer.layers.remove(second)
    assert [layer for layer, _ in state.all_regions] == [first]
    first.visible = True
    first.data = large(1)
    qtbot.waitUntil(lambda: gallery.pictures.rowCount() == 1, timeout=5000)


def test_another_image_leaves_the_sections_as_they_are(two, panel, state):
    first, second, gallery = two
    panel._sections["Segment"].set_expanded(False)
    for layer in (first, second):
        gallery.setCurrentIndex(place(gallery, layer, 1))
        assert state.labels_layer is layer
    assert not panel._sections["Segment"].is_expanded()


def test_only_pictures_in_sight_are_drawn_and_the_threshold_draws_none(
    panel, viewer, commit, state, monkeypatch, qtbot
):
    layer = commit(squares(1))
    drawn = []
    draw = GalleryModel._draw
    monkeypatch.setattr(
        GalleryModel, "_draw", lambda self, place: drawn.append(place) or draw(self, place)
    )
    qtbot.waitUntil(lambda: bool(state.all_regions), timeout=5000)
    ((_, table),) = state.all_regions
    monkeypatch.setattr(RegionTableController, "_gather", lambda self: None)
    many = {name: np.repeat(values, 5000) for name, values in table.columns.items()}
    state.all_regions = ((layer, RegionTable({**many, "label": np.arange(1, 5001)}, "")),)
    # First and last are asked for their size, before the window shows any.
    qtbot.waitUntil(lambda: 1 in drawn, timeout=5000)
    panel.regions.gallery.repaint()
    QApplication.processEvents()
    assert len(drawn) < 100
    drawn.clear()
    for threshold in np.linspace(0.1, 0.9, 9):
        state.threshold = float(threshold)
        QApplication.processEvents()
    assert drawn == []


def test_pictures_need_the_planes_of_the_image_only_where_they_show_it(viewer, commit):
    labels = squares(0, 1, 2)
    layer = commit(labels)
    picture = region_picture(layer, viewer.layers, 0, 1, (20, 25, 30, 35), 72)
    assert picture.shape == (40, 40, 3)
    outline = (picture == (26, 230, 255)).all(axis=-1)
    assert outline.sum() == 12 * 12 - 10 * 10  # around this region, not around others
    review = region_picture(layer, viewer.layers, 0, 2, (20, 45, 30, 55), 72, review=True)
    assert (review == (89, 242, 89)).all(axis=-1).sum() == 44
    whole = region_picture(layer, viewer.layers, 0, 1, (0, 0, 60, 90), 30)
    assert max(whole.shape) <= 60
    viewer.layers.remove("image")  # then it is the residual
    assert region_picture(layer, viewer.layers, 0, 1, (20, 25, 30, 35), 72).shape == (40, 40, 3)


@pytest.mark.parametrize("kind", ["rgb", "stack", "channels"])
def test_pictures_of_colours_stacks_and_channels(viewer, commit, kind):
    shape = {"rgb": (60, 90), "stack": (4, 60, 90), "channels": (60, 90)}[kind]
    labels = np.zeros(shape, np.int32)
    labels[..., 20:30, 25:35] = 1
    layer = commit(labels)
    image = viewer.layers["image"]
    if kind == "rgb":
        new = viewer.add_image(np.full((60, 90, 3), 77, np.uint8), rgb=True)
    elif kind == "channels":
        new = viewer.add_image(np.full((5, 60, 90), 77, np.uint8), contrast_limits=(0, 255))
    else:
        new = image
        new.data = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 60, 90), np.uint8)
        new.contrast_limits = (0, 255)
    origin = layer.metadata["napari-ssim-defects"]
    layer.metadata = {"napari-ssim-defects": {**origin, "source_id": str(new.unique_id)}}
    plane = 3 if kind == "stack" else 0
    picture = region_picture(layer, viewer.layers, plane, 1, (20, 25, 30, 35), 72)
    assert set(picture[0, 0]) == ({3} if kind == "stack" else {77})
