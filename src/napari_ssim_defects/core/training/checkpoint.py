"""All that a training needs to go on where it was, as values and arrays that a file can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import nn

from ..common.errors import InputError
from ..common.frozen_model import Values
from ..config import TrainingConfig
from ..model.defect_model import HistoryEntry
from .schedule import Count, Course

__all__ = [
    "Arrays",
    "Standing",
    "TrainingState",
    "drop_unfinished",
    "load_arrays",
    "load_moments",
    "to_arrays",
]

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Tensors of a network or an optimiser, by name, on the CPU."""

_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # Adam's, of each parameter that it has moved

_OTHER = "The interrupted training does not fit its own settings; train anew."


class Standing(Values):
    """Where a training stands, but for its weights.

    What is random in a step follows from the seed and from ``seen``, so the states of generators
    need not be kept. On graphics cards all but the corruptions, which are others then (see `Feed`).

    Attributes
    ----------
    seen, steps
        Patches seen, and optimiser steps made.
    elapsed
        Seconds of work.
    looks
        Which of the looks at the validation patches, spread evenly over the budget, was last.
    batch_size
        Patches per step; may have been lowered for want of memory.
    learning_rate
        Peak of the schedule; may have been lowered.
    best_loss
        Lowest loss on held-out patches; None before the first look and without such patches.
    course
        Attempts, and an early end if there is to be one.
    losses
        Training losses since the last look.
    history
        Losses at the looks.
    """

    seen: Count = 0
    steps: Count = 0
    elapsed: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    looks: Count = 0
    batch_size: Annotated[int, Field(ge=1, le=65536)]
    learning_rate: Annotated[float, Field(gt=0)]
    best_loss: float | None = None
    course: Course = Course()
    losses: tuple[float, ...] = ()
    history: tuple[HistoryEntry, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """A training that can go on.

    Attributes
    ----------
    config
        Its recipe.
    images
        Fingerprint of the images and masks that it learns from.
    standing
        Where it stands.
    network, best
        Weights now, and the best ones so far; the latter are empty if all looks were in vain.
    optimiser
        The optimiser's moments: ``"PARAMETER.NAME"``, parameters being numbered.
    """

    config: TrainingConfig
    images: str
    standing: Standing
    network: Arrays
    best: Arrays
    optimiser: Arrays

    def refuse_other(self, config: TrainingConfig, images: str) -> None:
        """Refuse to go on with other settings but the time limit, or on other images.

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
                    f"{other[name]}); resume it with the same settings, or train anew."
                )
        if self.images != images:
            raise InputError(
                "The interrupted training learned from other images or another region; resume it "
                "with the same ones in the same order, or train anew."
            )


def to_arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Copy tensors, which may be on any device, to arrays."""
    return {name: np.array(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()}


def load_arrays(network: nn.Module, arrays: Arrays) -> None:
    """Give a network its weights.

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
    """Give an optimiser its state, ``"PARAMETER.NAME"``, parameters being numbered.

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
    """Forget the moments that an optimiser had only begun to make room for when it ran out."""
    for parameter, moments in list(optimiser.state.items()):
        if moments.keys() != _MOMENTS:
            del optimiser.state[parameter]
