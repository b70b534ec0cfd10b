from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from skimage.measure import regionprops_table
from skimage.morphology import convex_hull_image

from napari_ssim_defects.core.regions import convex_hulls, label_regions, measure_regions

EIGHT = np.ones((3, 3))
masks = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9))


def blobs(seed, shape=(100, 120)):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return smooth > 0.15


def exact_hull(points, shape):
    """Pixels not outside any edge of the hull of integer points, in exact arithmetic."""
    rows, columns = np.indices(shape)
    inside = np.ones(shape, bool)
    for r0, c0 in points:
        for r1, c1 in points:
            side = (r1 - r0) * (columns - c0) - (c1 - c0) * (rows - r0)
            sides = [(r1 - r0) * (c - c0) - (c1 - c0) * (r - r0) for r, c in points]
            if (r0, c0) != (r1, c1) and min(sides) >= 0:  # an edge: all points on one side
                inside &= side >= 0
    rows, columns = np.transpose(points)
    box = np.zeros(shape, bool)
    box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return inside & box


@given(masks)
def test_regions_are_eight_connected(mask):
    labels, count = label_regions(mask)
    expected, expected_count = ndimage.label(mask, EIGHT)
    assert labels.dtype == np.int32
    assert count == expected_count
    np.testing.assert_array_equal(labels, expected)


@given(arrays.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_hulls_are_exact(mask):
    labels, count = label_regions(mask)
    expected = np.zeros(mask.shape, bool)
    for label in range(1, count + 1):
        expected |= exact_hull(np.argwhere(labels == label).tolist(), mask.shape)
    np.testing.assert_array_equal(convex_hulls(labels, count), expected)


@pytest.mark.parametrize("seed", range(8))
def test_hulls_are_those_of_scikit_image(seed):
    labels, count = label_regions(blobs(seed))
    assert count > 10
    checked = np.zeros(labels.shape, bool)
    for label in range(1, count + 1):
        region = labels == label
        one = np.where(region, 1, 0).astype(np.int32)
        rows, columns = np.nonzero(region)
        if np.linalg.matrix_rank(np.stack([rows - rows[0], columns - columns[0]])) < 2:
            expected = exact_hull(np.argwhere(region).tolist(), region.shape)  # a line
        else:
            expected = convex_hull_image(region, offset_coordinates=False)
        np.testing.assert_array_equal(convex_hulls(one, 1), expected)
        checked |= expected
    np.testing.assert_array_equal(convex_hulls(labels, count), checked)


def test_hulls_cover_their_regions_and_leave_the_labels():
    labels, count = label_regions(blobs(0))
    before = labels.copy()
    hulls = convex_hulls(labels, count)
    assert hulls[labels > 0].all()
    np.testing.assert_array_equal(labels, before)


def test_missing_numbers_have_no_hull():
    labels = np.zeros((9, 9), np.int32)
    labels[1, 1:4], labels[5:8, 5] = 2, 5
    np.testing.assert_array_equal(convex_hulls(labels, 5), labels > 0)


@pytest.mark.parametrize("seed", range(3))
def test_measurements_equal_scikit_image(seed):
    labels, count = label_regions(blobs(seed))
    residual = np.random.default_rng(seed).random(labels.shape, dtype=np.float32)
    regions = measure_regions(labels, residual)
    table = regionprops_table(
        labels,
        residual.astype(np.float64),
        properties=[
            "label", "area", "centroid", "bbox", "intensity_mean", "intensity_max", "eccentricity",
        ],
    )  # fmt: skip
    assert len(regions) == count
    for row, region in enumerate(regions):
        assert region.label == table["label"][row]
        assert region.area == table["area"][row]
        assert region.centroid == pytest.approx([table[f"centroid-{i}"][row] for i in (0, 1)])
        assert region.bounding_box == tuple(table[f"bbox-{i}"][row] for i in range(4))
        assert region.mean_residual == pytest.approx(table["intensity_mean"][row], rel=1e-5)
        assert region.max_residual == pytest.approx(table["intensity_max"][row])
        assert region.eccentricity == pytest.approx(table["eccentricity"][row])


def test_measurements_come_in_the_order_of_the_labels_as_plain_numbers():
    labels = np.zeros((9, 9), np.int32)
    labels[7, 7], labels[0, 0:3], labels[4:6, 4] = 1, 9, 4
    regions = measure_regions(labels, np.ones((9, 9), np.float32))
    assert [region.label for region in regions] == [1, 4, 9]
    assert [region.area for region in regions] == [1, 2, 3]
    for region in regions:
        numbers = (region.label, region.area, *region.centroid, *region.bounding_box,
                   region.mean_residual, region.max_residual, region.eccentricity)  # fmt: skip
        assert {type(number) for number in numbers} == {int, float}


def test_no_regions_have_no_measurements():
    assert measure_regions(np.zeros((5, 5), np.int32), np.zeros((5, 5), np.float32)) == []
