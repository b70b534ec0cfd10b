"""What lies outside the region of interest is not looked at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.common.progress import PlaneDetected
from napari_ssim_defects.core.config.region import BoxRegion, MarginsRegion
from napari_ssim_defects.core.config.settings import SegmentationConfig
from napari_ssim_defects.core.images.inspected_area import InspectedArea
from napari_ssim_defects.core.images.tiles import Box
from napari_ssim_defects.core.segmentation.segment import segment_planes


def maps(model, image, area, **options):
    messages = model.detect(image, area=area, device="cpu", **options)
    return [message for message in messages if isinstance(message, PlaneDetected)]


def test_margins_and_boxes_are_rectangles_of_pixels():
    area = InspectedArea.from_region(MarginsRegion(bottom=2, left=1), (3, 10, 8))
    assert area.box == Box(0, 1, 8, 8)
    assert area.mask().sum() == 56
    box = InspectedArea.from_region(BoxRegion(rows=(1, 4), columns=(2, 8)), (10, 8))
    assert box.box == Box(1, 2, 4, 8)


@pytest.mark.parametrize(
    "region",
    [
        MarginsRegion(bottom=10),
        MarginsRegion(left=5, right=3),
        BoxRegion(rows=(0, 11), columns=(0, 4)),
    ],
)
def test_region_that_does_not_fit_the_image_is_refused(region):
    with pytest.raises(InputError, match="of 10 x 8 pixels"):
        InspectedArea.from_region(region, (10, 8), "'a.png'")


def test_masks_may_differ_from_plane_to_plane():
    mask = np.zeros((2, 6, 7), bool)
    mask[0, 1:3, 2:4] = mask[1, 4, 5] = True
    area = InspectedArea.from_mask(mask, (2, 6, 7))
    assert area.box == Box(1, 2, 5, 6)
    np.testing.assert_array_equal(area.mask(), mask)
    for index in (0, 1):
        plane = area.plane((index,))
        np.testing.assert_array_equal(plane.mask(), mask[index])
        row, column = np.indices((6, 7))
        np.testing.assert_array_equal(plane.holds(row.ravel(), column.ravel()), mask[index].ravel())
    with pytest.raises(InputError, match="No pixel"):
        InspectedArea.from_mask(np.zeros((6, 7)), (6, 7))
    with pytest.raises(InputError, match="6 x 7"):
        InspectedArea.from_mask(np.ones((5, 7)), (6, 7))


def test_what_is_outside_margins_changes_nothing(grey_model, material):
    image = material(5, spoilt=True)
    framed = np.pad(image, ((0, 30), (12, 0)), constant_values=255)
    area = InspectedArea.from_region(MarginsRegion(bottom=30, left=12), framed.shape)
    (found,) = maps(grey_model, framed, area, reconstruct=True)
    (alone,) = maps(grey_model, image, None, reconstruct=True)
    np.testing.assert_array_equal(found.residual[:-30, 12:], alone.residual)
    assert not found.residual[-30:].any()
    assert not found.residual[:, :12].any()
    np.testing.assert_array_equal(found.reconstruction[:, :-30, 12:], alone.reconstruction)
    assert (found.reconstruction[:, -30:] == 255).all()
    inside = np.zeros(framed.shape, bool)
    inside[:-30, 12:] = True
    residual = grey_model.residual(framed, device="cpu", roi=inside)
    np.testing.assert_array_equal(residual, found.residual)


def test_mask_of_any_shape_has_residuals_inside_only(grey_model, material):
    stack = material(6, (2, 64, 72), spoilt=True)
    mask = np.zeros((64, 72), bool)
    mask[10:50, 5:60] = True
    mask[20:30, 20:30] = False
    residual = grey_model.residual(stack, device="cpu", roi=mask)
    assert residual.shape == stack.shape
    assert not residual[:, ~mask].any()
    assert (residual[:, mask] > 0).mean() > 0.9


def test_regions_end_at_the_border_of_the_area():
    residual = np.zeros((60, 60), np.float32)
    residual[10:40, 10:14] = residual[10:14, 10:40] = 1  # its hull is a triangle
    mask = np.ones((60, 60), bool)
    mask[20:, 20:] = False
    area = InspectedArea.from_mask(mask, mask.shape)
    outlined = SegmentationConfig(convex_hull=True)
    ((_, whole),) = segment_planes(residual, 0.5, outlined)
    ((_, cut),) = segment_planes(residual, 0.5, outlined, area)
    assert (whole.labels() > 0)[~mask].any()
    np.testing.assert_array_equal(cut.labels(), whole.labels() * mask)
    assert cut.count == 1


def test_regions_that_lie_outside_are_gone_and_the_others_are_numbered_anew():
    residual = np.zeros((60, 60), np.float32)
    residual[5:15, 5:15] = residual[30:40, 5:15] = residual[30:40, 40:50] = 1
    area = InspectedArea.from_region(MarginsRegion(top=20), residual.shape)
    config = SegmentationConfig(review_threshold=0.2)
    ((_, cut),) = segment_planes(residual, 0.5, config, area)
    assert cut.count == 2
    assert sorted(np.unique(cut.labels())) == [0, 1, 2]
    assert not cut.labels()[:20].any()
    empty = np.zeros((60, 60), np.float32)
    ((_, nothing),) = segment_planes(empty, 0.5, config, area)
    assert nothing.count == 0


def test_negative_threshold_flags_nothing_outside(grey_model, material):
    area = InspectedArea.from_region(MarginsRegion(bottom=20), (64, 72))
    ((_, found),) = segment_planes(np.zeros((64, 72), np.float32), -1.0, SegmentationConfig(), area)
    assert not found.labels()[44:].any()
    assert replace(area, inside=None).mask()[:44].all()
