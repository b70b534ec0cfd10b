"""OME-Zarr and tiled OME-TIFF, written block by block: what was written is what is read."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.files import atomic, pyramid
from napari_ssim_defects.io.files.spatial import SpatialMetadata
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.io.writers.ome_tiff import write_ome_tiff
from napari_ssim_defects.io.writers.ome_zarr import write_ome_zarr

zarr = pytest.importorskip("zarr")
da = pytest.importorskip("dask.array")

PLANE = SpatialMetadata("YX", (0.5, 0.25), ("µm", "µm"))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LARGE_SIDE", 100), ("_SMALLEST_SIDE", 40), ("BLOCK", 32)):
        monkeypatch.setattr(pyramid, name, value)
    monkeypatch.setattr("napari_ssim_defects.io.writers.ome_tiff.BLOCK", 32)
    monkeypatch.setattr("napari_ssim_defects.io.writers.ome_zarr.BLOCK", 32)


def _array(dtype: Any, shape: tuple[int, ...] = (133, 170)) -> Any:
    values = np.random.default_rng(0).integers(0, 200, shape)
    return values > 100 if dtype is bool else values.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, bool])
def test_a_pyramid_in_blocks_is_that_in_memory(dtype: Any, tmp_path: Path) -> None:
    array = _array(dtype)
    write_ome_tiff(tmp_path / "a.ome.tif", array, pixel_size=(0.5, 0.25), unit="µm")
    lazy = da.from_array(array, chunks=50)
    write_ome_tiff(tmp_path / "b.ome.tif", lazy, pixel_size=(0.5, 0.25), unit="µm")
    write_ome_zarr(tmp_path / "c.ome.zarr", lazy, PLANE)
    group = zarr.open_group(tmp_path / "c.ome.zarr", mode="r")
    with (
        tifffile.TiffFile(tmp_path / "a.ome.tif") as expected,
        tifffile.TiffFile(tmp_path / "b.ome.tif") as found,
    ):
        first, second = expected.series[0], found.series[0]
        assert len(first.levels) == len(second.levels) == 4
        assert second.keyframe.tile == (32, 32)
        for number, (level, other) in enumerate(zip(first.levels, second.levels, strict=True)):
            assert other.dtype == level.dtype
            np.testing.assert_array_equal(other.asarray(), level.asarray())
            np.testing.assert_array_equal(group[str(number)][:], level.asarray())
            assert group[str(number)].dtype == level.dtype
    for name in ("b.ome.tif", "c.ome.zarr"):
        image = read_image(tmp_path / name)
        assert (image.pixel_size, image.unit) == ((0.5, 0.25), "µm")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.ome.tif", "b.ome.tif", "c.ome.zarr",
    ]  # fmt: skip


def test_stacks_keep_their_axes(tmp_path: Path) -> None:
    array = _array(np.uint16, (2, 3, 40, 50))
    spatial = SpatialMetadata("TZYX", (7.5, 2.0, 0.5, 0.5), ("s", "µm", "µm", "µm"))
    write_ome_zarr(tmp_path / "a.ome.zarr", array, spatial)
    write_ome_tiff(
        tmp_path / "a.ome.tif", da.from_array(array, chunks=30), axes="TZYX",
        pixel_size=spatial.scale, unit=spatial.units,
    )  # fmt: skip
    for name in ("a.ome.zarr", "a.ome.tif"):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.data, array)
        assert image.spatial == spatial


def test_more_than_four_gigabytes_become_bigtiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_ssim_defects.io.writers.ome_tiff.BIG_TIFF_BYTES", 1000)
    write_ome_tiff(tmp_path / "a.ome.tif", da.from_array(_array(np.uint8), chunks=50))
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        assert tif.is_bigtiff


@pytest.mark.parametrize("in_one_step", [True, False], ids=["exchanged", "moved aside"])
def test_a_folder_is_replaced_by_a_whole_one_only(
    in_one_step: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_one_step:
        monkeypatch.setattr(atomic, "_exchanged", lambda first, second: False)
    path = tmp_path / "a.ome.zarr"
    first, second = _array(np.uint8), _array(np.float32, (20, 30))
    write_ome_zarr(path, first, PLANE)

    class Broken:
        shape, dtype, ndim = (300, 300), np.dtype(np.uint8), 2

        def __getitem__(self, index: Any) -> Any:
            if index[0].start > 100:
                raise OSError(errno.EIO, "gone", "elsewhere")
            return first[:32, :32]

    for write in (
        lambda: write_ome_zarr(path, Broken(), PLANE),
        lambda: write_ome_tiff(tmp_path / "a.ome.tif", Broken()),
    ):
        with pytest.raises(OSError, match="gone"):
            write()
        assert [file.name for file in tmp_path.iterdir()] == ["a.ome.zarr"]
    np.testing.assert_array_equal(read_image(path).data, first)
    write_ome_zarr(path, second, PLANE)
    np.testing.assert_array_equal(read_image(path).data, second)
    assert [file.name for file in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_what_ome_zarr_does_not_hold_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.ome.zarr"
    rgb = SpatialMetadata("YXS", (1.0,) * 3, (None,) * 3)
    with pytest.raises(InputError, match="no axes YXS"):
        write_ome_zarr(path, _array(np.uint8, (9, 9, 3)), rgb)
    with pytest.raises(InputError, match="no pixels"):
        write_ome_zarr(path, _array(np.uint8, (0, 9)), PLANE)
    with pytest.raises(InputError, match="no folder"):
        write_ome_zarr(tmp_path / "nowhere" / "a.ome.zarr", _array(np.uint8), PLANE)
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(InputError, match=r"napari-ssim-defects\[dask\]"):
        write_ome_zarr(path, _array(np.uint8), PLANE)
    assert not list(tmp_path.iterdir())
