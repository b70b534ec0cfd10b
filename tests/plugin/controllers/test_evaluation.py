"""Scores of a heatmap against a Labels layer."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels

from napari_ssim_defects.core.evaluation.scores import evaluate
from napari_ssim_defects.plugin.layers.ground_truth import is_truth


def truth(shape=(96, 80)):
    labels = np.zeros(shape, np.int32)
    labels[..., 30:50, 20:40] = 1
    return labels


def test_heatmap_is_scored_against_a_labels_layer(
    controller, state, viewer, images, detected, wait_idle
):
    (heatmap,) = detected(viewer.add_image(images.spoilt(6), name="bad"))
    state.truth_layer = viewer.add_labels(truth(), name="truth")
    controller.evaluation.start()
    wait_idle()
    expected = evaluate([heatmap.data], [truth() > 0])
    summary = state.evaluation
    columns = ("", "Found", "False regions", "AUROC", "AUPRC", "AUPRO", "IoU", "F1", "FPR")
    assert summary.columns == columns
    (row,) = summary.rows
    scores = (expected.auroc, expected.auprc, expected.aupro)
    assert row[3:6] == tuple(f"{score:.3f}" for score in scores)
    assert 0 <= float(row[6]) <= float(row[7]) <= 1
    ((x, y),) = summary.curves[0].curves.values()
    assert np.trapezoid(y, x) == pytest.approx(expected.auroc, abs=1e-3)
    assert [len(curves.curves) for curves in summary.curves] == [1, 1, 3, 1]
    froc = summary.curves[3]
    assert (froc.title, froc.x_name) == ("FROC", "False regions per image")
    ((x, y),) = froc.curves.values()
    assert x[-1] == froc.x_max
    assert (np.diff(y) >= 0).all()
    assert row[1] in {"0 of 1", "1 of 1"}
    text = f"Found {row[1]} defect, false regions per image: {row[2]}"
    text += f", at threshold {state.threshold:.4g}"
    assert summary.text == text
    assert state.status == f"Evaluated 'bad'. {text}."


def test_planes_of_a_stack_have_scores_of_their_own(
    controller, state, viewer, images, detected, wait_idle
):
    stack = np.stack([images.spoilt(6), images.texture(5)])
    (heatmap,) = detected(viewer.add_image(stack, name="stack"))
    labels = np.stack([truth(), np.zeros((96, 80), np.int32)])
    state.truth_layer = viewer.add_labels(labels, name="truth")
    controller.evaluation.start()
    wait_idle()
    rows = state.evaluation.rows
    assert [row[0] for row in rows] == ["all", "plane 0", "plane 1"]
    expected = evaluate([heatmap.data[0]], [truth() > 0])
    assert rows[1][3] == f"{expected.auroc:.3f}"
    assert rows[2][3] == "–"


def test_all_images_with_ground_truth_are_scored_together(
    controller, state, viewer, images, detected, wait_idle
):
    bad = [viewer.add_image(images.spoilt(seed), name=f"bad {seed}") for seed in (6, 7)]
    viewer.add_labels(truth(), name="bad 6 truth")
    chosen = viewer.add_labels(truth(), name="drawn by hand")
    unknown = viewer.add_image(images.spoilt(8), name="bad 8")
    heatmaps = detected(*bad, unknown)
    controller.images.choose(bad[1])
    state.truth_layer = chosen
    controller.evaluation.start(all_images=True)
    wait_idle()
    expected = evaluate([heatmap.data for heatmap in heatmaps[:2]], [truth() > 0] * 2)
    summary = state.evaluation
    assert [row[0] for row in summary.rows] == ["all", "bad 6", "bad 7"]
    assert summary.rows[0][3] == f"{expected.auroc:.3f}"
    assert summary.text.startswith(f"Found {summary.rows[0][1]} defects")
    assert state.status == f"Evaluated 2 images. {summary.text}."
    controller.images.choose(bad[0])
    assert state.evaluation is summary  # it is about this one too
    controller.images.choose(unknown)
    assert state.evaluation is None


def test_ground_truth_counts_where_it_lies_in_the_world(
    controller, state, viewer, images, detected, wait_idle
):
    (heatmap,) = detected(viewer.add_image(images.spoilt(6), name="bad", scale=(2, 2)))
    coarse = truth()[::2, ::2]
    state.truth_layer = viewer.add_labels(coarse, scale=(4, 4), translate=(1, 1), name="truth")
    controller.evaluation.start()
    wait_idle()
    expected = evaluate([heatmap.data], [truth() > 0])
    assert state.evaluation.rows[0][3] == f"{expected.auroc:.3f}"


def test_missing_layers_are_asked_for(controller, state, viewer, images, detected):
    controller.evaluation.start()
    assert "detect first" in state.status
    detected(viewer.add_image(images.spoilt(6)))
    controller.evaluation.start()
    assert "Choose the Labels layer" in state.status
    assert state.status_is_error
    assert not state.busy


def test_image_without_a_defect_is_scored_by_its_false_alarms(
    controller, state, viewer, images, detected, wait_idle
):
    detected(viewer.add_image(images.spoilt(6)))
    state.threshold /= 4
    state.truth_layer = viewer.add_labels(np.zeros((96, 80), np.int32))
    controller.evaluation.start()
    wait_idle()
    assert not state.status_is_error
    (row,) = state.evaluation.rows
    assert row[1] == "0 of 0"
    assert float(row[2]) >= 1
    assert row[3:8] == ("–",) * 5
    assert float(row[8]) >= 0
    assert state.evaluation.curves == ()


def test_labels_beside_the_image_are_refused(
    controller, state, viewer, images, detected, wait_idle
):
    detected(viewer.add_image(images.spoilt(6)))
    state.truth_layer = viewer.add_labels(truth(), translate=(500, 500))
    controller.evaluation.start()
    wait_idle()
    assert state.status_is_error
    assert state.evaluation is None


def test_scores_go_with_their_heatmap_and_truth_with_its_layer(
    controller, state, viewer, images, detected, wait_idle
):
    detected(viewer.add_image(images.spoilt(6)))
    state.truth_layer = viewer.add_labels(truth())
    controller.evaluation.start()
    wait_idle()
    viewer.layers.remove(state.truth_layer)
    assert state.truth_layer is None
    viewer.layers.remove(state.heatmap)
    assert state.evaluation is None


def test_labels_of_detection_are_no_ground_truth(
    controller, state, viewer, images, detected, wait_idle
):
    detected(viewer.add_image(images.spoilt(6)))
    controller.labelling.start()
    wait_idle()
    drawn = viewer.add_labels(truth(), name="drawn")
    assert [layer for layer in viewer.layers if is_truth(layer)] == [drawn]
    assert len([layer for layer in viewer.layers if isinstance(layer, Labels)]) > 1


def test_a_mask_that_was_opened_as_an_image_is_truth_and_no_image(
    controller, state, viewer, images, detected, wait_idle
):
    from napari_ssim_defects.plugin.layers import is_inspectable

    image = viewer.add_image(images.spoilt(1), name="bad")
    marked = np.zeros(image.data.shape, np.uint8)
    marked[30:50, 20:40] = 255
    mask = viewer.add_image(marked, name="mask")
    assert [layer for layer in viewer.layers if is_truth(layer)] == [mask]
    assert [layer for layer in viewer.layers if is_inspectable(layer)] == [image]
    detected(image)
    state.truth_layer = mask
    controller.evaluation.start()
    wait_idle()
    assert state.evaluation.rows


def test_a_picture_in_two_tones_is_an_image(viewer):
    from napari_ssim_defects.plugin.layers import is_inspectable
    from napari_ssim_defects.samples import checkerboard

    board = viewer.add_image(checkerboard(seed=1, defects=False).image)
    assert is_inspectable(board)
    assert not is_truth(board)
