"""Files as people have them: detection and evaluation find what is there, or say what is odd."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from napari_ssim_defects.core.config import SegmentationConfig
from napari_ssim_defects.core.images.intensity import IntensityRange
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.io.artifacts.recipe import DetectionSettings
from napari_ssim_defects.io.images.image_file import find_images, read_image
from napari_ssim_defects.scale.folders import (
    FileDone,
    FileFailed,
    FilesEvaluated,
    detect_files,
    evaluate_files,
)

Images = Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]
SEGMENTATION = SegmentationConfig(opening=2, min_area=4)
SHAPE = (64, 72)
MASK = np.zeros(SHAPE, np.uint8)
MASK[20:40, 30:50] = 255


def detected(
    model: DefectModel, path: Path, folder: Path, threshold: float | None = None
) -> FileDone:
    threshold = model.auto_threshold if threshold is None else threshold
    *_, last = detect_files(
        model,
        [path],
        folder,
        DetectionSettings(threshold=threshold, segmentation=SEGMENTATION, device="cpu"),
    )
    assert isinstance(last, FileDone)
    return last


def evaluated(model: DefectModel, paths: list[Path], masks: Path) -> FilesEvaluated:
    *_, last = evaluate_files(model, paths, masks, DetectionSettings(device="cpu"))
    assert isinstance(last, FilesEvaluated)
    return last


def residuals(message: FileDone) -> np.ndarray[Any, Any]:
    return np.asarray(read_image(message.files["residual"][0]).data)


@pytest.mark.parametrize("kind", ["appended", "scenes"])
def test_all_images_of_a_file_are_inspected_as_those_of_a_stack(
    grey_model: DefectModel, material: Images, tmp_path: Path, kind: str
) -> None:
    images = [material(seed, spoilt=seed > 1) for seed in (1, 2, 3)]
    path = tmp_path / {"appended": "several.tif", "scenes": "several.ome.tif"}[kind]
    if kind == "scenes":
        with tifffile.TiffWriter(path, ome=True) as writer:
            for image in images:
                writer.write(image, metadata={"axes": "YX"})
    else:
        for image in images:
            tifffile.imwrite(path, image, append=path.exists())
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, np.stack(images), photometric="minisblack")
    found, expected = (detected(grey_model, file, tmp_path / "out") for file in (path, stack))
    assert found.regions == expected.regions
    np.testing.assert_array_equal(residuals(found), residuals(expected))


def test_preview_before_the_image_is_not_inspected(
    grey_model: DefectModel, material: Images, tmp_path: Path
) -> None:
    image, path = material(1, spoilt=True), tmp_path / "preview.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(image[::4, ::4], subfiletype=1, metadata=None)
        writer.write(image, metadata=None)
    assert residuals(detected(grey_model, path, tmp_path / "out")).shape == SHAPE


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_results_of_a_lying_image_are_upright(
    grey_model: DefectModel, material: Images, tmp_path: Path, ending: str
) -> None:
    image, path = material(1, spoilt=True), tmp_path / f"part.{ending}"
    exif = Image.Exif()
    exif[274] = 6
    options: dict[str, Any] = {"tiffinfo": {274: 6}} if ending == "tif" else {"exif": exif}
    Image.fromarray(image).save(path, **options)
    Image.fromarray(np.rot90(image, -1)).save(tmp_path / "upright.bmp")
    found = detected(grey_model, path, tmp_path / "out")
    assert residuals(found).shape == (72, 64)
    expected = detected(grey_model, tmp_path / "upright.bmp", tmp_path / "out")
    np.testing.assert_array_equal(residuals(found), residuals(expected))


def test_lying_image_is_scored_against_the_mask_as_it_is_shown(
    grey_model: DefectModel, material: Images, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[274] = 6
    for name in ("lying", "upright", "masks"):
        (tmp_path / name).mkdir()
    path = tmp_path / "lying" / "a.png"
    Image.fromarray(material(1, spoilt=True)).save(path, exif=exif)
    ImageOps.exif_transpose(Image.open(path)).save(tmp_path / "upright" / "a.png")
    Image.fromarray(MASK).rotate(-90, expand=True).save(tmp_path / "masks" / "a_mask.png")
    lying, upright = (
        evaluated(grey_model, find_images([tmp_path / name]), tmp_path / "masks")
        for name in ("lying", "upright")
    )
    assert lying.evaluation.auroc == upright.evaluation.auroc


@pytest.mark.parametrize(
    ("convert", "said"),
    [
        (lambda image: image.astype(np.uint16) * 257, True),
        (lambda image: image.astype(np.uint16) * 16, True),
        (lambda image: (image / 255).astype(np.float32), True),
        (lambda image: image, False),
        (lambda image: image.astype(np.float32), False),
        (lambda image: image // 2 + 20, False),
    ],
    ids=["16-bit", "12 in 16", "0 to 1", "8-bit", "0 to 255", "dark"],
)
def test_other_bit_depth_is_told_with_both_ranges(
    grey_model: DefectModel,
    material: Images,
    tmp_path: Path,
    convert: Callable[[Any], Any],
    said: bool,
) -> None:
    path = tmp_path / "part.tif"
    tifffile.imwrite(path, convert(material(5)))
    found = detected(grey_model, path, tmp_path / "out")
    if not said:
        assert not found.notices
        return
    (notice,) = found.notices
    low, high = grey_model.intensity.low[0], grey_model.intensity.high[0]
    assert notice.startswith(f"Intensities of '{path}' (")
    assert f"far outside those of the training images ({low:g} to {high:g})" in notice


def test_eight_bits_are_told_where_a_signed_model_has_zero_within_its_range(
    grey_model: DefectModel, material: Images, tmp_path: Path
) -> None:
    signed = replace(
        grey_model,
        intensity=IntensityRange((-2000.0,), (4000.0,)),
        provenance={"bit depth": "signed 16-bit"},
    )
    path = tmp_path / "part.tif"
    tifffile.imwrite(path, material(5))
    (notice,) = detected(signed, path, tmp_path / "out").notices
    assert "are a small part of those of the training images (-2000 to 4000)" in notice
    unknown = replace(signed, provenance={})
    assert not detected(unknown, path, tmp_path / "older").notices


def test_bright_image_of_another_depth_is_refused_with_both_ranges(
    grey_model: DefectModel, material: Images, tmp_path: Path
) -> None:
    path = tmp_path / "part.tif"
    tifffile.imwrite(path, material(5).astype(np.uint32) * (2**24 + 1))
    *_, last = detect_files(
        grey_model,
        [path],
        tmp_path / "out",
        DetectionSettings(threshold=0.5, segmentation=SEGMENTATION, device="cpu"),
    )
    assert isinstance(last, FileFailed)
    assert re.search(r"part\.tif' \(.*e\+\d+ to .*\) .* \(.* to .*\) .* bit depth", last.reason)


def test_what_was_said_is_said_again_when_nothing_is_left_to_do(
    grey_model: DefectModel, material: Images, tmp_path: Path
) -> None:
    path = tmp_path / "part.png"
    Image.fromarray(np.dstack([material(5)] * 3)).save(path)
    first = detected(grey_model, path, tmp_path / "out")
    (again,) = detect_files(
        grey_model,
        [path],
        tmp_path / "out",
        DetectionSettings(
            threshold=grey_model.auto_threshold, segmentation=SEGMENTATION, device="cpu"
        ),
    )
    assert isinstance(again, FileDone)
    assert again.earlier
    assert again.notices == first.notices != ()


@pytest.mark.parametrize("name", ["rgb.png", "rgb.tif", "palette.png", "palette.tif"])
def test_grey_in_the_form_of_colour_is_read_as_grey_with_a_word(
    grey_model: DefectModel, material: Images, tmp_path: Path, name: str
) -> None:
    image = material(5, spoilt=True)
    path, plain = tmp_path / name, tmp_path / "plain.bmp"
    Image.fromarray(image).save(plain)
    if name.startswith("rgb"):
        Image.fromarray(np.dstack([image] * 3)).save(path)
    else:
        palette = Image.fromarray(255 - image)
        palette.putpalette([level for level in range(255, -1, -1) for _ in "rgb"])
        palette.save(path)
    found = detected(grey_model, path, tmp_path / "out")
    assert found.notices == (f"'{path}' has three equal channels and is read as grey.",)
    expected = detected(grey_model, plain, tmp_path / "out")
    np.testing.assert_array_equal(residuals(found), residuals(expected))


@pytest.fixture
def mvtec(material: Images, tmp_path: Path) -> tuple[Path, Path]:
    """A test set of two kinds of defects, and good images, by the same names."""
    test, truth = tmp_path / "test", tmp_path / "ground_truth"
    for seed, kind in enumerate(("good", "hole", "scratch")):
        (test / kind).mkdir(parents=True)
        image = material(seed, spoilt=kind != "good")
        Image.fromarray(image).save(test / kind / "000.png")
        if kind != "good":
            (truth / kind).mkdir(parents=True)
            Image.fromarray(MASK).save(truth / kind / "000_mask.png")
    return test, truth


def test_good_images_count_without_masks(grey_model: DefectModel, mvtec: tuple[Path, Path]) -> None:
    test, truth = mvtec
    paths = find_images([test], nested=True)
    found = evaluated(grey_model, paths, truth)
    assert [path.parent.name for path in found.paths] == ["good", "hole", "scratch"]
    assert [scores.defects for scores in found.evaluation.per_image] == [0, 1, 1]
    assert found.evaluation.good_images == 1
    assert found.evaluation.defects == 2
    assert found.evaluation.images == 3
    assert not found.notices
    everywhere = evaluate_files(
        grey_model, paths, truth, DetectionSettings(threshold=-1.0, device="cpu")
    )
    *_, last = everywhere
    assert isinstance(last, FilesEvaluated)
    # One region, which touches the defects.
    assert [scores.false_regions for scores in last.evaluation.per_image] == [1, 0, 0]
    assert last.evaluation.false_regions_per_good_image == 1


def test_no_good_image_has_no_false_regions_per_image(
    grey_model: DefectModel, mvtec: tuple[Path, Path]
) -> None:
    test, truth = mvtec
    found = evaluated(grey_model, find_images([test / "hole"]), truth)
    assert found.evaluation.false_regions_per_good_image is None


def test_implausible_masks_are_named(grey_model: DefectModel, mvtec: tuple[Path, Path]) -> None:
    test, truth = mvtec
    inverted, empty = truth / "hole" / "000_mask.png", truth / "scratch" / "000_mask.png"
    Image.fromarray(255 - MASK).save(inverted)
    Image.fromarray(0 * MASK).save(empty)
    notices = evaluated(grey_model, find_images([test], nested=True), truth).notices
    assert len(notices) == 2
    assert notices[0].startswith(f"Mask '{inverted}' marks 91 % of its image as defective")
    assert notices[1].startswith(f"Mask '{empty}' marks nothing")
