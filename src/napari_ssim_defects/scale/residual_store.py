"""A residual on disk that is computed block by block, in whatever order it is looked at."""

from __future__ import annotations

import itertools
import math
import shutil
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..core.common.device import choose_device
from ..core.common.progress import relayed
from ..core.detection.predictions import (
    LOCAL_REACH,
    PlanePredictions,
    local_predictions,
    local_side,
    needed_predictions,
)
from ..core.detection.rarity import looks_foreign
from ..core.detection.reconstruction import reconstruct_tile, reconstructor
from ..core.detection.residual import (
    needs_whole_plane,
    plane_offsets,
    residual_maps,
    score_of,
    score_tiles,
    typical_tiles,
    within,
)
from ..core.images.inspected_area import InspectedArea
from ..core.images.planes import Planes, plane_number
from ..core.images.tiles import Box, tile_side, tiles
from ..core.model.defect_model import DefectModel
from ..core.patches.symmetry import orientations_of
from ..io.files.atomic import open_checked
from ..io.files.errors import write_problem
from ..io.files.scratch import ScratchPyramid
from .lazy import patch_grid, prepare_model

__all__ = [
    "KeptTiles",
    "Priority",
    "ResidualStore",
]

Index: TypeAlias = tuple[int, int]
Steps: TypeAlias = Generator[None, None, npt.NDArray[np.float32]]

_SAMPLE = 1_000_000  # pixels that stand for all of them


class KeptTiles:
    """Tiles of an array (R, H, W) that are computed once, and read from disk after that.

    They are read by NumPy and not by dask: while napari slices a dask layer, it caches what is
    computed anywhere in the process by the names of dask's tasks, and a file may change under its
    name.

    Parameters
    ----------
    boxes
        Where the tiles lie, by row and column. They may overlap if they are read one by one.
    folder
        A new folder for them.
    compute
        Computes the tile at a row and column, float32 (R, H, W); may yield between steps.
    """

    def __init__(
        self,
        boxes: Sequence[Sequence[Box]],
        folder: Path,
        compute: Callable[[Index], Steps],
    ) -> None:
        folder.mkdir(parents=True)
        self._boxes, self._folder, self._compute = boxes, folder, compute
        self._known: set[Index] = set()

    def tile(self, index: Index) -> Steps:
        """Return a tile, mapped from disk; it is computed if it is not known."""
        file = self._folder / f"{index[0]}-{index[1]}.npy"
        if index not in self._known:
            pixels = yield from self._compute(index)
            with open_checked(file) as stream:
                np.save(stream, pixels)
            self._known.add(index)
            yield
        return np.asarray(np.load(file, mmap_mode="r"))

    def read(self, box: Box) -> Steps:
        """Return the pixels of a box, after computing tiles that are not known."""
        found = np.zeros(0, np.float32)
        for index in np.ndindex(len(self._boxes), len(self._boxes[0])):
            place = self._boxes[index[0]][index[1]]
            part = place.clipped(box)
            if 0 in part.shape:
                continue
            pixels = yield from self.tile(index)
            if not found.size:
                found = np.empty((len(pixels), *box.shape), np.float32)
            found[:, *part.inside(box).slices] = pixels[:, *part.inside(place).slices]
        return found


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
    foreign
        Whether a plane as a whole is unlike the training images, as far as it is known.
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
        self.foreign = False
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
            number = plane_number(plane, self.planes.shape)
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
        self.foreign |= work.foreign


