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
    "FEATURES",
    "MEASURING",
    "STEPS",
    "TEXTURE",
    "TRIAL",
    "TrainingCheckpoint",
    "TrainingFinished",
    "TrainingMessage",
    "TrainingNotice",
    "TrainingOutlook",
    "TrainingPreview",
    "TrainingStarted",
    "TrainingStep",
]

# What is done now, for a bar; in this order.
FEATURES, TEXTURE = "Learning the features", "Learning the texture"
STEPS, TRIAL = "Training the networks", "Trying it on painted defects"
MEASURING = "Measuring good images"


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
    measuring_seconds
        How long good images will be measured after the last step, as a trial on this computer says.
    """

    device: str
    precision: str
    parameters: int
    planes: int
    fraction: float = 0.0
    measuring_seconds: float = 0.0


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
    tried
        Good squares, then the same with a painted defect, float32 of shape (2 M, C, S, S); None
        without a discriminator.
    scores
        How sure the discriminator is that their pixels are defective, float32 in [0, 1].
    """

    patches: npt.NDArray[np.float32]
    reconstructions: npt.NDArray[np.float32]
    residuals: npt.NDArray[np.float32]
    tried: npt.NDArray[np.float32] | None = None
    scores: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class TrainingOutlook:
    """How far a training is over all of its phases (see `with_outlook`).

    Attributes
    ----------
    phase
        What is done now, in a few words.
    fraction
        Part of the whole that is done, in [0, 1); it never falls.
    remaining
        Estimated seconds until the model is there; None before this computer's speed is known.
    """

    phase: str
    fraction: float
    remaining: float | None


@dataclass(frozen=True, slots=True)
class TrainingNotice:
    """A notice for the user, in one sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class TrainingCheckpoint:
    """The current state of the training; give it to `train` to resume from here."""

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
