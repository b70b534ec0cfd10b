"""What a person says of regions, and the threshold that follows."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import napari_ssim_defects as nsd
from napari_ssim_defects.cli.info import run_info
from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.common.progress import drained
from napari_ssim_defects.core.config import SegmentationConfig
from napari_ssim_defects.core.model.calibrate import calibrate
from napari_ssim_defects.core.model.calibration import Calibration
from napari_ssim_defects.core.model.corrections import (
    Mark,
    corrected,
    marked_good,
    marks_of,
    verdicts_of,
    with_marks,
)
from napari_ssim_defects.core.model.thresholds import (
    FalsePositiveRateThreshold,
    FalseRegionsThreshold,
    FixedThreshold,
)
from napari_ssim_defects.core.segmentation.segment import segment_planes

ONE = FalseRegionsThreshold()


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Of two good images with some blobs of other heights."""
    generator = np.random.default_rng(0)
    maps = generator.random((2, 200, 300)).astype(np.float32)
    for residual in maps:
        for height in generator.exponential(1.0, 40):
            row, column = generator.integers(0, 190), generator.integers(0, 290)
            residual[row : row + 8, column : column + 8] += height
    return Calibration.from_residuals(maps, held_out=True)


def mark(verdict, level, image="a", place=0):
    return Mark(verdict=verdict, level=level, image=image, box=(place, place, place + 9, place + 9))


def residual_with(*heights: float) -> np.ndarray:
    """A flat residual with square blobs of 10 x 10 pixels, 30 px apart."""
    residual = np.zeros((40, 30 * len(heights) + 10), np.float32)
    for number, height in enumerate(heights):
        residual[15:25, 30 * number + 10 : 30 * number + 20] = height
    return residual


@pytest.mark.parametrize("levels", [[3.0], [2.0, 5.5, 9.0], [4.0] * 12, list(range(1, 30))])
@pytest.mark.parametrize("images", [1, 5])
def test_good_regions_count_as_those_of_as_many_good_images(calibration, levels, images):
    joined = calibration.with_good_regions(levels, images)
    before = calibration.pixels / calibration.image_pixels + 20
    grid = np.linspace(0, 40, 40_001)
    measured = np.array([calibration.regions_per_image(t) for t in grid])
    marked = np.array([np.count_nonzero(np.array(levels) > t) for t in grid])
    together = (before * measured + marked) / (before + images)
    for wanted in (0.05, 0.3, 1.0, 3.0):
        known = calibration.threshold_of_regions(wanted)
        # Between two rates that are measured, thresholds are interpolated.
        nearest = np.abs(np.log(joined.region_rates * joined.image_pixels / wanted)).argmin()
        assert joined.threshold_of_regions(wanted) >= known - 1e-9
        rate = joined.region_rates[nearest] * joined.image_pixels
        fewest = grid[(together <= rate) & (grid >= calibration.threshold_of_regions(rate))]
        expected = max(fewest[0], calibration.threshold_of_regions(rate))
        assert joined.region_thresholds[nearest] == pytest.approx(expected, abs=0.02)


def test_many_good_regions_in_many_images_decide(calibration):
    levels = [5.0 + number / 100 for number in range(400)]  # two in each of 200 images
    joined = calibration.with_good_regions(levels, 200)
    assert 5.0 < joined.threshold_of_regions(1) < 9.0
    assert joined.threshold_of_regions(1) > calibration.threshold_of_regions(1)
    assert joined.regions_per_image(4.9) == pytest.approx(1.9, abs=0.1)
    assert (np.diff(joined.region_thresholds) >= 0).all()


def test_without_marks_nothing_changes(calibration):
    assert calibration.with_good_regions([], 0) is calibration
    found = corrected(ONE, calibration, ())
    assert found.threshold == found.before == ONE.threshold_for(calibration)


def test_a_missed_defect_lowers_the_threshold_if_that_costs_less_than_a_false_region(calibration):
    auto = ONE.threshold_for(calibration)
    worth = calibration.threshold_of_regions(1.9)
    found = corrected(ONE, calibration, [mark("defect", worth)])
    assert found.threshold < worth < auto
    assert found.threshold == pytest.approx(worth)
    assert found.defects_missed == 0
    not_worth = calibration.threshold_of_regions(2.5)
    found = corrected(ONE, calibration, [mark("defect", not_worth)])
    assert found.threshold == auto
    assert found.defects_missed == 1
    two = [mark("defect", not_worth), mark("defect", not_worth, place=20)]
    assert corrected(ONE, calibration, two).threshold < auto


