"""The labels that follow the threshold, and the labels that are kept."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_ssim_defects.core.segmentation.segment import segment


@pytest.fixture
def settled(state, qtbot):
    """Wait until the regions of the current threshold are complete."""

    def wait():
        qtbot.waitUntil(
            lambda: state.summary is not None and state.summary.complete, timeout=10_000
        )

    return wait


@pytest.fixture
def heatmap(viewer, images, detected, settled):
    (layer,) = detected(
        viewer.add_image(images.spoilt(2), name="image", scale=(0.5, 0.5), units="um")
    )
    settled()
    return layer


def regions(residual, state):
    """What the core finds, with the settings of the state."""
    return segment(residual, state.threshold, **state.segmentation.model_dump())


def preview_of(viewer):
    (layer,) = [layer for layer in viewer.layers if layer.name.endswith("threshold")]
    return layer


def test_the_histogram_can_be_compared_with_that_of_defect_free_pixels(state, heatmap, model):
    counts, edges = state.histogram
    good, good_edges = state.good_histogram
    assert counts.sum() == heatmap.data.size
    np.testing.assert_array_equal(edges, good_edges)
    assert good.sum() == pytest.approx(model.calibration.pixels, rel=0.01)


def test_the_labels_follow_the_slider_at_once(state, viewer, heatmap, settled):
    for quantile in (0.9, 0.8, 0.97):
        state.threshold = float(np.quantile(heatmap.data, quantile))
        expected = regions(heatmap.data, state)
        np.testing.assert_array_equal(preview_of(viewer).data > 0, expected > 0)
        assert state.summary.regions == expected.max()


def test_regions_and_area_follow_at_once(state, viewer, heatmap, settled):
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    expected = regions(heatmap.data, state)
    assert state.summary.complete
    assert state.summary.regions == expected.max()
    assert state.summary.pixels == np.count_nonzero(expected)
    area = 0.25 * np.count_nonzero(expected)
    assert state.summary.area == f"{area:.4g} µm²"


@pytest.mark.parametrize(
    "change",
    [
        {"opening": 0},
        {"closing": 9},
        {"fill_holes": False},
        {"min_area": 200},
        {"max_area": 300},
        {"clear_border": True},
        {"connectivity": 4},
        {"convex_hull": False},
    ],
    ids=str,
)
def test_post_processing_is_followed(state, viewer, heatmap, settled, change):
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    settled()
    state.segmentation = state.segmentation.replace(**change)
    settled()
    expected = segment(heatmap.data, state.threshold, **state.segmentation.model_dump())
    np.testing.assert_array_equal(preview_of(viewer).data > 0, expected > 0)


def test_one_layer_is_reused_while_the_slider_moves(state, viewer, heatmap, settled):
    layer, data = preview_of(viewer), preview_of(viewer).data
    for quantile in (0.5, 0.7, 0.9):
        state.threshold = float(np.quantile(heatmap.data, quantile))
    assert preview_of(viewer) is layer
    assert preview_of(viewer).data is data


def test_moving_the_slider_does_not_change_the_selected_layer(state, viewer, heatmap, settled):
    viewer.layers.selection = {viewer.layers["image"]}
    viewer.layers.remove(preview_of(viewer))
    state.threshold = 0.3
    settled()
    assert preview_of(viewer)
    assert viewer.layers.selection == {viewer.layers["image"]}


def test_stacks_show_the_visible_plane_at_once_and_count_all(
    state, viewer, images, detected, settled
):
    (heatmap,) = detected(viewer.add_image(images.spoilt(2, (3, 64, 64)), scale=(2, 1, 1)))
    settled()
    viewer.dims.set_current_step(0, 2)
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    np.testing.assert_array_equal(
        preview_of(viewer).data[2] > 0, regions(heatmap.data[2], state) > 0
    )
    assert not state.summary.complete
    assert state.summary.regions == regions(heatmap.data[2], state).max()
    viewer.dims.set_current_step(0, 0)
    np.testing.assert_array_equal(
        preview_of(viewer).data[0] > 0, regions(heatmap.data[0], state) > 0
    )
    settled()
    expected = segment(heatmap.data, state.threshold, **state.segmentation.model_dump())
    assert state.summary.regions == expected.max()
    np.testing.assert_array_equal(preview_of(viewer).data > 0, expected > 0)


def test_created_labels_are_numbered_measured_and_in_place(
    controller, state, viewer, heatmap, settled, wait_idle
):
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    settled()
    controller.labelling.start()
    wait_idle()
    labels = viewer.layers["image defects"]
    expected = segment(heatmap.data, state.threshold, **state.segmentation.model_dump())
    np.testing.assert_array_equal(labels.data, expected)
    assert labels.data.dtype == np.int32
    assert tuple(labels.scale) == (0.5, 0.5)
    assert labels.units == heatmap.units
    features = labels.features
    assert list(features["index"]) == list(range(1, expected.max() + 1))
    assert list(features["area_px"]) == list(np.bincount(expected.ravel())[1:])
    assert labels.metadata["napari-ssim-defects"]["threshold"] == state.threshold
    assert not preview_of(viewer).visible
    state.threshold *= 0.9
    assert preview_of(viewer).visible


def test_creating_again_replaces_the_labels_of_the_same_image(
    controller, viewer, heatmap, settled, wait_idle
):
    for _ in range(2):
        controller.labelling.start()
        wait_idle()
    assert sum(layer.name.startswith("image defects") for layer in viewer.layers) == 1


def test_created_again_labels_keep_their_layer_and_its_looks(
    controller, state, viewer, heatmap, settled, wait_idle
):
    controller.labelling.start()
    wait_idle()
    layer = viewer.layers["image defects"]
    layer.name, layer.opacity, layer.visible = "mine", 0.3, False
    state.selected_region = 0, 1
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    viewer.layers.selection.active = heatmap
    controller.labelling.start()
    wait_idle()
    assert viewer.layers["mine"] is layer is viewer.layers.selection.active
    assert (layer.opacity, layer.visible) == (0.3, True)
    expected = segment(heatmap.data, state.threshold, **state.segmentation.model_dump())
    np.testing.assert_array_equal(layer.data, expected)
    assert list(layer.features["area_px"]) == list(np.bincount(expected.ravel())[1:])
    assert state.regions.columns["area_px"].tolist() == list(layer.features["area_px"])
    assert state.selected_region is None
    assert layer.metadata["napari-ssim-defects"]["threshold"] == state.threshold


def test_labels_created_from_a_newer_residual_are_measured_on_it_when_painted(
    controller, state, viewer, heatmap, settled, wait_idle, qtbot
):
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    controller.labelling.start()
    wait_idle()
    layer = viewer.layers["image defects"]
    heatmap.data = heatmap.data + np.float32(1)
    controller.labelling.start()
    wait_idle()
    layer.paint((0, 0), 1)
    label = layer.features["index"].iloc[0]
    inside = heatmap.data[layer.data == label]
    qtbot.waitUntil(
        lambda: layer.features["mean_residual"].iloc[0] == pytest.approx(inside.mean()),
        timeout=5000,
    )


def test_labels_of_an_image_that_changed_its_size_are_replaced(
    controller, state, viewer, heatmap, images, detected, settled, wait_idle
):
    controller.labelling.start()
    wait_idle()
    image = viewer.layers["image"]
    image.data = images.spoilt(3, (64, 48))
    detected(image)
    settled()
    controller.labelling.start()
    wait_idle()
    (labels,) = (layer for layer in viewer.layers if layer.name.endswith("defects"))
    assert labels.data.shape == (64, 48)


def test_the_preview_goes_with_its_heatmap(state, viewer, heatmap, qtbot):
    viewer.layers.remove(heatmap)
    assert state.heatmap is None
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers] == ["image"], timeout=5000)


def test_painted_labels_are_never_replaced(controller, state, viewer, heatmap, settled, wait_idle):
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    controller.labelling.start()
    wait_idle()
    painted = viewer.layers["image defects"]
    painted.data_setitem((np.array([0, 0]), np.array([0, 1])), 7)
    corrected = painted.data.copy()
    for _ in range(2):  # the newer ones are replaced, the painted ones are not
        controller.labelling.start()
        wait_idle()
        assert painted in viewer.layers
        np.testing.assert_array_equal(painted.data, corrected)
        assert sum(layer.name.startswith("image defects") for layer in viewer.layers) == 2


def test_the_preview_goes_on_after_labels_were_created_and_leaves_them_alone(
    controller, state, viewer, heatmap, settled, wait_idle
):
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    controller.labelling.start()
    wait_idle()
    created = viewer.layers["image defects"].data.copy()
    for quantile in (0.8, 0.97):
        state.threshold = float(np.quantile(heatmap.data, quantile))
        expected = regions(heatmap.data, state)
        np.testing.assert_array_equal(preview_of(viewer).data > 0, expected > 0)
    state.segmentation = state.segmentation.replace(opening=0)
    settled()
    assert preview_of(viewer).visible
    np.testing.assert_array_equal(preview_of(viewer).data > 0, regions(heatmap.data, state) > 0)
    np.testing.assert_array_equal(viewer.layers["image defects"].data, created)


def test_labels_of_stacks_are_numbered_onward_with_their_plane(
    controller, state, viewer, images, detected, settled, wait_idle
):
    (heatmap,) = detected(viewer.add_image(images.spoilt(2, (2, 64, 64)), name="stack"))
    state.threshold = float(np.quantile(heatmap.data, 0.9, axis=(1, 2)).min())
    controller.labelling.start()
    wait_idle()
    labels = viewer.layers["stack defects"]
    expected = segment(heatmap.data, state.threshold, **state.segmentation.model_dump())
    np.testing.assert_array_equal(labels.data, expected)
    assert sorted(set(labels.features["plane"])) == [0, 1]


def test_auto_is_the_threshold_of_the_model_that_made_the_heatmap(
    controller, state, viewer, heatmap, settled, model
):
    state.threshold = 0.01
    state.model = None
    controller.proposals.use_automatic()
    assert state.threshold == model.auto_threshold


def test_too_much_above_the_threshold_is_shown_bare_and_completed_at_rest(
    state, viewer, heatmap, settled, monkeypatch
):
    monkeypatch.setattr("napari_ssim_defects.plugin.previews.heatmap_preview._LIVE_SEGMENTS", 0)
    state.segmentation = state.segmentation.replace(opening=0, closing=0)
    settled()
    state.threshold = float(np.quantile(heatmap.data, 0.8))
    assert state.summary is None
    np.testing.assert_array_equal(preview_of(viewer).data > 0, heatmap.data > state.threshold)
    settled()
    np.testing.assert_array_equal(preview_of(viewer).data > 0, regions(heatmap.data, state) > 0)


def test_what_lies_between_two_thresholds_is_shown_in_another_colour(
    state, viewer, heatmap, settled
):
    state.segmentation = state.segmentation.replace(opening=0, min_area=5)
    settled()
    state.threshold = float(np.quantile(heatmap.data, 0.95))
    low = float(np.quantile(heatmap.data, 0.8))
    for hysteresis in (True, False):
        state.segmentation = state.segmentation.replace(
            review_threshold=low, hysteresis=hysteresis, convex_hull=False
        )
        shown = preview_of(viewer).data
        np.testing.assert_array_equal(shown > 0, regions(heatmap.data, state) > 0)
        assert np.isin(shown, (2, 4)).sum() == state.summary.review_pixels
        assert hysteresis or state.summary.review_pixels > 0
        assert np.isin(shown, (1, 3)).sum() == state.summary.pixels > 0


@pytest.fixture
def two(viewer, images, detected, settled):
    first = viewer.add_image(images.spoilt(2), name="first")
    second = viewer.add_image(images.spoilt(3), name="second", translate=(0, 100))
    heatmaps = detected(first, second)
    settled()
    return heatmaps


def test_heatmaps_side_by_side_share_a_threshold_or_have_their_own(state, viewer, two, qtbot):
    def shown(name):
        return viewer.layers[f"{name} threshold"].data

    qtbot.waitUntil(lambda: "first threshold" in viewer.layers, timeout=10_000)
    first, second = two
    state.heatmap = first
    state.threshold = float(np.quantile(first.data, 0.9))
    for name, layer in (("first", first), ("second", second)):
        np.testing.assert_array_equal(shown(name) > 0, regions(layer.data, state) > 0)
    state.shared_threshold = False
    shared = state.threshold
    before = shown("second").copy()
    state.threshold = float(np.quantile(first.data, 0.97))
    np.testing.assert_array_equal(shown("second"), before)
    state.heatmap = second
    assert state.threshold == shared
    state.heatmap = first
    assert state.threshold == float(np.quantile(first.data, 0.97))


def test_outlines_leave_what_they_surround_in_sight(state, viewer, heatmap, settled):
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    data = preview_of(viewer).data
    inside = ndimage.binary_erosion(data > 0)
    np.testing.assert_array_equal(data, np.where(inside, 1, 3 * (data > 0)))
    colours = preview_of(viewer).colormap.color_dict
    assert colours[1][3] < 0.3 < 0.9 < colours[3][3]


def test_colours_of_a_heatmap_reach_beyond_its_threshold(state, viewer, heatmap, settled, qtbot):
    low, high = state.model.contrast_limits
    assert high >= 1.5 * state.model.auto_threshold
    state.threshold = 2 * high
    qtbot.waitUntil(lambda: heatmap.contrast_limits[1] == 3 * high, timeout=5000)
    state.threshold = high / 9
    qtbot.waitUntil(lambda: heatmap.contrast_limits[1] == high, timeout=5000)
    heatmap.contrast_limits = mine = (low, high / 2)  # by hand
    state.threshold = high / 8
    qtbot.wait(500)
    assert tuple(heatmap.contrast_limits) == mine
    state.threshold = high
    qtbot.waitUntil(lambda: heatmap.contrast_limits[1] == 1.5 * high, timeout=5000)
