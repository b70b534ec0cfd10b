from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from skimage.filters import apply_hysteresis_threshold
from skimage.morphology import convex_hull_image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import SegmentationConfig
from napari_ssim_defects.core.segmentation.morphology import closing, disk, opening
from napari_ssim_defects.core.segmentation.segment import (
    ThresholdIndex,
    prepare,
    segment,
    segment_planes,
    segment_prepared,
)

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


NEIGHBOURS = {4: ndimage.generate_binary_structure(2, 1), 8: np.ones((3, 3), bool)}


def plain(mask, config):
    """The binary operators that thresholding must commute with, by scipy."""
    if config.opening >= 2:
        mask = ndimage.binary_opening(mask, structure=disk(config.opening))
    if config.closing >= 2:  # on a plane without end, so that borders do not erode
        framed = np.pad(mask, config.closing)
        framed = ndimage.binary_closing(framed, structure=disk(config.closing))
        mask = framed[(slice(config.closing, -config.closing),) * 2]
    return mask


def plain_regions(mask, config):
    """Holes, areas, border and hulls by scipy and scikit-image; labels and their number."""
    mask = plain(mask, config)
    if config.fill_holes:
        mask = ndimage.binary_fill_holes(mask, NEIGHBOURS[12 - config.connectivity])
    labels, count = ndimage.label(mask, NEIGHBOURS[config.connectivity])
    kept = np.zeros(mask.shape, bool)
    for label in range(1, count + 1):
        region = labels == label
        inner = ~region
        inner[1:-1, 1:-1] = True
        allowed = config.min_area <= region.sum() <= (config.max_area or np.inf)
        if allowed and not (config.clear_border and not inner.all()):
            if config.convex_hull:
                region = region_hull(region)
            kept |= region
    return ndimage.label(kept, NEIGHBOURS[config.connectivity])


def region_hull(region):
    rows, columns = np.nonzero(region)
    if np.linalg.matrix_rank(np.stack([rows - rows[0], columns - columns[0]])) < 2:
        return region  # a line of connected pixels is its own hull
    return convex_hull_image(region, offset_coordinates=False)


configs = st.builds(
    SegmentationConfig,
    opening=diameters,
    closing=diameters,
    fill_holes=st.booleans(),
    connectivity=st.sampled_from([4, 8]),
    min_area=st.integers(0, 12),
    max_area=st.none() | st.integers(12, 90),
    clear_border=st.booleans(),
    convex_hull=st.booleans(),
)


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


@given(residuals, diameters, diameters, thresholds)
@example(np.ones((5, 5), np.float32), 4, 0, 0.4)
@example(np.ones((3, 3), np.float32), 9, 9, 0.4)
def test_thresholding_after_morphology_is_morphology_after_thresholding(
    residual, opening, closing, threshold
):
    config = SegmentationConfig(opening=opening, closing=closing)
    prepared = prepare(residual, config)
    assert prepared.dtype == np.float32
    assert prepared.shape == residual.shape
    np.testing.assert_array_equal(prepared > threshold, plain(residual > threshold, config))


@pytest.mark.parametrize("diameter", [*range(10), 15, 24])
@pytest.mark.parametrize("name", ["opening", "closing"])
def test_slider_shows_the_plain_operators_at_every_threshold(diameter, name):
    residual = blobs(diameter)
    config = SegmentationConfig(**{"opening": 0, "closing": 0, name: diameter})
    prepared = prepare(residual, config)
    for threshold in np.linspace(0, 1, 15):
        expected = plain(residual > threshold, config)
        np.testing.assert_array_equal(prepared > threshold, expected)


def test_morphology_does_not_depend_on_how_the_work_is_cut_up(monkeypatch):
    residual = blobs(1)
    expected = opening(residual, 7), closing(residual, 7)
    monkeypatch.setattr("napari_ssim_defects.core.segmentation.morphology._STRIP", 1)
    np.testing.assert_array_equal(opening(residual, 7), expected[0])
    np.testing.assert_array_equal(closing(residual, 7), expected[1])


