"""The section that sets the threshold, in a viewer with a window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from qtpy.QtWidgets import QLabel

from napari_ssim_defects.plugin.controllers.panel_controller import controller_of
from napari_ssim_defects.plugin.views.plots.threshold_slider import ThresholdSlider
from napari_ssim_defects.plugin.views.sections.segment import SegmentView

pytestmark = pytest.mark.usefixtures("make_napari_viewer")  # a window


@pytest.fixture
def view(controller: Any, docked: Any) -> SegmentView:
    return docked(SegmentView(controller))


@pytest.fixture
def detected_by_another(controller: Any, state: Any, viewer: Any, wait_idle: Any) -> Any:
    """Inspect images with another model, whose automatic threshold is the same."""

    def detect(*images: Any) -> list[Any]:
        made = {**state.model.provenance, "created": "another day"}
        state.model = replace(state.model, provenance=made)
        state.detection_layers = images
        controller.detection.start()
        wait_idle()
        return [viewer.layers[f"{image.name} residual"] for image in images]

    return detect


def test_a_threshold_is_not_kept_for_heatmaps_of_another_model(
    view, viewer, state, images, detected, detected_by_another, controller
):
    (old,) = detected(viewer.add_image(images.spoilt(1), name="old"))
    auto = state.auto_threshold
    state.threshold = mine = 1.7 * auto
    (new,) = detected_by_another(viewer.add_image(images.spoilt(2), name="new"))
    assert state.heatmap is new
    assert state.threshold == state.auto_threshold == auto
    state.threshold = theirs = 1.3 * auto
    thresholds = {
        item.name: item.threshold
        for item in (controller.export._exportable(layer) for layer in (old, new))
    }
    assert thresholds == {"old": mine, "new": theirs}


def test_a_threshold_is_kept_for_other_images_of_the_model(view, viewer, state, images, detected):
    first = viewer.add_image(images.spoilt(1), name="first")
    detected(first)
    state.threshold = mine = 1.7 * state.auto_threshold
    detected(viewer.add_image(images.spoilt(2), name="second"))
    assert state.threshold == mine
    controller_of(viewer).images.choose(first)
    assert state.threshold == mine


def test_nothing_open_means_nothing_shown_and_the_automatic_threshold_for_what_comes_next(
    view, viewer, state, images, detected
):
    detected(viewer.add_image(images.spoilt(1), name="first"))
    state.threshold = 1.7 * state.auto_threshold
    viewer.layers.clear()
    slider = view.findChild(ThresholdSlider)
    assert slider._plot.histogram is slider._plot.reference is None
    assert all("%" not in label.text() for label in view.findChildren(QLabel))
    detected(viewer.add_image(images.spoilt(2), name="second"))
    assert state.threshold == state.auto_threshold
