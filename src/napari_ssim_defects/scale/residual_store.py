"""A residual on disk that is computed block by block, in whatever order it is looked at."""

from __future__ import annotations

import itertools
import math
import shutil
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import dask.array as da
import numpy as np
import numpy.typing as npt

from ..core.common.progress import relayed
from ..core.detection.predictions import LOCAL_REACH, needed_predictions
from ..core.detection.residual import (
    is_relative,
    plane_offsets,
    score_of,
    score_tiles,
    typical_tiles,
    within,
)
from ..core.images.inspected_area import InspectedArea
from ..core.images.planes import Planes
from ..core.images.tiles import Box, PatchGrid, tiles
from ..core.model.defect_model import DefectModel
from ..io.files.atomic import open_checked
from ..io.files.errors import write_problem
from ..io.files.scratch import ScratchPyramid
from .blocks import (
    Array,
    joined,
    local_blocks,
    plane_blocks,
    residual_blocks,
    tile_steps,
    tile_sums,
)
from .lazy import patch_grid, prepare_model

__all__ = [
    "KeptBlocks",
    "Priority",
    "ResidualStore",
]

Block: TypeAlias = tuple[int, ...]

_SAMPLE = 1_000_000  # pixels that stand for all of them


class KeptBlocks:
    """An array (R, H, W) whose blocks are computed once, and read from disk after that.

    Parameters
    ----------
    array
        What is computed, a dask array.
    folder
        A new folder for it.

    Attributes
    ----------
    array
        What is computed.
    kept
        The same, mapped from disk; only where blocks were kept.
    left
        Blocks that are not kept yet.
    """

    def __init__(self, array: Array, folder: Path) -> None:
        self.array = array
        folder.mkdir(parents=True)
        self._folder = folder
        self.kept = da.map_blocks(_kept_block, folder, dtype=array.dtype, chunks=array.chunks)
        self.left: set[Block] = set(np.ndindex(array.numblocks))
        self._starts = [np.cumsum([0, *sizes]).tolist() for sizes in array.chunks[1:]]

    def missing(self, box: Box) -> Iterable[Block]:
        """Return the blocks in which pixels of a box lie, and which are not kept yet."""
        rows, columns = (
            [
                index
                for index, (start, stop) in enumerate(itertools.pairwise(starts))
                if start < high and low < stop
            ]
            for starts, low, high in zip(
                self._starts, (box.top, box.left), (box.bottom, box.right), strict=True
            )
        )
        blocks = ((0, row, column) for row in rows for column in columns)
        return [block for block in blocks if block in self.left]

    def box(self, block: Block) -> Box:
        """Return where a block lies."""
        (top, bottom), (left, right) = (
            starts[index : index + 2] for starts, index in zip(self._starts, block[1:], strict=True)
        )
        return Box(top, left, bottom, right)

    def need(self, box: Box) -> None:
        """Compute and keep the blocks in which pixels of a box lie."""
        for block in self.missing(box):
            self.compute(block)

    def compute(self, block: Block) -> None:
        """Compute and keep a block."""
        self.keep(block, self.array.blocks[block].compute(scheduler="synchronous"))

    def keep(self, block: Block, pixels: npt.NDArray[np.float32]) -> None:
        """Keep a block."""
        with open_checked(_block_file(self._folder, block)) as stream:
            np.save(stream, pixels)
        self.left.discard(block)


def _block_file(folder: Path, block: Block) -> Path:
    return folder / f"{block[1]}-{block[2]}.npy"


def _kept_block(folder: Path, block_info: Any = None) -> npt.NDArray[np.float32]:
    """Map a block; zeros if it is not kept, as when dask asks for more than it needs."""
    block = block_info[None]
    try:
        return np.asarray(np.load(_block_file(folder, block["chunk-location"]), mmap_mode="r"))
    except FileNotFoundError:
        return np.zeros(block["chunk-shape"], np.float32)


@dataclass(frozen=True, slots=True)
class Priority:
    """Blocks to compute first: those of a plane, from the row and column of a pixel outwards."""

    plane: tuple[int, ...]
    centre: tuple[float, float]


