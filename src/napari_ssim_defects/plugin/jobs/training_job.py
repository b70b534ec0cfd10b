"""The background job that trains, with a checkpoint from which it can be resumed.

Imports what needs torch when it starts, never on the GUI thread. Config and layers of the last
training are known without reading its weights.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from ...core.common.errors import InputError
from ...core.config import TrainingConfig
from ...core.training.messages import (
    TrainingCheckpoint,
    TrainingMessage,
    TrainingNotice,
    TrainingOutlook,
)
from ...io.files.safetensors_file import read_metadata
from .torch_loading import load_torch

if TYPE_CHECKING:
    from napari.layers import Layer

    from ...core.model.defect_model import HistoryEntry
    from ...core.training.checkpoint import Checkpoint
    from ..layers import Source
    from ..state.preferences import Preferences

__all__ = [
    "LastTraining",
    "LayerRecord",
    "Resumed",
    "TrainingImage",
    "checkpoint_file",
    "training",
]

_NOTE = "layers"


class LayerRecord(BaseModel):
    """How to find a layer again: its name, and the file that it came from, if any."""

    name: str
    file: str | None

    @classmethod
    def from_layer(cls, layer: Layer) -> LayerRecord:
        """Describe a layer."""
        path = layer.source.path
        return cls(name=layer.name, file=None if path is None else str(path))

    def find(self, layers: Iterable[Layer]) -> Layer:
        """Return the layer of that file and name; else of that file; else of that name.

        Raises
        ------
        InputError
            If there is none.
        """
        layers = list(layers)
        found = [
            layer
            for layer in layers
            if self.file and LayerRecord.from_layer(layer).file == self.file
        ]
        named = [layer for layer in found or layers if layer.name == self.name]
        if not (named or found):
            where = f" ({self.file})" if self.file else ""
            raise InputError(f"Open '{self.name}'{where} first; the training needs it to continue.")
        return (named or found)[0]


class _Layers(BaseModel):
    training: tuple[LayerRecord, ...]
    region: LayerRecord | None


@dataclass(frozen=True, slots=True)
class LastTraining:
    """Config of the last training, and its layers."""

    config: TrainingConfig
    images: tuple[LayerRecord, ...]
    region: LayerRecord | None

    def notes(self) -> dict[str, str]:
        """Return the notes to write into a checkpoint."""
        return {_NOTE: _Layers(training=self.images, region=self.region).model_dump_json()}

    @classmethod
    def read(cls, folder: Path) -> LastTraining:
        """Read from the checkpoint in a folder, without torch.

        Raises
        ------
        InputError
            If there is none, or it is damaged.
        """
        file = checkpoint_file(folder)
        metadata = read_metadata(file)
        try:
            layers = _Layers.model_validate_json(metadata[_NOTE])
            config = TrainingConfig.model_validate(json.loads(metadata["checkpoint"])["config"])
        except (KeyError, TypeError, ValueError, ValidationError):
            raise InputError(f"'{file}' is damaged; start a new training.") from None
        return cls(config, layers.training, layers.region)


def checkpoint_file(folder: Path) -> Path:
    """Return where the checkpoint of the last training lies."""
    return folder / "last-training.safetensors"


_DRAW = "draw a rectangle around the rest in a Shapes layer and choose it as Region"


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """An image to train on, and a function for its mask; None: all of it is free of defects."""

    source: Source
    mask: npt.NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Resumed:
    """An interrupted training was resumed; its losses so far."""

    history: tuple[HistoryEntry, ...]


def training(
    images: Sequence[TrainingImage],
    config: TrainingConfig,
    chosen: Preferences,
    origin: LastTraining,
    resume: bool,
    longer: bool = False,
) -> Generator[TrainingMessage | TrainingOutlook | Resumed, bool | None, None]:
    """Train on images; the messages are those of `core.training.train`, but for checkpoints.

    Those go to a file, and `TrainingOutlook` tells how far all of it is. Send True to end early
    with the best model so far.

    Parameters
    ----------
    images
        Images to train on.
    config
        The config.
    chosen
        Device, threads and folders.
    origin
        Config and layers, for the notes of checkpoints.
    resume
        Whether to continue from the last checkpoint.
    longer
        Whether it was finished and is trained for the same time again; ``config`` has twice the
        epochs.
    """
    load_torch(optimiser=True)
    import torch

    from ...core.training.outlook import with_outlook
    from ...core.training.train import STOP, train
    from ...io.artifacts.checkpoint_file import read_checkpoint

    file = checkpoint_file(chosen.data_folder)
    state = read_checkpoint(file) if resume else None
    if state is not None and longer:
        state = state.longer()
    if state is not None:
        yield Resumed(state.loop_state.history)
    torch.set_num_threads(chosen.threads)
    for notice in (_bar_notice(images), *map(_unseen_notice, images)):
        if notice is not None:
            yield TrainingNotice(notice)
    messages = with_outlook(
        train(
            [image.source.image for image in images],
            config,
            masks=[image.mask for image in images],
            names=[image.source.quoted for image in images],
            device=chosen.device,
            alexnet=chosen.alexnet,
            state=state,
        ),
        config,
    )
    stop: bool | None = None
    keeping = True
    while True:
        try:
            message = messages.send(STOP if stop else None)
        except StopIteration:
            return
        if isinstance(message, TrainingCheckpoint):
            problem = _keep(message.state, chosen, origin) if keeping else None
            if problem is None:
                continue
            keeping = False
            message = TrainingNotice(
                f"{problem} The training continues, but it cannot be resumed after an interruption."
            )
        # Once asked for, a stop stays: not every message is listened after.
        stop = (yield message) or stop


def _bar_notice(images: Sequence[TrainingImage]) -> str | None:
    """Propose to leave out a data bar that all images have, unless a region does."""
    from ...core.images.planes import as_planes
    from ...io.images.checks import data_bar_notice

    if any(image.mask is not None for image in images):
        return None
    with suppress(InputError):  # said by the training
        planes = [
            as_planes(image.source.image, grey=not image.source.rgb, name=image.source.quoted)
            for image in images
        ]
        return data_bar_notice(planes, _DRAW)
    return None


def _unseen_notice(image: TrainingImage) -> str | None:
    """Say that a layer is not all of its file."""
    from ...io.images.checks import unseen_notice

    source = image.source
    if source.file is None:
        return None
    return unseen_notice(source.file, source.image.shape, source.quoted, otherwise="")


def _keep(state: Checkpoint, chosen: Preferences, origin: LastTraining) -> str | None:
    """Write a checkpoint; returns the problem if it cannot be written."""
    from ...io.artifacts.checkpoint_file import write_checkpoint
    from ...io.files.atomic import ensure_folder

    try:
        ensure_folder(chosen.data_folder)
        write_checkpoint(state, checkpoint_file(chosen.data_folder), origin.notes())
    except InputError as error:
        return str(error)
    return None
