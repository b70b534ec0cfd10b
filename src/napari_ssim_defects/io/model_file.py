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
_NETWORK = "network."
_TAIL, _THRESHOLDS = "calibration.tail", "calibration.thresholds"


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
        provenance={name: _text(value) for name, value in model.provenance.items()},
    )
    tensors = {
        _NETWORK + name: tensor.detach().cpu().contiguous().numpy()
        for name, tensor in model.network.state_dict().items()
    }
    tensors[_TAIL] = model.calibration.tail
    tensors[_THRESHOLDS] = model.calibration.thresholds
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
    if tensors.keys() != {_TAIL, _THRESHOLDS, *(_NETWORK + name for name in expected)}:
        raise ValueError("tensors that no model has")
    tail, thresholds = tensors[_TAIL], tensors[_THRESHOLDS]
    if not (tail.shape == thresholds.shape == (tail.size,) and tail.size >= 2):
        raise ValueError("calibration of another shape")
    if not tail.dtype == thresholds.dtype == np.float64:
        raise ValueError("calibration in other numbers")
    if not np.isfinite([tail, thresholds]).all() or tail[0] > 1 or tail[-1] < 0:
        raise ValueError("calibration out of range")
    if (tail[1:] > tail[:-1]).any() or (thresholds[1:] < thresholds[:-1]).any():
        raise ValueError("calibration that is not monotone")
    return DefectModel(
        config=config,
        network=network,
        channels=count,
        channel_axis=header.channel_axis,
        intensity=IntensityRange(header.intensity_low, header.intensity_high),
        calibration=Calibration(
            tail, thresholds, header.calibration_pixels, header.calibration_held_out
        ),
        history=tuple(HistoryEntry(*entry) for entry in header.history),
        provenance=header.provenance,
    )
