from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.model.calibration import Calibration, CalibrationBuilder
from napari_ssim_defects.core.segmentation.segment import segment

RATES = [0, 1e-6, 1e-5, 1e-4, 1e-3, 0.003, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 0.9, 0.99, 1]


@pytest.fixture(scope="module")
def residuals():
    rng = np.random.default_rng(0)
    return [rng.gamma(2, 0.05, (300, 400)).astype(np.float32) for _ in range(3)]


@pytest.fixture(scope="module")
def calibration(residuals):
    return Calibration.from_residuals(residuals, held_out=True)


@pytest.mark.parametrize("rate", RATES)
def test_threshold_is_the_quantile_of_the_pixels(residuals, calibration, rate):
    pixels = np.concatenate([residual.ravel() for residual in residuals]).astype(np.float64)
    expected = np.quantile(pixels, 1 - rate)
    assert calibration.threshold(rate) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("rate", [1e-4, 0.005, 0.05, 0.5])
def test_so_many_good_pixels_exceed_the_threshold(residuals, calibration, rate):
    threshold = calibration.threshold(rate)
    exceed = np.mean([(residual > threshold).mean() for residual in residuals])
    assert exceed == pytest.approx(rate, rel=0.05)
    assert calibration.false_positive_rate(threshold) == pytest.approx(exceed, rel=0.05)


@given(st.floats(0, 1))
def test_rate_of_a_threshold_is_the_rate_that_it_was_made_for(calibration, rate):
    assert calibration.false_positive_rate(calibration.threshold(rate)) == pytest.approx(
        rate, rel=1e-6, abs=1e-9
    )


def test_thresholds_rise_as_rates_fall(calibration):
    assert (np.diff([calibration.threshold(rate) for rate in RATES]) < 0).all()
    thresholds = np.linspace(-0.1, 1.5, 200)
    rates = np.array([calibration.false_positive_rate(threshold) for threshold in thresholds])
    assert (np.diff(rates) <= 0).all()
    assert rates[0] == 1
    assert rates[-1] == 0


def test_nothing_good_exceeds_the_largest_residual(residuals, calibration):
    largest = max(residual.max() for residual in residuals)
    assert calibration.threshold(0) == pytest.approx(largest)
    assert calibration.false_positive_rate(float(largest) + 1) == 0
    assert calibration.false_positive_rate(-1) == 1


def test_it_knows_what_it_was_measured_on(calibration):
    assert calibration.pixels == 360_000
    assert calibration.held_out


def test_residuals_may_have_any_shape_and_come_from_a_generator(residuals, calibration):
    parts = (part for residual in residuals for part in (residual[:100], residual[100:].ravel()))
    np.testing.assert_array_equal(
        Calibration.from_residuals(parts, True).thresholds, calibration.thresholds
    )


def test_flat_residual_has_one_threshold():
    calibration = Calibration.from_residuals([np.full((20, 20), 0.25, np.float32)], held_out=False)
    assert {calibration.threshold(rate) for rate in RATES} == {0.25}
    assert calibration.false_positive_rate(0.25) == 0
    assert calibration.false_positive_rate(0.2) == 1
    assert calibration.false_positive_rate(0.3) == 0


def test_pixels_exceed_a_threshold_only_above_it():
    residual = np.concatenate([np.zeros(900), np.linspace(0.5, 1, 100)]).astype(np.float32)
    calibration = Calibration.from_residuals([residual], held_out=False)
    assert calibration.false_positive_rate(0) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_impossible_rate_is_refused(calibration, rate):
    with pytest.raises(InputError, match=r"between 0 and 1|finite number"):
        calibration.threshold(rate)


@pytest.mark.parametrize("level", [0, 0.3, 100])
def test_display_range_is_never_empty(calibration, level):
    flat = Calibration.from_residuals([np.full((9, 9), level, np.float32)], held_out=False)
    for measured in (calibration, flat):
        low, high = measured.contrast_limits
        assert low < high
        assert np.float32(low) < np.float32(high)


def test_good_images_are_dark_in_the_display_range(residuals, calibration):
    low, high = calibration.contrast_limits
    shown = (residuals[0] - low) / (high - low)
    assert np.quantile(shown, 0.999) < 0.75


def blobs(seed, shape=(150, 200), number=12):
    """Residuals with regions whose peaks are exponentially high."""
    rng = np.random.default_rng(seed)
    plane = np.zeros(shape, np.float32)
    for _ in range(number):
        row, column = rng.integers(0, shape[0] - 12), rng.integers(0, shape[1] - 12)
        place = plane[row : row + 10, column : column + 10]
        np.maximum(place, 1 + rng.exponential(), out=place)
    return plane


