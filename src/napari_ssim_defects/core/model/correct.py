"""Telling a model which regions are good and which are defects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..common.errors import InputError
from ..config import SegmentationConfig
from .corrections import Mark, MarkVerdict, marks_of, with_marks
from .defect_model import DefectModel

__all__ = ["correct"]


def correct(
    model: DefectModel,
    residual: npt.NDArray[np.float32],
    *,
    good: npt.NDArray[np.integer] | npt.NDArray[np.bool_] | None = None,
    defects: npt.NDArray[np.integer] | npt.NDArray[np.bool_] | None = None,
    image: str = "",
    segmentation: SegmentationConfig | None = None,
) -> DefectModel:
    """Tell a model which regions of an image are good and which are defects.

    The automatic threshold follows: good regions count as false ones, and it is lowered for a
    missed defect if that costs less than one more false region per good image. The network stays
    as it is. ``model.corrections`` holds the marks, which the model file keeps;
    ``model.corrected.text`` says what they do; ``dataclasses.replace(model, corrections=())``
    undoes them.

    Parameters
    ----------
    model
        The model.
    residual
        What it says of the image, as `DefectModel.residual` returns it; of shape (..., H, W).
    good, defects
        What is good although it is or may be outlined, and what is a defect whether it is
        outlined or not: of the residual's shape, numbers of regions with 0 elsewhere (as `segment`
        returns them), or bool.
    image
        Name of the image. A region that was marked before gets its new mark only.
    segmentation
        How regions are outlined; None: as by default.

    Returns
    -------
    DefectModel
        The same model with the marks.

    Raises
    ------
    InputError
        If nothing is marked, the shapes differ, or the residual cannot be used.

    Examples
    --------
    >>> import napari_ssim_defects as nsd
    >>> def tell(model, image):  # all that is outlined in a good image is good
    ...     residual = model.residual(image)
    ...     outlined = nsd.segment(residual, model.auto_threshold)
    ...     return nsd.correct(model, residual, good=outlined, image="good.png")
    """
    shape = np.shape(residual)
    new: list[Mark] = []
    verdicts: tuple[MarkVerdict, ...] = ("good", "defect")
    for verdict, regions in zip(verdicts, (good, defects), strict=True):
        if regions is None:
            continue
        if np.shape(regions) != shape or len(shape) < 2:
            raise InputError("Residual and marked regions must be of one shape (..., H, W).")
        for number, index in enumerate(np.ndindex(shape[:-2])):
            new += marks_of(
                residual[index], regions[index], verdict,
                image=image, plane=number, segmentation=segmentation,
            )  # fmt: skip
    if not new:
        raise InputError("No region is marked; give at least one that is good or a defect.")
    return replace(model, corrections=with_marks(model.corrections, new))
