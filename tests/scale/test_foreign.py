"""An image that is unlike the training images as a whole is told, on every way to a result."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from napari_ssim_defects.core.common.progress import drained
from napari_ssim_defects.core.config import SegmentationConfig
from napari_ssim_defects.io.artifacts.recipe import DetectionSettings
from napari_ssim_defects.scale import file_detection
from napari_ssim_defects.scale.folders import (
    FileDone,
    FilesEvaluated,
    detect_files,
    evaluate_files,
)
from napari_ssim_defects.scale.residual_store import ResidualStore


@pytest.fixture
def own(material):
    return material(3, (150, 160))


@pytest.fixture
def foreign():
    """Stripes, of the same range of grey levels."""
    rows = np.arange(150)[:, None] + np.zeros(160)
    return np.where(rows % 12 < 6, 60, 200).astype(np.uint8)


def test_only_the_foreign_image_is_told(viewed_model, own, foreign):
    for image, expected in ((own, False), (foreign, True)):
        planes = viewed_model.planes(image)
        assert drained(viewed_model.detect_image(planes)).foreign is expected
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        viewed_model.residual(own)
    with pytest.warns(UserWarning, match="looks unlike all of the training images"):
        viewed_model.residual(foreign)


def test_a_residual_on_disk_tells_it(viewed_model, own, foreign, tmp_path):
    for name, image, expected in (("own", own, False), ("foreign", foreign, True)):
        store = ResidualStore(viewed_model, viewed_model.planes(image), tmp_path / name)
        drained(store.fill())
        assert store.foreign is expected


@pytest.mark.parametrize("blocks", [False, True])
def test_files_come_with_a_notice(viewed_model, own, foreign, tmp_path, monkeypatch, blocks):
    if blocks:
        monkeypatch.setattr(file_detection, "_LARGEST_IN_MEMORY", 0)
    paths = []
    for name, image in (("own", own), ("foreign", foreign)):
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(image).save(paths[-1])
    messages = detect_files(
        viewed_model,
        paths,
        tmp_path / "out",
        DetectionSettings(threshold=viewed_model.auto_threshold, segmentation=SegmentationConfig()),
    )
    done = [message for message in messages if isinstance(message, FileDone)]
    assert [any("looks unlike" in text for text in each.notices) for each in done] == [False, True]
    *_, last = evaluate_files(viewed_model, paths, None)
    assert isinstance(last, FilesEvaluated)
    (notice,) = [text for text in last.notices if "looks unlike" in text]
    assert "foreign.png" in notice
