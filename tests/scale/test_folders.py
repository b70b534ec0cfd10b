"""Detection over files: what is written, what is kept from the input, and what goes wrong."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import OutputConfig, SegmentationConfig
from napari_ssim_defects.core.evaluation.scores import evaluate
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.segmentation.regions import measure_regions
from napari_ssim_defects.core.segmentation.segment import segment
from napari_ssim_defects.io.artifacts.recipe import DetectionSettings
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.io.writers.ome_tiff import write_ome_tiff
from napari_ssim_defects.io.writers.tables import REGION_COLUMNS
from napari_ssim_defects.scale.folders import (
    FileDone,
    FileFailed,
    FileProgress,
    FilesEvaluated,
    detect_files,
    evaluate_files,
)

Images = Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]

SEGMENTATION = SegmentationConfig(opening=2, min_area=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


def _run(
    model: DefectModel, paths: list[Path], folder: Path, threshold: float | None = None
) -> list[FileProgress | FileDone | FileFailed]:
    threshold = model.auto_threshold if threshold is None else threshold
    settings = DetectionSettings(threshold=threshold, segmentation=SEGMENTATION, device="cpu")
    return list(detect_files(model, paths, folder, settings, name="fibres"))


def _detected(
    model: DefectModel, paths: list[Path], folder: Path, threshold: float | None = None
) -> list[FileDone]:
    messages = _run(model, paths, folder, threshold)
    assert not [message for message in messages if isinstance(message, FileFailed)]
    return [message for message in messages if isinstance(message, FileDone)]


def _table(folder: Path) -> list[dict[str, str]]:
    with (folder / "regions.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _physical_sizes(path: Path) -> dict[str, str]:
    with tifffile.TiffFile(path) as tif:
        xml = tif.ome_metadata
    assert xml is not None
    pixels = tifffile.xml2dict(xml)["OME"]["Image"]["Pixels"]
    return {key: value for key, value in pixels.items() if "Physical" in key or "Time" in key}


def test_residual_and_labels_are_those_of_the_model(
    grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    image = material(7, spoilt=True)
    path = tmp_path / "weave.png"
    Image.fromarray(image).save(path)
    (file,) = _detected(grey_model, [path], folder)
    residual = grey_model.residual(image, device="cpu")
    labels = segment(residual, grey_model.auto_threshold, **SEGMENTATION.model_dump())
    assert labels.any()
    np.testing.assert_array_equal(file.residual, residual)
    np.testing.assert_array_equal(file.labels, labels)
    assert file.files["residual"][0] == folder / "weave.residual.ome.tif"
    assert file.files["labels"][0] == folder / "weave.labels.ome.tif"
    written = tifffile.imread(file.files["residual"][0])
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, residual)
    np.testing.assert_array_equal(tifffile.imread(file.files["labels"][0]), labels)
    assert file.regions == labels.max()
    assert file.defective_fraction == np.count_nonzero(labels) / labels.size
    assert file.seconds > 0
    assert _names(folder) == [
        "regions.csv", "weave.labels.ome.tif", "weave.residual.ome.tif",
    ]  # fmt: skip


def test_table_holds_the_measurements_of_every_region(
    grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    path = tmp_path / "weave.ome.tif"
    write_ome_tiff(path, material(7, spoilt=True), pixel_size=(0.5, 0.25), unit="µm")
    threshold = grey_model.calibration.threshold(0.2)
    (file,) = _detected(grey_model, [path], folder, threshold)
    regions = measure_regions(file.labels, file.residual)
    rows = _table(folder)
    created = grey_model.provenance["created"]
    made = {("fibres", created, str(threshold))}
    assert {(row["model"], row["model_created"], row["threshold"]) for row in rows} == made
    assert len(rows) == len(regions) == file.regions > 1
    for row, region in zip(rows, regions, strict=True):
        assert tuple(row) == REGION_COLUMNS
        assert (row["image"], row["plane"]) == ("weave.ome.tif", "0")
        assert int(row["label"]) == region.label
        assert int(row["area_px"]) == region.area
        centre = float(row["centroid_row"]), float(row["centroid_column"])
        assert centre == pytest.approx(region.centroid)
        box = tuple(int(row[side]) for side in ("top", "left", "bottom", "right"))
        assert box == region.bounding_box
        assert float(row["mean_residual"]) == pytest.approx(region.mean_residual)
        assert float(row["max_residual"]) == pytest.approx(region.max_residual)
        assert float(row["eccentricity"]) == pytest.approx(region.eccentricity)
        assert float(row["area"]) == pytest.approx(region.area * 0.125)
        assert row["area_unit"] == "µm²"


def test_images_without_a_pixel_size_have_no_areas_in_units(
    grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    Image.fromarray(material(7, spoilt=True)).save(tmp_path / "weave.png")
    _detected(grey_model, [tmp_path / "weave.png"], folder)
    assert {(row["area"], row["area_unit"]) for row in _table(folder)} == {("", "")}


def test_good_images_leave_a_table_with_a_header_only(
    grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    Image.fromarray(material(7)).save(tmp_path / "weave.png")
    (file,) = _detected(grey_model, [tmp_path / "weave.png"], folder, threshold=2.0)
    assert (file.regions, file.defective_fraction) == (0, 0)
    assert (folder / "regions.csv").read_text("utf-8").split() == [",".join(REGION_COLUMNS)]


def test_pixel_size_and_unit_are_kept(
    grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    path = tmp_path / "weave.ome.tif"
    write_ome_tiff(path, material(7), pixel_size=(0.5, 0.25), unit="nm")
    (file,) = _detected(grey_model, [path], folder)
    for written in (file.files["residual"][0], file.files["labels"][0]):
        sizes = _physical_sizes(written)
        assert (sizes["PhysicalSizeY"], sizes["PhysicalSizeX"]) == (0.5, 0.25)
        assert sizes["PhysicalSizeXUnit"] == sizes["PhysicalSizeYUnit"] == "nm"


@pytest.mark.parametrize(
    ("axes", "shape"), [("ZYX", (3, 40, 48)), ("TYX", (3, 40, 48)), ("TZYX", (2, 3, 40, 48))]
)
def test_steps_of_a_stack_are_kept(
    axes: str,
    shape: tuple[int, ...],
    grey_model: DefectModel,
    material: Images,
    tmp_path: Path,
    folder: Path,
) -> None:
    path = tmp_path / "stack.ome.tif"
    steps = {"T": (7.5, "s"), "Z": (2.0, "µm"), "Y": (0.5, "µm"), "X": (0.25, "µm")}
    write_ome_tiff(
        path,
        material(7, shape),
        axes=axes,
        pixel_size=[steps[letter][0] for letter in axes],
        unit=[steps[letter][1] for letter in axes],
    )
    expected = read_image(path).spatial
    assert expected.scale == tuple(steps[letter][0] for letter in axes)
    (file,) = _detected(grey_model, [path], folder)
    assert file.residual.shape == shape
    for written in (file.files["residual"][0], file.files["labels"][0]):
        image = read_image(written)
        assert image.data.shape == shape
        assert image.spatial == expected


def test_channels_of_rgb_images_are_gone_and_the_pixel_size_is_not(
    rgb_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    path = tmp_path / "photo.ome.tif"
    image = np.moveaxis(material(7, (3, 40, 48)), 0, -1)
    write_ome_tiff(path, image, axes="YXS", pixel_size=(0.5, 0.25), unit="µm")
    (file,) = _detected(rgb_model, [path], folder)
    written = read_image(file.files["residual"][0])
    assert written.data.shape == (40, 48)
    assert (written.pixel_size, written.unit) == ((0.5, 0.25), "µm")


def test_channels_in_front_work_like_channels_at_the_end(
    rgb_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    image = material(7, (2, 3, 40, 48))
    in_front, at_the_end = tmp_path / "front.ome.tif", tmp_path / "end.ome.tif"
    write_ome_tiff(in_front, image, axes="TCYX")
    write_ome_tiff(at_the_end, np.moveaxis(image, 1, -1), axes="ZYXS")
    first, second = _detected(rgb_model, [in_front, at_the_end], folder)
    assert first.residual.shape == (2, 40, 48)
    np.testing.assert_array_equal(first.residual, second.residual)
    assert read_image(first.files["labels"][0]).spatial.axes == "TYX"


@pytest.mark.parametrize("width", [3, 4])
def test_narrow_grey_stack_is_not_taken_for_rgb(
    width: int, grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    path = tmp_path / "lines.ome.tif"
    stack = material(7, (2, 48, width))
    write_ome_tiff(path, stack, axes="ZYX")
    (file,) = _detected(grey_model, [path], folder)
    assert file.residual.shape == stack.shape
    for plane, residual in zip(stack, file.residual, strict=True):
        np.testing.assert_array_equal(residual, grey_model.residual(plane, device="cpu"))


def test_planes_of_a_stack_are_rows_of_one_table(
    grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    path = tmp_path / "stack.ome.tif"
    stack = material(7, (3, 64, 72), spoilt=True)
    write_ome_tiff(path, stack, axes="ZYX")
    residual = grey_model.residual(stack, device="cpu")
    threshold = float(np.quantile(residual, 0.9, axis=(1, 2)).min())  # something in each plane
    (file,) = _detected(grey_model, [path], folder, threshold)
    rows = _table(folder)
    assert {row["plane"] for row in rows} == {"0", "1", "2"}
    assert [int(row["label"]) for row in rows] == list(range(1, file.regions + 1))
    for row in rows:
        inside = file.labels[int(row["plane"])] == int(row["label"])
        assert int(row["area_px"]) == np.count_nonzero(inside)


def _bad_files(tmp_path: Path, material: Images) -> list[Path]:
    names = ["text.png", "nan.tif", "rgb.png", "empty.tif", "many.tif"]
    paths = [tmp_path / name for name in names]
    paths[0].write_text("no picture")
    broken = material(1).astype(np.float32)
    broken[3, 4] = np.nan
    tifffile.imwrite(paths[1], broken)
    Image.fromarray(np.moveaxis(material(1, (3, 64, 72)), 0, -1)).save(paths[2])
    paths[3].write_bytes(b"")
    tifffile.imwrite(paths[4], material(1, (2, 2, 2, 2, 16, 16)), photometric="minisblack")
    return paths


def test_bad_files_are_reported_and_the_others_go_on(
    grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    bad = _bad_files(tmp_path, material)
    good = [tmp_path / "good_1.png", tmp_path / "good_2.png"]
    for path in good:
        Image.fromarray(material(7, spoilt=True)).save(path)
    messages = _run(grey_model, [good[0], *bad, tmp_path / "missing.png", good[1]], folder)
    failed = [message for message in messages if isinstance(message, FileFailed)]
    assert [message.path for message in failed] == [*bad, tmp_path / "missing.png"]
    for message in failed:
        assert f"'{message.path}'" in message.reason
        assert "\n" not in message.reason
        assert message.reason.endswith(".")
    assert [m.path for m in messages if isinstance(m, FileDone)] == good
    assert {row["image"] for row in _table(folder)} == {"good_1.png", "good_2.png"}
    assert len(_names(folder)) == 5


def test_images_of_one_stem_do_not_overwrite_each_other(
    grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    paths = [tmp_path / "weave.png", tmp_path / "weave.bmp"]
    for seed, path in enumerate(paths):
        Image.fromarray(material(seed, spoilt=True)).save(path)
    first, second = _detected(grey_model, paths, folder)
    assert (
        len({first.files["residual"][0], second.files["residual"][0], first.files["labels"][0]})
        == 3
    )
    for file in (first, second):
        np.testing.assert_array_equal(tifffile.imread(file.files["residual"][0]), file.residual)


def test_images_of_one_name_can_be_told_apart_in_the_table(
    grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    paths = [tmp_path / "a" / "weave.png", tmp_path / "b" / "weave.png", tmp_path / "felt.png"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(material(7, spoilt=True)).save(path)
    _detected(grey_model, paths, folder)
    assert {row["image"] for row in _table(folder)} == {str(paths[0]), str(paths[1]), "felt.png"}


def test_progress_never_falls_and_ends_at_one(
    grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    paths = [tmp_path / "1.tif", tmp_path / "2.png", tmp_path / "3.png"]
    tifffile.imwrite(paths[0], material(7, (3, 40, 48)), photometric="minisblack")
    paths[1].write_text("no picture")
    Image.fromarray(material(7)).save(paths[2])
    messages = _run(grey_model, paths, folder)
    progress = [message for message in messages if isinstance(message, FileProgress)]
    fractions = [message.fraction for message in progress]
    assert fractions == sorted(fractions)
    assert fractions[0] > 0
    assert fractions[-1] == pytest.approx(1)
    assert progress[0].path == paths[0]
    assert progress[-1].path == paths[2]


def test_file_in_the_way_of_the_folder_is_said_before_any_work(
    grey_model: DefectModel, tmp_path: Path, folder: Path
) -> None:
    folder.write_text("in the way")
    with pytest.raises(InputError, match="a folder needs"):
        _run(grey_model, [tmp_path / "weave.png"], folder)
    assert folder.read_text() == "in the way"


def test_device_that_is_not_there_is_said_once_and_before_any_work(
    grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    Image.fromarray(material(7)).save(tmp_path / "weave.png")
    with pytest.raises(InputError, match="'quantum' is not a device"):
        list(
            detect_files(
                grey_model,
                [tmp_path / "weave.png"],
                folder,
                DetectionSettings(threshold=0.5, segmentation=SEGMENTATION, device="quantum"),
            )
        )
    assert not folder.exists()


@pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
def test_threshold_that_is_no_number_is_refused(
    threshold: float, grey_model: DefectModel, material: Images, tmp_path: Path, folder: Path
) -> None:
    Image.fromarray(material(7)).save(tmp_path / "weave.png")
    with pytest.raises(InputError, match="threshold"):
        _run(grey_model, [tmp_path / "weave.png"], folder, threshold)
    assert not folder.exists()


def test_folder_that_takes_no_files_is_one_sentence(
    grey_model: DefectModel,
    material: Images,
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Image.fromarray(material(7)).save(tmp_path / "weave.png")

    def deny(self: Path, *args: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "touch", deny)
    with pytest.raises(InputError, match="permission denied") as caught:
        _run(grey_model, [tmp_path / "weave.png"], folder)
    assert "\n" not in str(caught.value)
    assert _names(folder) == []


@pytest.fixture
def several(material: Images, tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        Image.fromarray(material(number, spoilt=True)).save(path)
    return paths


def _earlier(
    model: DefectModel, paths: list[Path], folder: Path, *, overwrite: bool = False, **changes: Any
) -> list[str]:
    """Run to the end; returns the names of the images that were not inspected again."""
    options = {"threshold": 0.5, "segmentation": SEGMENTATION, "device": "cpu", **changes}
    return [
        message.path.name
        for message in detect_files(
            model, paths, folder, DetectionSettings(**options), overwrite=overwrite
        )
        if isinstance(message, FileDone) and message.earlier
    ]


def test_a_run_that_was_stopped_goes_on_and_ends_as_if_it_was_not(
    grey_model: DefectModel, several: list[Path], tmp_path: Path, folder: Path
) -> None:
    steps = detect_files(
        grey_model,
        several,
        folder,
        DetectionSettings(threshold=0.5, segmentation=SEGMENTATION, device="cpu"),
    )
    for message in steps:
        if isinstance(message, FileDone) and message.path == several[1]:
            break
    steps.close()  # type: ignore[attr-defined]
    assert not (folder / "regions.csv").exists()
    assert _earlier(grey_model, several, folder) == ["0.png", "1.png"]
    assert _earlier(grey_model, several, tmp_path / "at once") == []
    for name in _names(folder):
        if name.endswith(".csv"):
            assert (folder / name).read_bytes() == (tmp_path / "at once" / name).read_bytes()
        else:
            np.testing.assert_array_equal(
                read_image(folder / name).data, read_image(tmp_path / "at once" / name).data
            )
    assert _names(folder) == _names(tmp_path / "at once")


def test_what_changed_is_inspected_again(
    grey_model: DefectModel, several: list[Path], material: Images, folder: Path
) -> None:
    names = [path.name for path in several]
    assert _earlier(grey_model, several, folder) == []
    assert _earlier(grey_model, several, folder) == names
    assert _earlier(grey_model, several, folder, overwrite=True) == []
    Image.fromarray(material(9, (64, 73))).save(several[0])
    (folder / "1.residual.ome.tif").unlink()
    assert _earlier(grey_model, several, folder) == ["2.png"]
    for changes in (
        {"threshold": 0.6},
        {"segmentation": SEGMENTATION.replace(min_area=5)},
        {"stride": 4},
        {"pixel_size": (0.5,), "unit": "um"},
        {"outputs": OutputConfig(kinds=("mask",))},
    ):
        assert _earlier(grey_model, several, folder, **changes) == []
        assert _earlier(grey_model, several, folder, **changes) == names
    other = grey_model.with_residual("squared_error")
    assert _earlier(other, several, folder) == []


def test_what_could_not_be_used_is_tried_again(
    grey_model: DefectModel, several: list[Path], folder: Path
) -> None:
    whole = several[1].read_bytes()
    several[1].write_bytes(whole[:100])
    _earlier(grey_model, several, folder)
    several[1].write_bytes(whole)
    assert _earlier(grey_model, several, folder) == ["0.png", "2.png"]
    assert {row["image"] for row in _table(folder)} == {"0.png", "1.png", "2.png"}


def test_results_that_cannot_be_written_end_the_run(
    grey_model: DefectModel, several: list[Path], folder: Path
) -> None:
    (folder / "0.labels.ome.tif").mkdir(parents=True)
    with pytest.raises(InputError, match="it is a folder"):
        _earlier(grey_model, several, folder)


@pytest.fixture
def scored(material: Images, tmp_path: Path) -> tuple[list[Path], Path]:
    """Two spoilt images of different size, and the folder of their masks."""
    masks = tmp_path / "masks"
    masks.mkdir()
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for seed, (path, shape) in enumerate(zip(paths, [(64, 72), (48, 60)], strict=True)):
        Image.fromarray(material(seed, shape, spoilt=True)).save(path)
        mask = np.zeros(shape, np.uint8)
        mask[20:40, 30:50] = 255
        Image.fromarray(mask).save(masks / f"{path.stem}_mask.png")
    return paths, masks


def test_scores_are_those_of_the_residuals(
    grey_model: DefectModel, scored: tuple[list[Path], Path]
) -> None:
    paths, masks = scored
    *progress, last = evaluate_files(grey_model, paths, masks, DetectionSettings(device="cpu"))
    assert isinstance(last, FilesEvaluated)
    images = [np.asarray(Image.open(path)) for path in paths]
    truths = [np.asarray(Image.open(masks / f"{path.stem}_mask.png")) > 0 for path in paths]
    expected = evaluate([grey_model.residual(image, device="cpu") for image in images], truths)
    scores = last.evaluation
    for name in ("auroc", "auprc", "aupro", "overlap_quantiles", "images", "defects"):
        assert getattr(scores, name) == getattr(expected, name)
    assert (scores.images, scores.defects) == (2, 2)
    assert last.seconds_per_image > 0
    fractions = [message.fraction for message in progress if isinstance(message, FileProgress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)


def _refusal(model: DefectModel, paths: list[Path], masks: Path) -> str:
    with pytest.raises(InputError) as caught:
        list(evaluate_files(model, paths, masks, DetectionSettings(device="cpu")))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_image_without_a_mask_is_named(
    grey_model: DefectModel, scored: tuple[list[Path], Path]
) -> None:
    paths, masks = scored
    (masks / "b_mask.png").unlink()
    assert f"no mask of '{paths[1]}'" in _refusal(grey_model, paths, masks)
    assert "nowhere" in _refusal(grey_model, paths, masks.parent / "nowhere")


def test_mask_of_another_size_is_named_before_its_image_is_inspected(
    grey_model: DefectModel, scored: tuple[list[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, masks = scored
    Image.fromarray(np.ones((5, 6), np.uint8)).save(masks / "a_mask.png")

    def detect(*args: object, **options: object) -> None:
        raise AssertionError

    monkeypatch.setattr(DefectModel, "detect", detect)
    message = _refusal(grey_model, paths, masks)
    assert "a_mask.png" in message
    assert "5 x 6" in message


def test_images_without_any_defect_are_scored_by_their_false_alarms(
    grey_model: DefectModel, scored: tuple[list[Path], Path]
) -> None:
    paths, masks = scored
    for mask in masks.iterdir():
        Image.fromarray(np.zeros_like(np.asarray(Image.open(mask)))).save(mask)
    for truth in (masks, None):
        *_, last = evaluate_files(grey_model, paths, truth, DetectionSettings(device="cpu"))
        assert isinstance(last, FilesEvaluated)
        scores = last.evaluation
        assert (scores.auroc, scores.aupro, scores.defects) == (None, None, 0)
        assert scores.good_images == scores.images == 2
        assert scores.confusion is not None
        assert scores.confusion.false_positive_rate > 0  # the square, which is good here
        assert scores.false_regions_per_image > 0
    for mask in masks.iterdir():
        Image.fromarray(np.full_like(np.asarray(Image.open(mask)), 255)).save(mask)
    assert "mark every pixel as defective" in _refusal(grey_model, paths, masks)


def test_stack_is_refused_for_scoring(
    grey_model: DefectModel, material: Images, scored: tuple[list[Path], Path]
) -> None:
    paths, masks = scored
    stack = masks.parent / "b.tif"
    tifffile.imwrite(stack, material(1, (3, 48, 60)), photometric="minisblack")
    assert f"'{stack}' is a stack" in _refusal(grey_model, [paths[0], stack], masks)
