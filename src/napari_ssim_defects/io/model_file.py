"""Model files: one safetensors file with weights, recipe, calibration and history.

Tensors are ``network.*`` (the weights) and ``calibration.*``; everything else is one JSON text
in the header, validated field by field. Reading executes nothing from the file.
"""

from __future__ import annotations

import json
import os
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.calibration import Calibration
from ..core.config import TrainingConfig
from ..core.errors import InputError
from ..core.intensity import IntensityRange
from ..core.model import DefectModel, HistoryEntry
from ..core.networks import Autoencoder
from .safetensors_file import read_safetensors, write_safetensors

__all__ = ["FORMAT_VERSION", "read_model", "write_model"]

FORMAT_VERSION = 1
"""Version of the file format that this package writes, and the newest that it reads."""

_FORMAT = "napari-ssim-defects model"
_NETWORK, _CALIBRATION = "network.", "calibration."


class _Header(BaseModel):
    """Everything in a model file that is not a tensor."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    config: TrainingConfig
    channels: Annotated[int, Field(ge=1, le=4096)]
    channel_axis: Annotated[int, Field(ge=-64, le=-1)] | None
    intensity_low: tuple[float, ...]
    intensity_high: tuple[float, ...]
    calibration_pixels: Annotated[int, Field(ge=1)]
    calibration_held_out: bool
    history: tuple[tuple[int, float, float, float | None], ...]
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
        calibration_pixels=model.calibration.pixels,
        calibration_held_out=model.calibration.held_out,
        history=tuple(
            (entry.step, entry.seconds, entry.loss, entry.validation_loss)
            for entry in model.history
        ),
        provenance=dict(model.provenance),
    )
    tensors = {
        _NETWORK + name: tensor.detach().cpu().contiguous().numpy()
        for name, tensor in model.network.state_dict().items()
    }
    tensors[_CALIBRATION + "tail"] = model.calibration.tail
    tensors[_CALIBRATION + "thresholds"] = model.calibration.thresholds
    metadata = {
        "format": _FORMAT,
        "format_version": str(FORMAT_VERSION),
        "model": header.model_dump_json(),
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
    damaged = InputError(f"'{name}' is damaged; save the model again or restore a backup.")
    try:
        header = _Header.model_validate(json.loads(metadata["model"]))
        return _model(header, tensors)
    except (KeyError, ValueError, RecursionError):
        # ValueError: pydantic, JSON, InputError of a setting, and the checks in _model
        raise damaged from None


def _model(header: _Header, tensors: dict[str, np.ndarray]) -> DefectModel:
    """Build the model; ValueError or KeyError if tensors and header do not belong together."""
    config, count = header.config, header.channels
    if not len(header.intensity_low) == len(header.intensity_high) == count:
        raise ValueError("intensity range of another number of channels")
    if any(lo >= hi for lo, hi in zip(header.intensity_low, header.intensity_high, strict=True)):
        raise ValueError("empty intensity range")
    settings = (config.patch_size, count, config.latent_dimension, config.batch_norm)
    with torch.device("meta"):  # no memory is taken before the file proves to hold the weights
        network = Autoencoder(*settings)
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
    tail = tensors[_CALIBRATION + "tail"]
    thresholds = tensors[_CALIBRATION + "thresholds"]
    falls = (np.diff(tail) <= 0).all() and (np.diff(thresholds) >= 0).all()
    if not (tail.shape == thresholds.shape == (tail.size,) and tail.size >= 2 and falls):
        raise ValueError("calibration that is not monotone")
    if not tail[0] <= 1 or not tail[-1] >= 0 or not np.isfinite(thresholds).all():
        raise ValueError("calibration out of range")
    return DefectModel(
        config=config,
        network=network,
        channels=count,
        channel_axis=header.channel_axis,
        intensity=IntensityRange(header.intensity_low, header.intensity_high),
        calibration=Calibration(
            tail.astype(np.float64),
            thresholds.astype(np.float64),
            header.calibration_pixels,
            header.calibration_held_out,
        ),
        history=tuple(HistoryEntry(*entry) for entry in header.history),
        provenance=header.provenance,
    )
