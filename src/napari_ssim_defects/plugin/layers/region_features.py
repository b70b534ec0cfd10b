"""Measurements of committed regions as features of their layer."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.segmentation.regions import Region
from ...io.writers.tables import REGION_COLUMNS, region_rows
from .provenance import provenance

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = [
    "RegionsMeasured",
    "Spacing",
    "checksum",
    "region_features",
    "regions_to_review",
]

Features = dict[str, list[Any]]
Spacing = tuple[tuple[float, float], str | None]


@dataclass(frozen=True, slots=True)
class RegionsMeasured:
    """Measurements of the regions of a layer."""

    features: Features
    checksum: int

    @classmethod
    def from_regions(
        cls,
        labels: npt.NDArray[Any],
        regions: Sequence[tuple[int, Region]],
        spacing: Spacing,
    ) -> RegionsMeasured:
        """Put plane and measurements of each region of a layer together."""
        return cls(region_features(regions, labels.ndim, spacing), checksum(labels))


def region_features(regions: Sequence[tuple[int, Region]], ndim: int, spacing: Spacing) -> Features:
    """Return measurements as the features of a Labels layer.

    The columns are those of ``regions.csv`` that differ from region to region; ``label`` is called
    ``index``, by which napari knows which row belongs to which label. Single images have no
    ``plane``, and layers without units none of the columns that are in units.
    """
    size, unit = spacing
    rows = [
        row for plane, region in regions for row in region_rows("", plane, [region], size, unit)
    ]
    verdict = REGION_COLUMNS.index("verdict")
    in_units = REGION_COLUMNS[REGION_COLUMNS.index("area") : verdict]
    left_out = {"image", *(() if ndim > 2 else ("plane",)), *(() if unit else in_units)}
    return {
        "index" if name == "label" else name: [row[name] for row in rows]
        for name in REGION_COLUMNS[: verdict + 1]
        if name not in left_out
    }


def checksum(labels: npt.NDArray[Any]) -> int:
    """Return a checksum that shows whether labels have changed."""
    return zlib.crc32(np.ascontiguousarray(labels).data)


def regions_to_review(layer: Labels) -> frozenset[int]:
    """Return the committed regions that are to be reviewed rather than defects."""
    review: frozenset[int] = provenance(layer).get("review", frozenset())
    return review
