"""Progress of preparation, calibration and detection, as typed messages."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "CalibrationProgress",
    "DetectionProgress",
    "ImageDetected",
    "PlaneDetected",
    "PreparationProgress",
    "drained",
    "relayed",
]


@dataclass(frozen=True, slots=True)
class PreparationProgress:
    """Part, in [0, 1], of a task before or after the steps; ``text`` names the task."""

    text: str
    fraction: float


@dataclass(frozen=True, slots=True)
class CalibrationProgress:
    """Part, in [0, 1], of the calibration on defect-free images after the training."""

    fraction: float


@dataclass(frozen=True, slots=True)
class DetectionProgress:
    """Part, in [0, 1], of all planes of an image that is done."""

    fraction: float


@dataclass(frozen=True, slots=True)
class PlaneDetected:
    """Result of detection in one plane.

    Attributes
    ----------
    residual
        float32 array of shape (H, W); 0 = perfectly good.
    reconstruction
        float32 array of shape (C, H, W), in the intensities of the input; None if there is none,
        as neither the residual nor the caller needed it.
    foreign
        Whether the plane as a whole is unlike the training images.
    """

    residual: npt.NDArray[np.float32]
    reconstruction: npt.NDArray[np.float32] | None
    foreign: bool


@dataclass(frozen=True, slots=True)
class ImageDetected:
    """Result of detection in all planes of an image.

    Attributes
    ----------
    residual
        float32 array of shape (..., H, W); 0 = perfectly good.
    reconstruction
        float32 array of the image's shape, without opacity; None if it was not asked for.
    foreign
        Whether a plane as a whole is unlike the training images.
    """

    residual: npt.NDArray[np.float32]
    reconstruction: npt.NDArray[np.float32] | None
    foreign: bool


_Message = TypeVar("_Message")
_Step = TypeVar("_Step")
_Result = TypeVar("_Result")


def relayed(
    steps: Generator[float, None, _Result], message: Callable[[float], _Message]
) -> Generator[_Message, None, _Result]:
    """Convert each message of a generator, and return its result."""
    while True:
        try:
            fraction = next(steps)
        except StopIteration as finished:
            result: _Result = finished.value
            return result
        yield message(fraction)


def drained(
    steps: Generator[_Step, None, _Result], on_message: Callable[[_Step], object] | None = None
) -> _Result:
    """Run a generator to its end, and return its result."""
    while True:
        try:
            message = next(steps)
        except StopIteration as finished:
            result: _Result = finished.value
            return result
        if on_message is not None:
            on_message(message)
