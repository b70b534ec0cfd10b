"""Tiles of a plane, which are computed one by one and give the same bits everywhere.

The last bits of a network's output depend on the batch size, and those of SSIM on the mean of the
image. So a plane is always computed in tiles, whose layout depends only on its size and the
settings. A tile has the same bits whether it is computed alone or with others, in memory or from a
file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

__all__ = ["SIDE", "Box", "PatchGrid", "patch_starts", "spans", "tile_side", "tiles"]

SIDE = 1024
"""Pixels along a side of a tile: few enough for any memory, enough for little overhead."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels; ``bottom`` and ``right`` are one past the last."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices that cut the box out of an array (H, W)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, margin: int, shape: tuple[int, int]) -> Box:
        """Return the box with a margin on each side, as far as a plane of this shape has it."""
        return Box(
            max(0, self.top - margin),
            max(0, self.left - margin),
            min(shape[0], self.bottom + margin),
            min(shape[1], self.right + margin),
        )

    def clipped(self, other: Box) -> Box:
        """Return the intersection of two boxes, which may be empty."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        return Box(
            top, left, max(top, min(self.bottom, other.bottom)),
            max(left, min(self.right, other.right)),
        )  # fmt: skip

    def inside(self, other: Box) -> Box:
        """Return the box in the coordinates of another box."""
        return Box(
            self.top - other.top, self.left - other.left,
            self.bottom - other.top, self.right - other.left,
        )  # fmt: skip


def spans(length: int, side: int) -> list[tuple[int, int]]:
    """Cut an axis into pieces of ``side``; the last one has half of that up to one and a half.

    Examples
    --------
    >>> spans(2500, 1000), spans(2400, 1000), spans(30, 1000)
    ([(0, 1000), (1000, 2000), (2000, 2500)], [(0, 1000), (1000, 2400)], [(0, 30)])
    """
    number = max(1, (length + side // 2) // side)
    starts = [index * side for index in range(number)]
    return list(zip(starts, [*starts[1:], length], strict=True))


def tile_side(least: int = 0) -> int:
    """Return the side of tiles that are not to be smaller than this, in pixels."""
    return SIDE * max(1, -(-least // SIDE))


def tiles(shape: tuple[int, int], side: int) -> list[list[Box]]:
    """Cut a plane into tiles, by rows of tiles; see `spans`."""
    return [
        [Box(top, left, bottom, right) for left, right in spans(shape[1], side)]
        for top, bottom in spans(shape[0], side)
    ]


def patch_starts(length: int, patch_size: int, stride: int) -> list[int]:
    """Return where patches start along one axis so that they cover all of it.

    Starts are ``stride`` apart; the last patch ends at the end of the axis. A stride above the
    patch size is taken as the patch size.
    """
    last = max(0, length - patch_size)
    starts = list(range(0, last, min(stride, patch_size)))
    return [*starts, last]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Patches along one axis, in groups of equally many but for the last."""

    length: int
    patch_size: int
    starts: tuple[int, ...]
    per_group: int

    @property
    def groups(self) -> int:
        return -(-len(self.starts) // self.per_group)

    def group(self, index: int) -> tuple[int, ...]:
        return self.starts[index * self.per_group : (index + 1) * self.per_group]

    def extent(self, index: int) -> tuple[int, int]:
        group = self.group(index)
        return group[0], group[-1] + self.patch_size

    def block(self, index: int) -> tuple[int, int]:
        last = index + 1 == self.groups
        end = self.length if last else self.group(index + 1)[0]
        return self.group(index)[0], end

    def times(self) -> npt.NDArray[np.float32]:
        ends = np.zeros(max(self.length, self.patch_size) + 1, np.float32)
        np.add.at(ends, list(self.starts), 1)
        np.add.at(ends, [start + self.patch_size for start in self.starts], -1)
        return ends.cumsum()[: self.length]


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """The patches that a plane is reconstructed from, in tiles of neighbours.

    Patches overlap, and so do tiles: the *extent* of a tile, all that its patches cover, reaches
    into the *blocks* of the tiles to its right and below, but not beyond. Blocks do not overlap.
    """

    rows: _Axis
    columns: _Axis

    @classmethod
    def from_shape(cls, shape: tuple[int, int], patch_size: int, stride: int) -> Self:
        """Lay patches over a plane of this height and width, and group them."""
        stride = min(stride, patch_size)
        per_group = -(-tile_side(patch_size) // stride)
        rows, columns = (
            _Axis(side, patch_size, tuple(patch_starts(side, patch_size, stride)), per_group)
            for side in shape
        )
        return cls(rows, columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of tiles."""
        return self.rows.groups, self.columns.groups

    @property
    def patches(self) -> int:
        """Number of patches of all tiles."""
        return len(self.rows.starts) * len(self.columns.starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Row and column of each tile, in the order of summation."""
        return iter(np.ndindex(self.shape))

    def corners(self, tile: tuple[int, int]) -> list[tuple[int, int]]:
        """Upper left corners of the patches of a tile, counted from that of its extent."""
        rows, columns = self.rows.group(tile[0]), self.columns.group(tile[1])
        return [(y - rows[0], x - columns[0]) for y in rows for x in columns]

    def places(self, tile: tuple[int, int]) -> list[tuple[int, int]]:
        """Row and column, among all of the plane, of the patches that `corners` returns."""
        rows, columns = (
            [axis.per_group * group + number for number in range(len(axis.group(group)))]
            for axis, group in zip((self.rows, self.columns), tile, strict=True)
        )
        return [(row, column) for row in rows for column in columns]

    def extent(self, tile: tuple[int, int]) -> Box:
        """Pixels that the patches of a tile cover; they may reach beyond a small plane."""
        (top, bottom), (left, right) = self.rows.extent(tile[0]), self.columns.extent(tile[1])
        return Box(top, left, bottom, right)

    def block(self, tile: tuple[int, int]) -> Box:
        """Pixels from the first of a tile to the first of the next ones."""
        (top, bottom), (left, right) = self.rows.block(tile[0]), self.columns.block(tile[1])
        return Box(top, left, bottom, right)

    def times(self, box: Box) -> npt.NDArray[np.float32]:
        """Number of patches that cover each pixel of a box, float32 of shape (H, W)."""
        rows, columns = box.slices
        return np.asarray(np.outer(self.rows.times()[rows], self.columns.times()[columns]))
