"""The residual of a plane in steps, each computed tile by tile.

The tiles are those of `core.images.tiles`, and each is computed as in memory, so the result is the
same bit by bit. A tile needs tiles of earlier steps around it: patches overlap those of adjacent
tiles, and texture and residuals depend on surroundings.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..core.common.device import choose_device
from ..core.common.progress import relayed
from ..core.detection.predictions import (
    LOCAL_REACH,
    PlanePredictions,
    local_side,
    local_steps,
    needed_predictions,
)
from ..core.detection.reconstruction import reconstruct_tile, reconstructor
from ..core.detection.residual import residual_maps, score_tiles
from ..core.images.tiles import Box, PatchGrid, tile_side, tiles
from ..core.model.defect_model import DefectModel
from ..core.patches.symmetry import orientations_of

__all__ = ["Index", "PlaneSteps", "Tile"]

Index: TypeAlias = tuple[int, int]
"""Row and column of a tile."""

Tile: TypeAlias = npt.NDArray[np.float32]
"""Pixels of a tile, of shape (R, H, W)."""


class PlaneSteps:
    """The steps from the intensities of a plane to the members of its residual.

    Parameters
    ----------
    model
        The trained model.
    shape
        (H, W) of the plane.
    stride, device
        As for `DefectModel.detect`.

    Attributes
    ----------
    boxes
        Where the tiles of each step lie, by row and column. ``"pixels"``: normalised intensities,
        which the caller provides. ``"sums"``: sums of the reconstructed patches of a tile, which
        overlap. ``"reconstruction"``: their mean. ``"local"``: `local_predictions`. ``"members"``:
        `residual_maps`. Steps that the residual does not need are left out.
    """

    def __init__(
        self, model: DefectModel, shape: tuple[int, int], stride: int | None, device: str | None
    ) -> None:
        self._model, self._shape, self._device = model, shape, device
        config = model.config
        reconstruct, self._kinds = needed_predictions([config.residual])
        self._grid = PatchGrid.from_shape(shape, config.patch_size, stride or config.stride)
        side, self._reach = score_tiles(config.residual)
        self.boxes = {"pixels": tiles(shape, tile_side())}
        if reconstruct:
            rows, columns = map(range, self._grid.shape)
            for name, place in (("sums", self._grid.extent), ("reconstruction", self._grid.block)):
                self.boxes[name] = [[place((row, column)) for column in columns] for row in rows]
        if self._kinds:
            self.boxes["local"] = tiles(shape, local_side())
        self.boxes["members"] = tiles(shape, side)

    def needs(self, step: str, index: Index) -> list[tuple[str, Box]]:
        """Return which pixels of which earlier steps a tile is computed from."""
        box = self.boxes[step][index[0]][index[1]]
        if step == "sums":
            return [("pixels", box.clipped(Box(0, 0, *self._shape)))]
        if step == "reconstruction":
            return [("sums", box)]
        if step == "local":
            return [("pixels", box.grown(LOCAL_REACH, self._shape))]
        around = box.grown(self._reach, self._shape)
        return [
            (name, around) for name in ("pixels", "reconstruction", "local") if name in self.boxes
        ]

    def under(self, step: str, box: Box) -> list[Index]:
        """Return the tiles of a step that have pixels of a box."""
        boxes = self.boxes[step]
        rows = _overlapping([(line[0].top, line[0].bottom) for line in boxes], box.top, box.bottom)
        columns = _overlapping([(tile.left, tile.right) for tile in boxes[0]], box.left, box.right)
        return list(itertools.product(rows, columns))

    def assembled(self, step: str, box: Box, found: Sequence[Tile]) -> Tile:
        """Return the pixels of a box from the tiles under it, added where these overlap."""
        pixels = np.zeros((len(found[0]), *box.shape), np.float32)
        for (row, column), tile in zip(self.under(step, box), found, strict=True):
            place = self.boxes[step][row][column]
            part = place.clipped(box)
            here, there = part.inside(box).slices, part.inside(place).slices
            if step == "sums":
                pixels[:, *here] += tile[:, *there]
            else:
                pixels[:, *here] = tile[:, *there]
        return pixels

    def compute(
        self, step: str, index: Index, needed: Sequence[Tile]
    ) -> Generator[None, None, Tile]:
        """Compute a tile from what it needs; yields in between, so that it can be stopped."""
        box, config = self.boxes[step][index[0]][index[1]], self._model.config
        if step == "reconstruction":
            return np.asarray(needed[0] / self._grid.times(box))
        if step == "members":
            return self._members(box, needed)
        device = choose_device(self._device)
        network = self._model.network_on(device)
        if step == "local":
            inside = box.inside(box.grown(LOCAL_REACH, self._shape))
            parts = local_steps(network, self._kinds, needed[0], inside, device)
        else:
            parts = reconstruct_tile(
                reconstructor(network, config), needed[0], self._grid, index, device,
                orientations_of(config.augmentation),
            )  # fmt: skip
        return (yield from relayed(parts, lambda _: None))

    def _members(self, box: Box, needed: Sequence[Tile]) -> Tile:
        found = dict(zip((name for name, _ in self.needs("members", (0, 0))), needed, strict=True))
        local = dict(zip(self._kinds, found.get("local", ()), strict=True))
        predictions = PlanePredictions(found.get("reconstruction"), local)
        maps = residual_maps(found["pixels"], predictions, self._model.config.residual)
        around = box.grown(self._reach, self._shape)
        return maps[:, *box.inside(around).slices]


def _overlapping(spans: Sequence[tuple[int, int]], start: int, stop: int) -> list[int]:
    """Return which of some spans along an axis overlap another one."""
    return [n for n, (first, last) in enumerate(spans) if first < stop and start < last]
