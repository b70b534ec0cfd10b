"""Arrays on disk, with ever smaller copies, for what does not fit into memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.images.planes import ImageLike
from .errors import writing
from .pyramid import BLOCK, halved, level_shape, levels

__all__ = [
    "ScratchPyramid",
    "scratch_array",
    "scratch_folder",
]


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
        (..., H, W). Planes get smaller copies if they are large (see `pyramid.levels`).
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
