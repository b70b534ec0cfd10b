"""Detection in images that are larger than memory: one block in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np

from ..core.common.progress import relayed
from ..core.config import SegmentationConfig
from ..core.images.inspected_area import InspectedArea
from ..core.images.planes import ImageLike, Planes
from ..core.model.defect_model import DefectModel
from ..core.segmentation.regions import Region, RegionsFound, RegionSums
from ..core.segmentation.segment import Segmented
from ..io.files.atomic import ensure_folder
from ..io.files.pyramid import BLOCK, ScratchPyramid
from .lazy import LabelImage, segment_in_blocks
from .residual_store import ResidualStore

__all__ = ["detect_in_blocks", "outline_blocks"]

# Parts of the time: detection, and within the segmentation the search for regions.
_INSPECTION, _SEGMENTATION = 0.95, 0.6


def detect_in_blocks(
    model: DefectModel,
    planes: Planes,
    threshold: float,
    segmentation: SegmentationConfig,
    scratch: Path,
    *,
    stride: int | None = None,
    device: str | None = None,
    area: InspectedArea | None = None,
) -> Generator[float, None, RegionsFound]:
    """Detect defects in an image block by block, with the same result as in memory.

    Networks process each pixel as often as in memory: the outputs of a tile are kept on disk for
    its neighbours. Only a few tiles and the contours of the regions are in memory.

    Parameters
    ----------
    model, stride, device, area
        As for `DefectModel.detect`.
    planes
        The image.
    threshold, segmentation
        As for `detect_files`.
    scratch
        A folder for intermediate results; see `ResidualStore`.

    Yields
    ------
    float
        Fraction of the work that is done, in [0, 1].

    Raises
    ------
    InputError
        If the image or the device cannot be used.
    """
    folder = scratch / "residual"
    ensure_folder(folder)
    store = ResidualStore(model, planes, folder, stride=stride, device=device, area=area)
    yield from relayed(store.fill(), lambda part: _INSPECTION * part)
    outlined = outline_blocks(store.levels[0], threshold, segmentation, area=area)
    regions = yield from relayed(outlined, lambda part: _INSPECTION + (1 - _INSPECTION) * part)
    return replace(regions, foreign=store.foreign)


def outline_blocks(
    residual: ImageLike,
    threshold: float,
    segmentation: SegmentationConfig,
    keep: ScratchPyramid | None = None,
    *,
    area: InspectedArea | None = None,
) -> Generator[float, None, RegionsFound]:
    """Outline and measure the regions in a residual on disk; labels are drawn when they are read.

    Parameters
    ----------
    residual
        zarr array, float32 of shape (..., H, W).
    threshold, segmentation
        As for `detect_files`.
    keep
        Gets the labels; None: they are not kept.
    area
        The pixels that regions may have; None: all.

    Yields
    ------
    float
        Fraction of the work that is done, in (0, 1].
    """
    blocks = da.from_array(residual, chunks=residual.chunks, name=False)
    found: list[Segmented] = []
    regions: list[tuple[int, Region]] = []
    height, width = residual.shape[-2:]
    planes: int = math.prod(residual.shape[:-2])
    for number, place in enumerate(np.ndindex(residual.shape[:-2])):

        def segmenting(part: float, number: int = number) -> float:
            return (number + _SEGMENTATION * part) / planes

        here = None if area is None else area.plane(place)
        steps = segment_in_blocks(blocks[place], threshold, segmentation, area=here)
        plane = yield from relayed(steps, segmenting)
        found.append(plane)
        labels = LabelImage((height, width), [plane])
        sums = RegionSums(plane.count)
        for top in range(0, height, BLOCK):
            rows = slice(top, min(top + BLOCK, height)), slice(0, width)
            painted = labels[rows]
            sums.add(painted, np.asarray(residual[(*place, *rows)]))
            if keep is not None:
                keep.write(place, top, 0, np.where(painted, painted + len(regions), 0))
            done = _SEGMENTATION + (1 - _SEGMENTATION) * rows[0].stop / height
            yield (number + done) / planes
        before = len(regions)
        regions += [
            (number, replace(region, label=region.label + before))
            for region in sums.regions(set((np.flatnonzero(plane.review) + 1).tolist()))
        ]
    return RegionsFound(residual, LabelImage(residual.shape, found), regions)