def test_a_defect_that_is_outlined_anyway_changes_nothing(calibration):
    auto = ONE.threshold_for(calibration)
    found = corrected(ONE, calibration, [mark("defect", auto + 1)])
    assert (found.threshold, found.defects_missed) == (auto, 0)


@pytest.mark.parametrize("policy", [FixedThreshold(value=1.5), FalsePositiveRateThreshold()])
def test_a_threshold_that_a_person_chose_stays(calibration, policy):
    marks = [mark("good", 9.0), mark("defect", 0.1, place=50)]
    found = corrected(policy, calibration, marks)
    assert found.threshold == policy.threshold_for(calibration)
    assert "as without marks" in found.text


def test_the_text_says_what_the_marks_cost(calibration):
    auto = ONE.threshold_for(calibration)
    marks = [mark("good", auto + 5), mark("good", auto + 4, place=40), mark("defect", auto + 2)]
    text = corrected(ONE, calibration, marks).text
    assert text.startswith("Corrections: 2 regions marked good, 1 defect marked. Automatic")
    assert "(without marks " in text
    assert "2 of the good marks above it, none of the marked defects missed" in text
    quiet = np.ceil(1000 * (auto + 5)) / 1000
    assert f"From {quiet:.3f} on, no region marked good is outlined, but 1 marked defect" in text


def test_the_level_of_a_mark_is_where_its_outline_ends():
    generator = np.random.default_rng(1)
    residual = generator.random((60, 60)).astype(np.float32)
    residual[20:40, 20:40] += np.linspace(1, 3, 20, dtype=np.float32)
    region = nsd.segment(residual, 1.5, convex_hull=False)
    assert region.max() == 1
    (found,) = marks_of(residual, region, "defect")
    assert found.box == (*np.argwhere(region).min(0), *(np.argwhere(region).max(0) + 1))
    assert nsd.segment(residual, found.level - 1e-3, convex_hull=False).max() == 1
    assert nsd.segment(residual, found.level, convex_hull=False).max() == 0


def test_a_painted_area_counts_by_the_worst_part_that_would_be_outlined():
    residual = residual_with(2.0, 5.0)
    (found,) = marks_of(residual, np.ones(residual.shape, bool), "good")
    assert found.level == 5.0


def test_a_mark_smaller_than_a_region_has_its_lowest_residual():
    residual = residual_with(4.0)
    painted = np.zeros(residual.shape, bool)
    painted[18:20, 14:16] = True
    assert marks_of(residual, painted, "defect")[0].level == 4.0
    nothing = marks_of(residual[:1], np.ones_like(residual[:1], bool), "good")
    assert nothing[0].level == 0  # too narrow for the opening


def test_levels_follow_the_settings_of_the_segmentation():
    residual = residual_with(4.0)
    residual[15:25, 10:12] = 8.0  # two pixels wide: an opening takes them away
    mask = residual > 1
    assert marks_of(residual, mask, "good")[0].level == 4.0
    plain = SegmentationConfig(opening=0)
    assert marks_of(residual, mask, "good", segmentation=plain)[0].level == 8.0


def test_a_new_mark_replaces_the_one_of_the_same_region_only():
    first = [mark("good", 3.0), mark("good", 3.0, place=50), mark("good", 3.0, image="b")]
    again = Mark(verdict="defect", level=2.5, image="a", box=(1, 1, 8, 8))
    assert with_marks(first, [again]) == (*first[1:], again)
    around = Mark(verdict="good", level=2.5, image="a", box=(0, 0, 400, 400))
    assert with_marks(first, [around]) == (*first, around)


@pytest.mark.parametrize(("threshold", "good"), [(1.0, True), (3.0, True), (0.5, False)])
def test_a_region_stays_marked_while_it_shrinks_and_until_it_has_doubled(threshold, good):
    residual = residual_with(2.0, 2.0)
    residual[15:25, 10:14] = 4.0  # what is left at a higher threshold
    residual[5:35, 8:22] += 0.6  # and what it grows to at a lower one
    (mark,) = marks_of(residual, nsd.segment(residual, 1.0) == 1, "good")
    labels = nsd.segment(residual, threshold)
    ((_, found),) = segment_planes(residual, threshold, SegmentationConfig())
    assert verdicts_of(labels, 0, [mark]) == ({1: "good"} if good else {})
    assert marked_good(found, [mark]).tolist() == [good, False][: labels.max()]
    assert found.kept(~marked_good(found, [mark])).count == labels.max() - good


