"""Background jobs on what is larger than memory."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.config import SegmentationConfig
from ..layers.large import LargeLabels, LargeResidual, LastingFolder
from .jobs import Fraction

if TYPE_CHECKING:
    from ...core.images.planes import Planes
    from ...core.model.defect_model import DefectModel

__all__ = ["Sight", "growing", "new_residual", "outlining"]

Sight = tuple[tuple[int, ...], tuple[float, float]]
"""What is looked at: index of a plane, and row and column of a pixel."""


def new_residual(
    model: DefectModel, planes: Planes, stride: int | None, device: str, root: Path
) -> LargeResidual:
    """Make the residual of an image on disk, of which nothing is known yet."""
    from ...scale.residual_store import ResidualStore

    folder = LastingFolder(root)
    store = ResidualStore(model, planes, folder.path, stride=stride, device=device)
    return LargeResidual(store, folder)


def growing(large: LargeResidual, sight: Sight | None) -> Generator[float, Sight | None, None]:
    """Compute what is not known yet; what is looked at, until another is sent, comes first."""
    from ...scale.residual_store import Wanted

    if sight is not None and len(sight[0]) != len(large.store.shape) - 2:
        sight = None  # of an image with channels, whose planes are numbered otherwise
    steps = large.store.fill(None if sight is None else Wanted(*sight))
    with suppress(StopIteration):
        fraction = next(steps)
        while True:
            sight = yield fraction
            fraction = steps.send(None if sight is None else Wanted(*sight))


def outlining(
    large: LargeResidual, threshold: float, config: SegmentationConfig
) -> Generator[Fraction, None, LargeLabels]:
    """Outline and measure the regions of a residual, and keep their labels on disk."""
    from ...core.detection.reconstruction import relayed
    from ...io.files.scratch_pyramid import ScratchPyramid
    from ...scale.block_detection import outline_blocks

    folder = LastingFolder(large.folder.path.parent)
    pyramid = ScratchPyramid(folder.path, large.store.shape, np.dtype(np.int32))
    steps = outline_blocks(large.levels[0], threshold, config, pyramid)
    found: Any = yield from relayed(steps, Fraction)
    return LargeLabels(pyramid, found.regions, folder)
