"""A TIFF file may hold several images: all of them are read, and no preview instead of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.images.image_file import open_image, read_image, read_mask

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 255, (40, 60), dtype=np.uint8) for _ in range(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "images.tif"


def pages(path: Path, images: list[np.ndarray], **options: Any) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for image in images:
            writer.write(image, contiguous=False, metadata=None, **options)
    return path


def test_appended_images_are_a_stack(path: Path) -> None:
    for image in IMAGES:
        tifffile.imwrite(path, image, append=path.exists())
    image = read_image(path)
    np.testing.assert_array_equal(image.data, IMAGES)
    assert image.spatial.axes == "ZYX"


def test_appended_stacks_are_a_stack_of_stacks(path: Path) -> None:
    for _ in range(2):
        tifffile.imwrite(path, np.stack(IMAGES), append=path.exists(), photometric="minisblack")
    np.testing.assert_array_equal(read_image(path).data, [IMAGES, IMAGES])


def test_scenes_of_ome_are_a_stack(tmp_path: Path) -> None:
    path = tmp_path / "scenes.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for image in IMAGES:
            writer.write(image, metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 2})
    image = read_image(path)
    np.testing.assert_array_equal(image.data, IMAGES)
    assert image.pixel_size == (2, 0.5)


def test_pages_that_the_description_of_ome_leaves_out_are_not_left_out(tmp_path: Path) -> None:
    path = tmp_path / "one.ome.tif"
    tifffile.imwrite(path, IMAGES[0], metadata={"axes": "YX"})
    first, *others = map(Image.fromarray, IMAGES)
    with tifffile.TiffFile(path) as tif:
        description = tif.ome_metadata
    # The description of one page is kept, as by programs that know nothing of OME.
    first.save(path, save_all=True, append_images=others, tiffinfo={270: description})
    for read in (read_image, open_image):
        with pytest.raises(InputError, match="has 3 pages and its OME description 1"):
            read(path)


def test_scenes_over_depth_and_time_follow_each_other(tmp_path: Path) -> None:
    path, scene = tmp_path / "scenes.ome.tif", np.stack([IMAGES, IMAGES])
    with tifffile.TiffWriter(path, ome=True) as writer:
        for _ in range(2):
            writer.write(scene, metadata={"axes": "TZYX"}, photometric="minisblack")
    image = read_image(path)
    np.testing.assert_array_equal(image.data, [*scene, *scene])
    assert image.spatial.axes == "TZYX"


def test_pages_compressed_in_different_ways_stay_in_order(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        for image, codec in zip([*IMAGES, IMAGES[0]], (None, "zlib", None, "zlib"), strict=True):
            writer.write(image, compression=codec, metadata=None)
    np.testing.assert_array_equal(read_image(path).data, [*IMAGES, IMAGES[0]])


def test_large_file_of_several_images_is_read_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_ssim_defects.io.images.image_file._SMALL", 0)
    for image in IMAGES:
        tifffile.imwrite(path, image, append=path.exists())
    np.testing.assert_array_equal(np.asarray(open_image(path).data), IMAGES)


def test_images_of_different_sizes_are_refused_with_their_sizes(path: Path) -> None:
    pages(path, [IMAGES[0], IMAGES[1][:39], IMAGES[2][:, :50]])
    with pytest.raises(
        InputError, match=r"images\.tif' holds 3 images .* \(40 x 60, 39 x 60, 40 x 50 pixels\)"
    ):
        read_image(path)
    with pytest.raises(InputError, match="save each as a file of its own"):
        open_image(path)


def test_images_of_different_depths_or_pixel_sizes_are_refused(path: Path) -> None:
    pages(path, [IMAGES[0], IMAGES[1].astype(np.uint16)])
    with pytest.raises(InputError, match="holds 2 images that differ"):
        read_image(path)
    with tifffile.TiffWriter(path) as writer:
        for image, size in zip(IMAGES, (50, 100, 50), strict=True):
            writer.write(image, resolution=(size, size), resolutionunit=3, compression="zlib")
    with pytest.raises(InputError, match="holds 3 images that differ"):
        read_image(path)


@pytest.mark.parametrize("step", [2, 4, 7])
@pytest.mark.parametrize("metadata", [None, {}])
@pytest.mark.parametrize("place", [0, 1])
def test_preview_is_not_taken_for_the_image(
    path: Path, step: int, metadata: dict[str, Any] | None, place: int
) -> None:
    images = [(IMAGES[0], 0)]
    images.insert(place, (np.ascontiguousarray(IMAGES[0][::step, ::step]), 1))
    with tifffile.TiffWriter(path) as writer:
        for image, kind in images:
            writer.write(image, subfiletype=kind, metadata=metadata)
    np.testing.assert_array_equal(read_image(path).data, IMAGES[0])
    np.testing.assert_array_equal(read_mask(path, (40, 60)), IMAGES[0] != 0)


@pytest.mark.parametrize("step", [2, 3, 4])
def test_smaller_page_without_a_mark_is_an_image_of_its_own(path: Path, step: int) -> None:
    pages(path, [IMAGES[0], IMAGES[1][::step, ::step]])
    for read in (read_image, open_image):
        with pytest.raises(InputError, match=r"holds 2 images .* \(40 x 60, "):
            read(path)


def test_preview_in_colour_is_not_taken_for_the_image(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.dstack([IMAGES[0][::3, ::3]] * 3), subfiletype=1, metadata=None)
        writer.write(IMAGES[0], metadata=None)
    np.testing.assert_array_equal(read_image(path).data, IMAGES[0])


def test_preview_is_not_read_in_parts_either(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_ssim_defects.io.images.image_file._SMALL", 0)
    with tifffile.TiffWriter(path) as writer:
        for image, kind in ((IMAGES[0][::4, ::4], 1), (IMAGES[0], 0)):
            writer.write(image, subfiletype=kind, metadata=None, tile=(16, 16), compression="zlib")
    data = open_image(path).data
    assert not isinstance(data, np.ndarray)
    np.testing.assert_array_equal(data[7:30, 20:50], IMAGES[0][7:30, 20:50])


@pytest.mark.parametrize("name", ["label", "Macro image", "Thumbnail"])
def test_label_of_a_slide_is_left_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / "slide.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(IMAGES[1][:20], metadata={"axes": "YX", "Name": name, "PhysicalSizeX": 9})
        writer.write(IMAGES[0], metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5})
    image = read_image(path)
    np.testing.assert_array_equal(image.data, IMAGES[0])
    assert image.pixel_size == (0.5, 0.5)


def test_smaller_copies_of_a_pyramid_are_left_out(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(IMAGES[0], subifds=1)
        writer.write(IMAGES[0][::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(read_image(path).data, IMAGES[0])


def test_mask_of_several_images_is_refused(path: Path) -> None:
    for image in IMAGES:
        tifffile.imwrite(path, image, append=path.exists())
    with pytest.raises(InputError, match="has 3 x 40 x 60 pixels and its image 40 x 60"):
        read_mask(path, (40, 60))


def test_another_image_inside_a_page_is_not_left_out(path: Path) -> None:
    with tifffile.TiffWriter(path) as writer:
        writer.write(IMAGES[0], subifds=1, metadata=None)
        writer.write(np.dstack([IMAGES[1]] * 3), metadata=None)
        writer.write(IMAGES[2], metadata=None)
    with pytest.raises(InputError, match="holds 3 images that differ"):
        read_image(path)


def test_scenes_stay_in_their_order_wherever_their_planes_are(tmp_path: Path) -> None:
    path = tmp_path / "scenes.ome.tif"
    # The planes of the second scene come first in the file.
    with tifffile.TiffWriter(path, ome=True) as writer:
        for image in IMAGES[:2]:
            writer.write(image, metadata={"axes": "YX"})
    with tifffile.TiffFile(path) as tif:
        xml = tif.ome_metadata
    assert xml is not None
    swapped = xml.replace('IFD="0"', 'IFD="x"').replace('IFD="1"', 'IFD="0"')
    tifffile.tiffcomment(path, swapped.replace('IFD="x"', 'IFD="1"').encode())
    np.testing.assert_array_equal(read_image(path).data, [IMAGES[1], IMAGES[0]])


def test_pages_with_different_palettes_are_refused(path: Path) -> None:
    palette = np.arange(768, dtype=np.uint16).reshape(3, 256) * 80
    with tifffile.TiffWriter(path) as writer:
        for colours in (palette, palette[:, ::-1]):
            writer.write(
                IMAGES[0], photometric="palette", colormap=colours, metadata=None, contiguous=False
            )
    with pytest.raises(InputError, match=r"images\.tif' has pages with different palettes"):
        read_image(path)


@pytest.mark.parametrize(("resolutions", "unit"), [((1e4, 2e4), (3, 3)), ((1e4, 1e4), (3, 2))])
def test_pages_of_different_pixel_sizes_are_refused(
    path: Path, resolutions: tuple[float, float], unit: tuple[int, int]
) -> None:
    with tifffile.TiffWriter(path) as writer:
        for per_unit, kind in zip(resolutions, unit, strict=True):
            writer.write(
                IMAGES[0], photometric="minisblack", metadata=None, contiguous=False,
                resolution=(per_unit, per_unit), resolutionunit=kind,
            )  # fmt: skip
    with pytest.raises(InputError, match=r"images\.tif' has pages of different pixel sizes"):
        read_image(path)
