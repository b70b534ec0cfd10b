from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy import ndimage

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.model.calibrate import calibrate
from napari_ssim_defects.core.model.calibration import Calibration
from napari_ssim_defects.core.model.thresholds import (
    FalsePositiveRateThreshold,
    FixedThreshold,
    LargestRegionThreshold,
    QuantileThreshold,
    ThresholdPolicy,
    parse_threshold,
)
from napari_ssim_defects.core.segmentation.segment import segment

POLICIES = [
    ("0.25", FixedThreshold(value=0.25)),
    ("fpr:0.01", FalsePositiveRateThreshold(rate=0.01)),
    ("quantile:0.999", QuantileThreshold(quantile=0.999)),
    ("region:20", LargestRegionThreshold(area=20)),
]


@pytest.fixture(scope="module")
def residuals():
    rng = np.random.default_rng(0)
    noise = [ndimage.gaussian_filter(rng.normal(size=(120, 150)), 2.5) for _ in range(3)]
    return [np.abs(image).astype(np.float32) for image in noise]


@pytest.fixture(scope="module")
def calibration(residuals):
    return Calibration.from_residuals(residuals, held_out=True)


@pytest.mark.parametrize(("text", "policy"), POLICIES)
def test_policies_are_written_as_text_and_as_json(text, policy):
    assert parse_threshold(text) == policy
    assert str(policy) == text
    adapter = TypeAdapter(ThresholdPolicy)
    assert adapter.validate_json(adapter.dump_json(policy)) == policy


@pytest.mark.parametrize(
    "text",
    ["", "nan", "inf", "fpr", "fpr:", "fpr:2", "fpr:-1", "region:0", "region:2.5", "quantile:1.5",
     "area:20", "fpr:0.1:2"],
)  # fmt: skip
def test_other_texts_are_refused_with_a_sentence(text):
    with pytest.raises(InputError):
        parse_threshold(text)


def test_rate_and_quantile_say_the_same_thing(residuals, calibration):
    rate = FalsePositiveRateThreshold(rate=0.02).threshold_for(calibration)
    assert QuantileThreshold(quantile=0.98).threshold_for(calibration) == pytest.approx(rate)
    assert np.mean([residual > rate for residual in residuals]) == pytest.approx(0.02, rel=0.05)
    assert FixedThreshold(value=0.3).threshold_for(calibration) == 0.3


@pytest.mark.parametrize("area", [1, 5, 20, 33, 100, 700, 5000])
def test_no_good_region_is_as_large_as_the_area(residuals, calibration, area):
    threshold = LargestRegionThreshold(area=area).threshold_for(calibration)
    for residual in residuals:
        labels = segment(
            residual, threshold, opening=4, fill_holes=False, min_area=area, convex_hull=False
        )
        assert labels.max() == 0


@pytest.mark.parametrize("area", [1, 20, 100])
def test_a_threshold_that_is_much_lower_leaves_such_regions(residuals, calibration, area):
    threshold = 0.95 * LargestRegionThreshold(area=area).threshold_for(calibration)
    found = [
        segment(residual, threshold, fill_holes=False, min_area=area, convex_hull=False).max()
        for residual in residuals
    ]
    assert max(found) > 0


def test_pixels_without_a_value_do_not_count(residuals):
    spoilt = residuals[0].copy()
    spoilt[:40] = np.nan
    calibration = Calibration.from_residuals([spoilt], held_out=False)
    assert calibration.pixels == 80 * 150
    expected = Calibration.from_residuals([residuals[0][40:]], held_out=False)
    np.testing.assert_array_equal(calibration.thresholds, expected.thresholds)


def run(steps):
    fractions = []
    while True:
        try:
            fractions.append(next(steps).fraction)
        except StopIteration as finished:
            return fractions, finished.value


def test_validation_images_give_a_model_new_thresholds(grey_model, material):
    images = [material(7), material(8)]
    policy = FalsePositiveRateThreshold(rate=0.02)
    fractions, model = run(calibrate(grey_model, images, policy, device="cpu"))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert model.calibration.held_out
    assert model.calibration.pixels == 2 * 64 * 72
    for kind in ("ssim", "squared_error"):
        scored = model.with_residual(kind)
        exceed = np.mean([scored.residual(image) > scored.auto_threshold for image in images])
        assert exceed == pytest.approx(0.02, abs=0.005)
    assert grey_model.auto_threshold != model.auto_threshold


def test_policy_is_kept_in_the_model_file(grey_model, tmp_path):
    model = replace(grey_model, threshold=LargestRegionThreshold(area=30))
    model.save(tmp_path / "model.safetensors")
    read = type(model).load(tmp_path / "model.safetensors")
    assert read.threshold == LargestRegionThreshold(area=30)
    assert read.auto_threshold == model.calibration.threshold_of_area(30)


def test_calibrating_without_images_is_refused(grey_model):
    with pytest.raises(InputError, match="no image to calibrate with"):
        next(calibrate(grey_model, []))


def test_calibrating_with_other_names_than_images_is_refused(grey_model, material):
    with pytest.raises(InputError, match="1 image but 2 names"):
        next(calibrate(grey_model, [material(7)], names=["a", "b"]))
