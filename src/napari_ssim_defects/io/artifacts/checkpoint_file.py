"""Checkpoints: one safetensors file from which an interrupted training is resumed.

Tensors are ``network.*``, ``best.*`` and ``optimiser.*``; everything else is one JSON text in the
header, validated field by field. Reading executes nothing from the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ...core.common.errors import InputError
from ...core.config import TrainingConfig
from ...core.training.checkpoint import Checkpoint, LoopState
from ..files.safetensors_file import read_safetensors, write_safetensors

__all__ = ["checkpoint_path", "read_checkpoint", "write_checkpoint"]

_FORMAT = "napari-ssim-defects checkpoint"
_VERSION = "1"
_PARTS = ("network", "best", "optimiser")


class _Header(BaseModel):
    """Everything in a checkpoint that is not a tensor, under its names in the file."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    config: TrainingConfig
    images: str
    standing: LoopState


def checkpoint_path(model: str | os.PathLike[str]) -> Path:
    """Return where the checkpoint of the training of a model file lies: beside it.

    Examples
    --------
    >>> checkpoint_path("weave.safetensors").name
    'weave.checkpoint.safetensors'
    """
    model = Path(model)
    return model.with_name(f"{model.name.removesuffix('.safetensors')}.checkpoint.safetensors")


def write_checkpoint(
    state: Checkpoint, path: str | os.PathLike[str], notes: Mapping[str, str] | None = None
) -> None:
    """Write a checkpoint, whole or not at all: a crash leaves the one before it.

    Parameters
    ----------
    state
        The training.
    path
        The file; one that exists is replaced.
    notes
        Other texts to keep in the file's metadata, by name.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    header = _Header(config=state.config, images=state.images, standing=state.loop_state)
    tensors = {
        f"{part}.{name}": array for part in _PARTS for name, array in getattr(state, part).items()
    }
    metadata = {
        **(notes or {}),
        "format": _FORMAT,
        "format_version": _VERSION,
        "checkpoint": header.model_dump_json(by_alias=True),
    }
    write_safetensors(path, tensors, metadata)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    InputError
        If it is missing, no checkpoint, damaged, or from another version.
    """
    tensors, metadata = read_safetensors(path)
    name = os.fspath(path)
    if metadata.get("format") != _FORMAT:
        raise InputError(f"'{name}' is not a checkpoint of a training; start a new training.")
    if metadata.get("format_version") != _VERSION:
        raise InputError(
            f"'{name}' was written by another version of napari-ssim-defects; resume with that "
            "one, or start a new training."
        )
    try:
        header = _Header.model_validate(json.loads(metadata["checkpoint"]))
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError(f"'{name}' is damaged; start a new training.") from None
    network, best, optimiser = (
        {
            key.removeprefix(f"{part}."): array
            for key, array in tensors.items()
            if key.startswith(f"{part}.")
        }
        for part in _PARTS
    )
    return Checkpoint(header.config, header.images, header.standing, network, best, optimiser)
