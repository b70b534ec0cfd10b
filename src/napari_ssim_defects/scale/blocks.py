"""The residual of a plane as a dask graph of blocks.

The blocks are the tiles of `core.images.tiles`, and each is computed as in memory, so the result is
the same bit by bit. Three steps need neighbouring blocks: patches overlap those of adjacent tiles,
and texture and residuals depend on surroundings. A rarity also depends on a few blocks that
represent the whole plane; these are computed first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.array.overlap import overlap
from dask.delayed import delayed

from ..core.common.device import choose_device
from ..core.common.progress import drained
from ..core.config.residual_kinds import LocalKind, ResidualConfig, parts
from ..core.detection.predictions import (
    LOCAL_REACH,
    PlanePredictions,
    local_predictions,
    local_side,
    needed_predictions,
)
from ..core.detection.reconstruction import reconstruct_tile, reconstructor
from ..core.detection.residual import (
    needs_whole_plane,
    plane_offsets,
    residual_maps,
    score_of,
    score_tiles,
    typical_tiles,
)
from ..core.images.planes import Planes
from ..core.images.tiles import Box, PatchGrid, spans, tile_side
from ..core.model.defect_model import DefectModel
from ..core.patches.symmetry import orientations_of

__all__ = [
    "joined",
    "local_blocks",
    "plane_blocks",
    "residual_blocks",
    "scored",
    "tile_sums",
]

Array: TypeAlias = Any  # dask arrays are not typed


def plane_blocks(model: DefectModel, planes: Planes, index: int) -> Array:
    """Return a plane in normalised intensities, a dask array (C, H, W) of float32."""
    image, axis = planes.image, planes.channel_axis
    source = image if isinstance(image, da.Array) else da.from_array(
        image, chunks=_chunks(planes), name=False
    )  # fmt: skip
    if axis is not None:
        source = da.moveaxis(source, axis, -3)
    plane = source[planes.place(index)]
    plane = plane[..., *planes.box.slices]
    plane = plane[np.newaxis] if axis is None else plane[: planes.channels]
    plane = plane.rechunk((-1, _sizes(planes.height), _sizes(planes.width)))
    place = f"plane {index} of {planes.name}" if len(planes) > 1 else planes.name
    return plane.map_blocks(_normalised, model.intensity, place, dtype=np.float32)


def tile_sums(model: DefectModel, plane: Array, grid: PatchGrid, device: str | None) -> Array:
    """Return the sums of the reconstructed patches of each tile.

    Returns
    -------
    dask.array.Array
        float32; its blocks (R, H, W) are the extents of the tiles, side by side.
    """
    patch = grid.rows.patch_size
    rows, columns = _block_sizes(grid)
    plane = plane.rechunk((-1, rows, columns))
    # Extents reach to the right and down by less than a patch.
    depth = {axis: (0, patch if len(sizes) > 1 else 0) for axis, sizes in ((1, rows), (2, columns))}
    extents = _extents(grid)
    config = model.config
    outputs = model.channels * (1 + (config.residual.kind == "reconstruction_probability"))
    return overlap(plane, depth, "none").map_blocks(
        _tile_sum,
        delayed(model, traverse=False),
        grid,
        device,
        dtype=np.float32,
        chunks=((outputs,), *extents),
    )


def joined(sums: Array, grid: PatchGrid) -> Array:
    """Return the mean of the patches where they overlap, a dask array (R, H, W) of float32."""
    patch = grid.rows.patch_size
    rows, columns = _block_sizes(grid)
    depth = {axis: (patch if len(sizes) > 1 else 0, 0) for axis, sizes in ((1, rows), (2, columns))}
    return overlap(sums, depth, "none").map_blocks(
        _joined, grid, dtype=np.float32, chunks=(sums.chunks[0], rows, columns)
    )


def local_blocks(
    model: DefectModel, plane: Array, kinds: tuple[LocalKind, ...], device: str | None
) -> Array:
    """Return the `local_predictions`, a dask array (K, H, W) of float32."""
    sizes = [_sizes(length, local_side()) for length in plane.shape[1:]]
    around = _around(plane, sizes, LOCAL_REACH)
    return around.map_blocks(
        _local,
        delayed(model, traverse=False),
        kinds,
        device,
        _boxes(sizes),
        dtype=np.float32,
        chunks=((len(kinds),), *sizes),
    )


def residual_blocks(model: DefectModel, plane: Array, seen: dict[str, Array]) -> Array:
    """Return the members of the residual of a plane.

    Parameters
    ----------
    model
        Its config says what is needed.
    plane
        Normalised intensities, (C, H, W).
    seen
        Predictions that the residual needs: ``"reconstruction"`` and ``"local"`` (see
        `local_blocks`).

    Returns
    -------
    dask.array.Array
        float32 of shape (V, H, W), as `residual_maps` has it.
    """
    side, reach = score_tiles(model.config.residual)
    sizes = [_sizes(length, side) for length in plane.shape[1:]]
    names, arrays = list(seen), [_around(array, sizes, reach) for array in (plane, *seen.values())]
    return da.map_blocks(
        _residual_maps,
        *arrays,
        names=names,
        residual=model.config.residual,
        boxes=_boxes(sizes),
        reach=reach,
        dtype=np.float32,
        chunks=((len(parts(model.config.residual)),), *sizes),
    )


def scored(maps: Array, residual: ResidualConfig) -> Array:
    """Return the residual of a plane, an array (H, W) of float32, from its `residual_blocks`."""
    excess: Any = ()
    if needs_whole_plane(residual):
        typical = [maps[:, *box.slices] for box in typical_tiles(_boxes(maps.chunks[1:]), None)]
        excess = delayed(plane_offsets)(typical, delayed(residual, traverse=False))
    return maps.map_blocks(score_of, residual, excess, dtype=np.float32, drop_axis=0)


def _normalised(pixels: npt.NDArray[Any], intensity: Any, name: str) -> npt.NDArray[np.float32]:
    whole = Planes(pixels, -3, name=name)
    return np.asarray(intensity.normalise(whole[0], name))


def _tile_sum(
    pixels: npt.NDArray[np.float32],
    model: DefectModel,
    grid: PatchGrid,
    device: str | None,
    block_id: tuple[int, ...] = (0, 0, 0),
) -> npt.NDArray[np.float32]:
    where, tile = choose_device(device), (block_id[1], block_id[2])
    module = reconstructor(model.network_on(where), model.config)
    height, width = grid.extent(tile).shape
    seen = orientations_of(model.config.augmentation)
    steps = reconstruct_tile(module, pixels[:, :height, :width], grid, tile, where, seen)
    return np.asarray(drained(steps))


def _joined(
    sums: npt.NDArray[np.float32], grid: PatchGrid, block_id: tuple[int, ...] = (0, 0, 0)
) -> npt.NDArray[np.float32]:
    """Add the sums of the tiles above, to the left, and of this one, in this order."""
    _, row, column = block_id
    block, patch = grid.block((row, column)), grid.rows.patch_size
    before = patch * (row > 0), patch * (column > 0)
    total = np.zeros((len(sums), *block.shape), np.float32)
    for tile in ((row - 1, column - 1), (row - 1, column), (row, column - 1), (row, column)):
        if min(tile) < 0:
            continue
        extent = grid.extent(tile)
        # Only the last rows and columns of the preceding tiles overlap.
        top = 0 if tile[0] < row else before[0]
        left = 0 if tile[1] < column else before[1]
        part = Box(
            extent.bottom - patch if tile[0] < row else extent.top,
            extent.right - patch if tile[1] < column else extent.left,
            extent.bottom,
            extent.right,
        )
        seen = part.clipped(block)
        place = seen.inside(part)
        source = Box(place.top + top, place.left + left, place.bottom + top, place.right + left)
        total[:, *seen.inside(block).slices] += sums[:, *source.slices]
    total /= grid.times(block)
    return total


def _local(
    pixels: npt.NDArray[np.float32],
    model: DefectModel,
    kinds: tuple[LocalKind, ...],
    device: str | None,
    boxes: list[list[Box]],
    block_id: tuple[int, ...] = (0, 0, 0),
) -> npt.NDArray[np.float32]:
    where = choose_device(device)
    tile = _inside(boxes, block_id, LOCAL_REACH)
    return local_predictions(model.network_on(where), kinds, pixels, tile, where)


def _residual_maps(
    pixels: npt.NDArray[np.float32],
    *seen: npt.NDArray[np.float32],
    names: list[str],
    residual: ResidualConfig,
    boxes: list[list[Box]],
    reach: int,
    block_id: tuple[int, ...] = (0, 0, 0),
) -> npt.NDArray[np.float32]:
    known = dict(zip(names, seen, strict=True))
    _, kinds = needed_predictions([residual])
    local = dict(zip(kinds, known.get("local", ()), strict=True))
    maps = residual_maps(pixels, PlanePredictions(known.get("reconstruction"), local), residual)
    return maps[..., *_inside(boxes, block_id, reach).slices]


def _inside(boxes: list[list[Box]], block_id: tuple[int, ...], margin: int) -> Box:
    """Return where a block lies in itself with a margin, as far as its plane has it."""
    box, last = boxes[block_id[1]][block_id[2]], boxes[-1][-1]
    return box.inside(box.grown(margin, (last.bottom, last.right)))


def _around(array: Array, sizes: list[tuple[int, ...]], margin: int) -> Array:
    """Return blocks of these sizes, each with what there is of a margin around it."""
    depth = {axis: margin if len(sizes[axis - 1]) > 1 else 0 for axis in (1, 2)}
    return overlap(array.rechunk((-1, *sizes)), {0: 0, **depth}, "none")


def _sizes(length: int, side: int | None = None) -> tuple[int, ...]:
    return tuple(stop - start for start, stop in spans(length, side or tile_side()))


def _boxes(sizes: list[tuple[int, ...]]) -> list[list[Box]]:
    rows, columns = (np.cumsum([0, *axis]).tolist() for axis in sizes)
    return [
        [
            Box(top, left, bottom, right)
            for left, right in itertools.pairwise(columns)
        ]
        for top, bottom in itertools.pairwise(rows)
    ]  # fmt: skip


def _block_sizes(grid: PatchGrid) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return _along(grid, lambda tile: grid.block(tile).shape)


def _extents(grid: PatchGrid) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return _along(grid, lambda tile: grid.extent(tile).shape)


def _along(
    grid: PatchGrid, shape: Callable[[tuple[int, int]], tuple[int, int]]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Heights of the tiles from top to bottom, and widths from left to right."""
    rows, columns = grid.shape
    return (
        tuple(shape((row, 0))[0] for row in range(rows)),
        tuple(shape((0, column))[1] for column in range(columns)),
    )


def _chunks(planes: Planes) -> tuple[int, ...]:
    """Chunks to read at a time: whole chunks of the file that cover a tile or more."""
    shape = tuple(planes.image.shape)
    stored = getattr(planes.image, "chunks", None) or (1,) * len(shape)
    axes = list(range(len(shape)))
    channels = None if planes.channel_axis is None else axes.pop(planes.channel_axis)
    chunks = [1] * len(shape)
    for axis in axes[-2:]:
        chunks[axis] = min(shape[axis], stored[axis] * -(-tile_side() // stored[axis]))
    if channels is not None:
        chunks[channels] = shape[channels]
    return tuple(chunks)