@given(residuals, configs, thresholds)
def test_regions_are_those_of_the_plain_operators(residual, config, threshold):
    expected, count = plain_regions(residual > threshold, config)
    found = segment_prepared(ThresholdIndex(prepare(residual, config)), threshold, config)
    assert found.count == count
    np.testing.assert_array_equal(found.labels(), expected)
    np.testing.assert_array_equal(found.areas(), np.bincount(expected.ravel())[1:])
    assert not found.review.any()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("connectivity", [4, 8])
def test_regions_of_images_are_those_of_the_plain_operators(seed, connectivity):
    residual = blobs(seed)
    config = SegmentationConfig(
        opening=seed, closing=9 - seed, connectivity=connectivity, clear_border=seed % 2 == 0,
        max_area=400, min_area=12, convex_hull=seed > 3,
    )  # fmt: skip
    for threshold in (0.45, 0.6):
        expected, _ = plain_regions(residual > threshold, config)
        labels = segment(residual, threshold, **config.model_dump())
        np.testing.assert_array_equal(labels, expected)


@given(residuals, configs, st.sampled_from([(0.25, 0.5), (0.0, 0.75), (-1.0, 0.4)]))
def test_hysteresis_is_that_of_scikit_image(residual, config, pair):
    low, high = pair
    simple = config.replace(
        fill_holes=False, min_area=0, max_area=None, clear_border=False, convex_hull=False,
        review_threshold=low,
    )  # fmt: skip
    prepared = prepare(residual, simple)
    found = segment_prepared(ThresholdIndex(prepared), high, simple)
    labels = found.labels()
    np.testing.assert_array_equal(labels > 0, prepared > low)
    defects = np.append(False, ~found.review)[labels]
    if simple.connectivity == 8:
        # scikit-image joins by edges only; this is the same with corners.
        regions, _ = ndimage.label(prepared > low, NEIGHBOURS[8])
        expected = np.isin(regions, np.setdiff1d(regions[prepared > high], 0))
    else:
        expected = apply_hysteresis_threshold(prepared, low, high)
    np.testing.assert_array_equal(defects, expected)


@given(residuals, configs, st.sampled_from([(0.25, 0.5), (0.0, 0.75), (-1.0, 0.4)]))
def test_without_hysteresis_defects_are_those_of_one_threshold(residual, config, pair):
    low, high = pair
    prepared = ThresholdIndex(prepare(residual, config))
    alone = segment_prepared(prepared, high, config)
    both = segment_prepared(prepared, high, config.replace(review_threshold=low, hysteresis=False))
    labels = both.labels()
    assert both.count == labels.max(initial=0)
    np.testing.assert_array_equal(np.where(labels <= alone.count, labels, 0), alone.labels())
    assert both.review.tolist() == [number >= alone.count for number in range(both.count)]
    wide = segment_prepared(prepared, low, config).labels() > 0
    assert wide[labels > alone.count].all()
    if config.min_area <= 1 and config.max_area is None and not config.clear_border:
        np.testing.assert_array_equal(labels > 0, wide | (alone.labels() > 0))


def test_a_region_to_review_joins_the_defect_it_touches_or_not():
    residual = np.zeros((30, 40), np.float32)
    residual[5:15, 5:15] = 0.5
    residual[8:12, 8:12] = 0.9  # the core of a defect
    residual[20:26, 20:26] = 0.5  # on its own
    config = SegmentationConfig(opening=0, closing=0, min_area=5, review_threshold=0.3)
    ((_, joined),) = segment_planes(residual, 0.7, config)
    assert joined.areas().tolist() == [100, 36]
    assert joined.review.tolist() == [False, True]
    ((_, apart),) = segment_planes(residual, 0.7, config.replace(hysteresis=False))
    assert apart.areas().tolist() == [16, 84, 36]
    assert apart.review.tolist() == [False, True, True]
    kinds = np.zeros(residual.size, np.uint8)
    kinds[apart.runs.pixels()] = apart.kinds()
    expected = (residual > 0.3) + 1 * ((residual > 0.3) & (residual < 0.7))
    np.testing.assert_array_equal(kinds.reshape(residual.shape), expected)


@given(residuals, thresholds)
@example(np.ones((3, 40), np.float32), 0.5)
@example(np.zeros((2, 16), np.float32), 0.5)
def test_the_index_finds_what_comparing_finds(residual, threshold):
    index = ThresholdIndex(residual)
    np.testing.assert_array_equal(index.plane, residual)
    mask = np.zeros(residual.size, bool)
    mask[index.above(threshold).pixels()] = True
    np.testing.assert_array_equal(mask.reshape(residual.shape), residual > threshold)
    assert np.count_nonzero(mask) <= 16 * index.segments_above(threshold) <= 16 * mask.size


