from __future__ import annotations

import numpy as np
import pytest

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.images.intensity import IntensityRange


@pytest.mark.parametrize("percentiles", [(1, 99), (0, 100), (5, 50), (0.1, 99.9)])
def test_range_is_the_percentiles_of_all_pixels_per_channel(rng, percentiles):
    planes = [rng.normal(loc, 3, (2, 40, 50)).astype(np.float32) for loc in (0, 5, 30)]
    planes = [plane * np.float32([1, 100])[:, None, None] for plane in planes]
    measured = IntensityRange.from_planes(planes, percentiles)
    for channel in range(2):
        pixels = np.concatenate([plane[channel].ravel() for plane in planes]).astype(np.float64)
        expected = np.percentile(pixels, percentiles)
        assert (measured.low[channel], measured.high[channel]) == pytest.approx(tuple(expected))


def test_planes_may_have_different_sizes(rng):
    planes = [rng.random((1, 10, 20), dtype=np.float32), rng.random((1, 7, 3), dtype=np.float32)]
    pixels = np.concatenate([plane.ravel() for plane in planes]).astype(np.float64)
    measured = IntensityRange.from_planes(iter(planes), (10, 90))
    assert (*measured.low, *measured.high) == pytest.approx(tuple(np.percentile(pixels, (10, 90))))


def test_large_planes_are_sampled_evenly(rng):
    ramp = np.linspace(0, 1, 1300 * 1100, dtype=np.float32).reshape(1, 1300, 1100)
    measured = IntensityRange.from_planes([ramp], (1, 99))
    assert (*measured.low, *measured.high) == pytest.approx((0.01, 0.99), abs=2e-3)


def test_percentiles_become_zero_and_one():
    measured = IntensityRange((10.0, -5.0), (20.0, 5.0))
    plane = np.array([[[10, 15, 20]], [[-5, 0, 5]]], np.float32)
    normalised = measured.normalise(plane)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised, [[[0, 0.5, 1]], [[0, 0.5, 1]]])


def test_nothing_is_clipped():
    plane = np.array([[[-1000, 1e6]]], np.float32)
    np.testing.assert_allclose(
        IntensityRange((0.0,), (100.0,)).normalise(plane), [[[-10, 1e4]]], rtol=1e-6
    )


@pytest.mark.parametrize("level", [0, 1000, 60000])
def test_restoring_undoes_normalising(rng, level):
    plane = (level + 500 * rng.normal(size=(3, 20, 30))).astype(np.float32)
    measured = IntensityRange.from_planes([plane], (1, 99))
    before = plane.copy()
    restored = measured.restore(measured.normalise(plane))
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, plane, rtol=1e-6, atol=1e-3)
    np.testing.assert_array_equal(plane, before)


def test_constant_images_are_refused():
    with pytest.raises(InputError, match="constant"):
        IntensityRange.from_planes([np.full((1, 5, 5), 7, np.float32)] * 2, (1, 99))


def test_one_constant_channel_is_refused(rng):
    plane = rng.random((2, 5, 5), dtype=np.float32)
    plane[1] = 0
    with pytest.raises(InputError, match="constant"):
        IntensityRange.from_planes([plane], (1, 99))


def test_constant_planes_of_different_levels_are_a_range():
    planes = [np.full((1, 5, 5), level, np.float32) for level in (1, 2)]
    assert IntensityRange.from_planes(planes, (1, 99)) == IntensityRange((1.0,), (2.0,))


def test_few_bright_pixels_on_black_use_the_full_range():
    plane = np.zeros((1, 100, 100), np.float32)
    plane[0, 50, 50:55] = 200
    assert IntensityRange.from_planes([plane], (1, 99)) == IntensityRange((0.0,), (200.0,))


@pytest.mark.parametrize("bright", [1, 2])
def test_rounding_between_equal_pixels_is_no_range(bright):
    # Rank 99.9 % of 1001 pixels is 999.0000000000001: a hair's breadth from black to white.
    plane = np.zeros((1, 1, 1001), np.float32)
    plane[..., -bright:] = 1
    normalised = IntensityRange.from_planes([plane], (0, 99.9)).normalise(plane)
    np.testing.assert_array_equal(normalised, plane)


def test_range_narrower_than_float32_still_gives_numbers():
    plane = np.full((1, 10, 10), 1000, np.float32)
    plane[0, 0, 0] = np.nextafter(np.float32(1000), np.float32(2000))
    normalised = IntensityRange.from_planes([plane], (1, 99)).normalise(plane)
    assert np.isfinite(normalised).all()


@pytest.mark.parametrize(
    ("low", "high", "part"),
    [
        (-1000, 3000, (0, 255)),
        (-32768, 32767, (0, 255)),
        (-1000, 3000, (0, 1)),
        (100, 1500, (20, 250)),
        (-300, 300, (0, 60000)),
        (-100, -50, (0, 40)),
        (34, 219, (-82, 127)),
    ],
)
def test_other_bit_depth_is_told_within_the_range_too(rng, low, high, part):
    pixels = rng.uniform(*part, size=(1, 5000)).astype(np.float32)
    notice = IntensityRange((low,), (high,)).mismatch(pixels, "'p'", "others", other_depth=True)
    assert notice is not None
    inside = low <= part[0] and part[1] <= high
    expected = "are a small part of" if inside else "lie far outside"
    assert f"{expected} others ({low:g} to {high:g}); " in notice
    assert notice.endswith("in another bit depth." if inside else "in the same bit depth.")


@pytest.mark.parametrize("exposure", [0.4, 0.7, 1, 1.4, 2.5])
@pytest.mark.parametrize(("low", "high"), [(0, 255), (-1000, 3000), (100, 1500)])
def test_same_numbers_in_another_bit_depth_are_not_told(rng, low, high, exposure):
    pixels = (exposure * rng.uniform(low, high, size=(1, 5000))).astype(np.float32)
    trained = IntensityRange((low,), (high,))
    assert trained.mismatch(pixels, "'p'", "others", other_depth=True) is None


@pytest.mark.parametrize("part", [(100, 101), (30, 33), (-1, 1), (-2.5, 2.5)])
def test_little_contrast_and_negative_numbers_are_told_in_the_same_depth(rng, part):
    trained = IntensityRange.from_planes(
        [rng.uniform(0, 255, (1, 90, 90)).astype("f4")] * 2, (1, 99)
    )
    pixels = rng.uniform(*part, size=(1, 5000)).astype(np.float32)
    assert trained.mismatch(pixels, "'p'", "others") is not None


def test_contrast_is_that_of_single_images_whose_brightness_differs(rng):
    """Good images may be flat, and one lighter than another."""
    levels = [level + rng.uniform(0, 10, (1, 90, 90)).astype("f4") for level in (20, 120, 220)]
    trained = IntensityRange.from_planes(levels, (1, 99))
    for image in levels:
        assert trained.mismatch(image.reshape(1, -1), "'p'", "others") is None
        assert trained.mismatch(image.reshape(1, -1), "'p'", "others", other_depth=True) is None
    assert trained.mismatch((levels[1] / 100).reshape(1, -1), "'p'", "others") is not None


def test_dark_noise_below_zero_is_not_told(rng):
    trained = IntensityRange((0.0,), (200.0,), (180.0,))
    pixels = rng.normal(60, 25, (1, 5000)).astype("f4")
    assert trained.mismatch(pixels, "'p'", "others") is None