class ResidualStore:
    """The residual of an image that is larger than memory, as far as it is known.

    The blocks have the very values that they have in memory. Whatever neighbours need of each
    other is computed once, and waits on disk until the plane is finished.

    Parameters
    ----------
    model
        The trained model.
    planes
        The image.
    folder
        An empty folder: 5 bytes per pixel stay in it, and up to 24 more per pixel of each plane
        that has been begun, if it is grey.
    stride, device, area
        As for `DefectModel.detect`.

    Attributes
    ----------
    levels
        The residual, float32 of shape (..., H, W), and ever smaller copies; 0 where not known yet,
        or not inspected.
    sample
        About a million residuals that lie on a grid; NaN where not known yet, or not inspected.
    highest
        The largest residual so far.
    left
        Number of blocks that are not known yet.

    Raises
    ------
    InputError
        If the device cannot be used, or the folder cannot be written to.
    """

    def __init__(
        self,
        model: DefectModel,
        planes: Planes,
        folder: Path,
        *,
        stride: int | None = None,
        device: str | None = None,
        area: InspectedArea | None = None,
    ) -> None:
        prepare_model(stride, device)
        self.model, self.planes, self.stride, self._device = model, planes, stride, device
        self.area = area
        self._part = planes if area is None else planes.cut(area.box)
        self._folder = folder
        self._pyramid = ScratchPyramid(folder, planes.shape, np.dtype(np.float32))
        self.levels = self._pyramid.levels
        self._step = max(1, math.isqrt(math.prod(planes.shape) // _SAMPLE))
        grid = (-(-side // self._step) for side in planes.shape[-2:])
        self.sample = np.full((*planes.leading_shape, *grid), np.nan, np.float32)
        self.highest = 0.0
        side, _ = score_tiles(model.config.residual)
        boxes = [box for row in tiles((self._part.height, self._part.width), side) for box in row]
        self._total = len(boxes) * len(planes)
        self._left = {plane: list(boxes) for plane in np.ndindex(planes.leading_shape)}
        self._begun: dict[tuple[int, ...], _Plane] = {}
        self._lock = threading.Lock()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the residual."""
        return self.planes.shape

    @property
    def left(self) -> int:
        """Number of blocks that are not known yet."""
        return sum(map(len, self._left.values()))

    def fill(self, priority: Priority | None = None) -> Generator[float, Priority | None, None]:
        """Compute the blocks that are not known yet, the nearest ones to what is wanted first.

        Yields
        ------
        float
            Fraction of the blocks that is done; also between blocks, so that one can stop soon.
            Whatever is sent is wanted from then on.

        Raises
        ------
        InputError
            If a part of the image cannot be used or the disk does not take its residual.
        """
        steps = self._filled(priority)
        sent: Priority | None = None
        with suppress(StopIteration):
            while True:
                # A job that was stopped may still be at its last step when the next one begins.
                with self._lock:
                    fraction = steps.send(sent)
                sent = yield fraction

    def _filled(self, priority: Priority | None) -> Generator[float, Priority | None, None]:
        while self._left:
            plane, box = self._next(priority)
            try:
                steps = self._compute(plane, box)
                for _ in steps:
                    priority = (yield 1 - self.left / self._total) or priority
                    if box not in self._left.get(plane, ()):  # somebody else was faster
                        break
                else:
                    self._left[plane].remove(box)
            except OSError as error:
                raise write_problem(self._folder, error) from error
            if not self._left.get(plane, True):
                del self._left[plane]
                self._begun.pop(plane).close()
            priority = (yield 1 - self.left / self._total) or priority

    def _next(self, priority: Priority | None) -> tuple[tuple[int, ...], Box]:
        """Return the block that comes next."""
        if priority is None:
            plane = next(iter(self._left))
            return plane, self._left[plane][0]

        def distance(plane: tuple[int, ...]) -> int:
            return sum(abs(a - b) for a, b in zip(plane, priority.plane, strict=True))

        def way(box: Box) -> float:
            place = self._place(box)
            return math.dist(
                priority.centre,
                (0.5 * (place.top + place.bottom), 0.5 * (place.left + place.right)),
            )

        plane = min(self._left, key=distance)
        return plane, min(self._left[plane], key=way)

    def _place(self, box: Box) -> Box:
        """Return where a block lies in the image."""
        if self.area is None:
            return box
        top, left = self.area.box.top, self.area.box.left
        return Box(box.top + top, box.left + left, box.bottom + top, box.right + left)

    def _compute(self, plane: tuple[int, ...], box: Box) -> Generator[None, None, None]:
        work = self._begun.get(plane)
        if work is None:
            number = int(np.ravel_multi_index(plane, self.planes.leading_shape)) if plane else 0
            folder = self._folder / f"plane-{number}"
            inside = None if self.area is None else self.area.plane(plane).inside
            work = self._begun[plane] = _Plane(
                self.model, self._part, number, folder, self.stride, self._device, inside
            )
        pixels = yield from work.score(box)
        seen = within(pixels, box, work.inside)
        if work.inside is not None:
            pixels = np.nan_to_num(seen, nan=0.0)
        box = self._place(box)
        self._pyramid.write(plane, box.top, box.left, pixels)
        step = self._step
        top, left = -(-box.top // step), -(-box.left // step)
        part = seen[top * step - box.top :: step, left * step - box.left :: step]
        rows, columns = (slice(a, a + b) for a, b in zip((top, left), part.shape, strict=True))
        self.sample[plane][rows, columns] = part
        self.highest = max(self.highest, float(pixels.max(initial=0.0)))


class _Plane:
    """What the blocks of one plane share: steps whose blocks are computed when one needs them."""

    def __init__(
        self,
        model: DefectModel,
        planes: Planes,
        number: int,
        folder: Path,
        stride: int | None,
        device: str | None,
        inside: npt.NDArray[np.bool_] | None,
    ) -> None:
        self._model, self._device, self._folder = model, device, folder
        self.inside = inside
        pixels = plane_blocks(model, planes, number)
        self._pixels = KeptBlocks(pixels, folder / "pixels")
        reconstruct, kinds = needed_predictions([model.config.residual])
        self._grid: PatchGrid | None = None
        self._seen: dict[str, KeptBlocks] = {}
        if reconstruct:
            self._grid = patch_grid(model, planes, stride)
            self._sums = KeptBlocks(
                tile_sums(model, pixels, self._grid, device), folder / "reconstruction-sums"
            )
            mean = joined(self._sums.kept, self._grid)
            self._seen["reconstruction"] = KeptBlocks(mean, folder / "reconstruction")
        if kinds:
            found = local_blocks(model, self._pixels.kept, kinds, device)
            self._seen["local"] = KeptBlocks(found, folder / "local")
        kept = {name: step.kept for name, step in self._seen.items()}
        self._maps = residual_blocks(model, self._pixels.kept, kept)
        self._shape = pixels.shape[1:]
        self._excess: Sequence[float] | None = None

    def score(self, box: Box) -> Generator[None, None, npt.NDArray[np.float32]]:
        """Return the residual of one block, after what it needs of others."""
        residual = self._model.config.residual
        if self._excess is None:
            typical = []
            if is_relative(residual):
                side, _ = score_tiles(residual)
                for tile in typical_tiles(tiles(self._shape, side), self.inside):
                    found = yield from self._residuals(tile)
                    typical.append(within(found, tile, self.inside))
            self._excess = plane_offsets(typical, residual)
        return score_of((yield from self._residuals(box)), residual, self._excess)

    def close(self) -> None:
        """Remove what the blocks shared."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _residuals(self, box: Box) -> Generator[None, None, npt.NDArray[np.float32]]:
        """Return what the residual of one block is made of."""
        _, reach = score_tiles(self._model.config.residual)
        around = box.grown(reach, self._shape)
        if self._grid is not None:
            for _, row, column in self._seen["reconstruction"].missing(around):
                for tile in np.ndindex(2, 2):
                    above = row - 1 + tile[0], column - 1 + tile[1]
                    if min(above) >= 0 and (0, *above) in self._sums.left:
                        yield from self._sum(self._grid, above)
        for name, step in self._seen.items():
            for block in step.missing(around):
                if name == "local":
                    self._pixels.need(step.box(block).grown(LOCAL_REACH, self._shape))
                step.compute(block)
                yield
        self._pixels.need(around)
        return np.asarray(self._maps[:, *box.slices].compute(scheduler="synchronous"))

    def _sum(self, grid: PatchGrid, tile: tuple[int, int]) -> Generator[None, None, None]:
        extent = grid.extent(tile)
        self._pixels.need(extent)
        pixels = self._pixels.kept[:, *extent.slices].compute(scheduler="synchronous")
        steps = tile_steps(self._model, pixels, grid, tile, self._device)
        found = yield from relayed(steps, lambda _: None)
        self._sums.keep((0, *tile), found)
