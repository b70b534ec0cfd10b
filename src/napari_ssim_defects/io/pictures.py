"""Pictures for people: the overview of a detection, and the ROC curve."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..core.errors import InputError
from ..core.evaluation import Evaluation
from .atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["OverviewRow", "refuse_other_formats", "write_overview", "write_roc"]

_FORMATS = (".png", ".svg", ".pdf")


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """One inspected plane: arrays of shape (H, W), input and reconstruction also (H, W, 3)."""

    name: str
    image: npt.NDArray[np.generic]
    reconstruction: npt.NDArray[np.generic]
    residual: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]


def write_overview(
    path: str | os.PathLike[str],
    rows: Sequence[OverviewRow],
    residual_limits: tuple[float, float],
) -> None:
    """Write one picture with input, reconstruction, residual and outlined defects per row.

    Parameters
    ----------
    path
        PNG, SVG or PDF file.
    rows
        One per image; at least one.
    residual_limits
        Display range of the residual, the same for all rows.

    Raises
    ------
    InputError
        If the file's type is not supported or it cannot be written.
    """
    from matplotlib.figure import Figure

    height, width = rows[0].residual.shape
    figure = Figure(
        figsize=(16, 0.7 + 4 * len(rows) * height / width), dpi=100, layout="constrained"
    )
    grid = figure.subplots(len(rows), 4, squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        grey = {"cmap": "gray", "vmin": row.image.min(), "vmax": row.image.max()}
        axes[0].imshow(row.image, **grey)
        axes[1].imshow(_displayable(row.reconstruction, row.image), **grey)
        low, high = residual_limits
        heat = axes[2].imshow(row.residual, cmap="magma", vmin=low, vmax=high)
        axes[3].imshow(row.image, **grey)
        if row.labels.any():
            axes[3].contour(row.labels > 0, levels=[0.5], colors="#ff3030", linewidths=1.2)
        axes[0].set_ylabel(row.name, parse_math=False)
        figure.colorbar(heat, ax=axes[2], fraction=0.035)
        for axis in axes:
            axis.set(xticks=[], yticks=[])
    titles = ("Input", "Reconstruction", "Residual (0 = identical)", "Outlined defects")
    for axis, title in zip(grid[0], titles, strict=True):
        axis.set_title(title)
    _save(figure, path)


def write_roc(path: str | os.PathLike[str], evaluation: Evaluation) -> None:
    """Write the pixel ROC curve (paper figure 5) as a picture.

    Parameters
    ----------
    path
        PNG, SVG or PDF file.
    evaluation
        Scores with the curve.

    Raises
    ------
    InputError
        If the file's type is not supported or it cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5.5), dpi=120, layout="constrained")
    axes: Axes = figure.subplots()
    rates = evaluation.false_positive_rates, evaluation.true_positive_rates
    # A picture shows a thousand points; the curve may have one per pixel. Of steps, both ends.
    wanted = np.linspace(0, 1, 1001)
    last = np.searchsorted(rates[0], wanted, side="right") - 1
    kept = np.union1d(np.searchsorted(rates[0], wanted).clip(max=len(rates[0]) - 1), last)
    axes.plot(rates[0][kept], rates[1][kept], label=f"AUROC {evaluation.auroc:.3f}")
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    axes.set(xlabel="False positive rate", ylabel="True positive rate", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="lower right")
    _save(figure, path)


def _displayable(
    picture: npt.NDArray[np.generic], like: npt.NDArray[np.generic]
) -> npt.NDArray[np.generic]:
    """Integer RGB must be clipped to be shown; anything else is shown as it is."""
    if picture.ndim == 3 and like.dtype.kind in "ui":
        limits = np.iinfo(like.dtype.str)
        return picture.clip(limits.min, limits.max).astype(like.dtype)
    return picture


def refuse_other_formats(path: str | os.PathLike[str]) -> None:
    """Refuse a name that is not one of a PNG, SVG or PDF file.

    Raises
    ------
    InputError
        If it has another ending.
    """
    if Path(path).suffix.lower() not in _FORMATS:
        raise InputError(f"'{path}' is no picture file; use a name ending in .png, .svg or .pdf.")


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    refuse_other_formats(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
