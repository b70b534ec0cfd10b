from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from skimage.measure import regionprops_table

from napari_ssim_defects.core.segmentation import regions
from napari_ssim_defects.core.segmentation.regions import (
    RegionSums,
    label_regions,
    measure_planes,
    measure_regions,
)

EIGHT = np.ones((3, 3))
masks = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9))


def blobs(seed, shape=(100, 120)):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return smooth > 0.15


@given(masks)
def test_regions_are_eight_connected(mask):
    labels, count = label_regions(mask)
    expected, expected_count = ndimage.label(mask, EIGHT)
    assert labels.dtype == np.int32
    assert count == expected_count
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("seed", range(3))
def test_measurements_equal_scikit_image(seed):
    labels, count = label_regions(blobs(seed))
    residual = np.random.default_rng(seed).random(labels.shape, dtype=np.float32)
    measured = measure_regions(labels, residual)
    table = regionprops_table(
        labels,
        residual.astype(np.float64),
        properties=[
            "label", "area", "centroid", "bbox", "intensity_mean", "intensity_max", "eccentricity",
        ],
    )  # fmt: skip
    assert len(measured) == count
    for row, region in enumerate(measured):
        assert region.label == table["label"][row]
        assert region.area == table["area"][row]
        assert region.centroid == pytest.approx([table[f"centroid-{i}"][row] for i in (0, 1)])
        assert region.bounding_box == tuple(table[f"bbox-{i}"][row] for i in range(4))
        assert region.mean_residual == pytest.approx(table["intensity_mean"][row], rel=1e-5)
        assert region.max_residual == pytest.approx(table["intensity_max"][row])
        assert region.eccentricity == pytest.approx(table["eccentricity"][row])


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_strips_of_rows_give_the_very_same_measurements(rows):
    labels, count = label_regions(blobs(0))
    residual = np.random.default_rng(0).random(labels.shape, dtype=np.float32)
    sums = RegionSums(count)
    for top in range(0, len(labels), rows):
        sums.add(labels[top : top + rows], residual[top : top + rows])
    assert sums.regions({3}) == measure_regions(labels, residual, {3})


def test_large_regions_are_measured_in_parts_with_the_very_same_result(monkeypatch):
    labels, _ = label_regions(blobs(1))
    residual = np.random.default_rng(1).random(labels.shape, dtype=np.float32)
    whole = measure_regions(labels, residual)
    monkeypatch.setattr(regions, "_AT_ONCE", 97)
    assert measure_regions(labels, residual) == whole


def test_regions_may_have_any_number():
    labels = np.array([[2**31 - 1, 0, 7]], np.int32)
    measured = measure_regions(labels, np.ones((1, 3), np.float32))
    assert [region.label for region in measured] == [7, 2**31 - 1]


def test_measurements_come_in_the_order_of_the_labels_as_plain_numbers():
    labels = np.zeros((9, 9), np.int32)
    labels[7, 7], labels[0, 0:3], labels[4:6, 4] = 1, 9, 4
    measured = measure_regions(labels, np.ones((9, 9), np.float32))
    assert [region.label for region in measured] == [1, 4, 9]
    assert [region.area for region in measured] == [1, 2, 3]
    for region in measured:
        numbers = (region.label, region.area, *region.centroid, *region.bounding_box,
                   region.mean_residual, region.max_residual, region.eccentricity)  # fmt: skip
        assert {type(number) for number in numbers} == {int, float}


def test_regions_to_review_are_marked():
    labels = np.array([[1, 0, 3]], np.int32)
    measured = measure_regions(labels, np.ones((1, 3), np.float32), {2, 3})
    assert [region.verdict for region in measured] == ["defect", "review"]


def test_no_regions_have_no_measurements():
    assert measure_regions(np.zeros((5, 5), np.int32), np.zeros((5, 5), np.float32)) == []


def test_a_number_in_several_planes_is_a_region_in_each_of_them():
    labels = np.zeros((2, 2, 4, 4), np.int32)
    labels[0, 1, 0, 0], labels[1, 1, 1:3, 1] = 5, 5
    planes = dict(measure_planes(labels, np.ones(labels.shape, np.float32), {5}))
    assert list(planes) == [0, 1, 2, 3]
    assert [[(region.label, region.area) for region in planes[plane]] for plane in range(4)] == [
        [], [(5, 1)], [], [(5, 2)],
    ]  # fmt: skip
    assert planes[3][0].verdict == "review"
