"""Which ground truth is proposed, in a viewer with a window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_ssim_defects.plugin.views.sections.evaluate import EvaluateView

MASK = np.eye(96, 80, dtype=np.uint8) * 255


pytestmark = pytest.mark.usefixtures("make_napari_viewer")  # a window


@pytest.fixture
def view(controller: Any, docked: Any) -> EvaluateView:
    return docked(EvaluateView(controller))


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("ITIA1110", "ITIA1110_gt"),
        ("003", "003_mask"),
        ("7", "7 [1]"),
        ("nanofibres defective 2", "nanofibres truth 2"),
        ("defective 1", "defective 1 truth"),
        ("gravel with defects", "gravel truth"),
    ],
)
def test_the_mask_of_an_image_is_proposed_by_its_name(
    view, viewer, controller, state, images, detected, image, mask
):
    first = viewer.add_image(images.spoilt(1), name=image)
    other = viewer.add_image(images.spoilt(2), name="another one")
    viewer.add_image(MASK, name="9_mask")
    viewer.add_image(MASK, name=mask)
    detected(first)
    assert state.truth_layer is viewer.layers[mask]
    assert view.truth.currentText() == mask
    assert view.evaluate_button.isEnabled()
    detected(other)
    assert state.truth_layer is None
    controller.images.choose(first)
    assert state.truth_layer is viewer.layers[mask]


def test_a_mask_that_is_opened_later_is_proposed_and_one_that_is_chosen_stays(
    view, viewer, state, images, detected
):
    detected(viewer.add_image(images.spoilt(1), name="7"))
    mine = viewer.add_image(MASK, name="mine")
    assert state.truth_layer is None
    late = viewer.add_image(MASK, name="7_gt")
    assert state.truth_layer is late
    state.truth_layer = mine
    viewer.add_image(MASK, name="7_label")
    assert state.truth_layer is mine


def test_all_images_can_be_scored_once_the_ground_truth_of_two_is_open(
    view, viewer, images, detected
):
    detected(*(viewer.add_image(images.spoilt(seed), name=str(seed)) for seed in (1, 2)))
    viewer.add_image(MASK, name="1_mask")
    assert not view.all_button.isEnabled()
    viewer.add_image(MASK, name="2_mask")
    assert view.all_button.isEnabled()
    viewer.layers.remove("1_mask")
    assert not view.all_button.isEnabled()
