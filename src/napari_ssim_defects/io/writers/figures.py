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
from ...core.evaluation.froc import FROC_LIMIT
from ...core.evaluation.scores import Evaluation, thinned
from ..files.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["OverviewRow", "refuse_other_formats", "write_curves", "write_overview"]

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
    roc, precision, overlap, froc = figure.subplots(1, 4)
    roc.set(xlabel="False positive rate", ylabel="True positive rate", xlim=(0, 1))
    precision.set(xlabel="Recall (true positive rate)", ylabel="Precision", xlim=(0, 1))
    limit = evaluation.overlap_rates[-1]
    overlap.set(xlabel="False positive rate", ylabel="Overlap of each defect", xlim=(0, limit))
    froc.set(xlabel="False regions per image", ylabel="Defects found", xlim=(0, FROC_LIMIT))
    if evaluation.defects:
        _draw_curves(evaluation, roc, precision, overlap, froc)
    for axes, place in (
        (roc, "lower right"), (precision, "upper right"), (overlap, "lower right"),
        (froc, "lower right"),
    ):  # fmt: skip
        axes.set_ylim(0, 1.02)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc=place)
        else:
            what = "not counted" if evaluation.defects else "no defects"
            axes.text(0.5, 0.5, what, ha="center", transform=axes.transAxes)
    _save(figure, path)


def _draw_curves(
    evaluation: Evaluation, roc: Axes, precision: Axes, overlap: Axes, froc: Axes
) -> None:
    roc.plot(
        *thinned(evaluation.false_positive_rates, evaluation.true_positive_rates),
        label=f"AUROC {evaluation.auroc:.3f}",
    )
    roc.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    precision.plot(
        *thinned(evaluation.true_positive_rates[1:], evaluation.precisions[1:]),
        label=f"AUPRC {evaluation.auprc:.3f}",
    )
    for quantile, values in evaluation.overlap_curves.items():
        label = f"quantile {quantile:g}: {evaluation.overlap_quantiles[quantile]:.2f} at 5 %"
        overlap.plot(evaluation.overlap_rates, values, label=label)
    if evaluation.froc is not None:
        label = f"{evaluation.froc.found_at(1.0):.2f} at 1 false region"
        froc.step(*evaluation.froc.curve(FROC_LIMIT), where="post", label=label)


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
