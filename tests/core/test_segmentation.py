from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from skimage.morphology import convex_hull_image

from napari_ssim_defects.core.config import SegmentationConfig
from napari_ssim_defects.core.errors import InputError
from napari_ssim_defects.core.segmentation import disk, prepare, segment, segment_prepared

# Few different values, so that pixels tie and every threshold matters.
residuals = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=14),
    elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
)
diameters = st.integers(0, 9)
thresholds = st.sampled_from([-1.0, 0.0, 0.25, 0.4, 0.75, 1.0])


def blobs(seed, shape=(80, 90), size=2.5):
    """A smooth random residual with a few regions, some of which touch the border."""
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, size, mode="nearest")
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


def plain(mask, opening, fill_holes):
    """The binary operators that `prepare` must commute with."""
    if opening >= 2:
        mask = ndimage.binary_opening(mask, structure=disk(opening))
    return ndimage.binary_fill_holes(mask) if fill_holes else mask


@pytest.mark.parametrize("diameter", range(1, 20))
def test_disk_is_round_and_spans_its_diameter(diameter):
    element = disk(diameter)
    assert element.shape == (diameter, diameter)
    for twin in (element.T, element[::-1], element[:, ::-1]):
        np.testing.assert_array_equal(element, twin)
    assert element.any(axis=0).all()
    assert element.sum() == pytest.approx(np.pi * diameter**2 / 4, rel=0.35)


def test_papers_element_of_diameter_four():
    expected = [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]]
    np.testing.assert_array_equal(disk(4), expected)


@given(residuals, diameters, st.booleans(), thresholds)
@example(np.ones((5, 5), np.float32), 4, True, 0.4)
@example(np.ones((3, 3), np.float32), 9, True, 0.4)
def test_thresholding_after_morphology_is_morphology_after_thresholding(
    residual, opening, fill_holes, threshold
):
    config = SegmentationConfig(opening=opening, fill_holes=fill_holes)
    prepared = prepare(residual, config)
    assert prepared.dtype == np.float32
    assert prepared.shape == residual.shape
    np.testing.assert_array_equal(
        prepared > threshold, plain(residual > threshold, opening, fill_holes)
    )


@pytest.mark.parametrize("opening", range(10))
@pytest.mark.parametrize("fill_holes", [False, True])
def test_slider_shows_the_plain_operators_at_every_threshold(opening, fill_holes):
    residual = blobs(opening)
    prepared = prepare(residual, SegmentationConfig(opening=opening, fill_holes=fill_holes))
    for threshold in np.linspace(0, 1, 15):
        expected = plain(residual > threshold, opening, fill_holes)
        np.testing.assert_array_equal(prepared > threshold, expected)


@given(residuals, diameters)
def test_opening_never_adds_and_is_done_once(residual, opening):
    config = SegmentationConfig(opening=opening, fill_holes=False)
    opened = prepare(residual, config)
    assert (opened <= residual).all()
    np.testing.assert_array_equal(prepare(opened, config), opened)


@given(residuals)
def test_filling_holes_never_removes_and_is_done_once(residual):
    config = SegmentationConfig(opening=0, fill_holes=True)
    filled = prepare(residual, config)
    assert (filled >= residual).all()
    np.testing.assert_array_equal(prepare(filled, config), filled)


@pytest.mark.parametrize("diameter", range(2, 10))
def test_opening_keeps_its_own_element_even_in_a_corner(diameter):
    for corner in [(0, 0), (7, 5)]:
        residual = np.zeros((7 + diameter, 5 + diameter), np.float32)
        place = tuple(slice(start, start + diameter) for start in corner)
        residual[place] = disk(diameter)
        config = SegmentationConfig(opening=diameter, fill_holes=False)
        np.testing.assert_array_equal(prepare(residual, config) > 0.5, residual > 0.5)
        residual[place] *= ~np.eye(diameter, dtype=bool)[::-1] | ~disk(diameter)
        assert not (prepare(residual, config) > 0.5).any()


def test_holes_are_filled_unless_they_leak():
    residual = np.zeros((20, 20), np.float32)
    residual[2:12, 2:12] = 1
    residual[5:8, 5:8] = 0
    options = {"threshold": 0.5, "opening": 0, "min_area": 0, "convex_hull": False}
    assert (segment(residual, **options) > 0).sum() == 100
    assert (segment(residual, fill_holes=False, **options) > 0).sum() == 91
    residual[5, :5] = 0  # open to the outside
    assert (segment(residual, **options) > 0).sum() == 88


@pytest.mark.parametrize("min_area", [0, 1, 9, 10, 100])
def test_small_regions_are_dropped(min_area):
    residual = np.zeros((30, 30), np.float32)
    residual[1:4, 1:4] = residual[10:20, 10:20] = 1
    labels = segment(residual, threshold=0.5, opening=0, min_area=min_area, convex_hull=False)
    areas = np.bincount(labels.ravel())[1:].tolist()
    assert areas == [area for area in (9, 100) if area >= min_area]


