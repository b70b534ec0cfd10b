"""Checkpoint of a training, from which it can be resumed: values and arrays for a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import nn

from ..common.errors import InputError
from ..common.frozen_model import FrozenModel
from ..config import TrainingConfig
from ..model.defect_model import HistoryEntry
from .schedule import Count, TrainingSchedule

__all__ = [
    "Arrays",
    "Checkpoint",
    "LoopState",
    "drop_unfinished",
    "load_arrays",
    "load_moments",
    "to_arrays",
]

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Tensors of a network or an optimiser, by name, on the CPU."""

_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # Adam's, of each parameter that it has moved

_OTHER = "The interrupted training does not match its own settings; start a new training."


class LoopState(FrozenModel, frozen=False):
    """State of the training loop, without the weights; the trainer changes it step by step.

    What is random in a step follows from the seed and from ``seen``, so the states of generators
    need not be kept. On graphics cards the corruptions differ after a resume (see `BatchLoader`).

    Attributes
    ----------
    seen, steps
        Patches seen, and optimiser steps made.
    elapsed
        Seconds of work.
    validations
        Which of the validations, spread evenly over the budget, was last.
    batch_size
        Patches per step; may have been lowered for want of memory.
    learning_rate
        Peak of the schedule; may have been lowered.
    best_loss
        Lowest loss on held-out patches; None before the first validation and without such patches.
    schedule
        Attempts, and an early end if there is to be one.
    losses
        Training losses since the last validation; filled in for a checkpoint.
    history
        Losses at the validations.
    """

    seen: Count = 0
    steps: Count = 0
    elapsed: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    validations: Count = Field(default=0, alias="looks")
    batch_size: Annotated[int, Field(ge=1, le=65536)]
    learning_rate: Annotated[float, Field(gt=0)]
    best_loss: float | None = None
    schedule: TrainingSchedule = Field(default=TrainingSchedule(), alias="course")
    losses: tuple[float, ...] = ()
    history: tuple[HistoryEntry, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A training that can be resumed.

    Attributes
    ----------
    config
        Its config.
    images
        Fingerprint of the images and masks that it learns from.
    loop_state
        State of its loop.
    network, best
        Weights now, and the best ones so far; the latter are empty if no validation had a loss.
    optimiser
        Moments of the optimiser: ``"PARAMETER.NAME"``; parameters are numbered.
    """

    config: TrainingConfig
    images: str
    loop_state: LoopState
    network: Arrays
    best: Arrays
    optimiser: Arrays

    def longer(self) -> Checkpoint:
        """Return the same training with twice its epochs; an early end is called off."""
        loop, before = self.loop_state, self.loop_state.schedule
        schedule = TrainingSchedule(
            attempt=before.attempt,
            begun=before.begun / 2,
            begun_step=before.begun_step,
            reconstruction_skill=before.reconstruction_skill,
            risen=before.risen / 2,
            best=before.best,
            improved=loop.seen / (2 * self.config.patches * self.config.epochs),
            improved_step=loop.steps,
        )
        return replace(
            self,
            config=self.config.replace(epochs=2 * self.config.epochs),
            loop_state=loop.replace(schedule=schedule, validations=loop.validations // 2),
        )

    def refuse_other(self, config: TrainingConfig, images: str) -> None:
        """Refuse to resume with other settings, but for the time limit, or on other images.

        Raises
        ------
        InputError
            If either differs; it says what.
        """
        mine, other = self.config.model_dump(), config.model_dump()
        for name in mine:
            if name != "minutes" and mine[name] != other[name]:
                raise InputError(
                    f"The interrupted training had another setting '{name}' ({mine[name]}, not "
                    f"{other[name]}); resume it with the same settings, or start a new training."
                )
        if self.images != images:
            raise InputError(
                "The interrupted training learned from other images or another region; resume it "
                "with the same ones in the same order, or start a new training."
            )


def to_arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Copy tensors, which may be on any device, to arrays."""
    return {name: np.array(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()}


def load_arrays(network: nn.Module, arrays: Arrays) -> None:
    """Load weights into a network.

    Raises
    ------
    InputError
        If they are of another network.
    """
    try:
        network.load_state_dict({name: torch.as_tensor(array) for name, array in arrays.items()})
    except RuntimeError:
        raise InputError(_OTHER) from None


def load_moments(optimiser: torch.optim.Optimizer, arrays: Arrays) -> None:
    """Load the state ``"PARAMETER.NAME"`` into an optimiser; parameters are numbered.

    Raises
    ------
    InputError
        If it is of another optimiser.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        number, _, name = key.partition(".")
        # Digits of other scripts are decimal too; a file may name a million of them.
        if not (number.isascii() and number.isdecimal() and len(number) < 10):
            raise InputError(_OTHER)
        if int(number) >= len(parameters) or name not in _MOMENTS:
            raise InputError(_OTHER)
        parameter, tensor = parameters[int(number)], torch.as_tensor(array)
        if (tensor.ndim > 0) != (name != "step") or tensor.dtype != torch.float32:
            raise InputError(_OTHER)
        if tensor.ndim:
            if tensor.shape != parameter.shape:
                raise InputError(_OTHER)
            # In the parameter's memory layout: fused optimisers pair numbers by their place.
            tensor = torch.empty_like(parameter).copy_(tensor)
        state.setdefault(int(number), {})[name] = tensor
    if any(moments.keys() != _MOMENTS for moments in state.values()):
        raise InputError(_OTHER)
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def drop_unfinished(optimiser: torch.optim.Optimizer) -> None:
    """Drop incomplete moments, left by an optimiser step that ran out of memory."""
    for parameter, moments in list(optimiser.state.items()):
        if moments.keys() != _MOMENTS:
            del optimiser.state[parameter]
