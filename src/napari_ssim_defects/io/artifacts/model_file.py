"""Model files: one safetensors file with weights, config, calibration and history.

Tensors are ``network.*`` (the weights) and ``calibration.RESIDUAL.*``; everything else is one JSON
text in the header, validated field by field. Reading executes nothing from the file.
"""

from __future__ import annotations

import os
from itertools import chain

import numpy as np
import torch

from ...core.images.intensity import IntensityRange
from ...core.model.calibration import CalibratedResidual
from ...core.model.defect_model import DefectModel, HistoryEntry
from ...core.networks.autoencoder import Autoencoder
from ..files.safetensors_file import write_safetensors
from .model_header import (
    CURVES,
    FORMAT,
    FORMAT_VERSION,
    Header,
    ResidualHeader,
    calibration_of,
    calibration_tensor,
    damaged,
    read_header,
)

__all__ = ["FORMAT_VERSION", "read_model", "write_model"]

_NETWORK = "network."


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
    header = Header(
        config=model.config,
        channels=model.channels,
        channel_axis=model.channel_axis,
        intensity_low=model.intensity.low,
        intensity_high=model.intensity.high,
        intensity_contrast=model.intensity.contrast,
        scorings=tuple(
            ResidualHeader(
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
        painted=model.painted,
        corrections=model.corrections,
        parameters=sum(weights.numel() for weights in model.network.parameters()),
        provenance={name: _text(value) for name, value in model.provenance.items()},
    )
    tensors = {
        _NETWORK + name: tensor.detach().cpu().contiguous().numpy()
        for name, tensor in model.network.state_dict().items()
    }
    for calibrated in model.calibrated_residuals:
        for name in chain.from_iterable(CURVES):
            tensors[calibration_tensor(calibrated.residual.kind, name)] = getattr(
                calibrated.calibration, name
            )
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "model": header.model_dump_json(by_alias=True),
    }
    write_safetensors(path, tensors, metadata)


def read_model(path: str | os.PathLike[str]) -> DefectModel:
    """Read a model file.

    Raises
    ------
    InputError
        If it is no safetensors file, no model file, damaged, or from a newer version.
    """
    header, tensors = read_header(path)
    try:
        return _model(header, tensors)
    except (KeyError, TypeError, ValueError):
        # ValueError: InputError of a setting, and the checks in _model
        raise damaged(path) from None


def _text(text: str) -> str:
    """Escape what is no text, such as bytes of file names, for JSON cannot hold it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _model(header: Header, tensors: dict[str, np.ndarray]) -> DefectModel:
    """Build the model; ValueError or KeyError if tensors and header do not belong together."""
    config, count = header.config, header.channels
    contrast = header.intensity_contrast or header.intensity_low
    if not len(header.intensity_low) == len(header.intensity_high) == len(contrast) == count:
        raise ValueError("intensity range of another number of channels")
    with np.errstate(over="ignore"):
        low, high = np.asarray([header.intensity_low, header.intensity_high]).astype(np.float32)
    if not (np.isfinite([low, high]).all() and (low < high).all()):
        raise ValueError("intensity range that is empty in the numbers that are computed with")
    with torch.device("meta"):  # no memory is taken before the file proves to hold the weights
        network = Autoencoder.from_config(config, count)
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
            raise ValueError("ensemble that was not calibrated")
    kinds = [calibrated.residual.kind for calibrated in header.scorings]
    curves = [
        calibration_tensor(kind, name) for kind in kinds for name in chain.from_iterable(CURVES)
    ]
    if len(set(kinds)) < len(kinds) or header.scorings[0].residual != config.residual:
        raise ValueError("residuals of another config")
    if tensors.keys() != {*curves, *(_NETWORK + name for name in expected)}:
        raise ValueError("tensors that no model has")
    first, *others = (
        CalibratedResidual(calibrated.residual, calibration_of(calibrated, tensors))
        for calibrated in header.scorings
    )
    return DefectModel(
        config=config,
        network=network,
        channels=count,
        channel_axis=header.channel_axis,
        intensity=IntensityRange(
            header.intensity_low, header.intensity_high, header.intensity_contrast
        ),
        calibration=first.calibration,
        alternatives=tuple(others),
        threshold=header.threshold,
        history=tuple(HistoryEntry(*entry) for entry in header.history),
        warnings=header.warnings,
        painted=header.painted,
        corrections=header.corrections,
        provenance=header.provenance,
    )
