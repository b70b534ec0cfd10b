from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config.region import MarginsRegion
from napari_ssim_defects.core.evaluation.froc import Froc
from napari_ssim_defects.core.evaluation.scores import Confusion, Evaluator, evaluate, thinned
from napari_ssim_defects.core.images.inspected_area import InspectedArea


def case(seed, levels=None, images=3):
    """Residuals and masks; with ``levels``, residuals are rounded so that many pixels tie."""
    rng = np.random.default_rng(seed)
    residuals, masks = [], []
    for index in range(images):
        shape = (24 + 3 * index, 30)
        mask = ndimage.gaussian_filter(rng.normal(size=shape), 2) > 0.2
        residual = rng.random(shape) + 0.5 * mask * rng.random()
        if levels:
            residual = np.round(residual * levels) / levels
        residuals.append(residual.astype(np.float32))
        masks.append(mask)
    return residuals, masks


def pooled(residuals, masks):
    return np.concatenate([r.ravel() for r in residuals]), np.concatenate(
        [m.ravel() for m in masks]
    )


def curves(residuals, masks):
    """False positive rates, and overlap of every defect, at every threshold; by brute force."""
    scores, truth = pooled(residuals, masks)
    defects = []
    for residual, mask in zip(residuals, masks, strict=True):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        defects += [residual[labels == label] for label in range(1, count + 1)]
    rates, overlaps = [0.0], [[0.0] * len(defects)]
    for threshold in np.unique(scores)[::-1]:
        rates.append((scores[~truth] >= threshold).mean())
        overlaps.append([(values >= threshold).mean() for values in defects])
    return np.array(rates), np.array(overlaps)


CASES = [(0, None), (1, None), (2, 5), (3, 20), (4, 1), (5, 100)]


@pytest.mark.parametrize(("seed", "levels"), CASES)
def test_auroc_is_the_chance_that_a_defect_pixel_scores_higher(seed, levels):
    residuals, masks = case(seed, levels)
    scores, truth = pooled(residuals, masks)
    bad, good = scores[truth][:, None], scores[~truth]
    expected = ((bad > good) + 0.5 * (bad == good)).mean()
    assert evaluate(residuals, masks).auroc == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("seed", "levels"), CASES)
def test_auprc_is_the_average_precision(seed, levels):
    residuals, masks = case(seed, levels)
    scores, truth = pooled(residuals, masks)
    expected, recall = 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        found = scores >= threshold
        expected += truth[found].mean() * (truth[found].sum() / truth.sum() - recall)
        recall = truth[found].sum() / truth.sum()
    assert evaluate(residuals, masks).auprc == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("seed", "levels"), CASES)
def test_pixel_scores_equal_scikit_learn(seed, levels):
    metrics = pytest.importorskip("sklearn.metrics")
    residuals, masks = case(seed, levels)
    scores, truth = pooled(residuals, masks)
    evaluation = evaluate(residuals, masks)
    assert evaluation.auroc == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-12)
    assert evaluation.auprc == pytest.approx(
        metrics.average_precision_score(truth, scores), abs=1e-12
    )
    fpr, tpr, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(evaluation.false_positive_rates, fpr, atol=1e-12)
    np.testing.assert_allclose(evaluation.true_positive_rates, tpr, atol=1e-12)


@pytest.mark.parametrize(("seed", "levels"), CASES)
def test_aupro_is_the_area_below_the_mean_overlap(seed, levels):
    residuals, masks = case(seed, levels)
    rates, overlaps = curves(residuals, masks)
    # Integrate the line through the points on a fine grid, instead of cutting it at the limit.
    area, mean = 0.0, overlaps.mean(axis=1)
    for (x0, y0), (x1, y1) in itertools.pairwise(zip(rates, mean, strict=True)):
        if x0 < 0.3 and x1 > x0:
            end = min(x1, 0.3)
            area += (end - x0) * (y0 + (y0 + (y1 - y0) * (end - x0) / (x1 - x0))) / 2
    assert evaluate(residuals, masks).aupro == pytest.approx(area / 0.3, abs=1e-9)


@pytest.mark.parametrize(("seed", "levels"), CASES)
def test_overlaps_are_taken_at_five_percent_false_positives(seed, levels):
    residuals, masks = case(seed, levels)
    rates, overlaps = curves(residuals, masks)
    chosen = overlaps[np.flatnonzero(rates <= 0.05)[-1]]
    evaluation = evaluate(residuals, masks)
    assert set(evaluation.overlap_quantiles) == {0.25, 0.5, 0.75}
    for quantile, overlap in evaluation.overlap_quantiles.items():
        assert overlap == pytest.approx(np.quantile(chosen, quantile), abs=1e-12)


