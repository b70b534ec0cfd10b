"""Detection in images that are larger than memory: one block in memory at a time."""

from __future__ import annotations

import math
import shutil
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from ..core.config import SegmentationConfig
from ..core.model import DefectModel
from ..core.planes import ImageLike, Planes
from ..core.reconstruction import relayed
from ..core.regions import Region, RegionSums
from ..core.segmentation import Segmented
from ..io.pyramid import BLOCK
from ..io.scratch import scratch_array, scratch_folder
from ..io.scratch_pyramid import ScratchPyramid
from .blocks import Array, improbability, joined, plane_blocks, scored, tile_sums, views
from .lazy import LabelImage, patch_grid, prepare_model, segment_steps

__all__ = ["BlocksDetected", "detect_in_blocks", "outline_blocks"]

# Parts of the time: inspection beside segmentation, and in it the networks beside the score.
_INSPECTION, _NETWORKS = 0.95, 0.85
_SEGMENTATION = 0.6  # of the time to outline a plane; the rest is painting and measuring


@dataclass(frozen=True, slots=True, eq=False)
class BlocksDetected:
    """What was found in an image.

    Attributes
    ----------
    residual
        zarr array on disk, float32 of shape (..., H, W).
    labels
        Instance labels of the same shape, painted where they are read.
    regions
        Plane and measurements of each region.
    """

    residual: Any
    labels: LabelImage
    regions: list[tuple[int, Region]]


def detect_in_blocks(
    model: DefectModel,
    planes: Planes,
    threshold: float,
    segmentation: SegmentationConfig,
    scratch: Path,
    *,
    stride: int | None = None,
    device: str | None = None,
) -> Generator[float, None, BlocksDetected]:
    """Inspect an image block by block, with the result that it has in memory.

    Networks see each pixel as often as in memory: what they make of a tile waits on disk for its
    neighbours. Memory is that of a few tiles, and of the contours of the regions.

    Parameters
    ----------
    model, stride, device
        As for `DefectModel.inspect`.
    planes
        The image.
    threshold, segmentation
        As for `detect_files`.
    scratch
        A folder for what waits: 4 bytes per pixel for the residual, and about 15 more per pixel of
        one grey plane.

    Yields
    ------
    float
        Fraction of the work that is done, in (0, 1].

    Raises
    ------
    InputError
        If the image or the device cannot be used.
    """
    prepare_model(stride, device)
    chunks = (*(1 for _ in planes.leading_shape), BLOCK, BLOCK)
    residual = scratch_array(scratch / "residual", planes.shape, chunks, np.dtype(np.float32))
    count = len(planes)
    for index in range(count):
        place = tuple(int(axis) for axis in np.unravel_index(index, planes.leading_shape))

        def progress(part: float, index: int = index) -> float:
            return _INSPECTION * (index + part) / count

        steps = _inspect_plane(model, planes, index, residual, place, scratch, stride, device)
        yield from relayed(steps, progress)
    outlined = outline_blocks(residual, threshold, segmentation)
    return (yield from relayed(outlined, lambda part: _INSPECTION + (1 - _INSPECTION) * part))


def _inspect_plane(
    model: DefectModel,
    planes: Planes,
    index: int,
    residual: Any,
    place: tuple[int, ...],
    scratch: Path,
    stride: int | None,
    device: str | None,
) -> Generator[float, None, None]:
    plane = plane_blocks(model, planes, index)
    networks, texture = views(model.config)
    seen: dict[str, Array] = {}
    steps = len(networks) + texture

    def progress(part: float) -> float:
        return _NETWORKS * (len(seen) + part) / steps

    with scratch_folder(scratch) as folder:
        for network in networks:
            grid = patch_grid(model, planes, network, stride)
            sums = tile_sums(model, plane, grid, network, device)
            if _is_large(plane):
                chunks = sums.chunksize
                sums = yield from relayed(_kept(sums, folder / "sums", chunks), progress)
                mean = _kept(joined(sums, grid), folder / network)
                seen[network] = yield from relayed(mean, lambda _: progress(1.0))
                shutil.rmtree(folder / "sums")
            else:
                seen[network] = joined(sums, grid)
        if texture:
            found = improbability(model, plane, device)
            if _is_large(plane):
                found = yield from relayed(_kept(found, folder / "texture"), progress)
            seen["texture"] = found
        for done in _stored(scored(model, plane, seen), residual, place):
            yield _NETWORKS + (1 - _NETWORKS) * done


def _is_large(plane: Array) -> bool:
    """Whether a plane has several blocks, which would compute what they share once each."""
    return bool(math.prod(plane.numblocks) > 1)


def _kept(
    array: Array, path: Path, chunks: tuple[int, ...] | None = None
) -> Generator[float, None, Array]:
    """Compute an array once, and return the same as it is read from disk."""
    target = scratch_array(path, array.shape, chunks or (array.shape[0], BLOCK, BLOCK), array.dtype)
    yield from _stored(array, target, ())
    return da.from_array(target, chunks=array.chunks, name=False)


def _stored(array: Array, target: Any, place: tuple[int, ...]) -> Iterator[float]:
    """Compute the blocks of an array one after another, and write them to a target on disk."""
    starts = [np.cumsum([0, *sizes]).tolist() for sizes in array.chunks]
    total = math.prod(array.numblocks)
    for number, block in enumerate(np.ndindex(array.numblocks)):
        # One at a time: a network keeps all processors busy by itself.
        pixels = array.blocks[block].compute(scheduler="synchronous")
        corner = [axis[i] for axis, i in zip(starts, block, strict=True)]
        box = [slice(start, start + side) for start, side in zip(corner, pixels.shape, strict=True)]
        target[(*place, *box)] = pixels
        yield (number + 1) / total


def outline_blocks(
    residual: ImageLike,
    threshold: float,
    segmentation: SegmentationConfig,
    keep: ScratchPyramid | None = None,
) -> Generator[float, None, BlocksDetected]:
    """Outline and measure the regions in a residual on disk.

    Parameters
    ----------
    residual
        zarr array, float32 of shape (..., H, W).
    threshold, segmentation
        As for `detect_files`.
    keep
        Where the labels are written, too; None: nowhere.

    Yields
    ------
    float
        Fraction of the work that is done, in (0, 1].
    """
    blocks = da.from_array(residual, chunks=residual.chunks, name=False)
    found: list[Segmented] = []
    regions: list[tuple[int, Region]] = []
    height, width = residual.shape[-2:]
    planes = math.prod(residual.shape[:-2])
    for step in segment_steps(blocks, threshold, segmentation):
        number = len(found)
        if isinstance(step, float):
            yield (number + _SEGMENTATION * step) / planes
            continue
        place, plane = step
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
    return BlocksDetected(residual, LabelImage(residual.shape, found), regions)
