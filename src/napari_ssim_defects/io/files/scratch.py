"""Arrays on disk for what does not fit into memory on its way to a file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import writing

__all__ = ["scratch_array", "scratch_folder"]


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder inside another one; it and what is in it goes when the block ends.

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
