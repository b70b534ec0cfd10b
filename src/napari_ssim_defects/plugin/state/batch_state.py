"""State of the Folder section."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from psygnal import EventedModel

__all__ = ["BatchImage", "BatchState", "BatchSummary"]

_KEPT = 100  # images that are listed; there may be any number


@dataclass(frozen=True, slots=True)
class BatchImage:
    """One image file that is finished.

    Attributes
    ----------
    path
        The image.
    regions, defective_fraction
        Number of its regions, and the fraction of its pixels that lie in them.
    earlier
        Whether an earlier run finished it.
    residual
        The file of its residual; None if it was not written.
    """

    path: Path
    regions: int
    defective_fraction: float
    earlier: bool
    residual: Path | None


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """Results so far of a run over many images.

    Attributes
    ----------
    total
        Number of images.
    done, earlier, defective
        How many are finished, how many of these by earlier runs, and how many have regions.
    failures
        Images that could not be used, and why.
    worst
        Finished images with regions, by the fraction of their area in them; the first hundred.
    folder
        Where the results are.
    report
        The report once it is written.
    ended
        Whether all images were tried.
    notices
        Sentences about the images that a person should read; the first hundred.
    """

    total: int
    folder: Path
    done: int = 0
    earlier: int = 0
    defective: int = 0
    failures: tuple[tuple[Path, str], ...] = ()
    worst: tuple[BatchImage, ...] = ()
    report: Path | None = None
    ended: bool = False
    notices: tuple[str, ...] = ()

    def with_image(self, image: BatchImage) -> Self:
        """Count a finished image."""
        worst = self.worst
        if image.regions:
            worst = tuple(sorted((*worst, image), key=_badness)[:_KEPT])
        return replace(
            self,
            done=self.done + 1,
            earlier=self.earlier + image.earlier,
            defective=self.defective + (image.regions > 0),
            worst=worst,
        )

    def with_failure(self, path: Path, reason: str) -> Self:
        """Count an image that cannot be used."""
        return replace(self, failures=(*self.failures, (path, reason)))

    def with_notices(self, notices: Iterable[str]) -> Self:
        """Add sentences about images."""
        return replace(self, notices=(*self.notices, *notices)[:_KEPT])

    def finished(self, report: Path | None) -> Self:
        """Return the summary after all images were tried."""
        return replace(self, ended=True, report=report)


class BatchState(EventedModel):
    """Choices and progress of the detection in many files.

    Attributes
    ----------
    inputs
        Files and folders to inspect.
    folder
        Where to write; None: not chosen yet.
    overwrite, report
        Whether finished images are inspected again, and whether a report is written.
    roi
        What of the images is inspected, as `parse_region` reads it; "" = all.
    threshold
        Residual above which a pixel is a candidate; None without a model.
    summary
        `BatchSummary` of the current or last run, or None.
    """

    __eq_operators__: ClassVar[dict[str, Callable[[Any, Any], bool]]] = {"summary": operator.is_}

    inputs: tuple[Path, ...] = ()
    folder: Path | None = None
    overwrite: bool = False
    report: bool = True
    roi: str = ""
    threshold: float | None = None
    summary: Any = None


def _badness(image: BatchImage) -> tuple[float, int]:
    return -image.defective_fraction, -image.regions
