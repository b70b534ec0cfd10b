"""Thresholds from good images, by the buttons of the panel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_ssim_defects.core.model.calibration import Calibration
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.model.thresholds import (
    FalsePositiveRateThreshold,
    LargestRegionThreshold,
    QuantileThreshold,
)
from napari_ssim_defects.core.segmentation.segment import prepare
from napari_ssim_defects.plugin.views.sections.segment import ProposalsView


@pytest.fixture
def heatmaps(viewer, images, detected):
    """Heatmaps of a spoilt and of a good image; the spoilt one is current."""
    bad, good = detected(
        viewer.add_image(images.spoilt(6), name="bad"),
        viewer.add_image(images.texture(5), name="good"),
    )
    return bad, good


@pytest.fixture
def view(controller, qtbot):
    view = ProposalsView(controller)
    qtbot.addWidget(view)
    return view


def test_each_button_proposes_by_what_the_model_was_calibrated_with(state, heatmaps, view, model):
    state.heatmap = heatmaps[0]
    view.rate.setValue(2)
    view.buttons[view.rate].click()
    assert state.threshold == pytest.approx(model.calibration.threshold(0.02))
    view.area.setValue(30)
    view.buttons[view.area].click()
    assert state.threshold == pytest.approx(model.calibration.threshold_of_area(30))
    view.quantile.setValue(0.9)
    view.buttons[view.quantile].click()
    assert state.threshold == pytest.approx(model.calibration.threshold(0.1))
    assert "expected in a good image are at most" in state.status
    view.regions.setValue(0.5)
    view.buttons[view.regions].click()
    assert state.threshold == pytest.approx(model.calibration.threshold_of_regions(0.5))


def test_a_good_image_is_measured(state, heatmaps, view, wait_idle):
    bad, good = heatmaps
    state.heatmap, state.good_layer = bad, good
    view.quantile.setValue(0.95)
    view.buttons[view.quantile].click()
    wait_idle()
    assert state.threshold == pytest.approx(np.quantile(good.data, 0.95), rel=1e-4)
    assert (good.data > state.threshold).mean() == pytest.approx(0.05, abs=2e-3)
    assert state.auto_threshold == state.threshold


def test_no_region_of_the_good_image_reaches_the_area(state, heatmaps, view, wait_idle):
    from skimage.measure import label

    bad, good = heatmaps
    state.heatmap, state.good_layer = bad, good
    view.area.setValue(15)
    view.buttons[view.area].click()
    wait_idle()
    opened = prepare(good.data, state.segmentation.replace(fill_holes=False))
    areas = np.bincount(label(opened > state.threshold, connectivity=2).ravel())[1:]
    assert areas.max(initial=0) < 15


def test_the_model_keeps_what_was_measured_and_saves_it(
    controller, state, heatmaps, wait_idle, tmp_path
):
    bad, good = heatmaps
    state.heatmap, state.good_layer = bad, good
    controller.proposals.propose(FalsePositiveRateThreshold(rate=0.03))
    wait_idle()
    controller.save_model(tmp_path / "model.safetensors")
    wait_idle()
    saved = DefectModel.load(tmp_path / "model.safetensors")
    assert saved.threshold == FalsePositiveRateThreshold(rate=0.03)
    assert saved.auto_threshold == pytest.approx(state.threshold)
    assert saved.calibration.pixels == good.data.size
    assert saved.calibration.held_out


def test_all_heatmaps_of_the_model_get_the_threshold(controller, state, heatmaps):
    bad, good = heatmaps
    state.heatmap = bad
    controller.proposals.propose(QuantileThreshold(quantile=0.8))
    proposed = state.threshold
    state.heatmap = good
    assert state.auto_threshold == state.threshold == proposed


def test_another_model_is_left_as_it_is(controller, state, heatmaps, model):
    state.heatmap = heatmaps[0]
    other = replace(model, provenance={"created": "another day"})
    state.model = other
    controller.proposals.propose(LargestRegionThreshold(area=10))
    assert state.model is other
    assert state.threshold == pytest.approx(model.calibration.threshold_of_area(10))


def test_heatmaps_of_different_models_are_not_compared(
    controller, state, viewer, images, heatmaps, detected, model
):
    bad, _ = heatmaps
    state.stride = 8
    (finer,) = detected(viewer.add_image(images.texture(8), name="finer"))
    state.heatmap, state.good_layer = bad, finer
    before = state.threshold
    controller.proposals.propose(QuantileThreshold())
    assert "same model with the same stride" in state.status
    assert state.status_is_error
    assert state.threshold == before


def test_without_a_heatmap_there_is_nothing_to_propose(controller, state, view):
    assert not view.buttons[view.rate].isEnabled()
    controller.proposals.propose(QuantileThreshold())
    assert "detect first" in state.status


def test_a_removed_good_image_is_measured_no_more(state, viewer, heatmaps):
    state.good_layer = heatmaps[1]
    viewer.layers.remove(heatmaps[1])
    assert state.good_layer is None


def test_measured_on_a_stack_all_planes_count(controller, state, viewer, images, detected,
                                              wait_idle):  # fmt: skip
    stack = np.stack([images.texture(5), images.texture(7)])
    (heatmap,) = detected(viewer.add_image(stack, name="stack"))
    state.good_layer = heatmap
    controller.proposals.propose(FalsePositiveRateThreshold(rate=0.01))
    wait_idle()
    expected = Calibration.from_residuals([heatmap.data], held_out=True).threshold(0.01)
    assert state.threshold == pytest.approx(expected)
