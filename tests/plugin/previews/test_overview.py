"""The table of all inspected images: their regions at the threshold."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ssim_defects.core.segmentation.segment import segment


@pytest.fixture
def counted(state, qtbot):
    """Wait until the overview shows that many regions of each image at the current threshold."""

    def wait(heatmaps, inspected=True):
        def expected(heatmap):
            labels = segment(heatmap.data, state.threshold, **state.segmentation.model_dump())
            areas = np.bincount(labels.ravel())[1:]
            share = np.mean(labels > 0, where=np.broadcast_to(inspected, labels.shape))
            return len(areas), int(areas.max(initial=0)), pytest.approx(share)

        wanted = {heatmap.name: expected(heatmap) for heatmap in heatmaps}

        def shown():
            return {
                heatmap.name: (found.regions, found.largest, found.share)
                for heatmap, found in state.overview
            }

        qtbot.waitUntil(lambda: shown() == wanted, timeout=20_000)

    return wait


def test_regions_of_all_images_follow_the_threshold(
    controller, state, viewer, images, detected, counted
):
    heatmaps = detected(
        viewer.add_image(images.spoilt(1), name="bad"), viewer.add_image(images.texture(2))
    )
    counted(heatmaps)
    state.threshold /= 2
    counted(heatmaps)
    state.segmentation = state.segmentation.replace(min_area=30)
    counted(heatmaps)


def test_one_image_needs_no_overview(state, viewer, images, detected, counted):
    first, second = detected(viewer.add_image(images.spoilt(1)), viewer.add_image(images.spoilt(2)))
    counted([first, second])
    viewer.layers.remove(second)
    assert state.overview == ()


def test_share_of_a_stack_is_of_what_was_inspected_of_all_planes(
    controller, state, viewer, images, detected, counted, qtbot
):
    mask = np.zeros((96, 80), int)
    mask[:, :48] = 1
    state.region_layer = viewer.add_labels(mask, name="part")
    stack = np.stack([images.spoilt(seed) for seed in (1, 2, 3)])
    heatmaps = detected(viewer.add_image(stack), viewer.add_image(images.spoilt(4)))
    counted(heatmaps, inspected=mask > 0)
