"""The optimiser's loop over a time or step budget."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .batches import Batches, step_seed
from .config import TrainingConfig
from .device import autocast
from .errors import InputError
from .losses import Objective
from .model import HistoryEntry
from .networks import Autoencoder, initialise
from .patches import tiles
from .progress import TrainingPreview, TrainingStep
from .reconstruction import reconstructor
from .residual import residual_map
from .threads import ThreadRace
from .training_state import Standing, TrainingState, load_arrays, load_moments, to_arrays

__all__ = ["Optimisation"]

_LOOKS = 25  # at the validation patches, over the whole training
_PREVIEW_PATCHES = 4
_WARM_UP = 0.1  # part of the training in which the learning rate rises


@dataclass
class Optimisation:
    """The network's steps, clock, history and best weights.

    Attributes
    ----------
    config
        The recipe.
    network
        The network that is trained, on ``device``.
    device
        Where it runs.
    batches
        What it learns from.
    objective
        The loss.
    validation
        Fixed patches of shape (N, C, P, P) to look at between steps.
    held_out
        Whether these patches are kept out of the training, so that they can choose the best
        weights; else the last weights count.
    race
        What chooses the number of threads; None leaves it as it is, which training by epochs
        needs to give the same weights again.
    elapsed
        Seconds of work so far; waiting for whoever reads the messages does not count.
    """

    config: TrainingConfig
    network: Autoencoder
    device: torch.device
    batches: Batches
    objective: Objective
    validation: torch.Tensor
    held_out: bool
    race: ThreadRace | None = None
    elapsed: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._optimiser = torch.optim.Adam(
            self.network.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self._seen = self._steps = self._looks = 0
        self._since_look: list[torch.Tensor] = []  # training losses
        self._since_report: list[torch.Tensor] = []
        self._history: list[HistoryEntry] = []
        self._best_loss: float | None = None
        self._best_weights: dict[str, Any] = {}
        self._batch_size = self.config.batch_size
        self._rate = self.config.learning_rate
        self._resumed_at = (0.0, 0.0)  # part of the budget, and seconds, used before this session

    @property
    def history(self) -> tuple[HistoryEntry, ...]:
        """Losses at the looks so far."""
        return tuple(self._history)

    @property
    def fraction(self) -> float:
        """Part of the budget that is used, in [0, 1]."""
        if self.config.minutes is not None:
            return min(1.0, self.elapsed / (60 * self.config.minutes))
        return min(1.0, self._seen / (self.config.patches * self.config.epochs))

    @property
    def validation_due(self) -> bool:
        """Whether it is time to look at the validation patches again."""
        return int(self.fraction * _LOOKS) > self._looks

    def step(self) -> None:
        """Make one optimiser step."""
        if self.race is not None and self.race.threads != torch.get_num_threads():
            torch.set_num_threads(self.race.threads)
        start = time.perf_counter()
        patches = self.batches.after(self._seen, self._batch_size)
        rate = self._rate * _schedule(self.config.schedule, self.fraction)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        self._optimiser.zero_grad(set_to_none=True)
        self.objective.generator.manual_seed(step_seed(self.config.seed, self._seen))
        loss = self.objective(self.network, patches.contiguous(memory_format=torch.channels_last))
        loss.backward()
        self._optimiser.step()
        self._since_look.append(loss.detach())
        self._since_report.append(loss.detach())
        self._seen += len(patches)
        self._steps += 1
        seconds = time.perf_counter() - start
        self.elapsed += seconds
        if self.race is not None:
            self.race.step_took(seconds)

    def validate(self) -> None:
        """Add to the history; with held-out patches, keep the weights if they are the best."""
        start = time.perf_counter()
        loss = None
        if self.held_out:
            self.network.eval()
            with torch.no_grad():
                patches = self.validation.contiguous(memory_format=torch.channels_last)
                loss = float(self.objective(self.network, patches))
            if not math.isfinite(loss):  # the next steps show it too, and `recover` acts on it
                loss = None
            elif self._best_loss is None or loss < self._best_loss:
                self._best_loss = loss
                self._best_weights = copy.deepcopy(self.network.state_dict())
        self.elapsed += time.perf_counter() - start
        self._looks = int(self.fraction * _LOOKS)  # slow looks do not pile up
        training = float(torch.stack(self._since_look).mean())
        self._since_look.clear()
        self._history.append(HistoryEntry(self._steps, self.elapsed, training, loss))

    def recover(self) -> str | None:
        """Undo a divergence: back to the best weights at half the rate; say so, if it happened.

        Raises
        ------
        InputError
            If it keeps happening.
        """
        if all(torch.isfinite(loss) for loss in self._since_report):
            return None
        self._rate /= 2
        if self._rate < self.config.learning_rate / 100:
            raise InputError(
                "The training diverges at any learning rate; check the images for extreme values "
                "or choose a lower learning rate."
            )
        if self._best_weights:
            self.network.load_state_dict(self._best_weights)
        else:
            initialise(self.network, self.config.seed + 1)
        self._optimiser.state.clear()
        for losses in (self._since_look, self._since_report):
            losses[:] = [loss for loss in losses if torch.isfinite(loss)]
        return "The training diverged; it goes on from its best weights at half the learning rate."

    def restore_best(self) -> None:
        """Give the network its best weights and put it into evaluation mode."""
        if self._best_weights:
            self.network.load_state_dict(self._best_weights)
        self.network.eval()

    def report(self) -> TrainingStep:
        """Describe the steps since the last report."""
        loss = float(torch.stack(self._since_report).mean())
        del self._since_report[:-1]
        fraction, seconds = self._resumed_at
        return TrainingStep(
            step=self._steps,
            fraction=self.fraction,
            loss=loss,
            validation_loss=self._history[-1].validation_loss if self._history else None,
            elapsed=self.elapsed,
            remaining=(self.elapsed - seconds) * (1 - self.fraction) / (self.fraction - fraction),
            patches_per_second=self._seen / self.elapsed,
        )

    def preview(self) -> TrainingPreview:
        """Show the first validation patches as the network sees them now."""
        patches = tiles(self.validation, self.config.patch_size)[:_PREVIEW_PATCHES]
        outputs = self._reconstruct(patches)
        inputs, reconstructions = (tensor.cpu().numpy() for tensor in (patches, outputs))
        residuals = [
            residual_map(x, y, self.config.reconstruction_residual)
            for x, y in zip(inputs, reconstructions, strict=True)
        ]
        channels = inputs.shape[1]  # a variance may follow the reconstruction
        return TrainingPreview(inputs, reconstructions[:, :channels], np.stack(residuals))

    def state(self, images: str) -> TrainingState:
        """Copy all that it needs to go on; ``images`` tells what it learns from."""
        moments = self._optimiser.state_dict()["state"]
        return TrainingState(
            config=self.config,
            images=images,
            standing=Standing(
                seen=self._seen,
                steps=self._steps,
                elapsed=self.elapsed,
                looks=self._looks,
                batch_size=self._batch_size,
                learning_rate=self._rate,
                best_loss=self._best_loss,
                losses=tuple(torch.stack(self._since_look).tolist() if self._since_look else ()),
                history=self.history,
            ),
            network=to_arrays(self.network.state_dict()),
            best=to_arrays(self._best_weights),
            optimiser=to_arrays(
                {f"{i}.{name}": t for i, group in moments.items() for name, t in group.items()}
            ),
        )

    def resume(self, state: TrainingState) -> None:
        """Go on from a state instead of from the beginning.

        Raises
        ------
        InputError
            If it is of another network.
        """
        if state.best:
            load_arrays(self.network, state.best)
            self._best_weights = copy.deepcopy(self.network.state_dict())
        load_arrays(self.network, state.network)
        load_moments(self._optimiser, state.optimiser)
        standing = state.standing
        self._seen, self._steps, self._looks = standing.seen, standing.steps, standing.looks
        self._batch_size, self._rate = standing.batch_size, standing.learning_rate
        self._best_loss = standing.best_loss
        self._since_look = list(torch.tensor(standing.losses, device=self.device))
        self._history = list(standing.history)
        self.elapsed = standing.elapsed
        self._resumed_at = (self.fraction, self.elapsed)

    def _reconstruct(self, patches: torch.Tensor) -> torch.Tensor:
        self.network.eval()
        with torch.no_grad(), autocast(self.device):
            outputs: torch.Tensor = reconstructor(self.network, self.config)(
                patches.contiguous(memory_format=torch.channels_last)
            )
        return outputs.float()


def _schedule(kind: str, fraction: float) -> float:
    """Learning rate as a fraction of its peak."""
    if kind == "constant":
        return 1.0
    if fraction < _WARM_UP:
        return 0.1 + 0.9 * fraction / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (fraction - _WARM_UP) / (1 - _WARM_UP))
