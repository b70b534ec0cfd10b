"""Masks as runs, against scipy and exact arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from skimage.morphology import convex_hull_image

from napari_ssim_defects.core.images.tiles import Box
from napari_ssim_defects.core.segmentation.runs import Runs
from napari_ssim_defects.core.segmentation.segment import Segmented

masks = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9))
NEIGHBOURS = {4: ndimage.generate_binary_structure(2, 1), 8: np.ones((3, 3), bool)}


def image(runs):
    mask = np.zeros((runs.height, runs.width), bool)
    mask.ravel()[runs.pixels()] = True
    return mask


@given(masks, st.integers(0, 99))
def test_runs_that_share_a_pixel_with_another_mask_meet_it(mask, seed):
    other = np.random.default_rng(seed).random(mask.shape) < 0.5
    runs = Runs.from_mask(mask)
    meeting = runs.meeting(Runs.from_mask(other))
    run_at = np.repeat(np.arange(len(runs)), runs.length)
    shared = np.bincount(run_at, other.ravel()[runs.pixels()], minlength=len(runs)) > 0
    np.testing.assert_array_equal(meeting, shared)


@given(masks, st.integers(1, 9), st.integers(1, 9))
def test_runs_of_boxes_are_put_together_and_cut_out_again(mask, rows, columns):
    height, width = mask.shape
    boxes = [
        Box(top, left, min(top + rows, height), min(left + columns, width))
        for top in range(0, height, rows)
        for left in range(0, width, columns)
    ]
    parts = [(box, Runs.from_mask(mask[box.slices])) for box in reversed(boxes)]
    whole, expected = Runs.assembled(parts, height, width), Runs.from_mask(mask)
    np.testing.assert_array_equal(whole.start, expected.start)
    np.testing.assert_array_equal(whole.stop, expected.stop)
    region, count = whole.regions(8)
    found = Segmented(whole, region, np.zeros(count, bool))
    for box in boxes:
        np.testing.assert_array_equal(image(whole.cut(box)[0]), mask[box.slices])
        np.testing.assert_array_equal(found.labels_in(box, 5), found.labels(5)[box.slices])


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
def test_runs_keep_the_mask(mask):
    runs = Runs.from_mask(mask)
    np.testing.assert_array_equal(image(runs), mask)
    assert runs.length.sum() == mask.sum()
    assert (np.diff(runs.start) > 0).all()


@given(masks, st.sampled_from([4, 8]))
def test_regions_are_numbered_like_those_of_scipy(mask, connectivity):
    runs = Runs.from_mask(mask)
    region, count = runs.regions(connectivity)
    expected, expected_count = ndimage.label(mask, NEIGHBOURS[connectivity])
    labels = np.zeros(mask.size, int)
    labels[runs.pixels()] = np.repeat(region + 1, runs.length)
    assert count == expected_count
    np.testing.assert_array_equal(labels.reshape(mask.shape), expected)


@given(masks, st.sampled_from([4, 8]))
def test_holes_are_those_of_scipy(mask, connectivity):
    runs = Runs.from_mask(mask)
    filled = runs.joined(runs.holes(connectivity))
    expected = ndimage.binary_fill_holes(mask, NEIGHBOURS[12 - connectivity])
    np.testing.assert_array_equal(image(filled), expected)
    assert (filled.start[1:] > filled.stop[:-1]).all()


@given(masks, st.sampled_from([4, 8]))
def test_filled_masks_and_their_regions_are_those_of_scipy(mask, connectivity):
    runs, region, count = Runs.from_mask(mask).filled(connectivity)
    expected = ndimage.binary_fill_holes(mask, NEIGHBOURS[12 - connectivity])
    labels, expected_count = ndimage.label(expected, NEIGHBOURS[connectivity])
    np.testing.assert_array_equal(image(runs), expected)
    np.testing.assert_array_equal(labels.ravel()[runs.pixels()], np.repeat(region + 1, runs.length))
    assert count == expected_count


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("seed", range(3))
def test_holes_in_holes_are_filled_as_scipy_does(seed, connectivity):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(90, 110)), 1)
    for level in (-0.1, 0.0, 0.1):
        mask = noise > level
        runs, _, count = Runs.from_mask(mask).filled(connectivity)
        expected = ndimage.binary_fill_holes(mask, NEIGHBOURS[12 - connectivity])
        np.testing.assert_array_equal(image(runs), expected)
        assert count == ndimage.label(expected, NEIGHBOURS[connectivity])[1]


@given(st.data())
def test_sets_are_joined_and_taken_away(data):
    shape = data.draw(arrays.array_shapes(min_dims=2, max_dims=2, max_side=9))
    a, b = (data.draw(arrays.arrays(bool, shape)) for _ in range(2))
    np.testing.assert_array_equal(image(Runs.from_mask(a).joined(Runs.from_mask(b))), a | b)
    np.testing.assert_array_equal(image(Runs.from_mask(a).minus(Runs.from_mask(b))), a & ~b)


@given(masks)
def test_border_is_the_outermost_pixels(mask):
    runs = Runs.from_mask(mask)
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = True
    region, _ = runs.regions(8)
    labels, _ = ndimage.label(mask, NEIGHBOURS[8])
    touching = set((labels[~inner & mask] - 1).tolist())
    assert set(region[runs.touches_border()].tolist()) == touching


@given(arrays.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_hulls_are_exact(mask):
    runs = Runs.from_mask(mask)
    region, count = runs.regions(8)
    labels, _ = ndimage.label(mask, NEIGHBOURS[8])
    expected = np.zeros(mask.shape, bool)
    for label in range(1, count + 1):
        expected |= exact_hull(np.argwhere(labels == label).tolist(), mask.shape)
    np.testing.assert_array_equal(image(runs.hulls(region)), expected)


@pytest.mark.parametrize("seed", range(4))
def test_hulls_of_large_regions_are_those_of_scikit_image(seed):
    noise = np.random.default_rng(seed).normal(size=(150, 170))
    mask = ndimage.gaussian_filter(noise, 6) > 0.01
    runs = Runs.from_mask(mask)
    region, count = runs.regions(8)
    labels, _ = ndimage.label(mask, NEIGHBOURS[8])
    expected = np.zeros(mask.shape, bool)
    for label in range(1, count + 1):
        if (labels == label).sum() > 20:
            expected |= convex_hull_image(labels == label, offset_coordinates=False)
    large = np.bincount(region, runs.length)[region] > 20
    np.testing.assert_array_equal(image(runs[large].hulls(region[large])), expected)
