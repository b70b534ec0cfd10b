"""The header of model files, read without the network and without torch."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...core.common.errors import InputError
from ...core.config import ResidualConfig, TrainingConfig
from ...core.model.calibration import Calibration
from ...core.model.corrections import Corrections, Mark, corrected
from ...core.model.thresholds import ThresholdPolicy
from ...core.model.verdict import PaintedDefect, Verdict, verdict_of
from ..files.safetensors_file import read_safetensors

__all__ = [
    "CURVES",
    "FORMAT",
    "FORMAT_VERSION",
    "Header",
    "ModelSummary",
    "ResidualHeader",
    "calibration_of",
    "calibration_tensor",
    "damaged",
    "read_header",
    "read_summary",
]

FORMAT_VERSION = 4
"""Version of the file format that this package writes, and the newest that it reads."""

FORMAT = "napari-ssim-defects model"
_CALIBRATION = "calibration."
CURVES = (
    ("tail", "thresholds"),
    ("areas", "area_thresholds"),
    ("region_rates", "region_thresholds"),
)


class ResidualHeader(BaseModel):
    """The part of a calibration that is not a tensor."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    residual: ResidualConfig
    pixels: Annotated[int, Field(ge=1)]
    held_out: bool
    image_pixels: Annotated[int, Field(ge=1, le=10**15)]


class Header(BaseModel):
    """Everything in a model file that is not a tensor."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    config: TrainingConfig
    channels: Annotated[int, Field(ge=1, le=4096)]
    channel_axis: Annotated[int, Field(ge=-64, le=-1)] | None
    intensity_low: tuple[float, ...]
    intensity_high: tuple[float, ...]
    intensity_contrast: tuple[float, ...] = ()
    scorings: Annotated[tuple[ResidualHeader, ...], Field(min_length=1)]
    threshold: ThresholdPolicy
    history: tuple[tuple[int, float, float, float | None], ...]
    warnings: tuple[str, ...] = ()
    skill: float | None = None  # of models before painted defects were kept; not used
    painted: tuple[PaintedDefect, ...] = ()
    corrections: tuple[Mark, ...] = ()
    parameters: Annotated[int, Field(ge=0)] | None = None
    provenance: dict[str, str]


class _Format(BaseModel):
    """The entries that tell a model file from any other safetensors file."""

    format: Literal["napari-ssim-defects model"]
    format_version: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True, eq=False)
class ModelSummary:
    """A model without its network."""

    header: Header
    calibration: Calibration

    @property
    def corrected(self) -> Corrections:
        """The automatic threshold and the good material after the corrections."""
        return corrected(self.header.threshold, self.calibration, self.header.corrections)

    @property
    def auto_threshold(self) -> float:
        """The threshold that the model's policy gives, from good images and corrections."""
        return self.corrected.threshold

    @property
    def verdict(self) -> Verdict | None:
        """Whether the model can be relied on; None if it was not tried."""
        return verdict_of(self.header.painted, self.corrected.calibration, self.auto_threshold)


def read_header(path: str | os.PathLike[str]) -> tuple[Header, dict[str, np.ndarray]]:
    """Read and validate the header of a model file, and read its tensors.

    Raises
    ------
    InputError
        If it is no safetensors file, no model file, damaged, or from another version.
    """
    tensors, metadata = read_safetensors(path)
    name = os.fspath(path)
    try:
        file_format = _Format.model_validate(metadata, strict=False)
    except ValidationError:
        raise InputError(
            f"'{name}' is a safetensors file but not a model of this program; choose a file "
            "that was saved by it."
        ) from None
    if file_format.format_version > FORMAT_VERSION:
        raise InputError(
            f"'{name}' was saved by a newer version of napari-ssim-defects (format "
            f"{file_format.format_version}, this one reads {FORMAT_VERSION}); update the package."
        )
    if file_format.format_version < FORMAT_VERSION:
        raise InputError(
            f"'{name}' was saved by an older version of napari-ssim-defects (format "
            f"{file_format.format_version}); train the model again."
        )
    try:
        return Header.model_validate(json.loads(metadata["model"])), tensors
    except (KeyError, TypeError, ValueError, RecursionError):
        # ValueError: pydantic, JSON and InputError of a setting; TypeError: names of settings that
        # are no names in Python
        raise damaged(path) from None


def read_summary(path: str | os.PathLike[str]) -> ModelSummary:
    """Read a model file without its network; parameters and errors as of `read_header`."""
    header, tensors = read_header(path)
    try:
        return ModelSummary(header, calibration_of(header.scorings[0], tensors))
    except (KeyError, ValueError):
        raise damaged(path) from None


def damaged(path: str | os.PathLike[str]) -> InputError:
    """Return the error of a file that does not hold what it should."""
    return InputError(f"'{os.fspath(path)}' is damaged; save the model again or restore a backup.")


def calibration_tensor(kind: str, name: str) -> str:
    """Return the name of a tensor of a calibration."""
    return f"{_CALIBRATION}{kind}.{name}"


def calibration_of(calibrated: ResidualHeader, tensors: dict[str, np.ndarray]) -> Calibration:
    """Build a calibration; ValueError if its curves cannot be computed with."""
    curves = []
    for names in CURVES:
        x, y = (tensors[calibration_tensor(calibrated.residual.kind, name)] for name in names)
        if not (x.shape == y.shape == (x.size,) and x.size >= 2):
            raise ValueError("calibration of another shape")
        if not x.dtype == y.dtype == np.float64 or not np.isfinite([x, y]).all():
            raise ValueError("calibration in other numbers")
        curves += [x, y]
    tail, thresholds, areas, area_thresholds, rates, region_thresholds = curves
    if tail[0] > 1 or tail[-1] < 0 or areas[0] != 1 or rates[-1] <= 0:
        raise ValueError("calibration out of range")
    if (
        (tail[1:] > tail[:-1]).any()
        or (thresholds[1:] < thresholds[:-1]).any()
        or (areas[1:] <= areas[:-1]).any()
        or (area_thresholds[1:] > area_thresholds[:-1]).any()
        or (rates[1:] >= rates[:-1]).any()
        or (region_thresholds[1:] < region_thresholds[:-1]).any()
    ):
        raise ValueError("calibration that is not monotone")
    return Calibration(
        tail,
        thresholds,
        calibrated.pixels,
        calibrated.held_out,
        areas,
        area_thresholds,
        rates,
        region_thresholds,
        calibrated.image_pixels,
    )
