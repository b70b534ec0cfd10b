"""OME-TIFF is written so that other programs see the right values and sizes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.files.spatial import SpatialMetadata, unit_symbol
from napari_ssim_defects.io.writers import ome_tiff as tiff
from napari_ssim_defects.io.writers.ome_tiff import read_tiff, write_ome_tiff

RNG = np.random.default_rng(0)


def _pixels(path: Path) -> dict[str, str]:
    """Return the attributes of OME's Pixels element, read without this package."""
    xml = tifffile.tiffcomment(path)
    element = ElementTree.fromstring(xml).find(".//{*}Pixels")
    assert element is not None
    return element.attrib


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "map.ome.tif"


def test_residual_keeps_its_values_and_pixel_size(path: Path) -> None:
    residual = RNG.random((20, 30))
    write_ome_tiff(path, residual, pixel_size=(0.5, 0.25), unit="micrometer")
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert tif.series[0].axes == "YX"
        stored = tif.asarray()
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, residual.astype(np.float32))
    pixels = _pixels(path)
    assert float(pixels["PhysicalSizeY"]) == 0.5
    assert float(pixels["PhysicalSizeX"]) == 0.25
    assert pixels["PhysicalSizeXUnit"] == pixels["PhysicalSizeYUnit"] == "µm"


@pytest.mark.parametrize(
    ("size", "unit", "per_centimetre"),
    [((0.5, 0.25), "µm", (40_000, 20_000)), ((0.02, 0.01), "mm", (1000, 500))],
)
def test_programs_that_do_not_know_ome_find_the_resolution(
    path: Path, size: tuple[float, float], unit: str, per_centimetre: tuple[int, int]
) -> None:
    write_ome_tiff(path, np.zeros((4, 5), np.float32), pixel_size=size, unit=unit)
    with tifffile.TiffFile(path) as tif:
        tags = tif.pages[0].tags
        found = tuple(tags[f"{axis}Resolution"].value for axis in "XY")
        assert found == tuple((number, 1) for number in per_centimetre)
        assert tags["ResolutionUnit"].value == 3  # centimetre
    assert read_tiff(path)[1].scale == size  # OME's own, not by way of the resolution


@pytest.mark.parametrize("size", [(1e-20, 1e-20), (1e20, 1e20)])
def test_sizes_that_are_no_resolution_are_left_to_ome(
    path: Path, size: tuple[float, float]
) -> None:
    write_ome_tiff(path, np.zeros((4, 5), np.float32), pixel_size=size, unit="m")
    assert read_tiff(path)[1].scale == size


@pytest.mark.parametrize("size", [(0.5, 0.5), None, (0.0, -1.0), (np.nan, np.inf)])
def test_sizes_in_pixels_and_impossible_ones_are_left_out(
    path: Path, size: tuple[float, float] | None
) -> None:
    unit = "pixel" if size == (0.5, 0.5) else "µm"
    write_ome_tiff(path, np.zeros((4, 5)), pixel_size=size, unit=unit)
    assert not [key for key in _pixels(path) if key.startswith("PhysicalSize")]


def test_stack_keeps_its_step_and_time(path: Path) -> None:
    data = RNG.random((2, 3, 8, 9)).astype(np.float32)
    units = ("second", "nanometer", "mm", "mm")
    write_ome_tiff(path, data, pixel_size=(5, 300, 0.5, 0.25), unit=units, axes="TZYX")
    pixels = _pixels(path)
    assert (pixels["SizeT"], pixels["SizeZ"]) == ("2", "3")
    assert (pixels["TimeIncrement"], pixels["TimeIncrementUnit"]) == ("5.0", "s")
    assert (pixels["PhysicalSizeZ"], pixels["PhysicalSizeZUnit"]) == ("300.0", "nm")
    image, spatial = read_tiff(path)
    np.testing.assert_array_equal(image, data)
    assert spatial == SpatialMetadata("TZYX", (5, 300, 0.5, 0.25), ("s", "nm", "mm", "mm"))


def test_pixel_size_belongs_to_the_last_axes(path: Path) -> None:
    write_ome_tiff(path, np.zeros((3, 8, 9)), pixel_size=(0.5, 0.25), unit="µm")
    assert read_tiff(path)[1] == SpatialMetadata("ZYX", (1, 0.5, 0.25), (None, "µm", "µm"))


def test_rgb_is_stored_as_such(path: Path) -> None:
    data = RNG.integers(0, 255, (8, 9, 3), dtype=np.uint8)
    write_ome_tiff(path, data, axes="YXS", pixel_size=(0.5, 0.25), unit="µm")
    with tifffile.TiffFile(path) as tif:
        assert tif.pages[0].photometric == tifffile.PHOTOMETRIC.RGB
    image, spatial = read_tiff(path)
    np.testing.assert_array_equal(image, data)
    assert spatial.channel_axis == -1
    assert spatial.pixel_size == (0.5, 0.25)
    assert spatial.without_channels() == SpatialMetadata("YX", (0.5, 0.25), ("µm", "µm"))


def test_mask_is_0_and_255(path: Path) -> None:
    mask = RNG.random((8, 9)) > 0.5
    write_ome_tiff(path, mask)
    stored = tifffile.imread(path)
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, np.where(mask, 255, 0))


