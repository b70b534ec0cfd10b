"""Intensities in TIFF mean the same whatever the depth, the compression and the packages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.images.image_file import read_image

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 60), dtype=np.uint8)
CODECS = [None, "zlib", "lzma"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image.tif"


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize(
    "stored",
    [GREY, GREY.astype(np.uint16) * 257, GREY > 127, GREY.astype(np.uint32) << 24],
    ids=["8", "16", "1", "32"],
)
def test_zero_that_is_white_becomes_bright(
    path: Path, stored: np.ndarray, compression: str | None
) -> None:
    tifffile.imwrite(path, stored, photometric="miniswhite", compression=compression)
    data = read_image(path).data
    if stored.dtype == bool:
        np.testing.assert_array_equal(data, np.where(stored, 0, 255))
    else:
        assert data.dtype == stored.dtype
        np.testing.assert_array_equal(data, np.iinfo(stored.dtype).max - stored)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("mode", ["1", "L"])
def test_zero_that_is_white_is_read_as_pillow_shows_it(
    path: Path, mode: str, compression: str
) -> None:
    image = Image.fromarray(GREY).convert(mode)
    image.save(path, compression=compression, tiffinfo={262: 0})
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.photometric == 0
    np.testing.assert_array_equal(read_image(path).data, np.asarray(image.convert("L")))


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax_is_read_as_it_is_shown(path: Path, compression: str) -> None:
    image = Image.fromarray(GREY > 127)
    image.save(path, compression=compression)
    np.testing.assert_array_equal(read_image(path).data, np.where(GREY > 127, 255, 0))


def test_signed_zero_that_is_white_keeps_its_range(path: Path) -> None:
    stored = np.array([[-32_768, -1, 0, 32_767]], np.int16)
    tifffile.imwrite(path, stored, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(path).data, [[32_767, 0, -1, -32_768]])


def test_floating_point_zero_that_is_white_is_refused(path: Path) -> None:
    tifffile.imwrite(path, GREY.astype(np.float32), photometric="miniswhite")
    with pytest.raises(InputError, match=r"image\.tif' says that zero is white"):
        read_image(path)


def test_opacity_is_not_inverted_with_the_grey(path: Path) -> None:
    stored = np.dstack([GREY, np.full_like(GREY, 255)])
    tifffile.imwrite(
        path, stored, photometric="miniswhite", planarconfig="contig", extrasamples=["unassalpha"]
    )
    np.testing.assert_array_equal(read_image(path).data, 255 - GREY)


@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12])
def test_packed_bits_say_what_is_needed(path: Path, bits: int) -> None:
    tifffile.imwrite(path, GREY.astype(np.uint16))
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags["BitsPerSample"].overwrite(bits)
    if find_spec("imagecodecs"):
        assert read_image(path).data.max() < 2**bits
        return
    with pytest.raises(InputError, match=rf"image\.tif' is stored in {bits} bits") as caught:
        read_image(path)
    assert "install the package imagecodecs" in str(caught.value)


def test_black_and_white_palette_has_its_colours(path: Path) -> None:
    image = Image.fromarray((GREY > 127).astype(np.uint8))
    image.putpalette([255, 255, 255, 200, 0, 0])
    image.save(path)
    np.testing.assert_array_equal(read_image(path).data, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(("mode", "name"), [("CMYK", "CMYK"), ("LAB", "CIELab")])
def test_other_colours_than_rgb_are_refused(path: Path, mode: str, name: str) -> None:
    rgb = Image.fromarray(np.dstack([GREY, GREY, GREY]))
    image = rgb.convert("CMYK") if mode == "CMYK" else Image.new("LAB", (60, 40))
    image.save(path)
    with pytest.raises(InputError, match=f"has {name} colours; save it as RGB"):
        read_image(path)
