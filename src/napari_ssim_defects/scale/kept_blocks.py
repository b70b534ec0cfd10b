"""Blocks of an array that wait on disk for those who need them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import dask.array as da
import numpy as np
import numpy.typing as npt

from ..core.images.tiles import Box
from ..io.files.checked_file import open_checked
from .blocks import Array

__all__ = ["KeptBlocks"]

Block: TypeAlias = tuple[int, ...]


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
