"""Files to which NumPy writes without losing the last error."""

from __future__ import annotations

import io
from pathlib import Path

__all__ = ["CheckedFile", "open_checked"]


class CheckedFile(io.BufferedRandom):
    """A file without a descriptor for others.

    `numpy.ndarray.tofile` writes to the descriptor of a file through a buffer of C, and does not
    hear what goes wrong when the last kilobytes of it are written: a disk that is full by then
    would leave a truncated file without a word. Without a descriptor it hands over bytes.
    """

    def fileno(self) -> int:
        """Raise `io.UnsupportedOperation`."""
        raise io.UnsupportedOperation("fileno")


def open_checked(path: Path) -> CheckedFile:
    """Make a file, or empty the one that is there, to write to it."""
    return CheckedFile(io.FileIO(path, "w+"))
