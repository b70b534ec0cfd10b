"""The region of interest: what lies outside is not inspected, outlined or scored."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import SegmentationConfig
from napari_ssim_defects.core.config.region import RegionOfInterest, parse_region
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.io.artifacts.recipe import DetectionSettings
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.scale import file_detection
from napari_ssim_defects.scale.folders import (
    FileDone,
    FileFailed,
    FilesEvaluated,
    detect_files,
    evaluate_files,
)

Images = Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]


@pytest.fixture
def several(material: Images, tmp_path: Path) -> list[Path]:
    """Two images of 64 x 72 pixels."""
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for seed, path in enumerate(paths):
        Image.fromarray(material(seed, spoilt=True)).save(path)
    return paths


def _table(folder: Path) -> list[dict[str, str]]:
    with (folder / "regions.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _barred(image: np.ndarray[Any, Any], rows: int = 16) -> np.ndarray[Any, Any]:
    """An image with a data bar below it: white text on black."""
    bar = np.zeros((rows, image.shape[1]), np.uint8)
    bar[4:12, 4:60:3] = 255
    return np.vstack([image, bar])


@pytest.fixture(params=["bottom:16", "0:64,0:72", "mask"])
def roi(request: pytest.FixtureRequest, tmp_path: Path) -> RegionOfInterest:
    """The part above the bar, in each of the ways to say it."""
    if request.param != "mask":
        return parse_region(request.param)
    mask = np.zeros((80, 72), np.uint8)
    mask[:64] = 255
    Image.fromarray(mask).save(tmp_path / "roi.png")
    return parse_region(str(tmp_path / "roi.png"))


def test_nothing_is_found_outside_the_region_of_interest(
    grey_model: DefectModel, material: Images, roi: RegionOfInterest, tmp_path: Path
) -> None:
    image = material(5, spoilt=True)
    path = tmp_path / "part.png"
    Image.fromarray(_barred(image)).save(path)
    threshold = grey_model.auto_threshold
    options = {"device": "cpu"}

    def found(target: Path, where: RegionOfInterest | None, name: str) -> FileDone:
        messages = detect_files(
            grey_model,
            [target],
            tmp_path / name,
            DetectionSettings(
                threshold=threshold, segmentation=SegmentationConfig(), roi=where, **options
            ),
        )
        (done,) = (message for message in messages if isinstance(message, FileDone))
        return done

    inside = found(path, roi, "inside")
    everywhere = found(path, None, "everywhere")
    assert everywhere.labels[64:].any()
    assert inside.labels.shape == (80, 72)
    assert not inside.labels[64:].any()
    assert not inside.residual[64:].any()
    Image.fromarray(image).save(tmp_path / "alone.png")
    alone = found(tmp_path / "alone.png", None, "alone")
    np.testing.assert_array_equal(inside.residual[:64], alone.residual)
    np.testing.assert_array_equal(inside.labels[:64], alone.labels)
    rows = _table(tmp_path / "inside")
    assert len(rows) == inside.regions == alone.regions
    assert all(int(row["bottom"]) <= 64 for row in rows)
    written = read_image(tmp_path / "inside" / "part.residual.ome.tif").data
    np.testing.assert_array_equal(written, inside.residual)


@pytest.mark.parametrize("kind", ["margins", "mask"])
def test_blocks_have_the_region_of_interest_too(
    kind: str,
    viewed_model: DefectModel,
    spoilt: np.ndarray[Any, np.dtype[np.uint8]],
    small_tiles: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "part.png"
    Image.fromarray(spoilt).save(path)
    roi = parse_region("bottom:70,left:9")
    if kind == "mask":
        mask = np.zeros(spoilt.shape, np.uint8)
        mask[5:180, 20:300] = 255
        mask[50:64, 170:220] = mask[:60, :100] = 0
        Image.fromarray(mask).save(tmp_path / "roi.png")
        roi = parse_region(str(tmp_path / "roi.png"))
    threshold = viewed_model.calibration.threshold(0.02)
    results = []
    for name, largest in (("memory", 2**25), ("blocks", 0)):
        monkeypatch.setattr(file_detection, "_LARGEST_IN_MEMORY", largest)
        messages = detect_files(
            viewed_model,
            [path],
            tmp_path / name,
            DetectionSettings(
                threshold=threshold, segmentation=SegmentationConfig(), device="cpu", roi=roi
            ),
        )
        (done,) = (message for message in messages if isinstance(message, FileDone))
        files = [read_image(done.files[kind][0]).data for kind in ("residual", "labels")]
        results.append((*files, _table(tmp_path / name)))
    assert results[0][1].any()
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


def test_another_region_of_interest_is_another_inspection(
    grey_model: DefectModel, several: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "results"

    def earlier(roi: str | None) -> list[bool]:
        messages = detect_files(
            grey_model,
            several,
            folder,
            DetectionSettings(
                threshold=grey_model.auto_threshold,
                segmentation=SegmentationConfig(),
                device="cpu",
                roi=None if roi is None else parse_region(roi),
            ),
        )
        return [message.earlier for message in messages if isinstance(message, FileDone)]

    mask = tmp_path / "roi.png"
    Image.fromarray(np.pad(np.ones((50, 60), np.uint8), ((0, 14), (0, 12)))).save(mask)
    for roi in (None, "bottom:8", str(mask)):
        assert not any(earlier(roi))
        assert all(earlier(roi))
    Image.fromarray(np.pad(np.ones((40, 60), np.uint8), ((0, 24), (0, 12)))).save(mask)
    assert not any(earlier(str(mask)))


def test_region_of_interest_that_does_not_fit_is_one_sentence(
    grey_model: DefectModel, several: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "results"

    def failures(roi: str) -> list[str]:
        messages = detect_files(
            grey_model,
            several,
            folder,
            DetectionSettings(
                threshold=1.0, segmentation=SegmentationConfig(), roi=parse_region(roi)
            ),
        )
        return [message.reason for message in messages if isinstance(message, FileFailed)]

    assert all("bottom:64 does not fit" in reason for reason in failures("bottom:64"))
    with pytest.raises(InputError, match=r"no file or folder .*roi\.png"):
        failures(str(tmp_path / "roi.png"))
    Image.fromarray(np.zeros((64, 72), np.uint8)).save(tmp_path / "roi.png")
    assert all("No pixel of" in reason for reason in failures(str(tmp_path / "roi.png")))
    Image.fromarray(np.ones((5, 7), np.uint8)).save(tmp_path / "roi.png")
    assert all("5 x 7" in reason for reason in failures(str(tmp_path / "roi.png")))


def test_evaluation_counts_the_region_of_interest_only(
    grey_model: DefectModel, material: Images, roi: RegionOfInterest, tmp_path: Path
) -> None:
    image = material(5, spoilt=True)
    mask = np.zeros((64, 72), np.uint8)
    mask[20:40, 30:50] = 255
    results = []
    for name, pixels, truth, where in (
        ("alone", image, mask, None),
        ("barred", _barred(image), np.pad(mask, ((0, 16), (0, 0)), constant_values=255), roi),
    ):
        folder = tmp_path / name
        folder.mkdir()
        Image.fromarray(pixels).save(folder / "part.png")
        Image.fromarray(truth).save(folder / "part_mask.png")
        *_, last = evaluate_files(
            grey_model,
            [folder / "part.png"],
            [folder / "part_mask.png"],
            DetectionSettings(device="cpu", roi=where),
        )
        assert isinstance(last, FilesEvaluated)
        results.append(last.evaluation)
    alone, barred = results
    assert (alone.auroc, alone.auprc, alone.aupro) == (barred.auroc, barred.auprc, barred.aupro)
    assert (alone.confusion, alone.found) == (barred.confusion, barred.found)
    assert alone.false_regions_per_image == barred.false_regions_per_image
    assert alone.froc is not None
    assert barred.froc is not None
    np.testing.assert_array_equal(alone.froc.found, barred.froc.found)
    np.testing.assert_array_equal(alone.froc.false_regions, barred.froc.false_regions)


def test_workers_of_a_cluster_inspect_the_region_of_interest_too(
    grey_model: DefectModel,
    several: list[Path],
    tmp_path: Path,
    threads: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask = np.zeros((64, 72), np.uint8)
    mask[:30] = 255
    Image.fromarray(mask).save(tmp_path / "roi.png")
    monkeypatch.chdir(tmp_path)
    for name, cluster in (("here", None), ("cluster", threads)):
        messages = detect_files(
            grey_model,
            several,
            name,
            DetectionSettings(
                threshold=grey_model.auto_threshold,
                segmentation=SegmentationConfig(),
                device="cpu",
                roi=parse_region("roi.png"),
                cluster=cluster,
            ),
        )
        assert not [message for message in messages if isinstance(message, FileFailed)]
    for kind in ("residual", "labels"):
        here, there = (
            read_image(tmp_path / name / f"a.{kind}.ome.tif").data for name in ("here", "cluster")
        )
        np.testing.assert_array_equal(here, there)
        assert not there[30:].any()
