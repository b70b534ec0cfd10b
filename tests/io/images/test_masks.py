"""Masks are read as what they show, however they were saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.images.image_file import read_image, read_mask

SHAPE = (64, 80)
ROWS, COLUMNS = np.mgrid[: SHAPE[0], : SHAPE[1]]
ELLIPSE = ((ROWS - 30) / 12) ** 2 + ((COLUMNS - 40) / 20) ** 2 <= 1
BYTES = ELLIPSE.astype(np.uint8)
WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (220, 20, 20)


def test_mask_is_what_a_person_painted_or_labelled(tmp_path: Path) -> None:
    for number, values in enumerate((BYTES, BYTES * 255, BYTES * 7)):
        Image.fromarray(values).save(tmp_path / f"{number}.png")
        np.testing.assert_array_equal(read_mask(tmp_path / f"{number}.png", SHAPE), ELLIPSE)


@pytest.mark.parametrize("quality", [60, 75, 95])
@pytest.mark.parametrize("levels", [(0, 255), (0, 120), (30, 200)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_divided_in_the_middle(
    tmp_path: Path, quality: int, levels: tuple[int, int], mode: str
) -> None:
    path = tmp_path / "mask.jpg"
    values = np.where(ELLIPSE, levels[1], levels[0]).astype(np.uint8)
    Image.fromarray(values).convert(mode).save(path, quality=quality)
    wrong = read_mask(path, SHAPE) != ELLIPSE
    assert wrong.sum() <= 3


@pytest.mark.parametrize("level", [0, 255])
def test_jpeg_of_one_level_is_empty_or_full(tmp_path: Path, level: int) -> None:
    Image.new("L", SHAPE[::-1], level).save(tmp_path / "mask.jpg")
    assert read_mask(tmp_path / "mask.jpg", SHAPE).mean() == (level > 0)


def test_jpeg_in_tiff_is_divided_too(tmp_path: Path) -> None:
    Image.fromarray(BYTES * 255).save(tmp_path / "mask.tif", compression="jpeg")
    assert (read_mask(tmp_path / "mask.tif", SHAPE) != ELLIPSE).sum() <= 3


def test_jpeg_with_three_levels_is_refused(tmp_path: Path) -> None:
    labels = BYTES * 255
    labels[40:60, 5:30] = 120
    Image.fromarray(labels).save(tmp_path / "mask.jpg")
    with pytest.raises(InputError, match=r"mask\.jpg' has more than two levels.*PNG or TIFF"):
        read_mask(tmp_path / "mask.jpg", SHAPE)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif"])
@pytest.mark.parametrize("colours", [(WHITE, RED), (BLACK, WHITE), (WHITE, BLACK), (RED, WHITE)])
def test_first_colour_of_a_palette_is_the_background(
    tmp_path: Path, ending: str, colours: tuple[tuple[int, int, int], ...]
) -> None:
    path = tmp_path / f"mask.{ending}"
    image = Image.fromarray(BYTES)
    image.putpalette([level for colour in colours for level in colour])
    image.save(path)
    if ending == "bmp" and colours == (BLACK, WHITE):  # Pillow takes the bytes for bits
        with pytest.raises(InputError, match=r"mask\.bmp' stores black and white in 8 bits"):
            read_mask(path, SHAPE)
        return
    np.testing.assert_array_equal(read_mask(path, SHAPE), ELLIPSE)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("hidden", [0, 255])
@pytest.mark.parametrize("drawn", [0, 200, 255])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_background(
    tmp_path: Path, ending: str, hidden: int, drawn: int, mode: str
) -> None:
    path = tmp_path / f"mask.{ending}"
    values = np.where(ELLIPSE, drawn, hidden).astype(np.uint8)
    opacity = BYTES * 255
    samples = [values, opacity] if mode == "LA" else [values, values, values, opacity]
    Image.fromarray(np.dstack(samples)).save(path)
    np.testing.assert_array_equal(read_mask(path, SHAPE), ELLIPSE)


def test_black_beside_a_colour_is_background_too(tmp_path: Path) -> None:
    rgba = np.zeros((*SHAPE, 4), np.uint8)
    rgba[:, :70, 3] = 255
    rgba[ELLIPSE, 0] = 255
    Image.fromarray(rgba).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", SHAPE), ELLIPSE)


def test_opaque_black_is_an_empty_mask(tmp_path: Path) -> None:
    Image.new("RGBA", SHAPE[::-1], (0, 0, 0, 255)).save(tmp_path / "mask.png")
    assert not read_mask(tmp_path / "mask.png", SHAPE).any()


def test_transparent_colour_of_a_palette_is_background(tmp_path: Path) -> None:
    image = Image.fromarray(1 - BYTES)
    image.putpalette([*RED, *WHITE])
    image.save(tmp_path / "mask.png", transparency=1)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", SHAPE), ELLIPSE)


def test_truth_values_in_zarr_are_a_mask(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(str(tmp_path / "mask.zarr"), shape=SHAPE, dtype=bool)
    array[:] = ELLIPSE
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.zarr", SHAPE), ELLIPSE)
    np.testing.assert_array_equal(read_image(tmp_path / "mask.zarr").data, BYTES * 255)


@pytest.mark.parametrize("shape", [SHAPE, (1, *SHAPE), (1, 1, *SHAPE)])
def test_mask_of_one_plane_fits_a_stack_of_one_plane(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", BYTES.reshape(shape), photometric="minisblack")
    for wanted in (SHAPE, (1, *SHAPE)):
        mask = read_mask(tmp_path / "mask.tif", wanted)
        np.testing.assert_array_equal(mask, ELLIPSE.reshape(wanted))


@pytest.mark.parametrize("drawn", [0.0, 1.0, 5.0])
def test_nan_is_background(tmp_path: Path, drawn: float) -> None:
    values = np.where(ELLIPSE, drawn, np.nan).astype(np.float32)
    tifffile.imwrite(tmp_path / "mask.tif", values)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif", SHAPE), ELLIPSE)


@pytest.mark.parametrize("data", [ELLIPSE, BYTES * 255, BYTES.astype(np.uint16) * 65_535])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_mask_whose_zero_is_white_is_what_is_seen(
    tmp_path: Path, data: np.ndarray, compression: str | None
) -> None:
    stored = np.invert(data)
    tifffile.imwrite(
        tmp_path / "mask.tif", stored, photometric="miniswhite", compression=compression
    )
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif", SHAPE), ELLIPSE)


def test_fax_mask_is_what_is_seen(tmp_path: Path) -> None:
    Image.fromarray(ELLIPSE).save(tmp_path / "mask.tif", compression="group4")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif", SHAPE), ELLIPSE)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_lookup_table_of_imagej_does_not_swap_a_mask(
    tmp_path: Path, kind: type[np.generic]
) -> None:
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, (BYTES * 255).astype(kind), imagej=True)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags["PhotometricInterpretation"].overwrite(0)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_imagej
    np.testing.assert_array_equal(read_mask(path, SHAPE), ELLIPSE)
    np.testing.assert_array_equal(read_image(path).data, BYTES * 255)
