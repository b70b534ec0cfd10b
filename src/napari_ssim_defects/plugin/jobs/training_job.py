"""What trains in the background thread, and keeps a checkpoint of it.

Imports what needs torch when it starts, never on the GUI thread.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...core.common.errors import InputError
from ...core.config import TrainingConfig
from ...core.training.messages import TrainingCheckpoint, TrainingMessage, TrainingNotice
from .last_training import LastTraining, checkpoint_file
from .torch_loading import load_torch

if TYPE_CHECKING:
    from ...core.model.defect_model import HistoryEntry
    from ...core.training.checkpoint import TrainingState
    from ..layers import Source
    from ..state.preferences import Preferences

__all__ = ["Resumed", "TrainingImage", "training"]


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """An image to train on, and what makes its mask; None: all of it is free of defects."""

    source: Source
    mask: npt.NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Resumed:
    """An interrupted training goes on; these are its losses so far."""

    history: tuple[HistoryEntry, ...]


def training(
    images: Sequence[TrainingImage],
    config: TrainingConfig,
    chosen: Preferences,
    origin: LastTraining,
    resume: bool,
) -> Generator[TrainingMessage | Resumed, bool | None, None]:
    """Train on images; the messages are those of `core.training.train`, but for checkpoints.

    Those go to a file. Send True to end early with the best model so far.

    Parameters
    ----------
    images
        What to train on.
    config
        The recipe.
    chosen
        Device, threads and folders.
    origin
        What to note about where the images came from.
    resume
        Whether to go on from the last checkpoint.
    """
    load_torch(optimiser=True)
    import torch

    from ...core.training.train import STOP, train
    from ...io.artifacts.checkpoint_file import read_checkpoint

    file = checkpoint_file(chosen.data_folder)
    state = read_checkpoint(file) if resume else None
    if state is not None:
        yield Resumed(state.standing.history)
    torch.set_num_threads(chosen.threads)
    messages = train(
        [image.source.image for image in images],
        config,
        masks=[image.mask for image in images],
        names=[image.source.quoted for image in images],
        device=chosen.device,
        alexnet=chosen.alexnet,
        state=state,
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
            message = TrainingNotice(f"{problem} The training goes on, but could not be resumed.")
        # Once asked for, a stop stays: not every message is listened after.
        stop = (yield message) or stop


def _keep(state: TrainingState, chosen: Preferences, origin: LastTraining) -> str | None:
    """Write a checkpoint; returns what is wrong if it cannot be written."""
    from ...io.artifacts.checkpoint_file import write_checkpoint
    from ...io.files.atomic import ensure_folder

    try:
        ensure_folder(chosen.data_folder)
        write_checkpoint(state, checkpoint_file(chosen.data_folder), origin.notes())
    except InputError as error:
        return str(error)
    return None
