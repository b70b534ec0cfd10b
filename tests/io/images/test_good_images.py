"""Training images that do not fit each other are refused, or told, by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ssim_defects.cli.main import main
from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config.region import parse_region
from napari_ssim_defects.core.images.intensity import odd_intensities
from napari_ssim_defects.core.images.planes import as_planes
from napari_ssim_defects.core.model.calibrate import usual_pixels
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.patches.areas import read_areas, training_planes
from napari_ssim_defects.io.images.good_images import good_images

RNG = np.random.default_rng(0)
GREY = RNG.integers(60, 180, (40, 60), dtype=np.uint8)
DEEP = GREY.astype(np.uint16) * 257


def save(folder: Path, **images: np.ndarray) -> list[Path]:
    paths = [folder / name.replace("_", ".") for name in images]
    for path, image in zip(paths, images.values(), strict=True):
        if path.suffix == ".tif":
            tifffile.imwrite(path, image, photometric="minisblack")
        else:
            Image.fromarray(image).save(path)
    return paths


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("odd", ["a", "b", "d"])
def test_one_image_of_another_depth_is_named(tmp_path: Path, ending: str, odd: str) -> None:
    names = ["a", "b", "c", "d"]
    paths = save(tmp_path, **{f"{name}_{ending}": DEEP if name == odd else GREY for name in names})
    with pytest.raises(InputError, match=rf"{odd}\.{ending}' is 16-bit, and .* 8-bit; save it"):
        good_images(paths)


@pytest.mark.parametrize(
    "other",
    [
        DEEP.astype(np.uint32) << 16,
        (GREY / 255).astype(np.float32),
        (DEEP.astype(np.int32) - 2**15).astype(np.int16),
    ],
)
def test_one_tiff_of_another_depth_is_named(tmp_path: Path, other: np.ndarray) -> None:
    paths = save(tmp_path, a_tif=DEEP, b_tif=DEEP, c_tif=other)
    with pytest.raises(
        InputError, match=r"c\.tif' is (32-bit|floating point|signed 16-bit), and .* 16-bit"
    ):
        good_images(paths)


def test_single_and_double_precision_go_together(tmp_path: Path) -> None:
    grey = GREY / 255
    assert not good_images(save(tmp_path, a_tif=grey, b_tif=grey.astype(np.float32))).notices


def test_what_a_region_leaves_out_is_not_compared_and_not_counted(
    tmp_path: Path, grey_model: DefectModel
) -> None:
    images = [np.vstack([GREY, np.full((200, 60), bar, np.uint8)]) for bar in (0, 255, 7, 9)]
    paths = save(tmp_path, **dict(zip(("a_png", "b_png", "c_png", "d_png"), images, strict=True)))
    save(tmp_path, roi_bmp=np.pad(np.full((30, 50), 255, np.uint8), ((5, 205), (5, 5))))
    for roi, shape in (("bottom:200", (40, 60)), (str(tmp_path / "roi.bmp"), (30, 50))):
        good = good_images(paths, roi=parse_region(roi))
        areas = read_areas(training_planes(good.pixels, good.channel_axis, None), good.masks)
        assert {area.pixels.shape for area in areas} == {(1, *shape)}
        assert all(area.allowed is not None and area.allowed.all() for area in areas)
        assert usual_pixels(good.pixels) == shape[0] * shape[1]


def odd(paths: list[Path]) -> list[str]:
    """What a training says of the intensities of these images."""
    good = good_images(paths)
    assert not good.notices
    pairs = zip(good.pixels, good.names, strict=True)
    return odd_intensities([as_planes(pixels, grey=True, name=name) for pixels, name in pairs])


@pytest.mark.parametrize("factor", [1 / 255, 1 / 16, 16, 255])
def test_same_depth_on_another_scale_is_told_with_both_ranges(
    tmp_path: Path, factor: float
) -> None:
    images = [(GREY * 100.0).astype(np.float32) for _ in range(4)]
    images[2] = (images[2] * factor).astype(np.float32)
    paths = save(tmp_path, **dict(zip(("a_tif", "b_tif", "c_tif", "d_tif"), images, strict=True)))
    (notice,) = odd(paths)
    assert "c.tif' (" in notice
    assert "lie far outside those of the other images (6" in notice


def test_what_a_mask_leaves_out_is_not_compared() -> None:
    grey = GREY.astype(np.uint16)
    images = [grey, grey, np.vstack([grey, np.full((200, 60), 4_000, np.uint16)])]
    planes = [as_planes(image, name=f"image {number}") for number, image in enumerate(images)]
    assert "image 2 (" in odd_intensities(planes)[0]
    mask = np.arange(240)[:, None] < np.full(60, 40)
    assert not odd_intensities(planes, [None, None, mask])
    assert not odd_intensities(planes, [None, None, ~mask & mask])


@pytest.mark.parametrize("exposure", [0.5, 0.8, 1.3])
def test_darker_and_brighter_images_go_together(tmp_path: Path, exposure: float) -> None:
    paths = save(tmp_path, a_png=GREY, b_png=GREY, c_png=(GREY * exposure).astype(np.uint8))
    assert not odd(paths)


def test_grey_beside_channels_is_refused_as_grey_beside_rgb_is(tmp_path: Path) -> None:
    (grey,) = save(tmp_path, a_tif=DEEP)
    composite = tmp_path / "b.tif"
    tifffile.imwrite(composite, np.stack([DEEP, DEEP]), imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(InputError, match=r"b\.tif' is an image of 2 channels .* 'a|a\.tif' grey"):
        good_images([grey, composite])
    (rgb,) = save(tmp_path, c_png=RNG.integers(0, 255, (40, 60, 3), dtype=np.uint8))
    with pytest.raises(InputError, match=r"c\.png' is RGB, and .*a\.tif' grey"):
        good_images([grey, rgb])
    with pytest.raises(InputError, match="channels"):
        good_images([composite, rgb])


def test_images_of_two_channels_go_together(tmp_path: Path) -> None:
    for name in "ab":
        tifffile.imwrite(
            tmp_path / f"{name}.tif", np.stack([DEEP, DEEP]), imagej=True, metadata={"axes": "CYX"}
        )
    good = good_images([tmp_path])
    assert good.channel_axis == -3
    assert not good.notices


def test_grey_saved_as_rgb_or_palette_is_grey_with_a_word(tmp_path: Path) -> None:
    paths = save(tmp_path, a_png=GREY, b_png=np.dstack([GREY] * 3))
    palette = Image.fromarray(GREY)
    palette.putpalette([level for level in range(256) for _ in "rgb"])
    palette.save(tmp_path / "c.tif")
    palette.convert("RGB").save(tmp_path / "d.jpg", quality=95)
    good = good_images([*paths, tmp_path / "c.tif", tmp_path / "d.jpg"])
    assert good.channel_axis is None
    for image in good.pixels[:3]:
        np.testing.assert_array_equal(image, GREY)
    assert good.pixels[3].shape == GREY.shape
    assert good.notices == ["3 images have three equal channels; they are read as grey."]


def test_one_image_in_colour_keeps_all_in_rgb(tmp_path: Path) -> None:
    colour = RNG.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    good = good_images(save(tmp_path, a_png=colour, b_png=np.dstack([GREY] * 3)))
    assert good.channel_axis == -1
    assert not good.notices


def test_images_that_measure_a_model_are_compared_with_its_training(
    tmp_path: Path, grey_model: DefectModel
) -> None:
    low, high = grey_model.intensity.low[0], grey_model.intensity.high[0]
    like = np.linspace(low, high, GREY.size).reshape(GREY.shape).astype(np.float32)
    like_path, other = save(tmp_path, a_tif=like, b_tif=like / 255)
    assert not good_images([like_path], model=grey_model).notices
    (notice,) = good_images([other], model=grey_model).notices
    assert "b.tif' (" in notice
    assert f"far outside those of the training images ({low:g} to {high:g})" in notice


def test_mask_of_a_lying_image_of_three_equal_channels_fits(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    folders = tmp_path / "good", tmp_path / "masks"
    for folder in folders:
        folder.mkdir()
    Image.fromarray(np.dstack([GREY] * 3)).save(folders[0] / "a.jpg", exif=exif)
    Image.fromarray(np.full((60, 40), 255, np.uint8)).save(folders[1] / "a.png")
    good = good_images([folders[0]], folders[1])
    assert good.masks is not None
    assert good.pixels[0].shape == good.masks[0].shape == (60, 40)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_palette_image_is_called_one(
    tmp_path: Path, ending: str, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = save(tmp_path, a_png=GREY, b_png=GREY)
    palette = Image.fromarray(np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)).quantize(32)
    colour = tmp_path / f"c.{ending}"
    palette.save(colour)
    with pytest.raises(InputError, match=r"is a palette image, and '.*' grey; train on images"):
        good_images([*paths, colour])
    assert main(["detect", str(model_path), str(colour), "-o", str(tmp_path / "out")]) == 2
    assert "is a palette image, whose colours are read as RGB" in capsys.readouterr().err
