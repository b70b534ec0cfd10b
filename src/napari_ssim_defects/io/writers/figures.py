"""Pictures for people: the overview of a detection, and the curves of an evaluation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...core.common.errors import InputError
from ...core.evaluation.scores import CurveSet, Evaluation, curve_sets
from ..files.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "OverviewRow",
    "draw_curves",
    "refuse_other_formats",
    "write_curves",
    "write_overview",
]

_FORMATS = (".png", ".svg", ".pdf")


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """One inspected plane: arrays of shape (H, W), the image also (H, W, 3)."""

    name: str
    image: npt.NDArray[np.generic]
    truth: npt.NDArray[np.int32]
    residual: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]


def write_overview(
    path: str | os.PathLike[str],
    rows: Sequence[OverviewRow],
    residual_limits: tuple[float, float],
) -> None:
    """Write one picture per row: input, known defects, residual and what was outlined.

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
        low, high = residual_limits
        heat = axes[2].imshow(row.residual, cmap="magma", vmin=low, vmax=high)
        for axis, labels in ((axes[1], row.truth), (axes[3], row.labels)):
            axis.imshow(row.image, **grey)
            if labels.any():
                axis.contour(labels > 0, levels=[0.5], colors="#ff3030", linewidths=1.2)
        axes[0].set_ylabel(row.name, parse_math=False)
        figure.colorbar(heat, ax=axes[2], fraction=0.035)
        for axis in axes:
            axis.set(xticks=[], yticks=[])
    titles = ("Input", "Known defects", "Residual", "Outlined")
    for axis, title in zip(grid[0], titles, strict=True):
        axis.set_title(title)
    _save(figure, path)


def write_curves(path: str | os.PathLike[str], evaluation: Evaluation) -> None:
    """Write ROC curve, precision and recall, overlaps of defects (paper figure 5), and FROC.

    Without a defect there are no curves, and the plots say so.

    Parameters
    ----------
    path
        PNG, SVG or PDF file.
    evaluation
        Scores with the curves.

    Raises
    ------
    InputError
        If the file's type is not supported or it cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(20, 5), dpi=120, layout="constrained")
    for axes, curves in zip(figure.subplots(1, 4), curve_sets(evaluation), strict=True):
        draw_curves(axes, curves)
        if not curves.curves:
            what = "not counted" if evaluation.defects else "no defects"
            axes.text(0.5, 0.5, what, ha="center", transform=axes.transAxes)
    _save(figure, path)


def draw_curves(axes: Axes, curves: CurveSet) -> None:
    """Draw curves with the names of their axes and a legend, in the colours of the axes."""
    axes.set(xlabel=curves.x_name, ylabel=curves.y_name, xlim=(0, curves.x_max), ylim=(0, 1.02))
    for name, (x, y) in curves.curves.items():
        axes.plot(x, y, label=name)
    if curves.title == "ROC" and curves.curves:
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    if curves.curves:
        axes.legend(loc="upper right" if curves.y_name == "Precision" else "lower right")


def refuse_other_formats(path: str | os.PathLike[str]) -> None:
    """Refuse a name that is not one of a PNG, SVG or PDF file.

    Raises
    ------
    InputError
        If it has another ending.
    """
    if Path(path).suffix.lower() not in _FORMATS:
        raise InputError(
            f"'{path}' is not a picture file; use a name ending in .png, .svg or .pdf."
        )


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    refuse_other_formats(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
