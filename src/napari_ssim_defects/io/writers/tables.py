"""Tables as CSV files, and the table of regions."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence

from ...core.segmentation.regions import Region
from ..files.atomic import atomic_path

__all__ = ["REGION_COLUMNS", "found_by", "region_rows", "tab_separated", "write_csv"]

_MEASURED = (
    "image",
    "plane",
    "label",
    "area_px",
    "centroid_row",
    "centroid_column",
    "top",
    "left",
    "bottom",
    "right",
    "mean_residual",
    "max_residual",
    "eccentricity",
    "area",
    "area_unit",
    "centroid_y",
    "centroid_x",
    "height",
    "width",
    "unit",
    "verdict",
)
_FOUND_BY = ("model", "model_created", "threshold")

REGION_COLUMNS = (*_MEASURED, *_FOUND_BY)
"""Columns of a table of regions; ``bottom`` and ``right`` are one past the last pixel.

``verdict`` is ``defect``, or ``review`` for what lies between two thresholds. ``area``,
``centroid_y``, ``centroid_x`` and the ``height`` and ``width`` of the bounding box are in the unit
of the image, counted from the centre of its first pixel. `found_by` makes the last three.
"""


def region_rows(
    image: str,
    plane: int,
    regions: Iterable[Region],
    pixel_size: tuple[float, float] | None = None,
    unit: str | None = None,
) -> list[dict[str, object]]:
    """Return one row per region, keyed by `REGION_COLUMNS` up to ``verdict``.

    Parameters
    ----------
    image, plane
        Name of the image and index of the plane that the regions lie in.
    regions
        Measurements in pixels.
    pixel_size, unit
        Size (y, x) of a pixel and its unit. Without them what is in units is empty.
    """
    in_units: tuple[float | str | None, ...] = (None,) * 7
    rows: list[dict[str, object]] = []
    for region in regions:
        if pixel_size is not None and unit is not None:
            y, x = pixel_size
            top, left, bottom, right = region.bounding_box
            in_units = (
                region.area * y * x,
                f"{unit}²",
                region.centroid[0] * y,
                region.centroid[1] * x,
                (bottom - top) * y,
                (right - left) * x,
                unit,
            )
        values = (
            image,
            plane,
            region.label,
            region.area,
            *region.centroid,
            *region.bounding_box,
            region.mean_residual,
            region.max_residual,
            region.eccentricity,
            *in_units,
            region.verdict,
        )
        rows.append(dict(zip(_MEASURED, values, strict=True)))
    return rows


def found_by(model: str, created: str, threshold: float) -> dict[str, object]:
    """Return the last columns of `REGION_COLUMNS`, the same for all regions of an image.

    Parameters
    ----------
    model, created
        Name of the model that found the regions, and when it was trained.
    threshold
        The threshold that they lie above.
    """
    return dict(zip(_FOUND_BY, (model, created, threshold), strict=True))


def write_csv(
    path: str | os.PathLike[str],
    rows: Iterable[Mapping[str, object]],
    columns: Sequence[str],
) -> None:
    """Write a table, whole or not at all (RFC 4180, UTF-8, decimal points).

    Parameters
    ----------
    path
        The file; one that exists is replaced.
    rows
        One mapping per row; missing and None entries are left empty.
    columns
        Names of the columns, in order; the header is written even when there are no rows.

    Raises
    ------
    InputError
        If the file cannot be written.
    ValueError
        If a row has an entry that is not in ``columns``.
    """
    # A file name may hold bytes that are not text; they are written as escapes.
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\r\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(row)


def tab_separated(rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> str:
    r"""Return a table as the text that spreadsheets paste: tabs and line ends, with a header.

    Parameters
    ----------
    rows
        One mapping per row; missing and None entries are left empty.
    columns
        Names of the columns, in order.

    Examples
    --------
    >>> tab_separated([{"label": 1, "area": 2.5}], ["label", "area"])
    'label\tarea\n1\t2.5\n'
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", dialect="excel-tab", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