def test_area_counts_before_the_hull():
    residual = np.zeros((30, 30), np.float32)
    residual[5:20, 5] = residual[19, 5:20] = 1  # 29 pixels; their hull has 120
    options = {"threshold": 0.5, "opening": 0, "convex_hull": True}
    assert segment(residual, min_area=29, **options).max() == 1
    assert segment(residual, min_area=30, **options).max() == 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("opening", [0, 4])
def test_labels_equal_the_plain_operators_and_hulls_of_scikit_image(seed, opening):
    residual, threshold, min_area = blobs(seed), 0.62, 12
    labels, count = ndimage.label(plain(residual > threshold, opening, True), np.ones((3, 3)))
    expected = np.zeros(residual.shape, bool)
    for label in range(1, count + 1):
        if (labels == label).sum() >= min_area:
            expected |= convex_hull_image(labels == label, offset_coordinates=False)
    result = segment(residual, threshold, opening=opening, min_area=min_area)
    assert result.dtype == np.int32
    assert result.max() > 2
    np.testing.assert_array_equal(result, ndimage.label(expected, np.ones((3, 3)))[0])


def test_hulls_that_touch_become_one_region():
    residual = np.zeros((30, 30), np.float32)
    residual[5:20, 5] = residual[19, 5:20] = 1
    residual[8:12, 7:11] = 1
    options = {"threshold": 0.5, "opening": 0, "min_area": 0}
    assert segment(residual, convex_hull=False, **options).max() == 2
    assert segment(residual, convex_hull=True, **options).max() == 1


def test_steps_of_the_slider_add_up_to_segment():
    residual = blobs(3)
    config = SegmentationConfig()
    np.testing.assert_array_equal(
        segment_prepared(prepare(residual, config), 0.6, config), segment(residual, 0.6)
    )


@pytest.mark.parametrize("leading", [(3,), (2, 3)])
def test_regions_of_a_stack_are_numbered_onward(leading):
    count = int(np.prod(leading))
    stack = np.stack([blobs(seed) for seed in range(count)])
    stack[1] = 0  # a good plane in between
    labels = segment(stack.reshape(*leading, *stack.shape[1:]), 0.65)
    assert labels.shape == (*leading, *stack.shape[1:])
    labels = labels.reshape(stack.shape)
    found = 0
    for residual, plane in zip(stack, labels, strict=True):
        alone = segment(residual, 0.65)
        np.testing.assert_array_equal(plane, np.where(alone, alone + found, 0))
        found += alone.max()
    assert sorted(np.unique(labels)) == list(range(found + 1))


def test_nothing_above_the_threshold_is_no_region():
    assert not segment(np.zeros((20, 20)), threshold=0).any()
    assert not segment(blobs(0), threshold=1).any()


def test_everything_above_the_threshold_is_one_region():
    labels = segment(np.ones((20, 30)), threshold=0.5)
    assert labels.max() == 1
    assert (labels > 0).sum() == 600 - 4  # the element does not reach into the corners


def test_infinite_residual_is_a_defect():
    residual = np.zeros((20, 20), np.float32)
    residual[5:15, 5:15] = np.inf
    assert (segment(residual, threshold=0.5, opening=0) > 0).sum() == 100


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ">f4", np.uint8])
def test_residual_may_have_any_number_format_and_is_left_as_it_is(dtype):
    residual = (blobs(1) * 100).astype(dtype)
    before = residual.copy()
    residual.flags.writeable = False
    labels = segment(residual, 62)
    np.testing.assert_array_equal(labels, segment(residual.astype(np.float32), 62))
    np.testing.assert_array_equal(residual, before)


@pytest.mark.parametrize("opening", [0, 4])
@pytest.mark.parametrize("fill_holes", [False, True])
def test_preparing_gives_a_new_array_or_leaves_the_residual_alone(opening, fill_holes):
    residual = blobs(2)
    before = residual.copy()
    config = SegmentationConfig(opening=opening, fill_holes=fill_holes)
    segment_prepared(prepare(residual, config), 0.5, config)
    np.testing.assert_array_equal(residual, before)


@pytest.mark.parametrize(
    ("residual", "threshold", "options", "message"),
    [
        (np.zeros(5), 0.5, {}, "height and width"),
        (np.full((5, 5), np.nan), 0.5, {}, "NaN"),
        (np.zeros((5, 5)), float("nan"), {}, "NaN"),
        (np.zeros((5, 5)), float("inf"), {}, "must be a number"),
        (np.zeros((0, 5)), 0.5, {}, "empty"),
        (np.zeros((3, 0, 5)), 0.5, {}, "empty"),
        (np.zeros((5, 5)), 0.5, {"opening": -1}, "opening"),
        (np.zeros((5, 5)), 0.5, {"min_area": -1}, "min_area"),
    ],
)
def test_impossible_input_is_named(residual, threshold, options, message):
    with pytest.raises(InputError, match=message):
        segment(residual, threshold, **options)