class _Plane:
    """What the blocks of one plane share: steps whose tiles are computed when one needs them."""

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
        self._model, self._planes, self._number = model, planes, number
        self._device, self._folder = choose_device(device), folder
        self.inside = inside
        self._shape = planes.height, planes.width
        residual = model.config.residual
        reconstruct, self._kinds = needed_predictions([residual])
        self._grid = patch_grid(model, planes, stride)
        sides = {"pixels": tile_side(), "local": local_side(), "residual": score_tiles(residual)[0]}
        self._boxes = {name: tiles(self._shape, side) for name, side in sides.items()}
        self._pixels = KeptTiles(self._boxes["pixels"], folder / "pixels", self._read)
        self._sums = self._reconstruction = self._local = None
        if reconstruct:
            extents, blocks = self._along(self._grid.extent), self._along(self._grid.block)
            self._sums = KeptTiles(extents, folder / "reconstruction-sums", self._sum)
            self._reconstruction = KeptTiles(blocks, folder / "reconstruction", self._mean)
        if self._kinds:
            self._local = KeptTiles(self._boxes["local"], folder / "local", self._predicted)
        self._excess: Sequence[float] | None = None

    def score(self, box: Box) -> Steps:
        """Return the residual of one block, after what it needs of others."""
        residual = self._model.config.residual
        if self._excess is None:
            typical = []
            if needs_whole_plane(residual):
                for tile in typical_tiles(self._boxes["residual"], self.inside):
                    found = yield from self._residuals(tile)
                    typical.append(within(found, tile, self.inside))
            self._excess = plane_offsets(typical, residual)
        return score_of((yield from self._residuals(box)), residual, self._excess)

    @property
    def foreign(self) -> bool:
        """Whether the plane is known to be unlike the training images as a whole."""
        return looks_foreign(self._excess or (), self._model.config.residual)

    def close(self) -> None:
        """Remove what the blocks shared."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _residuals(self, box: Box) -> Steps:
        """Return the members of the residual of one block, float32 (V, H, W)."""
        residual = self._model.config.residual
        around = box.grown(score_tiles(residual)[1], self._shape)
        pixels = yield from self._pixels.read(around)
        reconstruction, local = None, np.zeros(0, np.float32)
        if self._reconstruction is not None:
            reconstruction = yield from self._reconstruction.read(around)
        if self._local is not None:
            local = yield from self._local.read(around)
        found = PlanePredictions(reconstruction, dict(zip(self._kinds, local, strict=True)))
        return residual_maps(pixels, found, residual)[:, *box.inside(around).slices]

    def _read(self, tile: Index) -> Steps:
        """Return the normalised intensities of a tile."""
        yield
        rows, columns = self._boxes["pixels"][tile[0]][tile[1]].slices
        pixels = self._planes.read(self._number, rows, columns)
        return self._model.intensity.normalise(pixels, self._planes.name)

    def _sum(self, tile: Index) -> Steps:
        """Return the sum of the reconstructed patches of a tile, over its extent."""
        extent = self._grid.extent(tile).clipped(Box(0, 0, *self._shape))
        pixels = yield from self._pixels.read(extent)
        config = self._model.config
        steps = reconstruct_tile(
            reconstructor(self._model.network_on(self._device), config),
            pixels, self._grid, tile, self._device, orientations_of(config.augmentation),
        )  # fmt: skip
        return (yield from relayed(steps, lambda _: None))

    def _mean(self, tile: Index) -> Steps:
        """Return the reconstruction of the block of a tile, as `reconstruct_plane` sums it."""
        assert self._sums is not None
        block = self._grid.block(tile)
        total = np.zeros(0, np.float32)
        rows, columns = (range(max(0, at - 1), at + 1) for at in tile)
        for neighbour in itertools.product(rows, columns):
            found = yield from self._sums.tile(neighbour)
            extent = self._grid.extent(neighbour)
            part = extent.clipped(block)
            if not total.size:
                total = np.zeros((len(found), *block.shape), np.float32)
            total[:, *part.inside(block).slices] += found[:, *part.inside(extent).slices]
        total /= self._grid.times(block)
        return total

    def _predicted(self, tile: Index) -> Steps:
        """Return the local predictions of a tile."""
        box = self._boxes["local"][tile[0]][tile[1]]
        around = box.grown(LOCAL_REACH, self._shape)
        pixels = yield from self._pixels.read(around)
        network = self._model.network_on(self._device)
        return local_predictions(network, self._kinds, pixels, box.inside(around), self._device)

    def _along(self, place: Callable[[Index], Box]) -> list[list[Box]]:
        """Return where the tiles of the patch grid lie, by row and column."""
        rows, columns = self._grid.shape
        return [[place((row, column)) for column in range(columns)] for row in range(rows)]