@given(residuals, diameters)
def test_opening_never_adds_and_is_done_once(residual, diameter):
    opened = opening(residual, diameter)
    assert (opened <= residual).all()
    np.testing.assert_array_equal(opening(opened, diameter), opened)


@given(residuals, diameters)
def test_closing_never_removes_and_is_done_once(residual, diameter):
    closed = closing(residual, diameter)
    assert (closed >= residual).all()
    np.testing.assert_array_equal(closing(closed, diameter), closed)


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
    options = {"threshold": 0.5, "opening": 0, "closing": 0, "min_area": 0}
    assert (segment(residual, **options) > 0).sum() == 100
    assert (segment(residual, fill_holes=False, **options) > 0).sum() == 91
    residual[5, :5] = 0  # open to the outside
    assert (segment(residual, **options) > 0).sum() == 88


@pytest.mark.parametrize("min_area", [0, 1, 9, 10, 100])
def test_small_regions_are_dropped(min_area):
    residual = np.zeros((30, 30), np.float32)
    residual[1:4, 1:4] = residual[10:20, 10:20] = 1
    labels = segment(residual, threshold=0.5, opening=0, closing=0, min_area=min_area)
    areas = np.bincount(labels.ravel())[1:].tolist()
    assert areas == [area for area in (9, 100) if area >= min_area]


def test_parts_that_lie_close_together_are_one_region_unless_closing_is_off():
    residual = np.zeros((60, 90), np.float32)
    residual[20:40, 10:30] = residual[20:40, 40:60] = 1  # 10 pixels apart
    assert segment(residual, threshold=0.5).max() == 1
    assert segment(residual, threshold=0.5, closing=0).max() == 2


def test_area_counts_before_the_hull():
    residual = np.zeros((30, 30), np.float32)
    residual[5:20, 5] = residual[19, 5:20] = 1  # 29 pixels; their hull has 120
    options = {"threshold": 0.5, "opening": 0, "closing": 0, "convex_hull": True}
    assert segment(residual, min_area=29, **options).max() == 1
    assert segment(residual, min_area=30, **options).max() == 0


def test_hulls_that_touch_become_one_region():
    residual = np.zeros((30, 30), np.float32)
    residual[5:20, 5] = residual[19, 5:20] = 1
    residual[8:12, 7:11] = 1
    options = {"threshold": 0.5, "opening": 0, "closing": 0, "min_area": 0}
    assert segment(residual, convex_hull=False, **options).max() == 2
    assert segment(residual, convex_hull=True, **options).max() == 1


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


@pytest.mark.parametrize("diameter", [0, 4])
def test_preparing_leaves_the_residual_alone(diameter):
    residual = blobs(2)
    before = residual.copy()
    config = SegmentationConfig(opening=diameter, closing=diameter)
    segment_prepared(ThresholdIndex(prepare(residual, config)), 0.5, config)
    np.testing.assert_array_equal(residual, before)


@pytest.mark.parametrize(
    ("residual", "threshold", "options", "message"),
    [
        (np.zeros(5), 0.5, {}, "height and width"),
        (np.full((5, 5), np.nan), 0.5, {}, "NaN"),
        (np.zeros((5, 5)), float("nan"), {}, "must be a finite number"),
        (np.zeros((5, 5)), float("inf"), {}, "must be a finite number"),
        (np.zeros((0, 5)), 0.5, {}, "empty"),
        (np.zeros((3, 0, 5)), 0.5, {}, "empty"),
        (np.zeros((5, 5)), 0.5, {"opening": -1}, "opening"),
        (np.zeros((5, 5)), 0.5, {"min_area": -1}, "min_area"),
        (np.zeros((5, 5)), 0.5, {"connectivity": 6}, "connectivity"),
        (np.zeros((5, 5)), 0.5, {"review_threshold": 0.5}, "below the threshold for defects"),
    ],
)
def test_impossible_input_is_named(residual, threshold, options, message):
    with pytest.raises(InputError, match=message):
        segment(residual, threshold, **options)