def test_a_defect_in_the_box_of_a_good_region_is_none_of_it():
    residual = np.zeros((60, 60), np.float32)
    residual[10:50, 10:14] = residual[46:50, 10:50] = 5.0  # an angle
    good = residual > 0
    residual[20:30, 25:35] = 5.0  # inside of it
    apart = SegmentationConfig(closing=0)
    (mark,) = marks_of(residual, good, "good", segmentation=apart)
    labels = nsd.segment(residual, 1.0, closing=0)
    ((_, found),) = segment_planes(residual, 1.0, apart)
    assert verdicts_of(labels, 0, [mark]) == {1: "good"}
    assert marked_good(found, [mark]).tolist() == [True, False]
    assert verdicts_of(labels[:40], 0, [mark]) == {}  # another image of that name
    assert Mark.model_validate_json(mark.model_dump_json()) == mark


def test_a_model_is_corrected_keeps_it_in_its_file_and_is_undone(grey_model, material, tmp_path):
    residual = grey_model.residual(material(5, (80, 80), spoilt=True))
    outlined = nsd.segment(residual, float(np.quantile(residual, 0.9)))
    told = nsd.correct(grey_model, residual, good=outlined, image="five.png")
    assert len(told.corrections) == outlined.max()
    assert told.auto_threshold >= grey_model.auto_threshold
    assert told.corrected.text in told.notes
    told.save(tmp_path / "told.safetensors")
    read = nsd.DefectModel.load(tmp_path / "told.safetensors")
    assert read.corrections == told.corrections
    assert read.auto_threshold == told.auto_threshold
    undone = dataclasses.replace(read, corrections=())
    assert undone.auto_threshold == grey_model.auto_threshold
    assert not any("Corrections" in note for note in undone.notes)
    # What was said of a region before is replaced, not counted twice.
    otherwise = nsd.correct(told, residual, defects=outlined, image="five.png")
    assert {each.verdict for each in otherwise.corrections} == {"defect"}
    assert len(otherwise.corrections) == len(told.corrections)


def test_a_stack_is_corrected_plane_by_plane(grey_model):
    residual = np.stack([residual_with(1.0, 2.0), residual_with(3.0, 4.0)])
    told = nsd.correct(grey_model, residual, good=residual == 4.0, defects=residual == 1.0)
    assert [(each.verdict, each.plane, each.level) for each in told.corrections] == [
        ("good", 1, 4.0),
        ("defect", 0, 1.0),
    ]


def test_a_new_calibration_drops_corrections_of_the_old_one(grey_model, material):
    residual = residual_with(3.0)
    told = nsd.correct(grey_model, residual, good=residual > 0)
    assert drained(calibrate(told, [material(9, (80, 80))])).corrections == ()


def test_what_cannot_be_corrected_is_said(grey_model):
    residual = residual_with(3.0)
    with pytest.raises(InputError, match="No region is marked"):
        nsd.correct(grey_model, residual)
    with pytest.raises(InputError, match="one shape"):
        nsd.correct(grey_model, residual, good=np.ones((3, 3), bool))
    with pytest.raises(InputError, match="NaN"):
        nsd.correct(grey_model, residual * np.nan, good=residual > 0)


def test_info_tells_corrections_without_the_network(grey_model, tmp_path):
    residual = residual_with(3.0, 9.0)
    told = nsd.correct(grey_model, residual, good=residual == 9.0, defects=residual == 3.0)
    told.save(tmp_path / "told.safetensors")
    info = run_info(tmp_path / "told.safetensors")
    values = info.values
    assert told.corrected.text in info.text.splitlines()
    assert values["auto_threshold"] == told.auto_threshold
    assert values["threshold_before_corrections"] == grey_model.auto_threshold
    assert [mark["verdict"] for mark in values["corrections"]] == ["good", "defect"]
    grey_model.save(tmp_path / "as-before.safetensors")
    info = run_info(tmp_path / "as-before.safetensors")
    assert info.values["corrections"] == []
    assert "Corrections" not in info.text


def test_a_file_from_before_corrections_is_read(grey_model, tmp_path):
    path = tmp_path / "model.safetensors"
    grey_model.save(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    header = json.loads(metadata["model"])
    del header["corrections"]
    save_file(load_file(path), path, {**metadata, "model": json.dumps(header)})
    assert nsd.DefectModel.load(path).corrections == ()
