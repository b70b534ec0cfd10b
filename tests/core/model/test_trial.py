"""Painted defects say what is found at a threshold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_ssim_defects.core.common.progress import drained
from napari_ssim_defects.core.detection.predictions import needed_predictions
from napari_ssim_defects.core.evaluation.scores import Evaluator
from napari_ssim_defects.core.model import trial
from napari_ssim_defects.core.model.trial import painted_squares, try_on_painted
from napari_ssim_defects.core.patches.corruption import CORRUPTION_SEED, corrupt
from napari_ssim_defects.core.segmentation.segment import segment


def _tried(model, patches):
    return drained(try_on_painted(model.network, patches, model.config, torch.device("cpu")))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Intensities")
def test_a_painted_defect_is_found_up_to_its_level(grey_model):
    """Compared with what the model finds in the same images, as an evaluation counts it."""
    patches = torch.rand(64, 1, 64, 64, generator=torch.Generator().manual_seed(3))
    painted = _tried(grey_model, patches)
    assert all(defect.size >= 20 for defect in painted)
    images, masks = corrupt(patches, torch.Generator().manual_seed(CORRUPTION_SEED))
    restored = grey_model.intensity.restore
    thresholds = np.quantile([defect.level for defect in painted], (0.2, 0.5, 0.8))
    for threshold in thresholds:
        evaluator = Evaluator()
        for image, mask in zip(images.numpy(), masks[:, 0].numpy() > 0, strict=True):
            residual = grey_model.residual(restored(image)[0])
            outlined = segment(residual, float(threshold), min_area=0) > 0
            evaluator.add(residual, mask, outlined)
        found = sum(defect.level > threshold for defect in painted)
        evaluation = evaluator.result()
        small = evaluation.defects - len(painted)
        assert found <= evaluation.found <= found + small


def test_the_trial_is_the_same_each_time(grey_model):
    patches = torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(3))
    assert _tried(grey_model, patches) == _tried(grey_model, patches)


@pytest.mark.filterwarnings("ignore:Intensities")
def test_what_is_known_of_painted_squares_is_not_computed_again(grey_model, monkeypatch):
    patches = torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(3))
    expected = _tried(grey_model, patches)
    kinds = needed_predictions([grey_model.config.residual])[1]
    cpu = torch.device("cpu")
    known = list(painted_squares(grey_model.network, patches, kinds, 100, cpu))
    monkeypatch.setattr(trial, "local_predictions", lambda *_: pytest.fail("computed again"))
    steps = try_on_painted(grey_model.network, patches, grey_model.config, cpu, known)
    assert drained(steps) == expected
