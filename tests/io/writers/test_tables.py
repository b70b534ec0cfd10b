"""Tables that every spreadsheet reads."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from napari_ssim_defects.core.segmentation.regions import Region
from napari_ssim_defects.io.writers.tables import REGION_COLUMNS, region_rows, write_csv

REGION = Region(
    label=3,
    area=40,
    centroid=(10.5, 20.25),
    bounding_box=(8, 15, 14, 26),
    mean_residual=0.5,
    max_residual=0.75,
    eccentricity=0.9,
)


def test_table_reads_back_with_quotes_commas_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    names = ['plain, "quoted"', "two\r\nlines", "grün µm"]
    write_csv(path, [{"name": name, "value": 0.5} for name in names], ["name", "value"])
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == names
    assert {row["value"] for row in rows} == {"0.5"}


def test_lines_end_as_rfc_4180_says_and_numbers_have_decimal_points(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    row = {"a": np.float32(0.1), "b": np.float64(1.5), "c": np.int64(7), "d": None}
    write_csv(path, [row], ["a", "b", "c", "d"])
    assert path.read_bytes() == b"a,b,c,d\r\n0.1,1.5,7,\r\n"


def test_header_is_there_without_rows(tmp_path: Path) -> None:
    write_csv(tmp_path / "regions.csv", [], REGION_COLUMNS)
    assert (tmp_path / "regions.csv").read_text() == ",".join(REGION_COLUMNS) + "\n"


def test_file_names_that_are_no_text_are_escaped(tmp_path: Path) -> None:
    name = b"scan\xff.png".decode("utf-8", "surrogateescape")
    write_csv(tmp_path / "table.csv", [{"image": name}], ["image"])
    assert r"scan\udcff.png" in (tmp_path / "table.csv").read_text(encoding="utf-8")


def test_row_that_fails_leaves_the_old_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="unknown"):
        write_csv(path, [{"a": 1}, {"unknown": 1}], ["a"])
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_region_row_has_every_column_and_pixels_without_a_pixel_size() -> None:
    (row,) = region_rows("weave.png", 0, [REGION])
    assert tuple(row) == REGION_COLUMNS[:-3]
    assert row["image"] == "weave.png"
    assert (row["top"], row["left"], row["bottom"], row["right"]) == REGION.bounding_box
    assert row["area_px"] == 40
    assert row["area"] is None
    assert row["area_unit"] is None


def test_region_row_has_the_physical_area_with_a_pixel_size() -> None:
    (row,) = region_rows("weave.png", 0, [REGION], (0.5, 0.25), "µm")
    assert row["area"] == pytest.approx(40 * 0.125)
    assert row["area_unit"] == "µm²"
