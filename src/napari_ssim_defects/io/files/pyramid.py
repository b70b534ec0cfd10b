"""Ever smaller copies of large planes, made and read block by block, and kept on disk."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.common.errors import InputError
from ...core.images.planes import ImageLike
from .errors import writing

__all__ = [
    "BLOCK",
    "LARGE_SIDE",
    "ScratchPyramid",
    "Stored",
    "blocks",
    "halved",
    "level_shape",
    "levels",
    "read_level",
    "scratch_array",
    "scratch_folder",
    "storable",
]

BLOCK = 512
"""Height and width of what is written at a time."""

LARGE_SIDE = 4096
"""Planes with a longer side are written as tiles with a pyramid of smaller copies."""

_SMALLEST_SIDE = 1024


def levels(shape: tuple[int, ...], y: int) -> int:
    """Return how many smaller copies an array gets, whose axes ``y`` and ``y + 1`` are a plane."""
    side = max(shape[y : y + 2])
    return math.ceil(math.log2(side / _SMALLEST_SIDE)) if side > LARGE_SIDE else 0


def halved(array: npt.NDArray[Any], y: int) -> npt.NDArray[Any]:
    """Return the next level of a pyramid, in the same dtype.

    Means for floating-point numbers, every second pixel for integers, so that labels stay labels.
    """
    for axis in (y, y + 1):
        half = array.shape[axis] // 2
        if half:
            lines = np.moveaxis(array, axis, 0)
            smaller = lines[: 2 * half : 2]
            if array.dtype.kind == "f":
                smaller = 0.5 * (smaller + lines[1 : 2 * half : 2])
            array = np.moveaxis(smaller, 0, axis)
    return array


def level_shape(shape: tuple[int, ...], y: int) -> tuple[int, ...]:
    """Return the shape of what `halved` makes of an array of this shape."""
    return (*shape[:y], *(max(1, side // 2) for side in shape[y : y + 2]), *shape[y + 2 :])


def blocks(shape: tuple[int, ...], y: int) -> Iterator[tuple[Any, ...]]:
    """Yield the index of each block: plane after plane, row after row."""
    for leading in np.ndindex(shape[:y]):
        for top in range(0, shape[y], BLOCK):
            for left in range(0, shape[y + 1], BLOCK):
                yield (
                    *leading,
                    slice(top, min(top + BLOCK, shape[y])),
                    slice(left, min(left + BLOCK, shape[y + 1])),
                )


def read_level(finer: Any, y: int, index: tuple[Any, ...]) -> npt.NDArray[Any]:
    """Return a block of the level that follows another one."""
    rows, columns = (
        slice(2 * part.start, 2 * part.stop) if size > 1 else slice(0, 1)
        for part, size in zip(index[y : y + 2], finer.shape[y : y + 2], strict=True)
    )
    return halved(np.asarray(finer[(*index[:y], rows, columns, *index[y + 2 :])]), 0)


@dataclass(frozen=True, eq=False, slots=True)
class Stored:
    """An array as files hold it; parts of it are converted when they are read."""

    data: ImageLike
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.data.shape)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        """Read and convert a part."""
        part = np.asarray(self.data[index])
        if part.dtype.kind == "b":
            return part.astype(np.uint8) * np.uint8(255)
        with np.errstate(over="ignore"):
            return part.astype(self.dtype, copy=False)


def storable(data: ImageLike, y: int, name: str) -> Stored:
    """Say how an array is stored, in a type that other programs open.

    Booleans become uint8 with 0 and 255, floating-point numbers float32, integers of more than 16
    bits the first of uint16, int32 and uint32 that holds their values, which are read for that.

    Raises
    ------
    InputError
        If there is no such type.
    """
    kind, size = np.dtype(data.dtype).kind, np.dtype(data.dtype).itemsize
    if kind == "b":
        return Stored(data, np.dtype(np.uint8))
    if kind == "f":
        return Stored(data, np.dtype(np.float32))
    if kind not in "iu":
        raise InputError(
            f"Cannot write '{name}': images do not hold values of type {data.dtype}; convert "
            "them to numbers."
        )
    if size <= 2:
        return Stored(data, np.dtype(data.dtype))
    low, high = _range(data, y)
    for dtype in (np.uint16, np.int32, np.uint32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return Stored(data, np.dtype(dtype))
    raise InputError(
        f"Cannot write '{name}': its integers need more than 32 bits; scale or relabel them."
    )


def _range(data: ImageLike, y: int) -> tuple[int, int]:
    if isinstance(data, np.ndarray):
        return int(data.min()), int(data.max())
    low, high = 0, 0
    for index in blocks(tuple(data.shape), y):
        part = np.asarray(data[index])
        low, high = min(low, int(part.min())), max(high, int(part.max()))
    return low, high


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder inside another one; it is deleted when the block ends.

    Raises
    ------
    InputError
        If it cannot be made or written to.
    """
    with writing(folder, folder):
        scratch = Path(tempfile.mkdtemp(prefix=".scratch-", dir=folder))
    try:
        with writing(folder, scratch):
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def scratch_array(
    path: Path, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any]
) -> Any:
    """Return a new zarr array of zeros to write to and read from, uncompressed."""
    import zarr

    return zarr.create_array(path, shape=shape, chunks=chunks, dtype=dtype, compressors=None)


class ScratchPyramid:
    """An array of zeros whose blocks are written, in any order, with all smaller copies of them.

    Parameters
    ----------
    folder
        An empty folder for it.
    shape
        (..., H, W). Planes get smaller copies if they are large (see `levels`).
    dtype
        Of the array.

    Attributes
    ----------
    levels
        The array and its smaller copies, to be read in parts at any time: zarr arrays, but for the
        smallest copy of a single plane, which is in memory.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._folder = folder
        self.levels: list[ImageLike] = []
        count = levels(shape, len(shape) - 2)
        for level in range(count + 1):
            if level == count and level and len(shape) == 2:
                self.levels.append(np.zeros(shape, dtype))
            else:
                chunks = (*(1 for _ in shape[:-2]), BLOCK, BLOCK)
                with writing(folder, folder):
                    self.levels.append(scratch_array(folder / str(level), shape, chunks, dtype))
            shape = level_shape(shape, len(shape) - 2)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.levels[0].shape)

    def write(self, place: tuple[int, ...], top: int, left: int, pixels: npt.NDArray[Any]) -> None:
        """Write a block.

        Parameters
        ----------
        place
            Index of the plane.
        top, left
            Where the block begins: multiples of a power of two, so that it can be halved.
        pixels
            Array of shape (h, w).

        Raises
        ------
        InputError
            If the disk does not take it.
        """
        for number, level in enumerate(self.levels):
            if number:
                pixels, top, left = halved(pixels, 0), top // 2, left // 2
            height, width = (level.shape[-2] - top, level.shape[-1] - left)
            part = pixels[:height, :width]
            box = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
            target: Any = level
            with writing(self._folder, self._folder):
                target[(*place, *box)] = part
