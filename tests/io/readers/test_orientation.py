"""Images that a camera or a scanner stored lying are read upright, in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.images.image_file import open_image, read_image, read_mask

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (20, 30), dtype=np.uint8)
RGB = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)
ORIENTATIONS = range(1, 9)


def shown(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return what a viewer shows, by another implementation than ours."""
    image = Image.fromarray(pixels)
    image.getexif()[274] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def lying_tiff(path: Path, pixels: np.ndarray, orientation: int, **options: Any) -> Path:
    if pixels.ndim == 2:
        options["photometric"] = "minisblack"
    tifffile.imwrite(path, pixels, extratags=[(274, 3, 1, orientation, True)], **options)
    return path


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "rgb"])
def test_png_is_read_as_it_is_shown(tmp_path: Path, pixels: np.ndarray, orientation: int) -> None:
    path = tmp_path / "part.png"
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path).data, shown(pixels, orientation))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_jpeg_is_read_as_it_is_shown(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "part.jpg"
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(GREY).save(path, exif=exif)
    np.testing.assert_array_equal(
        read_image(path).data, np.asarray(ImageOps.exif_transpose(Image.open(path)))
    )


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("pixels", [GREY, RGB, GREY > 99], ids=["grey", "rgb", "1-bit"])
def test_tiff_is_read_as_it_is_shown(tmp_path: Path, pixels: np.ndarray, orientation: int) -> None:
    path = lying_tiff(tmp_path / "part.tif", pixels, orientation)
    expected = shown(pixels, orientation)
    expected = expected.astype(np.uint8) * 255 if expected.dtype == bool else expected
    np.testing.assert_array_equal(read_image(path).data, expected)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "rgb"])
def test_compression_makes_no_difference(
    tmp_path: Path, pixels: np.ndarray, orientation: int
) -> None:
    path = tmp_path / "part.tif"
    Image.fromarray(pixels).save(path, compression="tiff_lzw", tiffinfo={274: orientation})
    np.testing.assert_array_equal(read_image(path).data, shown(pixels, orientation))


def test_stack_is_turned_plane_by_plane(tmp_path: Path) -> None:
    path = lying_tiff(tmp_path / "a.tif", np.stack([GREY, 255 - GREY]), 6, photometric="minisblack")
    expected = [shown(GREY, 6), shown(255 - GREY, 6)]
    np.testing.assert_array_equal(read_image(path).data, expected)


@pytest.mark.parametrize("orientations", [(6, 8, 6), (1, 6, 1, 1), (3, 1)])
def test_pages_that_are_turned_differently_are_refused(
    tmp_path: Path, orientations: tuple[int, ...]
) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for orientation in orientations:
            tag = (274, 3, 1, orientation, True)
            writer.write(GREY, metadata=None, extratags=[tag], contiguous=False)
    with pytest.raises(InputError, match=r"a\.tif' has pages with different orientations"):
        read_image(path)


def test_height_and_width_of_a_pixel_are_turned_too(tmp_path: Path) -> None:
    path = lying_tiff(tmp_path / "a.tif", GREY, 6, resolution=(100, 50), resolutionunit=3)
    assert read_image(path).pixel_size == (100, 200)


def test_large_image_is_opened_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_ssim_defects.io.images.image_file._SMALL", 0)
    path = lying_tiff(tmp_path / "a.tif", GREY, 8)
    np.testing.assert_array_equal(np.asarray(open_image(path).data), shown(GREY, 8))


@pytest.mark.parametrize("orientation", [0, 9, 60_000])
def test_orientation_that_there_is_not_turns_nothing(tmp_path: Path, orientation: int) -> None:
    path = lying_tiff(tmp_path / "part.tif", GREY, orientation)
    np.testing.assert_array_equal(read_image(path).data, GREY)


def test_damaged_notes_of_a_camera_do_not_spoil_its_image(tmp_path: Path) -> None:
    path = tmp_path / "part.jpg"
    Image.fromarray(GREY).save(path, exif=b"Exif\0\0MM\0*\0\0\xff\xff" + b"\xff" * 40)
    assert read_image(path).data.shape == GREY.shape


@pytest.mark.parametrize("ending", ["png", "tif", "jpg"])
def test_lying_mask_fits_its_lying_image(tmp_path: Path, ending: str) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[2:9, 4:20] = 255
    path = tmp_path / f"mask.{ending}"
    if ending == "tif":
        lying_tiff(path, mask, 6)
    else:
        exif = Image.Exif()
        exif[274] = 6
        Image.fromarray(mask).save(path, exif=exif, quality=95)
    np.testing.assert_array_equal(read_mask(path, (30, 20)), shown(mask, 6) > 127)
