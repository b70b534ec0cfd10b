"""Masks as runs: the first and last pixel of each piece of a row.

A mask of defects is nearly empty. Everything after the threshold (connected regions, holes, areas,
convex hulls) needs only the ends of its runs, so the cost grows with the contours and not with the
image.

`ThresholdIndex` finds the runs of a residual above any threshold quickly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from ..images.inspected_area import InspectedArea
from ..images.tiles import Box

__all__ = [
    "Runs",
    "ThresholdIndex",
]

Integers = npt.NDArray[np.int64]

_SEGMENT = 16  # pixels whose maximum is kept


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """A mask of shape (height, width) as the runs of its rows, in the order of its pixels.

    Attributes
    ----------
    start, stop
        First pixel of each run and one past its last, as ``row * pitch + column``; int64 (R,),
        increasing. Runs neither overlap nor touch.
    height, width
        Shape of the mask.
    """

    start: Integers
    stop: Integers
    height: int
    width: int

    @property
    def pitch(self) -> int:
        """Distance between rows; one more than the width, so that no run reaches the next row."""
        return self.width + 1

    @property
    def row(self) -> Integers:
        """Row of each run."""
        return self.start // self.pitch

    @property
    def length(self) -> Integers:
        """Number of pixels of each run."""
        return self.stop - self.start

    @classmethod
    def from_mask(cls, mask: npt.NDArray[np.bool_]) -> Runs:
        """Find the runs of a mask (H, W)."""
        height, width = mask.shape
        framed = np.zeros((height, width + 1), dtype=bool)
        framed[:, :-1] = mask
        flat = framed.ravel()
        changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        if len(flat) and flat[0]:
            changes = np.concatenate([[0], changes])
        return cls(changes[::2], changes[1::2], height, width)

    @classmethod
    def assembled(cls, parts: Iterable[tuple[Box, Runs]], height: int, width: int) -> Runs:
        """Put together the runs of the boxes that a mask (height, width) was cut into."""
        starts, stops = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for box, runs in parts:
            corner = box.top * (width + 1) + box.left
            shift = corner + runs.row * (width - runs.width)  # rows are longer by so much
            starts.append(runs.start + shift)
            stops.append(runs.stop + shift)
        return _united(
            np.concatenate(starts), np.concatenate(stops), cls(starts[0], stops[0], height, width)
        )

    def cut(self, box: Box) -> tuple[Runs, Integers]:
        """Return the part in a box, as runs of the box, and the index of the run of each."""
        rows = np.array([box.top, box.bottom]) * self.pitch
        first, last = np.searchsorted(self.start, rows)
        index = np.arange(first, last)
        row = self.start[index] // self.pitch
        start = np.maximum(self.start[index] - row * self.pitch, box.left)
        stop = np.minimum(self.stop[index] - row * self.pitch, box.right)
        inside = stop > start
        height, width = box.shape
        offset = (row - box.top) * (width + 1) - box.left
        runs = Runs((start + offset)[inside], (stop + offset)[inside], height, width)
        return runs, index[inside]

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, kept: npt.NDArray[np.bool_]) -> Runs:
        """Keep some of the runs."""
        return Runs(self.start[kept], self.stop[kept], self.height, self.width)

    def pixels(self) -> Integers:
        """Return the index ``row * width + column`` of every pixel, run after run."""
        length = self.length
        first = self.start - self.row  # rows are one shorter than the pitch
        ends = np.cumsum(length)
        total = int(ends[-1]) if len(ends) else 0
        return np.asarray(np.arange(total) + np.repeat(first - (ends - length), length))

    def meeting(self, other: Runs) -> npt.NDArray[np.bool_]:
        """Return which runs share a pixel with a mask of the same shape, bool of shape (R,)."""
        begun = np.searchsorted(other.start, self.stop, side="left")
        ended = np.searchsorted(other.stop, self.start, side="right")
        return np.asarray(begun > ended)

    def regions(self, connectivity: int) -> tuple[Integers, int]:
        """Find connected regions.

        Parameters
        ----------
        connectivity
            4: pixels are neighbours by their edges; 8: by their corners too.

        Returns
        -------
        region, count
            Region of each run, 0 to ``count - 1``, numbered by first pixels; and their number.
        """
        return self._regions(connectivity)[:2]

    def filled(self, connectivity: int) -> tuple[Runs, Integers, int]:
        """Return the mask with its holes filled, and its regions as `regions` does.

        By Euler's number, a region encloses a hole if it has more pairs of neighbouring runs than
        it needs to be connected. Only such regions are searched for holes.
        """
        region, count, enclosed = self._regions(connectivity)
        if not enclosed.any():
            return self, region, count
        holes = self[enclosed[region] > 0].holes(connectivity)
        filled = self.joined(holes)
        return filled, *filled.regions(connectivity)

    def _regions(self, connectivity: int) -> tuple[Integers, int, Integers]:
        """Return region of each run, number of regions, and number of holes in each region."""
        reach = 1 if connectivity == 8 else 0
        # Runs of the row above that each run overlaps: from `low` up to and without `high`.
        low = np.searchsorted(self.stop, self.start - self.pitch - reach, side="right")
        high = np.searchsorted(self.start, self.stop - self.pitch + reach, side="left")
        number = np.maximum(high - low, 0)
        ends = np.cumsum(number)
        total = int(ends[-1]) if len(ends) else 0
        above = np.arange(total) + np.repeat(low - (ends - number), number)
        indptr = np.concatenate([[0], ends])
        graph = csr_matrix((np.ones(total, np.int8), above, indptr), shape=(len(self),) * 2)
        count, region = connected_components(graph, directed=False)
        pairs = np.bincount(region, number, minlength=count).astype(np.int64)
        enclosed = pairs - np.bincount(region, minlength=count) + 1
        return region.astype(np.int64, copy=False), int(count), enclosed

    def touches_border(self) -> npt.NDArray[np.bool_]:
        """Whether each run holds a pixel of the first or last row or column."""
        row = self.row
        left = self.start - row * self.pitch
        right = self.stop - row * self.pitch
        inside = (row > 0) & (row < self.height - 1) & (left > 0) & (right < self.width)
        return np.asarray(~inside)

    def holes(self, connectivity: int) -> Runs:
        """Return the background that is enclosed by foreground.

        Parameters
        ----------
        connectivity
            Of the foreground; the background is connected the other way, so that a closed
            contour encloses its inside.
        """
        rows = np.arange(self.height) * self.pitch
        start = np.sort(np.concatenate([rows, self.stop]))
        stop = np.sort(np.concatenate([self.start, rows + self.width]))
        gap = stop > start
        background = Runs(start[gap], stop[gap], self.height, self.width)
        region, count = background.regions(12 - connectivity)  # 4 for 8, and 8 for 4
        outside = np.zeros(count, dtype=bool)
        outside[region[background.touches_border()]] = True
        return background[~outside[region]]

    def joined(self, other: Runs) -> Runs:
        """Return the union with other runs, which may overlap."""
        return _united(
            np.concatenate([self.start, other.start]),
            np.concatenate([self.stop, other.stop]),
            self,
        )

    def minus(self, other: Runs) -> Runs:
        """Return the difference from another mask."""
        ends = np.concatenate([self.start, self.stop, other.start, other.stop])
        steps = np.repeat([1, -1, -2, 2], [len(self), len(self), len(other), len(other)])
        order = np.argsort(ends, kind="stable")
        ends, cover = ends[order], np.cumsum(steps[order])
        piece = np.flatnonzero((cover[:-1] == 1) & (ends[1:] > ends[:-1]))
        return _united(ends[piece], ends[piece + 1], self)

    def hulls(self, region: Integers) -> Runs:
        """Return the union of the convex hulls of regions (paper section 4.2).

        A hull covers the pixels whose centre lies in the convex hull of the region's pixel
        centres. It is computed in integers.

        Parameters
        ----------
        region
            Region of each run; every region has runs in all rows from its first to its last.
        """
        if not len(self):
            return self
        order = np.argsort(region, kind="stable")
        region, row = region[order], self.row[order]
        # The outline: one left and one right end per row of a region.
        change = (np.diff(region) != 0) | (np.diff(row) != 0)
        first = np.flatnonzero(np.concatenate([[True], change]))
        last = np.flatnonzero(np.concatenate([change, [True]]))
        offset = row[first] * self.pitch
        left = self.start[order][first] - offset
        right = self.stop[order][last] - 1 - offset
        region, row = region[first], row[first]
        start = _lower_envelope(region, row, left)
        stop = 1 - _lower_envelope(region, row, -right)
        return _united(offset + start, offset + stop, self)


def _united(start: Integers, stop: Integers, shape: Runs) -> Runs:
    """Merge runs that overlap or touch."""
    order = np.argsort(start, kind="stable")
    start, stop = start[order], np.maximum.accumulate(stop[order])
    gap = start[1:] > stop[:-1]
    first = np.concatenate([[True], gap]) if len(start) else np.zeros(0, bool)
    last = np.concatenate([gap, [True]]) if len(start) else np.zeros(0, bool)
    return Runs(start[first], stop[last], shape.height, shape.width)


def _lower_envelope(region: Integers, row: Integers, column: Integers) -> Integers:
    """Return, rounded up, the largest convex function below the points of each region.

    Points lie in the order of regions and rows, one per row. Points that are not below the line
    between their neighbours are dropped, all at once, until none is left: none of them is a
    corner of the hull, whichever others are dropped with it.
    """
    alive = np.arange(len(row))
    while True:
        r, c, g = row[alive], column[alive], region[alive]
        inner = g[2:] == g[:-2]
        above = (c[1:-1] - c[:-2]) * (r[2:] - r[1:-1]) >= (c[2:] - c[1:-1]) * (r[1:-1] - r[:-2])
        drop = inner & above
        if not drop.any():
            break
        keep = np.ones(len(alive), dtype=bool)
        keep[1:-1] = ~drop
        alive = alive[keep]
    place = np.searchsorted(alive, np.arange(len(row)), side="right") - 1
    a = alive[place]
    b = alive[np.minimum(place + 1, len(alive) - 1)]
    b = np.where(region[b] == region[a], b, a)
    rise = (column[b] - column[a]) * (row - row[a])
    run = np.maximum(row[b] - row[a], 1)
    return np.asarray(column[a] - (-rise) // run)


class ThresholdIndex:
    """Finds the runs of a plane above a threshold, in time proportional to their number.

    The plane is cut into short segments whose maxima are stored. A threshold is compared with the
    maxima first, and then only with the pixels of segments that reach above it.

    Parameters
    ----------
    plane
        float32 of shape (H, W) without NaN; copied.
    area
        The pixels that regions may have; None: all.
    """

    def __init__(self, plane: npt.NDArray[np.float32], area: InspectedArea | None = None) -> None:
        self.area = area
        self.height, self.width = plane.shape
        # One more column than needed, so that no run reaches the next row.
        self._per_row = self.width // _SEGMENT + 1
        padded = np.full((self.height, self._per_row * _SEGMENT), -np.inf, dtype=np.float32)
        padded[:, : self.width] = plane
        self._segments = padded.reshape(-1, _SEGMENT)
        self._highest = self._segments.max(axis=1)

    @property
    def plane(self) -> npt.NDArray[np.float32]:
        """The plane, (H, W)."""
        padded = self._segments.reshape(self.height, self._per_row * _SEGMENT)
        return padded[:, : self.width]

    def segments_above(self, threshold: float) -> int:
        """Return how many segments of 16 pixels reach above a threshold: the cost of `above`."""
        return int(np.count_nonzero(self._highest > _single(threshold)))

    def above(self, threshold: float) -> Runs:
        """Return the runs of the pixels above a threshold."""
        level = _single(threshold)
        reached = np.flatnonzero(self._highest > level)
        inside = self._segments[reached] > level
        flat = inside.ravel()
        before, after = np.zeros_like(flat), np.zeros_like(flat)
        before[1:], after[:-1] = flat[:-1], flat[1:]
        apart = np.flatnonzero(np.diff(reached) > 1) + 1  # the pixels in between are below
        before[apart * _SEGMENT] = False
        after[apart * _SEGMENT - 1] = False
        first, last = np.flatnonzero(flat & ~before), np.flatnonzero(flat & ~after)
        return Runs(self._place(reached, first), self._place(reached, last) + 1,
                    self.height, self.width)  # fmt: skip

    def _place(
        self, reached: npt.NDArray[np.int64], pixel: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        segment, column = np.divmod(pixel, _SEGMENT)
        segment = reached[segment]
        row = segment // self._per_row
        return np.asarray(
            row * (self.width + 1) + (segment - row * self._per_row) * _SEGMENT + column
        )


def _single(threshold: float) -> np.float32:
    """Round a threshold to float32; one beyond its range becomes infinite."""
    with np.errstate(over="ignore"):
        return np.float32(threshold)
