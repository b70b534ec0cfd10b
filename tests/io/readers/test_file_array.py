"""Images that stay in their file: what is read of them is what is in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.images import image_file as images
from napari_ssim_defects.io.images.image_file import find_images, open_image, read_image
from napari_ssim_defects.io.readers import tiff as tiff_reader
from napari_ssim_defects.io.readers.file_array import FileArray
from napari_ssim_defects.io.readers.ome_zarr import is_zarr, open_zarr
from napari_ssim_defects.io.writers.ome_tiff import write_ome_tiff

zarr = pytest.importorskip("zarr")

PIXELS = np.arange(3 * 70 * 90, dtype=np.uint16).reshape(3, 70, 90)
PARTS = [(slice(None),) * 3, (1, slice(10, 20), slice(5, 80)), (slice(2, 3), slice(0, 1), 7)]


@pytest.fixture(autouse=True)
def _nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_SMALL", 0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile": (16, 32), "compression": "zlib"},
        {"rowsperstrip": 7, "compression": "zlib"},
        {"tile": (16, 16), "byteorder": ">"},
        {"byteorder": ">"},
        {"imagej": True},
        {"ome": True, "tile": (16, 16), "bigtiff": True},
    ],
)
def test_tiff_of_any_layout_is_read_in_parts(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="minisblack", metadata={"axes": "ZYX"}, **options)
    image = open_image(path)
    assert isinstance(image.data, FileArray)
    assert image.data.dtype == np.uint16
    assert image.data.nbytes == PIXELS.nbytes
    assert image.spatial == read_image(path).spatial
    for part in PARTS:
        np.testing.assert_array_equal(image.data[part], PIXELS[part])
    np.testing.assert_array_equal(np.asarray(image.data), PIXELS)


def test_the_full_resolution_of_a_pyramid_and_its_pixel_size_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_ssim_defects.io.files.pyramid.LARGE_SIDE", 64)
    monkeypatch.setattr("napari_ssim_defects.io.files.pyramid._SMALLEST_SIDE", 32)
    path = tmp_path / "a.ome.tif"
    write_ome_tiff(path, PIXELS[0], pixel_size=(0.5, 0.25), unit="µm")
    image = open_image(path)
    assert isinstance(image.data, FileArray)
    assert image.pixel_size == (0.5, 0.25)
    np.testing.assert_array_equal(np.asarray(image.data), PIXELS[0])


def test_rgb_is_read_in_parts_and_opacity_at_once(tmp_path: Path) -> None:
    rgb = PIXELS.transpose(1, 2, 0).astype(np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", rgb, tile=(16, 16))
    opened = open_image(tmp_path / "rgb.tif")
    assert isinstance(opened.data, FileArray)
    assert opened.channel_axis == -1
    np.testing.assert_array_equal(opened.data[3:9, :, :], rgb[3:9])
    rgba = np.concatenate([rgb, rgb[..., :1]], axis=-1)
    tifffile.imwrite(tmp_path / "rgba.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(open_image(tmp_path / "rgba.tif").data, rgb)


def test_one_compressed_piece_and_small_images_are_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS[0], rowsperstrip=70, compression="zlib")
    monkeypatch.setattr(tiff_reader, "_LARGEST_CHUNK", 70 * 90)
    assert isinstance(open_image(path).data, np.ndarray)
    monkeypatch.undo()
    assert isinstance(open_image(path).data, np.ndarray)


def test_tiff_cut_off_is_refused_at_once_and_damage_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="minisblack", tile=(16, 16), compression="zlib")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.tif"):
        open_image(path)
    with tifffile.TiffFile(_rewritten(path, whole)) as tif:
        offset, count = tif.pages[2].dataoffsets[0], tif.pages[2].databytecounts[0]
    path.write_bytes(whole[:offset] + b"\x07" * count + whole[offset + count :])
    image = open_image(path)
    np.testing.assert_array_equal(image.data[0, :16, :16], PIXELS[0, :16, :16])
    with pytest.raises(InputError, match=r"a\.tif' is damaged"):
        image.data[2, :16, :16]


def _rewritten(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_plain_zarr_of_both_versions(version: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=PIXELS, chunks=(1, 32, 32), zarr_format=version)
    assert is_zarr(path)
    image = open_image(path)
    assert isinstance(image.data, FileArray)
    assert image.data.chunks == (1, 32, 32)
    assert (image.spatial.axes, image.channel_axis, image.unit) == ("ZYX", None, None)
    for part in PARTS:
        np.testing.assert_array_equal(image.data[part], PIXELS[part])
    np.testing.assert_array_equal(read_image(path).data, PIXELS)


def _ome_zarr(path: Path, version: str) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    for level, pixels in enumerate((PIXELS[None], PIXELS[None, :, ::2, ::2])):
        array = group.create_array(str(level), shape=pixels.shape, chunks=(1, 1, 32, 32),
                                   dtype=pixels.dtype)  # fmt: skip
        array[:] = pixels
    units = {"t": "second", "c": None, "y": "micrometer", "x": "micrometer"}
    types = {"t": "time", "c": "channel"}
    axes = [
        {"name": name, "type": types.get(name, "space"), **({"unit": unit} if unit else {})}
        for name, unit in units.items()
    ]
    scale = [{"type": "scale", "scale": [2.0, 1.0, 0.5, 0.25]}]
    datasets = [{"path": str(i), "coordinateTransformations": scale} for i in range(2)]
    multiscales = [{"version": version, "axes": axes, "datasets": datasets}]
    group.attrs.update(
        {"multiscales": multiscales}
        if version == "0.4"
        else {"ome": {"version": version, "multiscales": multiscales}}
    )


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_brings_axes_scale_and_units(version: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    _ome_zarr(path, version)
    array, spatial = open_zarr(path)
    assert array.shape == (1, 3, 70, 90)
    assert (spatial.axes, spatial.channel_axis) == ("TCYX", -3)
    assert spatial.scale == (2.0, 1.0, 0.5, 0.25)
    assert spatial.units == ("s", None, "µm", "µm")
    np.testing.assert_array_equal(array[0, 2, 5:9, :], PIXELS[2, 5:9])


def test_what_bioformats2raw_makes_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.open_group(path, mode="w", zarr_format=2)
    _ome_zarr(path / "0", "0.4")
    assert open_zarr(path)[1].axes == "TCYX"


def test_zarr_of_several_images_is_refused_with_the_name_of_one(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.open_group(path, mode="w", zarr_format=2)
    for name in ("0", "1"):
        _ome_zarr(path / name, "0.4")
    with pytest.raises(InputError, match=r"a\.zarr' holds 2 images; name one of them, such as"):
        open_zarr(path)
    assert open_zarr(path / "1")[1].axes == "TCYX"


def test_zarr_is_found_in_folders_and_what_detection_wrote_is_not(tmp_path: Path) -> None:
    for name in ("scan.zarr", "scan.residual.ome.zarr", "notes"):
        (tmp_path / name).mkdir()
    for name in ("scan.zarr", "scan.residual.ome.zarr"):
        zarr.create_array(tmp_path / name, data=PIXELS, overwrite=True)
    assert find_images([tmp_path]) == [tmp_path / "scan.zarr"]
    assert find_images([tmp_path / "scan.zarr"]) == [tmp_path / "scan.zarr"]


def test_zarr_that_is_no_image_is_one_sentence(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "two.zarr", mode="w")
    for name in ("a", "b"):
        group.create_array(name, shape=(5, 5), dtype="u1")
    zarr.create_array(tmp_path / "line.zarr", data=np.zeros(5))
    (tmp_path / "bad.zarr").mkdir()
    (tmp_path / "bad.zarr" / "zarr.json").write_text("{")
    for name, words in (("two", "a, b"), ("line", "not an image"), ("bad", "damaged")):
        with pytest.raises(InputError, match=words) as caught:
            open_image(tmp_path / f"{name}.zarr")
        assert "\n" not in str(caught.value)


def test_zarr_that_would_execute_code_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=np.zeros((4, 4)), zarr_format=2, attributes={"by": "pickle"})
    open_image(path)
    metadata = json.loads((path / ".zarray").read_text())
    metadata["compressor"] = {"id": "pickle", "protocol": 5}
    (path / ".zarray").write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=r"execute code|damaged"):  # some zarr refuse it, too
        open_image(path)


def test_chunks_that_are_damaged_are_said_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=PIXELS, chunks=(1, 70, 90))
    image = open_image(path)
    (path / "c" / "1" / "0" / "0").write_bytes(b"nonsense")
    np.testing.assert_array_equal(image.data[0, :, :], PIXELS[0])
    with pytest.raises(InputError, match=r"a\.zarr"):
        image.data[1, :, :]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=PIXELS)
    tifffile.imwrite(tmp_path / "a.tif", PIXELS[0], tile=(16, 16), compression="zlib")
    _hide_zarr(monkeypatch)
    with pytest.raises(InputError, match=r"napari-ssim-defects\[dask\]"):
        open_image(tmp_path / "a.zarr")
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").data, PIXELS[0])


def _hide_zarr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    monkeypatch.setattr(tiff_reader, "_has_zarr", lambda: False)


def test_parts_are_those_of_the_material(material: Callable[..., Any], tmp_path: Path) -> None:
    image = material(1, (64, 72)).astype(np.float32)
    write_ome_tiff(tmp_path / "a.ome.tif", image)
    np.testing.assert_array_equal(open_image(tmp_path / "a.ome.tif").data[9:30, :], image[9:30])
