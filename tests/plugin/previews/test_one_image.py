"""One image at a time, with its heatmap and its outlines, in a real viewer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_ssim_defects.plugin.layers import is_heatmap, new_preview
from napari_ssim_defects.plugin.layers.provenance import provenance


@pytest.fixture
def viewer(make_napari_viewer: Any) -> Any:
    """A viewer with a window."""
    return make_napari_viewer()


@pytest.fixture
def three(viewer: Any, images: Any, detected: Any, state: Any, qtbot: Any) -> Any:
    """Three defective images over the same place, inspected and outlined."""
    layers = [viewer.add_image(images.spoilt(n), name=f"part {n}") for n in (1, 2, 3)]
    heatmaps = detected(*layers)
    state.threshold = 0.2
    for heatmap in heatmaps:
        state.heatmap = heatmap
        qtbot.waitUntil(lambda: state.summary is not None and state.summary.complete)
    return layers, heatmaps


def in_sight(viewer: Any) -> set[str]:
    """Names of the images that anything in sight is, or was made of."""
    return {provenance(layer).get("source", layer.name) for layer in viewer.layers if layer.visible}


def kinds(viewer: Any) -> set[str]:
    return {provenance(layer).get("kind", "image") for layer in viewer.layers if layer.visible}


def test_choosing_a_heatmap_shows_its_image_and_nothing_of_the_others(viewer, three, state):
    _, heatmaps = three
    for number in (0, 2, 1):
        state.heatmap = heatmaps[number]
        assert in_sight(viewer) == {f"part {number + 1}"}
        assert kinds(viewer) == {"image", "residual", "preview"}


def test_choosing_an_image_in_the_layer_list_shows_its_heatmap_and_outlines(viewer, three, state):
    layers, heatmaps = three
    viewer.layers.selection.active = layers[0]
    assert state.heatmap is heatmaps[0]
    assert in_sight(viewer) == {"part 1"}
    assert kinds(viewer) == {"image", "residual", "preview"}


def test_an_image_without_a_heatmap_is_shown_without_those_of_others(viewer, three, state, images):
    later = viewer.add_image(images.texture(9), name="later")
    viewer.layers.selection.active = three[0][0]
    before = state.threshold
    viewer.layers.selection.active = later
    assert in_sight(viewer) == {"later"}
    assert state.heatmap is None
    viewer.layers.selection.active = three[0][0]
    assert state.threshold == before


def test_a_mask_that_was_opened_as_an_image_does_not_cover_the_one_that_is_chosen(
    viewer, images, controller, qtbot
):
    first, _ = (viewer.add_image(images.spoilt(n), name=f"part {n}") for n in (1, 2))
    mask = np.zeros(first.data.shape, np.uint8)
    mask[30:50, 20:40] = 255
    viewer.add_image(mask, name="part 2 mask")
    beside = viewer.add_image(mask, name="part 3 mask", translate=(0, 500))
    controller.images.choose(first)
    assert {layer.name for layer in viewer.layers if layer.visible} == {"part 1", beside.name}


def test_ground_truth_is_seen_with_the_image_that_it_is_called_like_and_no_other(
    viewer, images, controller
):
    layers = [viewer.add_image(images.spoilt(n), name=f"part {n}") for n in (1, 2)]
    shape = layers[0].data.shape
    hidden = viewer.add_labels(np.ones(shape, int), name="part 1 truth", visible=False)
    truth = viewer.add_labels(np.ones(shape, int), name="part 2 truth")
    drawn = viewer.add_labels(np.ones(shape, int), name="Labels")
    controller.images.choose(layers[0])
    assert not truth.visible
    assert drawn.visible  # of no other image
    assert not hidden.visible  # nobody has shown it
    controller.images.choose(layers[1])
    assert truth.visible
    assert drawn.visible


def test_choosing_ground_truth_in_the_layer_list_shows_its_image(viewer, images, controller, state):
    layers = [viewer.add_image(images.spoilt(n), name=f"part {n}") for n in (1, 2)]
    truth = viewer.add_labels(np.ones(layers[0].data.shape, int), name="part 2 truth")
    controller.images.choose(layers[0])
    viewer.layers.selection.active = truth
    assert state.image is layers[1]
    assert truth.visible
    assert not layers[0].visible
    controller.images.choose(layers[0])
    assert viewer.layers.selection.active is not truth


def test_outlines_of_another_image_that_come_late_do_not_change_the_image(viewer, three, state):
    _, heatmaps = three
    state.heatmap = heatmaps[0]
    viewer.layers.selection.active = heatmaps[0]
    changes = []
    state.events.heatmap.connect(changes.append)
    late = new_preview(np.zeros(heatmaps[1].data.shape, np.uint8), heatmaps[1])
    late.visible = False
    viewer.add_layer(late)
    assert changes == []
    assert in_sight(viewer) == {"part 1"}


def test_images_beside_each_other_stay_in_sight(viewer, images, detected, state):
    left = viewer.add_image(images.spoilt(1), name="left")
    right = viewer.add_image(images.spoilt(2), name="right", translate=(0, 200))
    heatmaps = detected(left, right)
    state.heatmap = heatmaps[0]
    assert in_sight(viewer) == {"left", "right"}


def test_a_row_of_the_table_shows_the_image_of_its_region(
    controller, viewer, three, state, wait_idle
):
    _, heatmaps = three
    state.heatmap = heatmaps[0]
    controller.labelling.start()
    wait_idle()
    table = state.labels_layer
    state.heatmap = heatmaps[1]
    assert in_sight(viewer) == {"part 2"}
    assert state.labels_layer is table  # there are none of the second image yet
    controller.regions.select(0)
    assert in_sight(viewer) == {"part 1"}
    assert state.heatmap is heatmaps[0]
    assert kinds(viewer) == {"image", "residual", "labels"}


def test_keys_step_through_the_inspected_images(viewer, three, state, qtbot):
    window = viewer.window._qt_window
    state.heatmap = three[1][0]
    qtbot.keyClick(window, Qt.Key.Key_Period)
    assert in_sight(viewer) == {"part 2"}
    qtbot.keyClick(window, Qt.Key.Key_Period)
    qtbot.keyClick(window, Qt.Key.Key_Period)
    assert in_sight(viewer) == {"part 1"}
    qtbot.keyClick(window, Qt.Key.Key_Comma)
    assert in_sight(viewer) == {"part 3"}
    assert state.image is three[0][2]


def test_stepping_takes_the_table_along(controller, viewer, three, state, wait_idle):
    _, heatmaps = three
    made = []
    for heatmap in heatmaps[:2]:
        state.heatmap = heatmap
        controller.labelling.start()
        wait_idle()
        made.append(state.labels_layer)
    controller.images.step(-1)
    assert state.labels_layer is made[0]
    assert viewer.layers.selection.active is not made[1]


def test_a_key_shows_the_plain_image_while_it_is_held(viewer, three, qtbot):
    window = viewer.window._qt_window
    qtbot.keyPress(window, Qt.Key.Key_H)
    assert kinds(viewer) == {"image"}
    assert in_sight(viewer) == {"part 3"}
    qtbot.keyRelease(window, Qt.Key.Key_H)
    assert kinds(viewer) == {"image", "residual", "preview"}


def test_the_panel_steps_and_names_the_image(viewer, controller, three, state, qtbot):
    from napari_ssim_defects.plugin.views.panel import ImageBar

    bar = ImageBar(controller)
    qtbot.addWidget(bar)
    state.heatmap = three[1][0]
    qtbot.mouseClick(bar.next_button, Qt.MouseButton.LeftButton)
    assert bar.image.currentText() == "part 2"
    assert in_sight(viewer) == {"part 2"}
    qtbot.mousePress(bar.plain_button, Qt.MouseButton.LeftButton)
    assert not any(layer.visible for layer in viewer.layers if is_heatmap(layer))
    qtbot.mouseRelease(bar.plain_button, Qt.MouseButton.LeftButton)
    assert kinds(viewer) == {"image", "residual", "preview"}


def test_a_removed_image_leaves_the_keys_working(viewer, three, state, controller):
    layers, _ = three
    viewer.layers.remove(layers[1])
    controller.images.step(1)
    controller.images.step(1)
    assert state.image in (layers[0], layers[2])


def test_a_drag_of_the_threshold_leaves_the_layers_of_other_images_alone(viewer, three, state):
    touched = []
    for layer in viewer.layers:
        if provenance(layer).get("source") != "part 3":
            layer.events.visible.connect(lambda event: touched.append(event.source))
    for threshold in (0.3, 0.4, 0.5):
        state.threshold = threshold
    assert touched == []  # each would draw all layers again
