"""Pixels that stay in their file until they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..files.errors import reading

__all__ = ["FileArray"]


@dataclass(frozen=True, eq=False, slots=True)
class FileArray:
    """An array in a file; indexing with numbers and slices reads parts of it.

    Attributes
    ----------
    path
        The file or folder.
    kind
        What it is, with its article, for error messages: ``"a TIFF image"``.
    shape, dtype
        Of the array.
    chunks
        What is decoded at a time, along each axis.
    get
        Returns the part of an index.
    """

    path: Path
    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    get: Callable[[Any], Any]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all of it would take in memory."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        """Read a part.

        Raises
        ------
        InputError
            If the file is damaged there, or gone.
        """
        with reading(self.path, self.kind, folder=True):
            return np.asarray(self.get(index)).astype(self.dtype, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        whole = self[(slice(None),) * self.ndim]
        return whole if dtype is None else whole.astype(dtype)
