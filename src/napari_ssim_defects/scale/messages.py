"""What a detection over files tells as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.config import OutputKind
from ..core.images.planes import ImageLike

__all__ = ["FileDetected", "FileDone", "FileFailed", "FileProgress"]


@dataclass(frozen=True, slots=True)
class FileProgress:
    """Part of the whole job that is done, in [0, 1], and the file that is being worked on."""

    path: Path
    fraction: float


@dataclass(frozen=True, slots=True)
class FileDetected:
    """One file is done, on this computer.

    Attributes
    ----------
    path
        The image file.
    files
        What was written about it, by kind.
    residual, labels
        Residual and instance labels, float32 and int32 of shape (..., H, W). Of images that were
        inspected in blocks they are dask arrays: labels are painted, and a residual is computed
        again, where they are asked for.
    regions
        Number of regions, over all planes.
    seconds
        Time from reading to writing.
    notices
        Sentences about the image that a person should read.
    """

    path: Path
    files: Mapping[OutputKind, tuple[Path, ...]]
    residual: ImageLike
    labels: ImageLike
    regions: int
    seconds: float
    notices: tuple[str, ...] = ()

    @property
    def defective_fraction(self) -> float:
        """Fraction of the pixels that lie in regions."""
        return float(np.count_nonzero(self.labels) / self.labels.size)


@dataclass(frozen=True, slots=True)
class FileDone:
    """One file is done, on another computer or in an earlier run.

    Attributes
    ----------
    path, files, regions, defective_fraction, seconds, notices
        As of `FileDetected`.
    earlier
        Whether it was finished in an earlier run, with the same model and settings.
    """

    path: Path
    files: Mapping[OutputKind, tuple[Path, ...]]
    regions: int
    defective_fraction: float
    seconds: float
    earlier: bool
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileFailed:
    """One file could not be used; ``reason`` is a sentence. The others go on."""

    path: Path
    reason: str