def test_threshold_of_false_regions_is_that_of_the_outlines():
    planes = [blobs(seed) for seed in range(100)]
    calibration = Calibration.from_residuals(planes, held_out=True)
    assert calibration.image_pixels == 150 * 200
    for wanted in (1, 2, 5):
        threshold = calibration.threshold_of_regions(wanted)
        found = np.mean([segment(plane, threshold).max() for plane in planes])
        assert found == pytest.approx(wanted * 100 / 120, rel=0.15)  # a little more cautious
        assert calibration.regions_per_image(threshold) == pytest.approx(wanted, rel=0.15)


@pytest.mark.slow
def test_the_fewer_good_pixels_were_measured_the_more_cautious_is_the_threshold():
    many = [blobs(seed) for seed in range(80)]
    whole = Calibration.from_residuals(many, held_out=True).threshold_of_regions(1)
    few = [Calibration.from_residuals(many[k : k + 4], held_out=True) for k in range(0, 80, 4)]
    thresholds = [calibration.threshold_of_regions(1) for calibration in few]
    assert np.median(thresholds) > whole
    counts = [np.mean([segment(plane, t).max() for plane in many[::4]]) for t in thresholds]
    assert np.mean(np.array(counts) <= 1) > 0.9


@pytest.mark.slow
def test_thresholds_of_regions_hold_in_the_worst_light_and_rates_of_pixels_do_not_change():
    planes = [blobs(seed) for seed in range(40)]
    usual, lit = CalibrationBuilder(), CalibrationBuilder()
    for plane in planes:
        usual.add(plane)
        lit.add(plane)
        lit.add_varied(2 * plane, 0)
        lit.add_varied(0.5 * plane, 1)
    before, after = usual.result(held_out=True), lit.result(held_out=True)
    np.testing.assert_array_equal(after.thresholds, before.thresholds)
    assert (after.region_thresholds >= before.region_thresholds).all()
    threshold = after.threshold_of_regions(1)
    assert threshold > 1.6 * before.threshold_of_regions(1)
    found = np.mean([segment(2 * plane, threshold).max() for plane in planes])
    assert found == pytest.approx(1, rel=0.25)


def test_the_median_image_of_the_training_has_no_more_regions_than_wanted():
    held_out = CalibrationBuilder()
    held_out.add(blobs(0))
    before = held_out.result(held_out=True).threshold_of_regions(1)
    trained = [factor * blobs(seed) for seed, factor in enumerate((0.5, 4, 4, 4, 20), start=1)]
    for plane in trained:
        held_out.add_trained(plane)
    after = held_out.result(held_out=True)
    threshold = after.threshold_of_regions(1)
    assert threshold > 1.3 * before
    counts = [segment(plane, threshold).max() for plane in trained]
    assert sorted(counts)[2] <= 1 < max(counts)  # one image alone does not decide
    assert after.pixels == 150 * 200


def test_more_good_images_need_less_caution():
    def threshold(images):
        builder = CalibrationBuilder(images=images)
        builder.add(blobs(0))
        return builder.result(held_out=True).threshold_of_regions(1)

    assert threshold(1) > threshold(10) > threshold(100)


@pytest.mark.slow
def test_false_regions_are_extrapolated_where_few_good_pixels_were_measured():
    few = Calibration.from_residuals([blobs(seed) for seed in range(3)], held_out=True)
    many = Calibration.from_residuals([blobs(seed) for seed in range(3, 203)], held_out=True)
    for wanted in (1, 0.1, 0.02):
        there = many.threshold_of_regions(wanted * 3 / 23 / (200 / 220))
        assert few.threshold_of_regions(wanted) == pytest.approx(there, rel=0.3)


def test_thresholds_of_false_regions_rise_as_there_are_fewer(calibration):
    counts = np.geomspace(1000, 1e-6, 60)
    thresholds = [calibration.threshold_of_regions(count) for count in counts]
    assert (np.diff(thresholds) >= 0).all()
    found = [calibration.regions_per_image(threshold) for threshold in np.linspace(-1, 3, 50)]
    assert (np.diff(found) <= 0).all()


@pytest.mark.parametrize(
    "plane", [np.full((20, 20), 0.25), np.ones((2, 500)), np.zeros((300, 300))]
)
def test_without_a_region_any_threshold_of_regions_is_finite(plane):
    calibration = Calibration.from_residuals([plane.astype(np.float32)], held_out=False)
    assert np.isfinite(calibration.threshold_of_regions(1))
    assert calibration.regions_per_image(1e9) == 0


@pytest.mark.parametrize("count", [0, -1, float("nan"), "many"])
def test_senseless_numbers_of_false_regions_are_refused(calibration, count):
    with pytest.raises(InputError, match="false regions"):
        calibration.threshold_of_regions(count)
