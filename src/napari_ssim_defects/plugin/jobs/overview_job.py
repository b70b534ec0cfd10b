"""The background job that counts the regions of many heatmaps."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from ...core.config import SegmentationConfig
from ..layers.heatmap_data import HeatmapData
from ..state.panel_state import ImageSummary
from .jobs import Fraction

__all__ = ["count_regions"]


def count_regions(
    heatmaps: Sequence[HeatmapData], config: SegmentationConfig
) -> Generator[Fraction | tuple[ImageSummary, ...], None, None]:
    """Count the defects of each heatmap as the preview does; their summaries come last."""
    summaries = []
    for number, heatmap in enumerate(heatmaps):
        areas = [np.zeros(0, dtype=np.int64)]
        for _, found in heatmap.regions(config):
            areas.append(found.areas()[~found.review])
            yield Fraction(number / len(heatmaps))
        pixels, inspected = np.concatenate(areas), heatmap.inspected_pixels()
        summaries.append(
            ImageSummary(
                len(pixels), int(pixels.max(initial=0)), float(pixels.sum() / max(1, inspected))
            )
        )
    yield tuple(summaries)
