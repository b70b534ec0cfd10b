"""Model files: one safetensors file with weights, config, calibration and history.

Tensors are ``network.*`` (the weights) and ``calibration.RESIDUAL.*``; everything else is one JSON
text in the header, validated field by field. Reading executes nothing from the file.
"""

from __future__ import annotations

import json
import os
from itertools import chain
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...core.common.errors import InputError
from ...core.config import ResidualConfig, TrainingConfig
from ...core.images.intensity import IntensityRange
from ...core.model.calibration import CalibratedResidual, Calibration
from ...core.model.defect_model import DefectModel, HistoryEntry
from ...core.model.thresholds import ThresholdPolicy
from ...core.networks.autoencoder import Autoencoder
from ..files.safetensors_file import read_safetensors, write_safetensors

__all__ = ["FORMAT_VERSION", "read_model", "write_model"]

FORMAT_VERSION = 4
"""Version of the file format that this package writes, and the newest that it reads."""

_FORMAT = "napari-ssim-defects model"
_NETWORK = "network."
_CALIBRATION = "calibration."
_CURVES = (
    ("tail", "thresholds"),
    ("areas", "area_thresholds"),
    ("region_rates", "region_thresholds"),
)


class _CalibratedResidual(BaseModel):
    """What is not a tensor of a calibration."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    residual: ResidualConfig
    pixels: Annotated[int, Field(ge=1)]
    held_out: bool
    image_pixels: Annotated[int, Field(ge=1, le=10**15)]


class _Header(BaseModel):
    """Everything in a model file that is not a tensor."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    config: TrainingConfig
    channels: Annotated[int, Field(ge=1, le=4096)]
    channel_axis: Annotated[int, Field(ge=-64, le=-1)] | None
    intensity_low: tuple[float, ...]
    intensity_high: tuple[float, ...]
    scorings: Annotated[tuple[_CalibratedResidual, ...], Field(min_length=1)]
    threshold: ThresholdPolicy
    history: tuple[tuple[int, float, float, float | None], ...]
    warnings: tuple[str, ...] = ()
    provenance: dict[str, str]


class _Format(BaseModel):
    """What tells a model file from any other safetensors file."""

    format: Literal["napari-ssim-defects model"]
    format_version: Annotated[int, Field(ge=1)]


def write_model(model: DefectModel, path: str | os.PathLike[str]) -> None:
    """Write a model to one file, whole or not at all.

    Parameters
    ----------
    model
        The model.
    path
        The file, usually with the suffix ``.safetensors``; one that exists is replaced.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    header = _Header(
        config=model.config,
        channels=model.channels,
        channel_axis=model.channel_axis,
        intensity_low=model.intensity.low,
        intensity_high=model.intensity.high,
        scorings=tuple(
            _CalibratedResidual(
                residual=calibrated.residual,
                pixels=calibrated.calibration.pixels,
                held_out=calibrated.calibration.held_out,
                image_pixels=calibrated.calibration.image_pixels,
            )
            for calibrated in model.calibrated_residuals
        ),
        threshold=model.threshold,
        history=tuple(
            (entry.step, entry.seconds, entry.loss, entry.validation_loss)
            for entry in model.history
        ),
        warnings=model.warnings,
        provenance={name: _text(value) for name, value in model.provenance.items()},
    )
    tensors = {
        _NETWORK + name: tensor.detach().cpu().contiguous().numpy()
        for name, tensor in model.network.state_dict().items()
    }
    for calibrated in model.calibrated_residuals:
        for name in chain.from_iterable(_CURVES):
            tensors[_tensor(calibrated.residual.kind, name)] = getattr(calibrated.calibration, name)
    metadata = {
        "format": _FORMAT,
        "format_version": str(FORMAT_VERSION),
        "model": header.model_dump_json(by_alias=True),
    }
    write_safetensors(path, tensors, metadata)


def read_model(path: str | os.PathLike[str]) -> DefectModel:
    """Read a model file.

    Parameters
    ----------
    path
        A file that `write_model` wrote; anything else is refused.

    Raises
    ------
    InputError
        If it is no safetensors file, no model file, damaged, or from a newer version.
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
    damaged = InputError(f"'{name}' is damaged; save the model again or restore a backup.")
    try:
        header = _Header.model_validate(json.loads(metadata["model"]))
        return _model(header, tensors)
    except (KeyError, TypeError, ValueError, RecursionError):
        # ValueError: pydantic, JSON, InputError of a setting, and the checks in _model;
        # TypeError: names of settings that are no names in Python
        raise damaged from None


def _text(text: str) -> str:
    """Escape what is no text, such as bytes of file names, for JSON cannot hold it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _model(header: _Header, tensors: dict[str, np.ndarray]) -> DefectModel:
    """Build the model; ValueError or KeyError if tensors and header do not belong together."""
    config, count = header.config, header.channels
    if not len(header.intensity_low) == len(header.intensity_high) == count:
        raise ValueError("intensity range of another number of channels")
    with np.errstate(over="ignore"):
        low, high = np.asarray([header.intensity_low, header.intensity_high]).astype(np.float32)
    if not (np.isfinite([low, high]).all() and (low < high).all()):
        raise ValueError("intensity range that is empty in the numbers that are computed with")
    with torch.device("meta"):  # no memory is taken before the file proves to hold the weights
        network = Autoencoder.of(config, count)
    weights = {
        name.removeprefix(_NETWORK): torch.from_numpy(np.array(tensor))
        for name, tensor in tensors.items()
        if name.startswith(_NETWORK)
    }
    expected = network.state_dict()
    if weights.keys() != expected.keys() or any(
        weights[name].shape != tensor.shape or weights[name].dtype != tensor.dtype
        for name, tensor in expected.items()
    ):
        raise ValueError("weights of another network")
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise ValueError("weights that are not finite")
    network.load_state_dict(weights, assign=True)
    network.requires_grad_(True).eval()
    for calibrated in header.scorings:
        config.replace(residual=calibrated.residual)  # refuses what the network does not have
        if calibrated.residual.kind == "rarity" and not calibrated.residual.is_measured:
            raise ValueError("rarity that was not measured")
    kinds = [calibrated.residual.kind for calibrated in header.scorings]
    curves = [_tensor(kind, name) for kind in kinds for name in chain.from_iterable(_CURVES)]
    if len(set(kinds)) < len(kinds) or header.scorings[0].residual != config.residual:
        raise ValueError("residuals of another config")
    if tensors.keys() != {*curves, *(_NETWORK + name for name in expected)}:
        raise ValueError("tensors that no model has")
    first, *others = (
        CalibratedResidual(calibrated.residual, _calibration(calibrated, tensors))
        for calibrated in header.scorings
    )
    return DefectModel(
        config=config,
        network=network,
        channels=count,
        channel_axis=header.channel_axis,
        intensity=IntensityRange(header.intensity_low, header.intensity_high),
        calibration=first.calibration,
        alternatives=tuple(others),
        threshold=header.threshold,
        history=tuple(HistoryEntry(*entry) for entry in header.history),
        warnings=header.warnings,
        provenance=header.provenance,
    )


def _tensor(kind: str, name: str) -> str:
    return f"{_CALIBRATION}{kind}.{name}"


def _calibration(calibrated: _CalibratedResidual, tensors: dict[str, np.ndarray]) -> Calibration:
    """Build a calibration; ValueError if its curves cannot be computed with."""
    curves = []
    for names in _CURVES:
        x, y = (tensors[_tensor(calibrated.residual.kind, name)] for name in names)
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