def test_images_and_defects_are_counted():
    residuals, masks = case(0)
    evaluation = evaluate(residuals, masks)
    assert evaluation.images == 3
    assert evaluation.defects == sum(ndimage.label(m, np.ones((3, 3)))[1] for m in masks)


def test_curve_runs_from_nothing_to_everything():
    evaluation = evaluate(*case(1))
    for rates in (evaluation.false_positive_rates, evaluation.true_positive_rates):
        assert rates[0] == 0
        assert rates[-1] == 1
        assert (np.diff(rates) >= 0).all()


def test_perfect_residual_has_perfect_scores():
    _, masks = case(0)
    evaluation = evaluate([mask.astype(np.float32) for mask in masks], masks)
    assert (evaluation.auroc, evaluation.auprc, evaluation.aupro) == (1, 1, pytest.approx(1))
    assert set(evaluation.overlap_quantiles.values()) == {1}


def test_inverted_residual_has_the_worst_auroc():
    _, masks = case(0)
    assert evaluate([1 - mask.astype(np.float32) for mask in masks], masks).auroc == 0


def test_constant_residual_knows_nothing():
    _, masks = case(0)
    evaluation = evaluate([np.ones(mask.shape, np.float32) for mask in masks], masks)
    assert evaluation.auroc == 0.5
    assert evaluation.auprc == pytest.approx(np.mean(pooled(masks, masks)[1]))
    assert set(evaluation.overlap_quantiles.values()) == {0}


def test_images_without_defects_count_as_good_pixels():
    residuals, masks = case(2)
    good = np.zeros((20, 20), np.float32)
    evaluation = evaluate([*residuals, good], [*masks, good.astype(bool)])
    assert evaluation.images == 4
    assert evaluation.auroc > evaluate(residuals, masks).auroc


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_masks_may_be_numbers(dtype):
    residuals, masks = case(0)
    numbers = [(255 * mask.astype(np.int32)).astype(dtype) for mask in masks]
    assert evaluate(residuals, numbers).aupro == evaluate(residuals, masks).aupro


def test_inputs_are_left_as_they_are():
    residuals, masks = case(0)
    before = [array.copy() for array in (*residuals, *masks)]
    evaluate(residuals, masks)
    for array, copy in zip((*residuals, *masks), before, strict=True):
        np.testing.assert_array_equal(array, copy)


GOOD, BAD = np.zeros((4, 4), bool), np.ones((4, 4), bool)
RESIDUAL = np.zeros((4, 4), np.float32)


@pytest.mark.parametrize(
    ("residuals", "masks", "message"),
    [
        ([], [], "nothing to score"),
        ([RESIDUAL], [], "number and shapes"),
        ([RESIDUAL], [np.eye(5, dtype=bool)], "number and shapes"),
        ([RESIDUAL], [BAD], "mark every pixel as defective"),
        ([RESIDUAL * np.nan], [np.eye(4, dtype=bool)], "NaN"),
    ],
)
def test_impossible_input_is_named(residuals, masks, message):
    with pytest.raises(InputError, match=message):
        evaluate(residuals, masks)


@pytest.mark.parametrize(("seed", "levels"), CASES)
def test_precision_recall_curve_equals_scikit_learn(seed, levels):
    metrics = pytest.importorskip("sklearn.metrics")
    residuals, masks = case(seed, levels)
    scores, truth = pooled(residuals, masks)
    precision, recall, thresholds = metrics.precision_recall_curve(truth, scores)
    evaluation = evaluate(residuals, masks)
    np.testing.assert_allclose(evaluation.precisions, precision[::-1], atol=1e-12)
    np.testing.assert_allclose(evaluation.true_positive_rates, recall[::-1], atol=1e-12)
    np.testing.assert_allclose(evaluation.thresholds[1:], thresholds[::-1], atol=0)


@pytest.mark.parametrize(("seed", "levels"), CASES)
def test_overlap_curves_are_quantiles_at_each_rate(seed, levels):
    residuals, masks = case(seed, levels)
    rates, overlaps = curves(residuals, masks)
    evaluation = evaluate(residuals, masks)
    assert evaluation.overlap_rates[0] == 0
    assert evaluation.overlap_rates[-1] == 0.3
    for index, rate in enumerate(evaluation.overlap_rates):
        chosen = overlaps[np.flatnonzero(rates <= rate)[-1]]
        for quantile, values in evaluation.overlap_curves.items():
            assert values[index] == pytest.approx(np.quantile(chosen, quantile), abs=1e-12)


