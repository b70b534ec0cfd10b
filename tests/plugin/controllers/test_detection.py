"""Heatmap layers."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ssim_defects.plugin.layers import is_inspectable


def test_heatmaps_of_all_images_have_the_contrast_of_the_model(viewer, images, detected, model):
    good = viewer.add_image(images.texture(5), name="good")
    bad = viewer.add_image(images.spoilt(6), name="bad")
    heatmaps = detected(good, bad)
    for layer in heatmaps:
        assert tuple(layer.contrast_limits) == pytest.approx(model.contrast_limits)


def test_low_residuals_leave_the_image_in_sight(viewer, images, detected):
    (heatmap,) = detected(viewer.add_image(images.texture(5)))
    lowest, highest = heatmap.colormap.map([0.0, 1.0])
    assert lowest[3] == 0
    assert highest[3] == 1
    assert str(heatmap.blending) == "translucent"


def test_heatmaps_lie_where_their_image_lies(viewer, images, detected):
    image = viewer.add_image(
        images.texture(1, (64, 48)),
        scale=(0.5, 0.25),
        translate=(2, 3),
        rotate=30,
        shear=(0.3,),
        affine=[[0, 2, 5], [1, 0, 7], [0, 0, 1]],
    )
    (heatmap,) = detected(image)
    for corner in np.ndindex(2, 2):
        point = np.array(corner) * (63, 47)
        np.testing.assert_allclose(heatmap.data_to_world(point), image.data_to_world(point))


def test_heatmaps_of_stacks_keep_scale_units_and_names_of_axes(viewer, images, detected):
    image = viewer.add_image(
        images.texture(1, (2, 48, 64)),
        scale=(3, 0.5, 0.25),
        translate=(1, 2, 3),
        units=("s", "um", "um"),
        axis_labels=("t", "y", "x"),
    )
    (heatmap,) = detected(image)
    assert tuple(heatmap.scale) == (3, 0.5, 0.25)
    assert tuple(heatmap.translate) == (1, 2, 3)
    assert heatmap.units == image.units
    assert heatmap.axis_labels == ("t", "y", "x")


def test_heatmaps_remember_where_they_came_from(viewer, images, detected, state, model):
    state.model_name = "fibres"
    (heatmap,) = detected(viewer.add_image(images.texture(1), name="sample 7"))
    origin = heatmap.metadata["napari-ssim-defects"]
    assert origin["source"] == "sample 7"
    assert origin["model"] == "fibres"
    assert origin["stride"] == 16
    assert origin["auto_threshold"] == model.auto_threshold


def test_detecting_again_updates_the_layer_that_is_there(viewer, images, detected, state):
    image = viewer.add_image(images.spoilt(1), name="image")
    (first,) = detected(image)
    before = first.data.copy()
    first.contrast_limits = (0, 0.1)
    state.stride = 8
    (second,) = detected(image)
    assert second is first
    assert sum(layer.name.endswith("residual") for layer in viewer.layers) == 1
    assert not np.array_equal(first.data, before)
    assert tuple(first.contrast_limits) == pytest.approx(state.model.contrast_limits)
    assert first.metadata["napari-ssim-defects"]["stride"] == 8


def test_stacks_have_a_heatmap_per_plane(viewer, images, detected, model):
    stack = images.texture(1, (3, 48, 64))
    (heatmap,) = detected(viewer.add_image(stack))
    np.testing.assert_allclose(heatmap.data, model.residual(stack, device="cpu"), atol=1e-5)


def test_rgb_images_have_a_heatmap_without_colour(
    controller, state, viewer, images, detected, wait_idle
):
    rgb = np.stack([images.texture(seed) for seed in (1, 2, 3)], axis=-1)
    image = viewer.add_image(rgb, rgb=True, scale=(0.5, 0.5))
    state.training_layers = (image,)
    controller.training.start()
    wait_idle()
    colour_model = state.model
    state.keep_reconstruction = True
    state.detection_layers = (image,)
    controller.detection.start()
    wait_idle()
    assert state.model is colour_model
    assert state.heatmap.data.shape == rgb.shape[:2]
    assert tuple(state.heatmap.scale) == (0.5, 0.5)
    reconstruction = viewer.layers["rgb reconstruction"]
    assert reconstruction.rgb
    assert reconstruction.data.shape == rgb.shape
    assert reconstruction.data.dtype == np.uint8


def test_the_reconstruction_is_added_when_asked_for(state, viewer, images, detected):
    state.keep_reconstruction = True
    image = viewer.add_image(images.texture(1, (2, 48, 64)), name="image")
    detected(image)
    detected(image)
    layers = [layer for layer in viewer.layers if "reconstruction" in layer.name]
    assert len(layers) == 1
    assert layers[0].data.shape == image.data.shape
    assert not layers[0].visible


def test_derived_layers_are_not_offered_as_images(viewer, images, detected):
    detected(viewer.add_image(images.texture(1), name="image"))
    offered = [layer.name for layer in viewer.layers if is_inspectable(layer)]
    assert offered == ["image"]


def test_a_source_that_is_removed_meanwhile_still_gets_its_heatmap(
    controller, state, viewer, images, model, wait_idle
):
    image = viewer.add_image(images.texture(1), name="gone", scale=(2, 3))
    state.model = model
    state.detection_layers = (image,)
    controller.detection.start()
    viewer.layers.remove(image)
    wait_idle()
    assert viewer.layers[0].name == "gone residual"
    assert tuple(viewer.layers[0].scale) == (2, 3)


def test_stopping_keeps_the_heatmaps_that_are_done(
    controller, state, viewer, images, model, qtbot, wait_idle
):
    layers = [viewer.add_image(images.texture(seed, (160, 160))) for seed in range(12)]
    state.stride = 2
    state.model = model
    state.detection_layers = tuple(layers)
    controller.detection.start()
    qtbot.waitUntil(lambda: state.heatmap is not None, timeout=30_000)
    controller.stop()
    wait_idle()
    found = [layer for layer in viewer.layers if layer.name.endswith("residual")]
    assert 1 <= len(found) < 12
    assert state.status == "Stopped."


def test_overlapping_heatmaps_are_shown_one_at_a_time(state, viewer, images, detected):
    images_ = [viewer.add_image(images.texture(seed), name=str(seed)) for seed in (1, 2)]
    aside = viewer.add_image(images.texture(3), translate=(0, 500), name="3")
    heatmaps = detected(*images_, aside)
    state.heatmap = heatmaps[0]
    assert [layer.visible for layer in heatmaps] == [True, False, True]


def test_a_removed_heatmap_is_followed_by_another_or_none(state, viewer, images, detected):
    first, second = detected(
        viewer.add_image(images.texture(1)), viewer.add_image(images.texture(2))
    )
    viewer.layers.remove(second)
    assert state.heatmap is first
    viewer.layers.remove(first)
    assert state.heatmap is None
    assert state.histogram is None
    assert state.export_layers == ()
