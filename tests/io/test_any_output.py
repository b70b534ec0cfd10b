"""Whatever is written reads back as it was, or is refused in one sentence with nothing written."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.io.files.spatial import DEFAULT_AXES, SpatialMetadata
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.io.writers.imagej import write_imagej_tiff
from napari_ssim_defects.io.writers.ome_tiff import read_tiff, write_ome_tiff
from napari_ssim_defects.io.writers.ome_zarr import write_ome_zarr
from napari_ssim_defects.io.writers.report import ReportEntry, write_report
from napari_ssim_defects.io.writers.tables import tab_separated, write_csv

QUICK = settings(
    derandomize=True, deadline=None, database=None, max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
DTYPES = ["?", "u1", "i1", ">u2", "i4", "i8", "u8", "f2", ">f4", "f8", "c8", "O", "U2", "M8[s]"]
VALUES = [0, 1, 7, 200, 255, -1, 40_000, 70_000, 2**40, np.nan, np.inf, 1e300]


@st.composite
def anything(draw: st.DrawFn) -> npt.NDArray[Any]:
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=5))
    pool = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=3))
    values = np.random.default_rng(draw(st.integers(0, 3))).choice(np.array(pool, object), shape)
    with np.errstate(all="ignore"):
        dtype = np.dtype(draw(st.sampled_from(DTYPES)))
        if dtype.kind in "iuM":
            values = np.where(np.isin(np.float64(values), [np.nan, np.inf, 1e300]), 0, values)
            values = np.asarray(values, object) % (2 ** (8 * dtype.itemsize - (dtype.kind != "u")))
            values = np.where(np.isnan(np.float64(values)), 0, values)
        array = np.asarray(values).astype(dtype)
    if draw(st.booleans()):
        array = array[(slice(None, None, -1),) * array.ndim]
    if draw(st.integers(0, 5)) == 0:
        array = np.ma.masked_array(array, np.arange(array.size).reshape(shape) % 2 == 0)
    return array


def written(path: Path, write: Callable[[], object]) -> bool:
    """Whether a file was written; if not, in one sentence, and nothing is left."""
    try:
        write()
        return True
    except InputError as error:
        sentence = str(error)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert list(path.parent.iterdir()) == []
    return False


def expected(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):
        if array.dtype.kind == "b":
            return array.astype(np.uint8) * np.uint8(255)
        return array.astype(np.float32) if array.dtype.kind == "f" else array


@QUICK
@given(
    anything(), st.sampled_from([None, "YX", "ZYX", "CYX", "YXS", "Y", "ZZ", "yx", "XY", "TZCYX"])
)
@example(np.zeros((3, 4), np.float32), "ZZ")
@example(np.ma.masked_array(np.ones((3, 4)), np.eye(3, 4)), None)
def test_any_array_reads_back_from_ome_tiff_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, array: npt.NDArray[Any], axes: str | None
) -> None:
    path = tmp_path_factory.mktemp("out") / "a.ome.tif"
    if written(path, lambda: write_ome_tiff(path, array, axes=axes)):
        assert not np.ma.is_masked(array)
        # Whatever has a wrong name for an axis is found by its content, not by its place.
        np.testing.assert_array_equal(tifffile.imread(path).squeeze(), expected(array).squeeze())
        assert read_tiff(path)[0].size == array.size


SIZES = [None, (1.0,), (0.5, 2), (1, 2, 3), (np.nan, 1), (0, -1), (1e-300, 1e300), (np.inf, 1)]
UNITS = [None, "um", "pixel", "parsec", ("um", "mm"), ("um",), ()]


@QUICK
@given(st.sampled_from(SIZES), st.sampled_from(UNITS), st.text(max_size=30))
@example((1, 2, 3), "um", "")
@example((1.0, 1.0), ("um",), "\0\x1b\ud800 <&>")
def test_any_pixel_size_reads_back_from_ome_tiff_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, size: Any, unit: Any, text: str
) -> None:
    path = tmp_path_factory.mktemp("out") / "a.ome.tif"
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    if written(
        path, lambda: write_ome_tiff(path, image, pixel_size=size, unit=unit, description=text)
    ):
        read, spatial = read_tiff(path)
        np.testing.assert_array_equal(read, image)
        for given_size, found, symbol in zip((size or ())[::-1], spatial.scale[::-1],
                                             spatial.units[::-1], strict=False):  # fmt: skip
            assert found == (given_size if symbol else 1)


@QUICK
@given(anything(), st.sampled_from([None, "YX", "ZYX", "XY"]))
@example(np.float32(1), "YX")
@example(np.zeros(4), "YX")
def test_any_array_reads_back_from_imagej_tiff_and_zarr_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, array: npt.NDArray[Any], axes: str | None
) -> None:
    axes = axes or DEFAULT_AXES.get(array.ndim, "YX")
    spatial = SpatialMetadata(axes, (1.0,) * len(axes), (None,) * len(axes))
    path = tmp_path_factory.mktemp("out") / "a.tif"
    if written(path, lambda: write_imagej_tiff(path, array, spatial)):
        assert not np.ma.is_masked(array)
        order = sorted(range(array.ndim), key=lambda axis: "TZCYXS".index(axes[axis]))
        found = tifffile.imread(path).squeeze()
        np.testing.assert_array_equal(found, expected(array).transpose(order).squeeze())
    pytest.importorskip("zarr")
    path = tmp_path_factory.mktemp("out") / "a.ome.zarr"
    if written(path, lambda: write_ome_zarr(path, array, spatial)):
        np.testing.assert_array_equal(read_image(path).data, expected(array))


CELLS = st.one_of(st.text(max_size=8), st.none(), st.integers(), st.floats(allow_nan=False))


@QUICK
@given(st.lists(st.fixed_dictionaries({"image": st.text(max_size=8), "area": CELLS}), max_size=4))
@example([{"image": 'a"b;,\r\n', "area": "=1+1"}])
@example([{"image": "\ud800\0", "area": None}])
def test_any_table_reads_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("out") / "t.csv"
    write_csv(path, rows, ["image", "area"])
    text = path.read_bytes().decode("utf-8")
    wanted = [
        [str("" if row[name] is None else row[name]).encode("utf-8", "backslashreplace").decode()
         for name in ("image", "area")]
        for row in rows
    ]  # fmt: skip
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == wanted
    assert tab_separated(rows, ["image", "area"]).startswith("image\tarea\n")


def test_names_and_thumbnails_of_a_report_are_never_taken_for_html(tmp_path: Path) -> None:
    """Names come from file systems, thumbnails from a journal that anybody may have written."""
    attack = '"><script>alert(1)</script>'
    write_report(
        tmp_path / "report.html",
        [ReportEntry(attack, 1, 0.5, attack)],
        [(attack, attack)],
        0.5,
        attack,
    )
    assert "<script" not in (tmp_path / "report.html").read_text("utf-8")
