"""Whether a model can be relied on, in a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ssim_defects.core.model.calibration import Calibration
from napari_ssim_defects.core.model.verdict import PaintedDefect, Verdict, trained_on, verdict_of


@pytest.mark.parametrize(
    ("found", "false_regions", "held_out", "grade"),
    [
        (0.9, 1.0, True, "reliable"),
        (0.9, 1.0, False, "usable"),  # it was measured on what it had learned
        (0.9, 4.0, True, "usable"),
        (0.9, 40.0, True, "weak"),
        (0.5, 1.0, True, "usable"),
        (0.2, 0.5, True, "weak"),
    ],
)
def test_the_verdict_follows_from_painted_defects_and_good_images(
    found, false_regions, held_out, grade
):
    verdict = Verdict(found, 0.1, 150, false_regions, held_out)
    assert verdict.grade == grade
    assert verdict.text.lower().startswith(grade)
    assert verdict.text.endswith(".")


def test_the_larger_half_of_the_painted_defects_is_told_from_the_smaller_at_any_threshold():
    painted = [PaintedDefect(*each) for each in ((30, 1.0), (40, 3.0), (300, 2.0), (500, 9.0))]
    calibration = Calibration.from_residuals([np.zeros((32, 32), np.float32)], held_out=True)
    for threshold, expected in ((0.5, (1, 1)), (2.5, (0.5, 0.5)), (5.0, (0.5, 0))):
        verdict = verdict_of(painted, calibration, threshold)
        assert (verdict.found_larger, verdict.found_smaller) == expected
        assert verdict.smallest == 300
    assert verdict_of([], calibration, 1.0) is None


def test_many_training_images_are_counted_not_named():
    assert trained_on({"training images": "'a', 'b', 'c'"}) == ("Trained on 'a', 'b', 'c'.",)
    many = ", ".join(f"'good {number}'" for number in range(12))
    assert trained_on({"training images": many}) == ("Trained on 'good 0' and 11 other images.",)


def test_a_weak_model_asks_to_be_trained_on():
    assert "train on" in Verdict(0.2, 0.0, 150, 1.0, True).text


def test_a_trained_model_is_judged_and_its_file_keeps_it(grey_model, tmp_path):
    from napari_ssim_defects import DefectModel

    verdict = grey_model.verdict
    assert 0 <= verdict.found_smaller <= 1
    assert len(grey_model.painted) > 10
    assert verdict.held_out
    grey_model.save(tmp_path / "model.safetensors")
    assert DefectModel.load(tmp_path / "model.safetensors").verdict == verdict
    assert verdict.text in grey_model.notes
