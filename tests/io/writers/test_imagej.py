"""ImageJ TIFF, by the tags that Fiji takes scale, unit and stack axes from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.files.spatial import SpatialMetadata
from napari_ssim_defects.io.writers import imagej
from napari_ssim_defects.io.writers.imagej import write_imagej_tiff
from napari_ssim_defects.io.writers.ome_tiff import read_tiff

MICROMETRES = SpatialMetadata("YX", (0.5, 0.25), ("µm", "µm"))
PIXELS = SpatialMetadata("YX", (1.0, 1.0), (None, None))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "map.tif"


def _tags(path: Path) -> tuple[dict[str, Any], Any, Any, int]:
    """Return the description, the resolution along x and y, and its unit."""
    with tifffile.TiffFile(path) as tif:
        tags = tif.pages[0].tags
        values = (tags[name].value for name in ("XResolution", "YResolution", "ResolutionUnit"))
        return tif.imagej_metadata, *values


def test_fiji_finds_pixels_per_unit_and_the_unit(path: Path) -> None:
    write_imagej_tiff(path, np.ones((4, 5), np.float32), MICROMETRES)
    description, x, y, unit = _tags(path)
    assert (x, y) == ((4, 1), (2, 1))  # pixels per unit
    assert unit == 1  # none of TIFF's: the description has it
    assert description["unit"] == "um"  # which ImageJ shows as µm


def test_stack_has_slices_frames_spacing_and_interval(path: Path) -> None:
    spatial = SpatialMetadata("TZYX", (7.5, 2.0, 0.5, 0.25), ("s", "µm", "µm", "µm"))
    data = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    write_imagej_tiff(path, data, spatial)
    description = _tags(path)[0]
    names = ("frames", "slices", "images", "hyperstack", "spacing", "finterval")
    assert [description[name] for name in names] == [2, 3, 6, True, 2.0, 7.5]
    assert not {"zunit", "tunit", "yunit"} & set(description)
    found, read = read_tiff(path)
    np.testing.assert_array_equal(found, data)
    assert read == spatial


@pytest.mark.parametrize(
    "spatial",
    [
        SpatialMetadata("ZYX", (2.0, 0.5, 0.25), ("mm", "mm", "mm")),
        SpatialMetadata("TYX", (3.0, 1 / 3, 0.0325), ("s", "in", "in")),
        SpatialMetadata("ZYX", (2.0, 0.5, 0.25), ("µm", "s", "s")),
        SpatialMetadata("ZYX", (2.0, 1.0, 1.0), ("µm", None, None)),
    ],
)
def test_every_unit_is_read_back(path: Path, spatial: SpatialMetadata) -> None:
    write_imagej_tiff(path, np.zeros((3, 4, 5), np.uint8), spatial)
    _, read = read_tiff(path)
    assert read.scale == pytest.approx(spatial.scale, rel=1e-8)
    assert (read.axes, read.units) == (spatial.axes, spatial.units)


@pytest.mark.parametrize(
    ("spatial", "read_back"),
    [
        # Macros of ImageJ, and Bio-Formats, take the unit of x for all axes, and seconds for time.
        (
            SpatialMetadata("ZYX", (300.0, 500.0, 0.25), ("nm", "nm", "µm")),
            SpatialMetadata("ZYX", (0.3, 0.5, 0.25), ("µm", "µm", "µm")),
        ),
        (
            SpatialMetadata("TYX", (3.0, 0.5, 0.25), ("min", "µm", "µm")),
            SpatialMetadata("TYX", (180.0, 0.5, 0.25), ("s", "µm", "µm")),
        ),
        (
            SpatialMetadata("TYX", (40.0, 5.0, 2.5), ("ms", "Å", "Å")),
            SpatialMetadata("TYX", (0.04, 0.5, 0.25), ("s", "nm", "nm")),
        ),
        # TIFF's fractions have 32 bits.
        (
            SpatialMetadata("ZYX", (2.0, 6.5e-11, 6.5e-11), ("µm", "m", "m")),
            SpatialMetadata("ZYX", (2000.0, 0.065, 0.065), ("nm", "nm", "nm")),
        ),
        (
            SpatialMetadata("TYX", (1.0, 2.5e10, 2.5e10), ("s", "pm", "pm")),
            SpatialMetadata("TYX", (1.0, 25.0, 25.0), ("s", "mm", "mm")),
        ),
    ],
)
def test_distances_are_written_in_units_that_every_program_reads_alike(
    path: Path, spatial: SpatialMetadata, read_back: SpatialMetadata
) -> None:
    write_imagej_tiff(path, np.zeros((3, 4, 5), np.uint8), spatial)
    _, read = read_tiff(path)
    assert read.scale == pytest.approx(read_back.scale, rel=1e-8)
    assert (read.axes, read.units) == (read_back.axes, read_back.units)
    assert not {"zunit", "tunit", "yunit"} & set(_tags(path)[0])


def test_pixels_of_a_size_that_no_unit_makes_storable_are_refused(path: Path) -> None:
    spatial = SpatialMetadata("YX", (1e-30, 1e-30), ("m", "m"))
    with pytest.raises(InputError, match=r"does not hold pixels of 1e-30 m; .* OME-TIFF"):
        write_imagej_tiff(path, np.zeros((4, 5)), spatial)
    assert list(path.parent.iterdir()) == []


def test_the_display_range_is_that_of_all_planes(path: Path) -> None:
    data = np.zeros((3, 4, 5), np.float32)
    data[1, 2, 2], data[2, 0, 0], data[2, 0, 1] = 0.8, np.nan, np.inf
    write_imagej_tiff(path, data, SpatialMetadata("ZYX", (1.0,) * 3, (None,) * 3))
    description = _tags(path)[0]
    assert (description["min"], description["max"]) == (0.0, pytest.approx(0.8))


def test_depth_in_front_of_time_is_brought_into_imagejs_order(path: Path) -> None:
    data = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    spatial = SpatialMetadata("ZTYX", (2.0, 5.0, 1.0, 1.0), ("µm", "s", "µm", "µm"))
    write_imagej_tiff(path, data, spatial)
    found, read = read_tiff(path)
    np.testing.assert_array_equal(found, data.swapaxes(0, 1))
    assert read.axes == "TZYX"
    assert read.scale == (5.0, 2.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("data", "stored"),
    [
        (np.array([[True, False]]), np.array([[255, 0]], np.uint8)),
        (np.array([[0, 65_535]], np.int32), np.array([[0, 65_535]], np.uint16)),
        (np.array([[0.5, 1e300]]), np.array([[0.5, np.inf]], np.float32)),
        (np.array([[0, 255]], np.uint8), np.array([[0, 255]], np.uint8)),
    ],
)
def test_types_are_those_that_imagej_has(
    path: Path, data: npt.NDArray[Any], stored: npt.NDArray[Any]
) -> None:
    write_imagej_tiff(path, data, PIXELS)
    found = tifffile.imread(path).reshape(data.shape)
    assert found.dtype.newbyteorder("=") == stored.dtype
    np.testing.assert_array_equal(found, stored)
    assert _tags(path)[0]["unit"] == "pixel"


@pytest.mark.parametrize(
    "data",
    [
        np.array([[0, 65_536]]),
        np.array([[-1, 3]]),
        np.array([[1j, 0]]),
        np.zeros((0, 5)),
    ],
)
def test_what_imagej_cannot_hold_is_refused_with_nothing_written(
    path: Path, data: npt.NDArray[Any]
) -> None:
    with pytest.raises(InputError, match=r"Cannot write '.*map\.tif'"):
        write_imagej_tiff(path, data, PIXELS)
    assert list(path.parent.iterdir()) == []


def test_more_than_four_gigabytes_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagej, "BIG_TIFF_BYTES", 79)
    with pytest.raises(InputError, match="is limited to 4 GB; choose OME-TIFF"):
        write_imagej_tiff(path, np.zeros((4, 5)), PIXELS)
    assert list(path.parent.iterdir()) == []


def test_axes_that_imagej_has_no_name_for_are_refused(path: Path) -> None:
    spatial = SpatialMetadata("QYX", (1.0, 1.0, 1.0), (None, None, None))
    with pytest.raises(InputError, match="no axes QYX"):
        write_imagej_tiff(path, np.zeros((2, 4, 5)), spatial)


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits")
@pytest.mark.parametrize("missing", [1, 100, 3000])
def test_a_disk_that_is_full_at_the_very_end_leaves_no_truncated_file(
    path: Path, missing: int
) -> None:
    import resource

    image = np.random.default_rng(0).random((40, 50), dtype=np.float32)
    write_imagej_tiff(path, image, PIXELS)
    size, old = path.stat().st_size, path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - missing, limits[1]))
        with pytest.raises(InputError, match="files this large"):
            write_imagej_tiff(path, image + 1, PIXELS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == old