@pytest.mark.parametrize(("seed", "levels"), CASES)
def test_iou_and_f1_at_a_threshold_equal_scikit_learn(seed, levels):
    metrics = pytest.importorskip("sklearn.metrics")
    residuals, masks = case(seed, levels)
    evaluator = Evaluator()
    alone = [
        evaluator.add(residual, mask, residual > 0.6).confusion
        for residual, mask in zip(residuals, masks, strict=True)
    ]
    together = evaluator.result().confusion
    scores, truth = pooled(residuals, masks)
    pairs = [(r.ravel(), m.ravel()) for r, m in zip(residuals, masks, strict=True)]
    for confusion, (score, mask) in zip([*alone, together], [*pairs, (scores, truth)], strict=True):
        assert confusion.iou == pytest.approx(metrics.jaccard_score(mask, score > 0.6))
        assert confusion.f1 == pytest.approx(metrics.f1_score(mask, score > 0.6))
        assert confusion.false_positive_rate == pytest.approx((score > 0.6)[~mask].mean())


def test_each_image_has_its_own_scores():
    metrics = pytest.importorskip("sklearn.metrics")
    residuals, masks = case(2)
    per_image = evaluate(residuals, masks).per_image
    for scores, residual, mask in zip(per_image, residuals, masks, strict=True):
        assert scores.auroc == pytest.approx(metrics.roc_auc_score(mask.ravel(), residual.ravel()))
        assert scores.auprc == pytest.approx(
            metrics.average_precision_score(mask.ravel(), residual.ravel())
        )
        assert scores.confusion is None


def test_images_without_defects_are_scored_by_their_false_alarms():
    rng = np.random.default_rng(3)
    residuals = [rng.random((20, 30)).astype(np.float32) for _ in range(3)]
    evaluator = Evaluator(froc_thresholds=[0.2, 0.8])
    predicted = np.zeros((20, 30), bool)
    predicted[2:5, 2:5] = predicted[10:14, 20:25] = True
    for residual in residuals:
        evaluator.add(residual, np.zeros((20, 30), bool), predicted)
    found = evaluator.result()
    assert (found.auroc, found.auprc, found.aupro) == (None, None, None)
    assert set(found.overlap_quantiles.values()) == {None}
    assert (found.images, found.good_images, found.defects, found.found) == (3, 3, 0, 0)
    assert found.false_regions_per_image == found.false_regions_per_good_image == 2
    assert found.confusion.false_positive_rate == pytest.approx(29 / 600)
    assert found.froc.defects == 0


def test_pixels_outside_the_area_do_not_count():
    residuals, masks = case(5)
    residual, mask = residuals[0], masks[0]
    height = len(mask)
    area = InspectedArea.from_region(MarginsRegion(bottom=3, left=2), mask.shape)
    part = np.s_[: height - 3, 2:]
    cropped = Evaluator(froc_thresholds=[0.3, 0.6])
    whole = Evaluator(froc_thresholds=[0.3, 0.6])
    cropped.add(residual[part].copy(), mask[part], residual[part] > 0.6)
    seen = area.embedded(residual[part])
    whole.add(seen, mask, residual > 0.6, area)
    first, second = cropped.result(), whole.result()
    assert (first.auroc, first.aupro, first.confusion) == (
        second.auroc, second.aupro, second.confusion
    )  # fmt: skip
    assert (first.defects, first.found) == (second.defects, second.found)
    assert first.false_regions_per_image == second.false_regions_per_image


def test_froc_curve_rises_to_its_limit():
    thresholds = np.array([0.0, 1, 2, 3])
    froc = Froc(thresholds, np.array([1.0, 6, 2, 0]), np.array([1, 0.9, 0.5, 0.2]), 10)
    x, y = froc.curve(4)
    np.testing.assert_array_equal(x, [0, 2, 4])
    np.testing.assert_array_equal(y, [0.2, 0.5, 0.5])
    assert froc.curve(10)[1][-1] == 1


def test_image_without_defects_has_no_areas_of_its_own():
    scores = Evaluator().add(np.zeros((5, 6), np.float32), np.zeros((5, 6), bool))
    assert (scores.auroc, scores.auprc, scores.defects) == (None, None, 0)


def test_nothing_found_where_nothing_is_is_perfect():
    empty = Confusion.from_masks(np.zeros((4, 4), bool), np.zeros((4, 4), bool))
    assert (empty.iou, empty.f1, empty.false_positive_rate) == (1, 1, 0)


def test_thinned_curve_has_the_area_of_all_of_it():
    x = np.sort(np.random.default_rng(0).random(200_000))
    x[0], x[-1] = 0, 1
    short = thinned(x, np.sqrt(x))
    assert len(short[0]) < 2500
    assert np.trapezoid(short[1], short[0]) == pytest.approx(np.trapezoid(np.sqrt(x), x), abs=1e-4)
