"""What a job needs of a heatmap to segment it in a thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from napari.layers import Layer

from ...core.config import SegmentationConfig
from .derived import marks_on
from .provenance import inspected_area

if TYPE_CHECKING:
    from ...core.images.inspected_area import InspectedArea
    from ...core.model.corrections import Mark
    from ...core.model.defect_model import DefectModel
    from ...core.segmentation.segment import Segmented

__all__ = ["HeatmapData"]


@dataclass(frozen=True, slots=True, eq=False)
class HeatmapData:
    """The values of a heatmap, and what decides about its regions beside the settings.

    Attributes
    ----------
    residual
        float32 of shape (..., H, W).
    threshold
        Residual above which a pixel is a candidate.
    area
        The pixels that were inspected, which count; None: all.
    marks
        A person's marks of regions of the image: what is good counts as not outlined.
    """

    residual: npt.NDArray[np.float32]
    threshold: float
    area: InspectedArea | None = None
    marks: Sequence[Mark] = ()

    @classmethod
    def from_layer(cls, heatmap: Layer, threshold: float, model: DefectModel | None) -> HeatmapData:
        """Read a heatmap in memory, with what was marked in the current model."""
        return cls(heatmap.data, threshold, inspected_area(heatmap), marks_on(heatmap, model))

    def regions(self, config: SegmentationConfig) -> Iterator[tuple[tuple[int, ...], Segmented]]:
        """Find the regions plane by plane, as the preview shows them; each with its index."""
        from ...core.model.corrections import kept_regions
        from ...core.segmentation.segment import segment_planes

        settings = config.usable_at(self.threshold)
        for index, found in segment_planes(self.residual, self.threshold, settings, self.area):
            yield index, kept_regions(found, self.marks, index, self.residual.shape)

    def inspected_pixels(self) -> int:
        """Count the pixels of all planes that were inspected."""
        if self.area is None:
            return self.residual.size
        return int(np.count_nonzero(np.broadcast_to(self.area.mask(), self.residual.shape)))
