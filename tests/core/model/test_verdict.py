"""Whether a model can be relied on, in a sentence."""

from __future__ import annotations

import pytest

from napari_ssim_defects.core.model.verdict import Verdict


@pytest.mark.parametrize(
    ("skill", "false_regions", "held_out", "grade"),
    [
        (0.98, 1.0, True, "reliable"),
        (0.98, 1.0, False, "usable"),  # it was measured on what it had learned
        (0.98, 4.0, True, "usable"),
        (0.98, 40.0, True, "weak"),
        (0.85, 1.0, True, "usable"),
        (0.70, 0.5, True, "weak"),
    ],
)
def test_the_verdict_follows_from_painted_defects_and_good_images(
    skill, false_regions, held_out, grade
):
    verdict = Verdict(skill, false_regions, held_out)
    assert verdict.grade == grade
    assert verdict.text.lower().startswith(grade)
    assert verdict.text.endswith(".")


def test_a_weak_model_asks_to_be_trained_on():
    assert "train on" in Verdict(0.6, 1.0, True).text


def test_a_trained_model_is_judged_and_its_file_keeps_it(grey_model, tmp_path):
    from napari_ssim_defects import DefectModel

    verdict = grey_model.verdict
    assert 0 <= verdict.skill <= 1
    assert verdict.held_out
    grey_model.save(tmp_path / "model.safetensors")
    assert DefectModel.load(tmp_path / "model.safetensors").verdict == verdict
    assert verdict.text in grey_model.notes
