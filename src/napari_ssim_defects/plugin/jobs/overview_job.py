"""The background job that counts the regions of many heatmaps."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...core.config import SegmentationConfig
from ..state.panel_state import ImageSummary
from .jobs import Fraction

if TYPE_CHECKING:
    from ...core.images.inspected_area import InspectedArea
    from ...core.model.corrections import Mark

__all__ = ["Countable", "count_regions"]


@dataclass(frozen=True, slots=True, eq=False)
class Countable:
    """A heatmap whose regions are counted.

    Attributes
    ----------
    residual
        float32 of shape (..., H, W).
    threshold
        Residual above which a pixel is a candidate.
    area
        The pixels that were inspected; None: all.
    marks
        What a person has said of regions of the image.
    """

    residual: npt.NDArray[np.float32]
    threshold: float
    area: InspectedArea | None
    marks: Sequence[Mark]


def count_regions(
    heatmaps: Sequence[Countable], config: SegmentationConfig
) -> Generator[Fraction | tuple[ImageSummary, ...], None, None]:
    """Count the defects of each heatmap as the preview does; their summaries come last."""
    from ...core.model.corrections import kept_regions
    from ...core.segmentation.segment import segment_planes

    summaries = []
    for number, heatmap in enumerate(heatmaps):
        residual, area = heatmap.residual, heatmap.area
        areas = [np.zeros(0, dtype=np.int64)]
        settings = config.usable_at(heatmap.threshold)
        for plane, found in segment_planes(residual, heatmap.threshold, settings, area):
            kept = kept_regions(found, heatmap.marks, plane, residual.shape)
            areas.append(kept.areas()[~kept.review])
            yield Fraction(number / len(heatmaps))
        pixels = np.concatenate(areas)
        inspected = residual.size if area is None else np.count_nonzero(area.mask())
        summaries.append(
            ImageSummary(
                len(pixels), int(pixels.max(initial=0)), float(pixels.sum() / max(1, inspected))
            )
        )
    yield tuple(summaries)
