from __future__ import annotations

import numpy as np
import pytest

from napari_ssim_defects.core.common import score_table
from napari_ssim_defects.core.common.score_table import ScoreTable
from napari_ssim_defects.core.evaluation.scores import Evaluator


def images(count=5, shape=(40, 50)):
    rng = np.random.default_rng(0)
    for _ in range(count):
        mask = np.zeros(shape, bool)
        mask[5:15, 10:30] = mask[30:35, 5:9] = True
        yield rng.normal(0, 0.3, shape).astype(np.float32) + 0.4 * mask.astype(np.float32), mask


def result(count=5):
    evaluator = Evaluator()
    for residual, mask in images(count):
        evaluator.add(residual, mask)
    return evaluator.result()


def test_counts_are_those_of_the_pixels():
    table = ScoreTable()
    good, defective = np.array([-0.0, 0.0, 0.5], np.float32), np.array([-1.0, 0.5, 2], np.float32)
    table.add(good, defective, np.array([0.25, 0.5, 1.0]))
    found, good, defective, weight = table.columns()
    assert found.tolist() == [2.0, 0.5, 0.0, -1.0]
    assert good.tolist() == [0, 1, 2, 0]
    assert defective.tolist() == [1, 1, 0, 1]
    assert weight.tolist() == [1, 0.5, 0, 0.25]


@pytest.mark.parametrize("buffer", [1, 3000, 10**9])
def test_scores_do_not_depend_on_when_pixels_are_counted(buffer, monkeypatch):
    expected = result()
    monkeypatch.setattr(score_table, "_BUFFER", buffer)
    found = result()
    np.testing.assert_array_equal(found.thresholds, expected.thresholds)
    assert (found.auroc, found.aupro) == (expected.auroc, expected.aupro)


def test_too_many_residuals_are_rounded_and_scores_hardly_change(monkeypatch):
    expected = result()
    monkeypatch.setattr(score_table, "_BUFFER", 1000)
    monkeypatch.setattr(score_table, "_LARGEST", 2000)
    found = result()
    assert len(expected.thresholds) > 9000
    assert len(found.thresholds) <= 2001
    for name in ("auroc", "auprc", "aupro"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=2e-3)
    for quantile, overlap in expected.overlap_quantiles.items():
        assert found.overlap_quantiles[quantile] == pytest.approx(overlap, abs=0.02)
