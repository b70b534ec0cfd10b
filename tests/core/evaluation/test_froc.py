from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_ssim_defects.core.evaluation.froc import FrocCounter, froc_summary
from napari_ssim_defects.core.evaluation.scores import Evaluator
from napari_ssim_defects.core.segmentation.segment import segment

EIGHT = np.ones((3, 3), int)


def squares(*places, side=12, shape=(100, 120)):
    """Squares of so many pixels a side, each (row, column, value)."""
    plane = np.zeros(shape, np.float32)
    for row, column, value in places:
        plane[row : row + side, column : column + side] = value
    return plane


def test_defects_found_and_false_regions_are_counted_at_each_threshold():
    truth = squares((10, 10, 1), (10, 60, 1), (60, 10, 1)) > 0
    residual = squares((12, 12, 5), (10, 60, 3), (60, 60, 4), (60, 90, 2))
    labels, count = ndimage.label(truth)
    counter = FrocCounter([1, 2.5, 3.5, 4.5, 5.5])
    counter.add(residual, labels.astype(np.int32), count)
    counter.add(np.zeros_like(residual), np.zeros_like(labels, np.int32), 0)  # a good image
    froc = counter.result()
    assert froc.defects == 3
    np.testing.assert_allclose(froc.found, [2 / 3, 2 / 3, 1 / 3, 1 / 3, 0])
    np.testing.assert_allclose(froc.false_regions, [1, 0.5, 0.5, 0, 0])
    assert [froc.found_at(rate) for rate in (0, 0.4, 0.5, 7)] == pytest.approx(
        [1 / 3, 1 / 3, 2 / 3, 2 / 3]
    )
    # One region that covers everything is no false region, but nothing that was found either.
    counter.add(np.full_like(residual, 1.2), labels.astype(np.int32), count)
    assert counter.result().found_at(0.34) == pytest.approx(2 / 6)
    assert froc_summary(froc)["0.5"] == pytest.approx(2 / 3)
    assert froc_summary(None) == {}


def test_counts_are_those_of_the_outlines(rng):
    residual = ndimage.gaussian_filter(rng.normal(size=(2, 150, 160)), (0, 4, 4))
    residual = (residual / residual.std()).astype(np.float32)
    truth = ndimage.gaussian_filter(rng.normal(size=(2, 150, 160)), (0, 6, 6)) > 0.08
    thresholds = [0.5, 1.0, 1.5, 2.0]
    evaluator = Evaluator(thresholds)
    for plane, mask in zip(residual, truth, strict=True):
        evaluator.add(plane, mask)
    froc = evaluator.result().froc
    for number, threshold in enumerate(thresholds):
        false = found = defects = 0
        for plane, mask in zip(residual, truth, strict=True):
            outlined = segment(plane, threshold)
            labels, count = ndimage.label(mask, EIGHT)
            false += len(set(range(1, outlined.max() + 1)) - set(outlined[mask].tolist()))
            for defect in range(1, count + 1):
                if (labels == defect).sum() >= 20:
                    defects += 1
                    found += bool((outlined[labels == defect] > 0).any())
        assert froc.false_regions[number] == false / 2
        assert froc.found[number] == pytest.approx(found / defects)
        assert froc.defects == defects


def test_predictions_are_counted_too():
    truth = squares((10, 10, 1), (60, 10, 1)) > 0
    evaluator = Evaluator()
    scores = evaluator.add(truth.astype(np.float32), truth, squares((15, 15, 1), (60, 90, 1)) > 0)
    assert (scores.found, scores.false_regions) == (1, 1)
    evaluator.add(np.zeros_like(truth, np.float32), np.zeros_like(truth), np.zeros_like(truth))
    found = evaluator.result()
    assert (found.found, found.false_regions_per_image) == (1, 0.5)
    assert found.froc is None
