"""Pixel sizes are those that a microscope measured, never those of a screen or a printer."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tifffile

from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.io.readers.tiff_metadata import tiff_distances

GREY = np.zeros((20, 30), np.uint8)


def with_tag(path: Path, code: int, content: bytes, **options: Any) -> Path:
    tag = (code, 7 if code == 33560 else 2, len(content), content, True)
    tifffile.imwrite(path, GREY, extratags=[tag], metadata=None, **options)
    return path


@pytest.mark.parametrize("unit", ["INCH", "CENTIMETER"])
@pytest.mark.parametrize("dots", [72, 96, 100, 150, 180, 300, 600])
def test_resolution_of_a_screen_or_printer_is_no_size(tmp_path: Path, dots: int, unit: str) -> None:
    size = dots if unit == "INCH" else round(dots / 2.54, 2)
    tifffile.imwrite(tmp_path / "a.tif", GREY, resolution=(size, size), resolutionunit=unit)
    assert read_image(tmp_path / "a.tif").pixel_size is None


@pytest.mark.parametrize("dots", [25_400, 1200, 73])
def test_other_resolutions_are_sizes(tmp_path: Path, dots: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, resolution=(dots, dots), resolutionunit="INCH")
    assert read_image(tmp_path / "a.tif").pixel_size == pytest.approx((25_400 / dots,) * 2)


@pytest.mark.parametrize("unit", ["INCH", "CENTIMETER"])
def test_one_pixel_per_unit_is_no_size(tmp_path: Path, unit: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, resolution=(1, 1), resolutionunit=unit)
    assert read_image(tmp_path / "a.tif").pixel_size is None


@pytest.mark.parametrize(("unit", "dots"), [("inch", 72), ("inch", 300), ("cm", 28.35)])
def test_imagej_keeps_the_resolution_of_a_screen_which_is_no_size(
    tmp_path: Path, unit: str, dots: float
) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", GREY, imagej=True, resolution=(dots, dots), metadata={"unit": unit}
    )
    assert read_image(tmp_path / "a.tif").pixel_size is None


def test_imagej_may_have_the_numbers_of_a_screen(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", GREY, imagej=True, resolution=(72, 72), metadata={"unit": "um"}
    )
    assert read_image(tmp_path / "a.tif").pixel_size == pytest.approx((1 / 72,) * 2)


@pytest.mark.parametrize("code", [34680, 34682])
def test_size_of_thermo_fisher_comes_before_the_resolution(tmp_path: Path, code: int) -> None:
    text = b"[User]\r\nDate=1\r\n[Scan]\r\nPixelWidth=2.5e-09\r\nPixelHeight=2.6e-09\r\n"
    path = with_tag(tmp_path / "a.tif", code, text, resolution=(96, 96), resolutionunit="INCH")
    image = read_image(path)
    assert image.pixel_size == (2.6, 2.5)
    assert image.unit == "nm"


@pytest.mark.parametrize("unit", ["nm", "µm", "pm"])
def test_size_of_zeiss_comes_before_the_resolution(tmp_path: Path, unit: str) -> None:
    text = f"0\r\n0\r\n0\r\n1.1e-09\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 2.791 {unit}\r\n"
    path = with_tag(
        tmp_path / "a.tif", 34118, text.encode("cp1252"), resolution=(72, 72), resolutionunit=2
    )
    image = read_image(path)
    assert image.pixel_size == pytest.approx((2.791, 2.791))
    assert image.unit == unit


def test_size_of_older_zeiss_has_no_name(tmp_path: Path) -> None:
    path = with_tag(tmp_path / "a.tif", 34118, b"0\r\n0\r\n0\r\n1.5e-09\r\n0\r\nAP_X\r\nX = 1\r\n")
    assert read_image(path).pixel_size == pytest.approx((1.5, 1.5))


@pytest.mark.parametrize("size", ["0", "-1", "nan", "unknown", ""])
def test_size_that_is_none_is_left_out(tmp_path: Path, size: str) -> None:
    text = f"[Scan]\r\nPixelWidth={size}\r\nPixelHeight={size}\r\n".encode()
    path = with_tag(tmp_path / "a.tif", 34680, text)
    assert read_image(path).pixel_size is None


def test_size_of_metamorph_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.stk", GREY, metadata=None)
    notes = {"XCalibration": 0.25, "YCalibration": 0.5, "CalibrationUnits": "um"}
    others = {f"{kind}_metadata": None for kind in ("ome", "fei", "sem", "sis", "lsm")}
    stack = SimpleNamespace(**others, stk_metadata=notes)
    with tifffile.TiffFile(tmp_path / "a.stk") as tif:
        found = tiff_distances(cast("Any", stack), tif.pages.first, 0)
    assert found == {"X": (0.25, "µm"), "Y": (0.5, "µm")}


def test_size_of_olympus_is_read(tmp_path: Path) -> None:
    """The structure as far as tifffile knows it: one tag with the calibration."""
    body = struct.pack("<10xhdd8xd2x34s32s", -6, 0.25, 0.5, 1.0, b"camera", b"kind").ljust(112)
    head = struct.pack("<4s6xhhhhh6x32sH", b"SIS0", 0, 0, 1, 0, 100, b"name", 1)
    path = tmp_path / "a.tif"
    for _ in range(2):  # the tag points to a place in the file
        place = path.read_bytes().find(body) if path.exists() else 0
        content = head + struct.pack("<hhI", 1, 1, place) + body
        with_tag(path, 33560, content)
    assert read_image(path).pixel_size == pytest.approx((0.5, 0.25))
