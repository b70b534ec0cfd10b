"""A residual on disk that is computed block by block, in any order."""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..core.config import ResidualConfig
from ..core.detection.anomaly_score import looks_foreign
from ..core.detection.residual import (
    needs_whole_plane,
    plane_offsets,
    score_of,
    typical_tiles,
    within,
)
from ..core.images.inspected_area import InspectedArea
from ..core.images.planes import Planes, plane_number
from ..core.images.tiles import Box
from ..core.model.defect_model import DefectModel
from ..io.files.atomic import open_checked
from ..io.files.errors import write_problem
from ..io.files.pyramid import ScratchPyramid
from .lazy import prepare_model
from .plane_steps import Index, PlaneSteps, Tile

__all__ = [
    "Priority",
    "ResidualStore",
]

Steps: TypeAlias = Generator[None, None, Tile]

_SAMPLE = 1_000_000  # pixels in the sample that represents all of them


@dataclass(frozen=True, slots=True)
class Priority:
    """Blocks to compute first: those of a plane, from the row and column of a pixel outwards."""

    plane: tuple[int, ...]
    centre: tuple[float, float]


class ResidualStore:
    """The residual of an image that is larger than memory, as far as it is known.

    The blocks have the same values as in memory. Whatever neighbours need of each
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
        self.model, self.planes, self.stride = model, planes, stride
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
        shape = self._part.height, self._part.width
        self._steps = PlaneSteps(model, shape, stride, device)
        boxes = [box for row in self._steps.boxes["members"] for box in row]
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
            Fraction of the blocks that is done; also between blocks, so that it can be stopped
            soon. A value that is sent says what is wanted next.

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

    def _normalised(self, number: int, box: Box) -> Tile:
        """Return the normalised intensities of a box of a plane, by its number."""
        pixels = self._part.read(number, *box.slices)
        return self.model.intensity.normalise(pixels, self._part.name)

    def _compute(self, plane: tuple[int, ...], box: Box) -> Generator[None, None, None]:
        work = self._begun.get(plane)
        if work is None:
            number = plane_number(plane, self.planes.shape)
            folder = self._folder / f"plane-{number}"
            inside = None if self.area is None else self.area.plane(plane).inside
            read = partial(self._normalised, number)
            residual = self.model.config.residual
            work = self._begun[plane] = _Plane(self._steps, residual, read, folder, inside)
        pixels = yield from work.score(box)
        inspected = within(pixels, box, work.inside)
        if work.inside is not None:
            pixels = np.nan_to_num(inspected, nan=0.0)
        box = self._place(box)
        self._pyramid.write(plane, box.top, box.left, pixels)
        step = self._step
        top, left = -(-box.top // step), -(-box.left // step)
        part = inspected[top * step - box.top :: step, left * step - box.left :: step]
        rows, columns = (slice(a, a + b) for a, b in zip((top, left), part.shape, strict=True))
        self.sample[plane][rows, columns] = part
        self.highest = max(self.highest, float(pixels.max(initial=0.0)))
        self.foreign |= work.foreign


class _Plane:
    """The steps of one plane, whose tiles are computed when one needs them, and kept on disk.

    They are read by NumPy and not by dask: while napari slices a dask layer, it caches what is
    computed anywhere in the process by the names of dask's tasks, and a file may change under its
    name.

    Parameters
    ----------
    steps, residual
        What is computed.
    read
        Returns the normalised intensities of a box.
    folder
        A new folder for the tiles.
    inside
        The pixels that were inspected; None: all.
    """

    def __init__(
        self,
        steps: PlaneSteps,
        residual: ResidualConfig,
        read: Callable[[Box], Tile],
        folder: Path,
        inside: npt.NDArray[np.bool_] | None,
    ) -> None:
        self._steps, self._residual, self._read, self._folder = steps, residual, read, folder
        self.inside = inside
        folder.mkdir(parents=True)
        self._files: dict[tuple[str, Index], Path] = {}
        self._excess: Sequence[float] | None = None

    def score(self, box: Box) -> Steps:
        """Return the residual of one block, after what it needs of others."""
        if self._excess is None:
            typical = []
            if needs_whole_plane(self._residual):
                for tile in typical_tiles(self._steps.boxes["members"], self.inside):
                    found = yield from self._members(tile)
                    typical.append(within(found, tile, self.inside))
            self._excess = plane_offsets(typical, self._residual)
        return score_of((yield from self._members(box)), self._residual, self._excess)

    @property
    def foreign(self) -> bool:
        """Whether the plane is known to be unlike the training images as a whole."""
        return looks_foreign(self._excess or (), self._residual)

    def close(self) -> None:
        """Remove what the blocks shared."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _members(self, box: Box) -> Steps:
        (index,) = self._steps.under("members", box)
        return (yield from self._computed("members", index))

    def _computed(self, step: str, index: Index) -> Steps:
        """Compute a tile, after those of earlier steps that it needs."""
        if step == "pixels":
            yield
            return self._read(self._steps.boxes[step][index[0]][index[1]])
        needed = []
        for earlier, box in self._steps.needs(step, index):
            places = self._steps.under(earlier, box)
            for place in places:
                yield from self._keep(earlier, place)
            found = [np.load(self._files[earlier, place], mmap_mode="r") for place in places]
            needed.append(self._steps.assembled(earlier, box, found))
        return (yield from self._steps.compute(step, index, needed))

    def _keep(self, step: str, index: Index) -> Generator[None, None, None]:
        """Put a tile on disk, unless it is there."""
        if (step, index) not in self._files:
            pixels = yield from self._computed(step, index)
            file = self._folder / f"{step}-{index[0]}-{index[1]}.npy"
            with open_checked(file) as stream:
                np.save(stream, pixels)
            self._files[step, index] = file
            yield
