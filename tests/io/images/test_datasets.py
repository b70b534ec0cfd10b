"""Published data sets are recognised by their folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.images.datasets import find_dataset


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(root / name)


def names(paths: tuple[Path | None, ...], root: Path) -> list[str | None]:
    return [None if path is None else path.relative_to(root).as_posix() for path in paths]


def test_nanotwice_keeps_its_last_good_image_for_validation(tmp_path: Path) -> None:
    fill(tmp_path, *(f"Normal/ITIA{n}.tif" for n in (1, 2, 3, 4, 10)))
    fill(tmp_path, "Anomalous/images/ITIA20.tif", "Anomalous/images/ITIA21.tif")
    fill(tmp_path, "Anomalous/gt/ITIA20_gt.png", "Anomalous/gt/ITIA21_gt.png")
    found = find_dataset(tmp_path)
    assert found.layout == "nanotwice"
    assert names(found.good, tmp_path) == [f"Normal/ITIA{n}.tif" for n in (1, 2, 3, 4)]
    assert names(found.validation, tmp_path) == ["Normal/ITIA10.tif"]
    assert names(found.test, tmp_path)[1] == "Anomalous/images/ITIA21.tif"
    assert names(found.masks, tmp_path)[1] == "Anomalous/gt/ITIA21_gt.png"


def test_mvtec_has_good_test_images_without_masks(tmp_path: Path) -> None:
    fill(tmp_path, "train/good/000.png", "train/good/001.png", "test/good/000.png")
    fill(tmp_path, "test/cut/000.png", "test/hole/000.png")
    fill(tmp_path, "ground_truth/cut/000_mask.png", "ground_truth/hole/000_mask.png")
    found = find_dataset(tmp_path)
    assert found.layout == "mvtec"
    assert len(found.good) == 2
    pairs = zip(names(found.test, tmp_path), names(found.masks, tmp_path), strict=True)
    assert list(pairs) == [
        ("test/cut/000.png", "ground_truth/cut/000_mask.png"),
        ("test/good/000.png", None),
        ("test/hole/000.png", "ground_truth/hole/000_mask.png"),
    ]


def test_plain_folders_are_recognised(tmp_path: Path) -> None:
    fill(tmp_path, "train_good/a.png", "test/b.png", "mask/b.png")
    found = find_dataset(tmp_path)
    assert (found.layout, found.validation) == ("plain", ())
    assert names(found.masks, tmp_path) == ["mask/b.png"]


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_anything_else_is_one_sentence(folder: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_dataset(tmp_path / folder)
    assert "\n" not in str(caught.value)


def test_missing_mask_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "train/good/0.png", "test/cut/7.png", "ground_truth/cut/8_mask.png")
    with pytest.raises(InputError, match=r"no mask of '.*7\.png'"):
        find_dataset(tmp_path)
