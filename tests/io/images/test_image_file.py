"""Image files are found, read and matched with their masks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.images.image_file import find_images, match_masks, read_image, read_mask
from napari_ssim_defects.io.writers.ome_tiff import write_ome_tiff

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (20, 30), dtype=np.uint8)
RGB = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)


def _touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return paths


# Reading


def test_tiff_is_read_with_its_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "weave.ome.tif"
    write_ome_tiff(path, GREY, pixel_size=(0.5, 0.25), unit="µm")
    image = read_image(str(path))
    assert image.path == path
    np.testing.assert_array_equal(image.data, GREY)
    assert image.channel_axis is None
    assert image.pixel_size == (0.5, 0.25)
    assert image.unit == "µm"


@pytest.mark.parametrize("ending", ["png", "bmp", "PNG"])
def test_grey_images_are_read_as_they_are(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"weave.{ending}"
    Image.fromarray(GREY).save(path)
    image = read_image(path)
    np.testing.assert_array_equal(image.data, GREY)
    assert image.spatial.axes == "YX"
    assert image.pixel_size is None
    assert image.unit is None


def test_sixteen_bit_png_keeps_its_bits(tmp_path: Path) -> None:
    path = tmp_path / "weave.png"
    data = RNG.integers(0, 65_535, (20, 30), dtype=np.uint16)
    Image.fromarray(data).save(path)
    read = read_image(path).data
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, data)


def test_black_and_white_png_is_0_and_255(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(GREY > 128).save(path)
    data = read_image(path).data
    assert data.dtype == np.uint8
    np.testing.assert_array_equal(data, np.where(GREY > 128, 255, 0))


def test_opacity_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "weave.png"
    Image.fromarray(np.dstack([RGB, GREY])).save(path)
    image = read_image(path)
    np.testing.assert_array_equal(image.data, RGB)
    assert image.channel_axis == -1
    Image.fromarray(np.dstack([GREY, GREY]), mode=None).save(path)
    np.testing.assert_array_equal(read_image(path).data, GREY)


@pytest.mark.parametrize("transparency", [None, 0, bytes(range(16))])
def test_palette_becomes_rgb(tmp_path: Path, transparency: int | bytes | None) -> None:
    path = tmp_path / "weave.png"
    image = Image.fromarray(RGB).quantize(16)
    expected = np.asarray(image.convert("RGB"))
    options = {} if transparency is None else {"transparency": transparency}
    image.save(path, **options)
    np.testing.assert_array_equal(read_image(path).data, expected)


def test_jpeg_is_read_as_rgb_or_grey(tmp_path: Path) -> None:
    path = tmp_path / "weave.jpg"
    for mode, shape in (("L", (20, 30)), ("RGB", (20, 30, 3)), ("CMYK", (20, 30, 3))):
        Image.fromarray(RGB).convert(mode).save(path)
        assert read_image(path).data.shape == shape


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp"])
def test_truncated_images_are_refused(
    tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"weave.{ending}"
    Image.fromarray(RNG.integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    for length in range(1, len(content) - 20, 101):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="is damaged") as caught:
            read_image(path)
        assert str(path) in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["notes.png", "notes.tif", "notes.jpg"])
def test_text_is_no_image(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("not an image at all")
    with pytest.raises(InputError, match="damaged or not a"):
        read_image(path)


def test_missing_empty_and_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no '.*none\.png'"):
        read_image(tmp_path / "none.png")
    (path,) = _touch(tmp_path, "empty.tif")
    with pytest.raises(InputError, match=r"empty\.tif' is empty"):
        read_image(path)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        read_image(tmp_path / "folder.png")


@pytest.mark.parametrize("side", [2**31 - 1, 12_000])
def test_dimensions_beyond_the_file_are_refused(tmp_path: Path, side: int) -> None:
    stream = io.BytesIO()
    Image.fromarray(GREY).save(stream, "BMP")
    content = bytearray(stream.getvalue())
    content[18:26] = side.to_bytes(4, "little") * 2
    path = tmp_path / "bomb.bmp"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        read_image(path)


# Masks


def test_mask_is_whatever_is_not_zero(tmp_path: Path) -> None:
    expected = GREY > 128
    labels = np.where(expected, GREY, 0)
    Image.fromarray(labels).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([labels * 0, labels, labels * 0])).save(tmp_path / "rgb.png")
    write_ome_tiff(tmp_path / "labels.ome.tif", labels.astype(np.int64))
    for name in ("grey.png", "rgb.png", "labels.ome.tif"):
        mask = read_mask(tmp_path / name, (20, 30))
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, expected)


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"mask\.png' has 20 x 30 pixels and its image 30 x 20"):
        read_mask(tmp_path / "mask.png", (30, 20))


@pytest.mark.parametrize("ending", ["", "_mask", "_gt", "-mask", "_GT", "_label"])
def test_masks_are_found_by_the_usual_names(tmp_path: Path, ending: str) -> None:
    images = _touch(tmp_path / "test", "000.png", "001.tif")
    masks = _touch(tmp_path / "masks", f"001{ending}.png", f"000{ending}.png", "notes.txt")
    assert match_masks(images, tmp_path / "masks") == [masks[1], masks[0]]


def test_image_without_mask_is_named(tmp_path: Path) -> None:
    images = _touch(tmp_path / "test", "000.png", "001.png")
    _touch(tmp_path / "masks", "000_mask.png")
    with pytest.raises(InputError, match=r"no mask of '.*001\.png' in '.*masks'"):
        match_masks(images, tmp_path / "masks")
    with pytest.raises(InputError, match=r"There is no '.*nowhere'"):
        match_masks(images, tmp_path / "nowhere")


def test_image_is_not_its_own_mask(tmp_path: Path) -> None:
    images = _touch(tmp_path, "000.png")
    with pytest.raises(InputError, match="There is no mask"):
        match_masks(images, tmp_path)
    masks = _touch(tmp_path, "000_mask.png")
    assert match_masks(images, tmp_path) == masks


# Finding


def test_folder_gives_its_images_in_natural_order(tmp_path: Path) -> None:
    _touch(tmp_path, "10.png", "9.TIF", "b.jpeg", "notes.txt", ".hidden.png", "deeper/1.png")
    assert [path.name for path in find_images([tmp_path])] == ["9.TIF", "10.png", "b.jpeg"]


def test_results_of_detection_are_not_taken_for_images(tmp_path: Path) -> None:
    _touch(tmp_path, "a.ome.tif", "a.residual.ome.tif", "a.labels.ome.tif")
    assert [path.name for path in find_images([tmp_path])] == ["a.ome.tif"]
    assert [path.name for path in find_images([str(tmp_path / "*.tif")])] == ["a.ome.tif"]
    named = tmp_path / "a.residual.ome.tif"
    assert find_images([named]) == [named]


def test_patterns_are_expanded_also_across_folders(tmp_path: Path) -> None:
    _touch(tmp_path, "a/1.png", "a/2.png", "b/c/3.png", "b/c/3.txt")
    names = [path.name for path in find_images([str(tmp_path / "**" / "*")])]
    assert names == ["1.png", "2.png", "3.png"]
    assert [path.name for path in find_images([str(tmp_path / "a" / "[2-9].*")])] == ["2.png"]


def test_file_with_brackets_in_its_name_is_no_pattern(tmp_path: Path) -> None:
    (path,) = _touch(tmp_path, "scan[1].png")
    assert find_images([path]) == [path]


def test_each_file_is_given_once_in_the_order_of_the_inputs(tmp_path: Path) -> None:
    first, second = _touch(tmp_path, "a.png", "b.png")
    assert find_images([second, tmp_path, first]) == [second, first]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing.png", "There is no file or folder"),
        ("empty", "There are no images in"),
        ("*.png", "No image matches"),
        ("notes.txt", "is not an image that can be read"),
        ("x" * 300, "could not be read|There is no file"),
    ],
)
def test_inputs_without_images_are_named(tmp_path: Path, name: str, sentence: str) -> None:
    _touch(tmp_path, "notes.txt", "empty/notes.txt")
    with pytest.raises(InputError, match=sentence) as caught:
        find_images([tmp_path / name])
    assert str(tmp_path / name) in str(caught.value)


def test_no_inputs_are_refused() -> None:
    with pytest.raises(InputError, match="No images were given"):
        find_images([])
