"""The table in ``docs/file-formats.md`` of what can be read, and as what, is made here."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.images import image_file as images
from napari_ssim_defects.io.images.checks import unseen_notice
from napari_ssim_defects.io.images.image_file import open_image, read_image

PAGE = Path(__file__).parents[2] / "docs" / "file-formats.md"
GREY = np.add.outer(np.arange(64), np.arange(96)).astype(np.uint8)
RGB = np.dstack([GREY, 255 - GREY, GREY // 2])
Writer = Callable[[Path], object]


def tiff(data: np.ndarray[Any, Any], **options: Any) -> Writer:
    if data.ndim == 2:
        options = {"photometric": "minisblack", **options}
    return lambda path: tifffile.imwrite(path, data, **options)


def picture(data: np.ndarray[Any, Any], mode: str | None = None, **options: Any) -> Writer:
    def write(path: Path) -> None:
        image = Image.fromarray(data)
        image = image if mode is None else image.convert(mode)
        image.save(path, **options)

    return write


def pictures(*images: np.ndarray[Any, Any]) -> Writer:
    """Write the multi-picture JPEG of cameras."""

    def write(path: Path) -> None:
        first, *others = map(Image.fromarray, images)
        first.save(path, "MPO", save_all=True, append_images=others)

    return write


def packed(bits: int) -> Writer:
    def write(path: Path) -> None:
        tifffile.imwrite(path, GREY.astype(np.uint16))
        with tifffile.TiffFile(path, mode="r+") as tif:
            tif.pages.first.tags["BitsPerSample"].overwrite(bits)

    return write


def lzw(data: np.ndarray[Any, Any]) -> Writer:
    """Compress by LZW, whose table is cleared before it is used."""
    order = ">" if data.dtype.str.startswith(">") else "<"
    codes = [256]
    for number, byte in enumerate(data.tobytes(), start=1):
        codes += [byte] if number % 250 else [byte, 256]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    content = bytes(int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8))

    def write(path: Path) -> None:
        tifffile.imwrite(path, data, rowsperstrip=len(data), byteorder=order)
        with tifffile.TiffFile(path, mode="r+") as tif:
            tags = tif.pages.first.tags
            tags["Compression"].overwrite(5)
            tags["StripOffsets"].overwrite(path.stat().st_size)
            tags["StripByteCounts"].overwrite(len(content))
        with path.open("ab") as stream:
            stream.write(content)

    return write


def several(*shapes: tuple[int, int]) -> Writer:
    def write(path: Path) -> None:
        with tifffile.TiffWriter(path) as writer:
            for height, width in shapes:
                writer.write(GREY[:height, :width], metadata=None, contiguous=False)

    return write


def deep_png(samples: int) -> bytes:
    """Return a PNG of 5 x 4 pixels with samples of 16 bits."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        end = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + end

    colour_type = {2: 4, 3: 2, 4: 6}[samples]
    header = struct.pack(">IIBBBBB", 5, 4, 16, colour_type, 0, 0, 0)
    rows = (b"\0" + bytes(range(5 * samples * 2)) for _ in range(4))
    content = zlib.compress(b"".join(rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", content)
        + chunk(b"IEND", b"")
    )


def deep(samples: int) -> Writer:
    return lambda path: path.write_bytes(deep_png(samples))


CASES: dict[str, tuple[str, Writer]] = {
    **{
        f"TIFF, grey, {np.dtype(kind).name}": ("tif", tiff(GREY.astype(kind)))
        for kind in ("u1", "u2", "u4", "i2", "f2", "f4", "f8")
    },
    "TIFF, grey, 1 bit": ("tif", tiff(GREY > 99)),
    "TIFF, grey, 12 bits packed": ("tif", packed(12)),
    "TIFF, grey, zero is white, uint8": ("tif", tiff(GREY, photometric="miniswhite")),
    "TIFF, grey, zero is white, 1 bit": ("tif", tiff(GREY > 99, photometric="miniswhite")),
    "TIFF, grey, zero is white, float32": (
        "tif",
        tiff(GREY.astype("f4"), photometric="miniswhite"),
    ),
    "TIFF, RGB, uint8": ("tif", tiff(RGB)),
    "TIFF, RGB, uint16": ("tif", tiff(RGB.astype(np.uint16) * 257)),
    "TIFF, RGB with opacity": ("tif", picture(np.dstack([RGB, GREY]))),
    "TIFF, RGB, uint8, one plane per colour": (
        "tif",
        tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate"),
    ),
    "TIFF, palette": ("tif", picture(RGB, "P")),
    "TIFF, two channels": (
        "tif",
        tiff(np.stack([GREY, GREY]), imagej=True, metadata={"axes": "CYX"}),
    ),
    "TIFF, CMYK": ("tif", picture(RGB, "CMYK")),
    "TIFF, CIELab": ("tif", picture(np.zeros((8, 9, 3), np.uint8), "LAB")),
    "TIFF, grey, uint16, LZW": (
        "tif",
        picture(GREY.astype(np.uint16) * 257, compression="tiff_lzw"),
    ),
    "TIFF, grey, float32, LZW": ("tif", picture(GREY.astype("f4"), compression="tiff_lzw")),
    **{
        f"TIFF, grey, uint8, {name}": ("tif", picture(GREY, compression=codec))
        for name, codec in (
            ("LZW", "tiff_lzw"),
            ("PackBits", "packbits"),
            ("deflate", "tiff_adobe_deflate"),
            ("JPEG", "jpeg"),
        )
    },
    "TIFF, grey, uint8, LZMA": ("tif", tiff(GREY, compression="lzma")),
    "TIFF, RGB, uint8, LZW": ("tif", picture(RGB, compression="tiff_lzw")),
    "TIFF, RGB, uint16, LZW": ("tif", lzw(RGB.astype(np.uint16))),
    "TIFF, grey, float32 of big-endian byte order, LZW": ("tif", lzw(GREY.astype(">f4"))),
    "TIFF, grey, int32 of big-endian byte order, LZW": ("tif", lzw(GREY.astype(">i4"))),
    "TIFF, 1 bit, fax (group 4)": ("tif", picture(GREY > 99, compression="group4")),
    "TIFF, pages of one size": ("tif", several((64, 96), (64, 96), (64, 96))),
    "TIFF, pages of different sizes": ("tif", several((64, 96), (60, 96))),
    "PNG, grey, 8 bits": ("png", picture(GREY)),
    "PNG, grey, 16 bits": ("png", picture(GREY.astype(np.uint16) * 257)),
    "PNG, 1 bit": ("png", picture(GREY > 99)),
    "PNG, RGB, 8 bits": ("png", picture(RGB)),
    "PNG, RGB, 16 bits": ("png", deep(3)),
    "PNG, grey with opacity, 8 bits": ("png", picture(np.dstack([GREY, GREY]))),
    "PNG, grey with opacity, 16 bits": ("png", deep(2)),
    "PNG, RGB with opacity, 8 bits": ("png", picture(np.dstack([RGB, GREY]))),
    "PNG, palette": ("png", picture(RGB, "P")),
    "PNG, animation": (
        "png",
        picture(GREY, save_all=True, append_images=[Image.fromarray(255 - GREY)]),
    ),
    "JPEG, grey": ("jpg", picture(GREY)),
    "JPEG, RGB": ("jpg", picture(RGB)),
    "JPEG, CMYK": ("jpg", picture(RGB, "CMYK")),
    "JPEG, image and preview": ("jpg", pictures(RGB, RGB[::4, ::4])),
    "JPEG, several images": ("jpg", pictures(RGB, 255 - RGB)),
    "BMP, grey": ("bmp", picture(GREY)),
    "BMP, RGB": ("bmp", picture(RGB)),
    "BMP, palette": ("bmp", picture(RGB, "P")),
}


def understood(path: Path) -> str:
    """Say as what a file is read, or why it is not."""
    try:
        image = read_image(path)
    except InputError as error:
        sentence = str(error).replace(f"'{path}'", "it")
        return f"refused: {sentence.removeprefix('it ')}"
    axes, shape = image.spatial.axes, image.data.shape
    kinds = {"YX": "grey", "YXS": "RGB", "ZYX": f"{shape[0]} grey planes"}
    return f"{kinds.get(axes, f'{shape[0]} channels')}, {image.data.dtype.name}"


@pytest.mark.skipif(find_spec("imagecodecs") is not None, reason="the table is without it")
@pytest.mark.parametrize("name", CASES)
def test_table_says_what_is_read(tmp_path: Path, name: str) -> None:
    ending, write = CASES[name]
    write(tmp_path / f"file.{ending}")
    row = f"| {name} | {understood(tmp_path / f'file.{ending}')} |"
    assert row in PAGE.read_text(encoding="utf-8").splitlines()


def test_table_has_no_other_rows() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = lines.index("| File | Read as |") + 2
    rows = lines[start : lines.index("", start)]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(CASES)


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_png_of_several_channels_of_sixteen_bits_is_refused(tmp_path: Path, samples: int) -> None:
    path = tmp_path / "deep.png"
    path.write_bytes(deep_png(samples))
    with pytest.raises(InputError, match=r"deep\.png' has several channels of 16 bits.*TIFF"):
        read_image(path)


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_array_that_another_reader_made_of_it_is_told(tmp_path: Path, samples: int) -> None:
    path = tmp_path / "deep.png"
    path.write_bytes(deep_png(samples))
    notice = unseen_notice(path, (4, 5, 3), "'layer'")
    assert notice is not None
    assert "deep.png' has several channels of 16 bits" in notice
    assert unseen_notice(tmp_path / "gone.png", (4, 5, 3), "'layer'") is None
    assert unseen_notice(path.rename(tmp_path / "deep.webp"), (4, 5, 3), "'layer'") is None


@pytest.mark.parametrize(
    ("ending", "mode"), [("jpg", "CMYK"), ("tif", "CMYK"), ("tif", "YCbCr"), ("tif", "LAB")]
)
def test_array_of_other_colours_is_told(tmp_path: Path, ending: str, mode: str) -> None:
    path = tmp_path / f"other.{ending}"
    image = Image.new("LAB", (96, 64)) if mode == "LAB" else Image.fromarray(RGB).convert(mode)
    image.save(path)
    notice = unseen_notice(path, np.asarray(image).shape, "'layer'")
    assert notice is not None
    assert f"{'CIELab' if mode == 'LAB' else mode} colours" in notice
    assert "save it as" in notice


def test_animation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "moving.png"
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"moving\.png' is an animation of 2 images"):
        read_image(path)


def test_what_only_pillow_decodes_is_read_however_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.tif"
    try:
        Image.fromarray(GREY).save(path, compression="zstd")
    except (OSError, RuntimeError):
        pytest.skip("Pillow was built without ZSTD")
    monkeypatch.setattr(images, "_SMALL", 0)
    np.testing.assert_array_equal(np.asarray(open_image(path).data), GREY)


@pytest.mark.parametrize("name", CASES)
def test_large_files_are_read_as_small_ones_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ending, write = CASES[name]
    path = tmp_path / f"file.{ending}"
    write(path)
    if understood(path).startswith("refused"):
        monkeypatch.setattr(images, "_SMALL", 0)
        with pytest.raises(InputError):
            np.asarray(open_image(path).data)
        return
    small = read_image(path)
    monkeypatch.setattr(images, "_SMALL", 0)
    large = open_image(path)
    assert large.spatial == small.spatial
    np.testing.assert_array_equal(np.asarray(large.data), small.data)
