"""TIFF files of other programs are understood, and damaged ones are refused."""

from __future__ import annotations

import logging
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.writers.ome_tiff import read_tiff

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (20, 30), dtype=np.uint8)
RGB = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)
STACK = RNG.integers(0, 65_535, (4, 20, 30), dtype=np.uint16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image.tif"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"rowsperstrip": 3},
        {"tile": (16, 16), "compression": "zlib"},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"ome": True},
        {"imagej": True},
    ],
)
def test_stacks_are_read_whatever_their_layout(path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(path, STACK, photometric="minisblack", **options)
    data, spatial = read_tiff(path)
    np.testing.assert_array_equal(data, STACK)
    assert data.dtype == np.uint16
    assert data.dtype.isnative
    assert spatial.axes[-2:] == "YX"
    assert spatial.pixel_size is None


@pytest.mark.parametrize("shape", [(1, 50), (50, 1), (1, 1)])
def test_images_of_one_row_or_column_stay_images(path: Path, shape: tuple[int, int]) -> None:
    tifffile.imwrite(path, np.ones(shape, np.uint8))
    assert read_tiff(path)[0].shape == shape


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_rgb_has_its_samples_last_without_opacity(path: Path, planar: str) -> None:
    rgba = np.dstack([RGB, GREY])
    stored = rgba if planar == "contig" else np.moveaxis(rgba, -1, 0)
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar)
    data, spatial = read_tiff(path)
    np.testing.assert_array_equal(data, RGB)
    assert spatial.channel_axis == -1


def test_grey_with_opacity_is_grey(path: Path) -> None:
    tifffile.imwrite(
        path,
        np.dstack([GREY, GREY]),
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=["unassalpha"],
    )
    data, spatial = read_tiff(path)
    np.testing.assert_array_equal(data, GREY)
    assert spatial.channel_axis is None


@pytest.mark.parametrize("form", ["ome", "imagej"])
def test_channels_are_found(path: Path, form: str) -> None:
    stack = STACK.reshape(2, 2, 20, 30)
    tifffile.imwrite(path, stack, metadata={"axes": "ZCYX"}, **{form: True})
    data, spatial = read_tiff(path)
    np.testing.assert_array_equal(data, stack)
    assert spatial.channel_axis == -3


def test_stack_of_unnamed_axes_has_no_channels(path: Path) -> None:
    tifffile.imwrite(path, STACK.reshape(2, 2, 20, 30), photometric="minisblack")
    _, spatial = read_tiff(path)
    assert spatial.axes == "TZYX"
    assert spatial.channel_axis is None


def test_pixel_size_of_imagej_is_read(path: Path) -> None:
    metadata = {"axes": "ZYX", "unit": "micron", "spacing": 2.0}
    tifffile.imwrite(path, STACK, imagej=True, resolution=(4, 2), metadata=metadata)
    _, spatial = read_tiff(path)
    assert spatial.scale == (2.0, 0.5, 0.25)
    assert spatial.units == ("µm", "µm", "µm")


@pytest.mark.parametrize(("unit", "micrometres"), [("CENTIMETER", 100), ("INCH", 254)])
def test_resolution_of_the_page_is_read_in_micrometres(
    path: Path, unit: str, micrometres: float
) -> None:
    tifffile.imwrite(path, GREY, resolution=(100, 50), resolutionunit=unit)
    _, spatial = read_tiff(path)
    assert spatial.pixel_size == pytest.approx((2 * micrometres, micrometres))
    assert spatial.unit == "µm"


def test_black_and_white_is_0_and_255(path: Path) -> None:
    Image.fromarray(GREY > 128).save(path)
    data, _ = read_tiff(path)
    np.testing.assert_array_equal(data, np.where(GREY > 128, 255, 0))
    assert data.dtype == np.uint8


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_palette_becomes_rgb(path: Path, compression: str | None) -> None:
    image = Image.fromarray(RGB).quantize(16)
    image.save(path, compression=compression)
    np.testing.assert_array_equal(read_tiff(path)[0], np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    "data", [GREY, RGB, STACK[0], GREY.astype(np.float32)], ids=["8", "rgb", "16", "float"]
)
def test_lzw_is_read(path: Path, data: np.ndarray) -> None:
    Image.fromarray(data).save(path, compression="tiff_lzw")
    read, _ = read_tiff(path)
    np.testing.assert_array_equal(read, data)
    assert read.dtype == data.dtype


def test_lzw_stack_is_read(path: Path) -> None:
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(path, compression="tiff_lzw", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_tiff(path)[0], [GREY, 255 - GREY])


def test_jpeg_in_tiff_is_read(path: Path) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    Image.fromarray(smooth).save(path, compression="jpeg")
    np.testing.assert_allclose(read_tiff(path)[0], smooth, atol=4)


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib"}, {"ome": True}, {"imagej": True}, {"ome": True, "bigtiff": True}],
)
def test_truncated_files_are_refused_quietly(
    path: Path,
    options: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    tifffile.imwrite(path, STACK, photometric="minisblack", **options)
    content = path.read_bytes()
    caplog.set_level(logging.DEBUG)
    for length in [*range(1, 400, 37), *range(400, len(content) - 30, 701)]:
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"image\.tif' is damaged") as caught:
            read_tiff(path)
        assert "\n" not in str(caught.value)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_logging_of_tifffile_is_as_before(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(path, GREY)
    read_tiff(path)
    logging.getLogger("tifffile").error("of somebody else")
    assert caplog.messages == ["of somebody else"]


def _header_only(width: int, height: int) -> bytes:
    """Return a TIFF with these dimensions and one strip of four bytes."""
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (278, 4, 1, height),
        (279, 4, 1, 4),
    ]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (
        struct.pack("<2sHI4x", b"II", 42, 12) + struct.pack("<H", len(entries)) + table + b"\0" * 4
    )


@pytest.mark.parametrize("side", [10**9, 10**6, 20_000])
def test_dimensions_beyond_the_file_are_refused_before_memory_is_taken(
    path: Path, side: int
) -> None:
    path.write_bytes(_header_only(side, side))
    with pytest.raises(InputError, match="is damaged"):
        read_tiff(path)


def test_missing_tiles_are_refused(path: Path) -> None:
    tifffile.imwrite(path, GREY, tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["ImageWidth"].overwrite(3_000_000)
    with pytest.raises(InputError, match="is damaged"):
        read_tiff(path)


def test_memory_that_does_not_suffice_is_reported(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: tifffile.TiffPageSeries) -> None:
        raise MemoryError

    tifffile.imwrite(path, GREY)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", fail)
    with pytest.raises(InputError, match="larger than the memory"):
        read_tiff(path)


def test_interrupts_pass(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: tifffile.TiffPageSeries) -> None:
        raise KeyboardInterrupt

    tifffile.imwrite(path, GREY)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read_tiff(path)


def test_random_damage_never_raises_anything_else(path: Path) -> None:
    tifffile.imwrite(path, STACK, photometric="minisblack", ome=True, compression="zlib")
    content = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(content)
        for position in RNG.integers(0, 400, 4):
            damaged[position if RNG.random() < 0.5 else -1 - position] = RNG.integers(256)
        path.write_bytes(damaged)
        try:
            data, spatial = read_tiff(path)
        except InputError:
            continue
        assert data.ndim == len(spatial.axes)
