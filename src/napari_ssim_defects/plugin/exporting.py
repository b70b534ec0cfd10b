"""The background job that writes residuals, labels and the table of regions."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..core.config import SegmentationConfig
from ..core.errors import InputError
from .jobs import Done, Fraction, Labelled, labelling

if TYPE_CHECKING:
    from ..core.regions import Region

__all__ = ["Exportable", "exporting"]


@dataclass(frozen=True, slots=True)
class Exportable:
    """One heatmap to export.

    Attributes
    ----------
    name
        Name of the image that it came from.
    residual
        float32 of shape (..., H, W).
    labels
        Committed regions, int32 of the same shape; None: segment it now.
    threshold, segmentation
        How to segment it.
    pixel_size, unit
        Size (y, x) of a pixel and its unit; None if they are not known.
    """

    name: str
    residual: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32] | None
    threshold: float
    segmentation: SegmentationConfig
    pixel_size: tuple[float, float]
    unit: str | None


def exporting(
    items: Sequence[Exportable], folder: Path, *, residual: bool, labels: bool, table: bool
) -> Generator[Fraction | Done, None, None]:
    """Write ``<name>.residual.ome.tif``, ``<name>.labels.ome.tif`` and one ``regions.csv``.

    Parameters
    ----------
    items
        What to export.
    folder
        Where to; made if it does not exist.
    residual, labels, table
        Which of the files to write.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    from ..io.atomic import ensure_folder
    from ..io.tables import REGION_COLUMNS, region_rows, write_csv
    from ..io.tiff import write_ome_tiff

    folder = ensure_folder(folder)
    written = 0
    rows: list[dict[str, object]] = []
    for number, (item, stem) in enumerate(zip(items, _stems(items), strict=True)):
        yield Fraction(number / len(items))
        write = partial(write_ome_tiff, pixel_size=item.pixel_size, unit=item.unit)
        if residual:
            write(folder / f"{stem}.residual.ome.tif", item.residual)
            written += 1
        if not labels and not table:
            continue
        result = None
        for message in _regions(item):
            if isinstance(message, Labelled):
                result = message
            else:
                yield Fraction((number + message.value) / len(items))
        assert result is not None
        if labels:
            write(folder / f"{stem}.labels.ome.tif", result.labels)
            written += 1
        for plane, region in result.regions:
            size = item.pixel_size if item.unit is not None else None
            rows += region_rows(item.name, plane, [region], size, item.unit)
    if table:
        write_csv(folder / "regions.csv", rows, REGION_COLUMNS)
        written += 1
    if not written:
        raise InputError("Nothing is chosen to export; tick residual, labels or table.")
    files = "file" if written == 1 else "files"
    yield Done(f"Wrote {written} {files} to '{folder}'.")


def _regions(item: Exportable) -> Generator[Fraction | Labelled, None, None]:
    """Measure the committed regions, or segment now."""
    from ..core.regions import measure_regions

    if item.labels is None:
        yield from labelling(item.residual, item.threshold, item.segmentation)
        return
    regions: list[tuple[int, Region]] = []
    planes = list(np.ndindex(item.residual.shape[:-2]))
    for plane, index in enumerate(planes):
        found = measure_regions(item.labels[index], item.residual[index])
        regions += [(plane, region) for region in found]
        yield Fraction((plane + 1) / len(planes))
    yield Labelled(item.labels, tuple(regions))


def _stems(items: Sequence[Exportable]) -> list[str]:
    """Turn names into file names that every system takes, each used once."""
    stems: list[str] = []
    for item in items:
        stem = re.sub(r'[<>:"/\\|?*\x00-\x1f]+', "_", item.name).strip(" .") or "image"
        candidate, copy = stem, 2
        while candidate.casefold() in {used.casefold() for used in stems}:
            candidate, copy = f"{stem} {copy}", copy + 1
        stems.append(candidate)
    return stems
