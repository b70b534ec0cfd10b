"""Residuals and labels that are larger than memory, as layers hold them."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import psutil
from napari.layers import Layer

from ...core.common.errors import InputError
from .provenance import provenance

if TYPE_CHECKING:
    from ...core.images.planes import ImageLike
    from ...core.segmentation.regions import Region
    from ...io.files.pyramid import ScratchPyramid
    from ...scale.residual_store import ResidualStore

__all__ = [
    "LARGE",
    "LARGE_LABELS",
    "LargeLabels",
    "LargeResidual",
    "LastingFolder",
    "large_labels",
    "large_residual",
    "refuse_large",
    "shown",
]

LARGE = "large"
"""Key of the provenance of a heatmap whose residual is on disk."""

LARGE_LABELS = "large_labels"
"""Key of the provenance of regions that are on disk."""


@dataclass(frozen=True, slots=True, eq=False)
class LargeResidual:
    """A residual on disk, which may still grow.

    Attributes
    ----------
    store
        The residual.
    folder
        Its folder, which is removed with the last reference.
    """

    store: ResidualStore
    folder: LastingFolder

    @property
    def levels(self) -> Sequence[ImageLike]:
        """The residual and ever smaller copies of it."""
        return self.store.levels

    @property
    def highest(self) -> float:
        """The largest residual so far."""
        return self.store.highest

    @property
    def known(self) -> npt.NDArray[np.float32]:
        """A sample of the residuals that are known, about a million in the end."""
        sample = self.store.sample
        return sample[np.isfinite(sample)]

    def fraction_above(self, threshold: float) -> float:
        """Estimate which part of the known residuals lies above a threshold."""
        known = self.known
        return float(np.count_nonzero(known > threshold) / max(1, known.size))

    def refuse_incomplete(self, heatmap: Layer) -> None:
        """Refuse an incomplete residual.

        Raises
        ------
        InputError
            If that is so.
        """
        if self.store.left:
            raise InputError(f"'{heatmap.name}' is not complete; press Detect to continue it.")


@dataclass(frozen=True, slots=True, eq=False)
class LargeLabels:
    """Instance labels on disk.

    Attributes
    ----------
    pyramid
        The labels.
    regions
        Plane and measurements of each region.
    folder
        Their folder, which is removed with the last reference.
    """

    pyramid: ScratchPyramid
    regions: Sequence[tuple[int, Region]]
    folder: LastingFolder

    @property
    def levels(self) -> Sequence[ImageLike]:
        """The labels and ever smaller copies of them."""
        return self.pyramid.levels

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels."""
        return self.pyramid.shape


def large_residual(layer: Layer) -> LargeResidual | None:
    """Return the residual of a heatmap if it is on disk."""
    found: LargeResidual | None = provenance(layer).get(LARGE)
    return found


def large_labels(layer: Layer) -> LargeLabels | None:
    """Return the labels of a layer if they are on disk."""
    found: LargeLabels | None = provenance(layer).get(LARGE_LABELS)
    return found


def refuse_large(layer: Layer, instead: str) -> None:
    """Refuse a residual on disk where it is needed in memory; ``instead`` says what to do.

    Raises
    ------
    InputError
        If the residual is on disk.
    """
    if large_residual(layer) is not None:
        raise InputError(f"'{layer.name}' is larger than memory; {instead}.")


def shown(levels: Sequence[ImageLike]) -> Any:
    """Return the levels as napari takes them: a list, or the only one."""
    return list(levels) if len(levels) > 1 else levels[0]


class LastingFolder:
    """A folder that exists as long as this object.

    Folders that ended processes have left behind are removed.

    Raises
    ------
    InputError
        If it cannot be made.
    """

    def __init__(self, root: Path) -> None:
        from ...io.files.atomic import ensure_folder
        from ...io.files.errors import write_problem

        ensure_folder(root)
        for left in root.glob("*-*"):
            number = left.name.partition("-")[0]
            if number.isdecimal() and not psutil.pid_exists(int(number)):
                rmtree(left, ignore_errors=True)
        try:
            self.path = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=root))
        except OSError as error:
            raise write_problem(root, error) from error
        weakref.finalize(self, rmtree, self.path, ignore_errors=True)