@pytest.mark.parametrize(
    ("dtype", "largest", "stored_as"),
    [
        (np.int32, 65_535, np.uint16),
        (np.int64, 0, np.uint16),
        (np.int32, 65_536, np.int32),
        (np.uint64, 2**32 - 1, np.uint32),
        (np.uint8, 255, np.uint8),
        (np.int16, 300, np.int16),
    ],
)
def test_labels_are_stored_in_the_smallest_common_type(
    path: Path, dtype: npt.DTypeLike, largest: int, stored_as: npt.DTypeLike
) -> None:
    labels = np.array([[0, 0], [0, largest]], dtype=dtype)
    write_ome_tiff(path, labels)
    stored = tifffile.imread(path)
    assert stored.dtype == stored_as
    np.testing.assert_array_equal(stored, labels)


def test_negative_integers_keep_their_sign(path: Path) -> None:
    write_ome_tiff(path, np.array([[-1, 70_000]]))
    np.testing.assert_array_equal(read_tiff(path)[0], [[-1, 70_000]])


def test_description_is_kept_whatever_is_in_it(path: Path) -> None:
    write_ome_tiff(path, np.zeros((4, 5)), description='{"model": "größe <&> \\"1\\"\x00\x1b"}')
    element = ElementTree.fromstring(tifffile.tiffcomment(path)).find(".//{*}Description")
    assert element is not None
    assert element.text == '{"model": "größe <&> \\"1\\""}'


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((0, 5)),
        np.zeros((2, 2), complex),
        np.array([["a", "b"]]),
        np.array([[-1, 2**40]]),
        np.zeros((2,) * 6),
        np.zeros(5),
    ],
)
def test_arrays_that_tiff_cannot_hold_are_refused_with_nothing_written(
    path: Path, data: npt.NDArray[np.generic]
) -> None:
    with pytest.raises(InputError, match=r"Cannot write '.*map\.ome\.tif'"):
        write_ome_tiff(path, data)
    assert list(path.parent.iterdir()) == []


def test_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ome_tiff(path, np.ones((4, 5)))

    def fill_disk(self: tifffile.TiffWriter, *args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", fill_disk)
    with pytest.raises(InputError, match="disk is full"):
        write_ome_tiff(path, np.zeros((4, 5)))
    monkeypatch.undo()
    assert tifffile.imread(path).all()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("shape", [(5000, 40), (3, 40, 5001), (4097, 1)])
def test_large_residual_has_tiles_and_a_pyramid_of_means(
    path: Path, shape: tuple[int, ...]
) -> None:
    data = RNG.random(shape).astype(np.float32)
    write_ome_tiff(path, data, pixel_size=(0.5, 0.25), unit="µm")
    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        assert series.is_pyramidal
        assert tif.pages[0].is_tiled
        levels = [level.asarray() for level in series.levels]
    assert max(levels[-1].shape) <= 1251
    np.testing.assert_array_equal(levels[0], data)
    for finer, coarser in pairwise(levels):
        assert coarser.dtype == np.float32
        for fine, coarse in zip(finer.shape[-2:], coarser.shape[-2:], strict=True):
            assert coarse == max(fine // 2, 1)
        assert coarser.mean() == pytest.approx(finer.mean(), abs=0.02)
    image, spatial = read_tiff(path)
    np.testing.assert_array_equal(image, data)
    assert spatial.pixel_size == (0.5, 0.25)


def test_pyramid_of_labels_has_no_labels_that_are_not_there(path: Path) -> None:
    labels = RNG.choice(np.array([0, 7, 1000]), (5000, 40))
    write_ome_tiff(path, labels)
    with tifffile.TiffFile(path) as tif:
        for level in tif.series[0].levels:
            assert set(np.unique(level.asarray())) <= {0, 7, 1000}


def test_images_up_to_the_limit_have_no_pyramid(path: Path) -> None:
    write_ome_tiff(path, np.zeros((4096, 8), np.uint8))
    with tifffile.TiffFile(path) as tif:
        assert not tif.series[0].is_pyramidal


def test_bigtiff_is_for_large_images_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = RNG.random((40, 50)).astype(np.float32)
    write_ome_tiff(path, data)
    with tifffile.TiffFile(path) as tif:
        assert not tif.is_bigtiff
    monkeypatch.setattr(tiff, "BIG_TIFF_BYTES", data.nbytes - 1)
    write_ome_tiff(path, data)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_bigtiff
    np.testing.assert_array_equal(read_tiff(path)[0], data)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("micrometer", "µm"),
        ("micrometre", "µm"),
        ("microns", "µm"),
        ("um", "µm"),
        ("\u03bcm", "µm"),
        ("\\u00B5m", "µm"),
        ("NM", "nm"),
        ("millimeters", "mm"),
        ("inches", "in"),
        ("angstrom", "Å"),
        ("Å", "Å"),
        ("seconds", "s"),
        ("s", "s"),
        ("pixel", None),
        ("", None),
        (None, None),
        ("furlong", None),
    ],
)
def test_units_are_known_by_their_usual_names(name: str | None, symbol: str | None) -> None:
    assert unit_symbol(name) == symbol


def test_units_of_pint_are_known() -> None:
    pint = pytest.importorskip("pint")
    registry = pint.get_application_registry()
    assert unit_symbol(registry.micrometer) == "µm"
    assert unit_symbol(registry.pixel) is None
