"""Typed messages of a training, which it yields instead of calling back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from ..common.progress import CalibrationProgress, PreparationProgress

if TYPE_CHECKING:
    from ..model.defect_model import DefectModel
    from .checkpoint import Checkpoint

__all__ = [
    "TrainingCheckpoint",
    "TrainingFinished",
    "TrainingMessage",
    "TrainingNotice",
    "TrainingPreview",
    "TrainingStarted",
    "TrainingStep",
]


@dataclass(frozen=True, slots=True)
class TrainingStarted:
    """The training is set up and its first step comes next.

    Attributes
    ----------
    device, precision
        Where and in which number format the network runs, for example ``"cpu"``, ``"bfloat16"``.
    parameters
        Number of trainable parameters.
    planes
        Number of training planes.
    fraction
        Part of the training that was done before it was interrupted, in [0, 1].
    """

    device: str
    precision: str
    parameters: int
    planes: int
    fraction: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """State of the training after a group of steps; at most half a second after the last one.

    Attributes
    ----------
    step
        Optimiser steps done.
    fraction
        Part of the training that is done, in [0, 1].
    loss
        Mean training loss over the group.
    validation_loss
        Latest loss on the held-out patches; None before the first one and without them.
    elapsed, remaining
        Seconds since the first step, and estimated until the last one.
    patches_per_second
        Throughput since the first step.
    """

    step: int
    fraction: float
    loss: float
    validation_loss: float | None
    elapsed: float
    remaining: float
    patches_per_second: float


@dataclass(frozen=True, slots=True)
class TrainingPreview:
    """Fixed patches with their current reconstruction and residual.

    Attributes
    ----------
    patches, reconstructions
        float32 arrays of shape (N, C, H, W), in normalised intensities.
    residuals
        float32 array of shape (N, H, W).
    """

    patches: npt.NDArray[np.float32]
    reconstructions: npt.NDArray[np.float32]
    residuals: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrainingNotice:
    """A notice for the user, in one sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class TrainingCheckpoint:
    """The current state of the training; give it to `train` to resume from here.

    Attributes
    ----------
    state
        The checkpoint.
    """

    state: Checkpoint


@dataclass(frozen=True, slots=True)
class TrainingFinished:
    """The last message of every training that was not closed.

    Attributes
    ----------
    model
        The model with the best weights so far.
    stopped
        Whether the training was stopped before its end.
    share
        Part of the training that was done, in (0, 1]; below 1 also if the time limit ended it.
    """

    model: DefectModel
    stopped: bool
    share: float = 1.0


TrainingMessage: TypeAlias = (
    PreparationProgress
    | TrainingStarted
    | TrainingStep
    | TrainingPreview
    | TrainingNotice
    | TrainingCheckpoint
    | CalibrationProgress
    | TrainingFinished
)
