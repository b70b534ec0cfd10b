"""Steps, validations and recovery of a training, within a budget of steps or time."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..common.device import release_memory
from ..common.errors import InputError, is_out_of_memory
from ..config import TrainingConfig
from ..model.defect_model import HistoryEntry
from ..networks.autoencoder import Autoencoder, initialise
from ..networks.discriminator import DISCRIMINATOR_LR_FACTOR
from .checkpoint import (
    Checkpoint,
    LoopState,
    drop_unfinished,
    load_arrays,
    load_moments,
    to_arrays,
)
from .loader import BatchLoader, step_seed
from .losses import Criterion
from .messages import TrainingNotice, TrainingPreview, TrainingStep
from .resources import ThreadRace
from .schedule import EtaEstimator, ValidationResult
from .validation import Validation

__all__ = ["Trainer"]

_VALIDATIONS = 25  # at the validation patches, over the whole training
_SMALLEST_BATCH = 2  # batch normalisation needs more than one


@dataclass
class Trainer:
    """Trains a network step by step; keeps its clock, history and best weights.

    Attributes
    ----------
    config
        The config.
    network
        The network that is trained, on ``device``.
    device
        Where it runs.
    loader
        Loads the batches.
    criterion
        The loss.
    validation
        Patches that it is validated on.
    race
        Chooses the number of threads; None leaves it unchanged, so that the weights are
        reproducible.
    loop
        State of the loop. Its seconds of work are without those in which nobody asked for the next
        message.
    """

    config: TrainingConfig
    network: Autoencoder
    device: torch.device
    loader: BatchLoader
    criterion: Criterion
    validation: Validation
    race: ThreadRace | None = None
    loop: LoopState = field(init=False)

    def __post_init__(self) -> None:
        discriminator = self.network.discriminator
        apart = [] if discriminator is None else list(discriminator.parameters())
        known = set(apart)
        rest = [each for each in self.network.parameters() if each not in known]
        self._optimiser = torch.optim.Adam(
            [
                {"params": rest, "lr_factor": 1.0},
                {"params": apart, "lr_factor": DISCRIMINATOR_LR_FACTOR},
            ],
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.loop = LoopState(
            batch_size=self.config.batch_size, learning_rate=self.config.learning_rate
        )
        self._resumed_at = 0.0  # seconds of work before this run
        self._since_validation: list[torch.Tensor] = []  # of the autoencoder
        self._since_report: list[torch.Tensor] = []
        self._latest = torch.zeros(())  # loss of the last step
        self._best_weights: dict[str, Any] = {}
        self._notices: list[str] = []
        self._eta = EtaEstimator()
        self._outputs = self.validation.patches  # of the network, at the last validation

    @property
    def fraction(self) -> float:
        """Part of the training that is done, in [0, 1]; 1 also when it ends early."""
        return min(1.0, self._used / self.loop.schedule.end)

    @property
    def _used(self) -> float:
        """Part of the training that is done, or of its time if that ends first, in [0, 1]."""
        if self.config.minutes is None:
            return self._seen_part
        seconds = self.loop.elapsed - self._resumed_at
        return min(1.0, max(self._seen_part, seconds / (60 * self.config.minutes)))

    @property
    def _seen_part(self) -> float:
        """Part of the patches of all epochs that were seen, in [0, 1]."""
        return min(1.0, self.loop.seen / (self.config.patches * self.config.epochs))

    @property
    def share(self) -> float:
        """Part of the training that was done, in [0, 1]; below 1 if the time limit ended it."""
        return min(1.0, self._seen_part / self.loop.schedule.end)

    @property
    def validation_due(self) -> bool:
        """Whether the next validation is due."""
        loop, done = self.loop, int(self._used * _VALIDATIONS)
        unseen = loop.steps > (loop.history[-1].step if loop.history else 0)
        return unseen and (self.fraction >= 1 or done > loop.validations)

    @property
    def reportable(self) -> bool:
        """Whether there is a training loss to report since the training began or was resumed."""
        return bool(self._since_report)

    def step(self) -> None:
        """Make one optimiser step; if memory runs out, lower its demand instead."""
        if self.race is not None and self.race.threads != torch.get_num_threads():
            torch.set_num_threads(self.race.threads)
        start = time.perf_counter()
        with self._less_memory_if_needed():
            # All that is random in a step follows from the number of patches seen before it.
            self.criterion.generator.manual_seed(step_seed(self.config.seed, self.loop.seen))
            patches, corruption = self.loader.load(self.loop.seen, self.loop.batch_size)
            factor = self.loop.schedule.rate(self.config.schedule, self._used)
            for group in self._optimiser.param_groups:
                group["lr"] = self.loop.learning_rate * factor * group["lr_factor"]
            self.network.train()
            self._optimiser.zero_grad(set_to_none=True)
            untrained = self.loop.schedule.untrained
            in_turn = self.loop.steps % self.config.reconstruction_interval == 0
            first = not self._since_validation  # the next validation needs a training loss
            train_autoencoder = untrained or in_turn or first or self.network.discriminator is None
            loss = self.criterion(
                self.network,
                patches,
                corruption,
                untrained=untrained,
                train_autoencoder=train_autoencoder,
            )
            loss.backward()
            self._optimiser.step()
            self._latest = loss.detach()
            if train_autoencoder:
                self._since_validation.append(self._latest)
                self._since_report.append(self._latest)
            self.loop.seen += len(patches)
            self.loop.steps += 1
        seconds = time.perf_counter() - start
        self.loop.elapsed += seconds
        if self.race is not None:
            self.race.step_took(seconds)

    def validate(self) -> None:
        """Validate: extend the history, keep the best weights, and update the schedule.

        Only a loss on held-out patches can make weights the best.
        """
        start = time.perf_counter()
        with self._less_memory_if_needed():
            loss = self.validation.loss(self.network)  # if not finite, `recover` acts on it
            self._outputs = self.validation.reconstruct(self.network)
            skill = self.validation.reconstruction_skill(self._outputs)
            if loss is not None and (self.loop.best_loss is None or loss < self.loop.best_loss):
                self.loop.best_loss = loss
                self._best_weights = copy.deepcopy(self.network.state_dict())
            training = float(torch.stack(self._since_validation).mean())
            self._since_validation.clear()
            entry = HistoryEntry(self.loop.steps, self.loop.elapsed, training, loss)
            self.loop.history += (entry,)
            self._update_schedule(
                ValidationResult(
                    used=self._used, step=self.loop.steps, reconstruction_skill=skill, loss=loss
                )
            )
        self.loop.elapsed += time.perf_counter() - start
        self.loop.validations = int(self._used * _VALIDATIONS)  # slow validations do not pile up

    def recover(self) -> bool:
        """If the training has diverged, restore the best weights and halve the learning rate.

        Raises
        ------
        InputError
            If it diverges again and again.
        """
        if all(torch.isfinite(loss) for loss in (*self._since_report, self._latest)):
            return False
        self.loop.learning_rate /= 2
        if self.loop.learning_rate < self.config.learning_rate / 100:
            raise InputError(
                "The training diverges at any learning rate; check the images for extreme values "
                "or choose a lower learning rate."
            )
        if self._best_weights:
            self.network.load_state_dict(self._best_weights)
        else:
            initialise(self.network, self.config.seed + 1)
        self._optimiser.state.clear()
        self._latest = torch.zeros(())
        for losses in (self._since_validation, self._since_report):
            losses[:] = [loss for loss in losses if torch.isfinite(loss)]
        self._notices.append(
            "The training diverged; it continues from its best weights at half the learning rate."
        )
        return True

    def notices(self) -> list[TrainingNotice]:
        """Return the notices that have not been returned yet."""
        notices = [TrainingNotice(text) for text in self._notices]
        self._notices.clear()
        return notices

    def restore_best(self) -> None:
        """Load the best weights into the network and put it into evaluation mode."""
        if self._best_weights:
            self.network.load_state_dict(self._best_weights)
        self.network.eval()

    def report(self) -> TrainingStep:
        """Describe the steps since the last report."""
        loss = float(torch.stack(self._since_report).mean())
        del self._since_report[:-1]
        return TrainingStep(
            step=self.loop.steps,
            fraction=self.fraction,
            loss=loss,
            validation_loss=self.loop.history[-1].validation_loss if self.loop.history else None,
            elapsed=self.loop.elapsed,
            remaining=self._remaining(),
            patches_per_second=self.loop.seen / self.loop.elapsed,
        )

    def preview(self) -> TrainingPreview:
        """Return validation patches as the network saw them at the last validation, and a trial."""
        return self.validation.preview(self.network, self._outputs)

    def state(self, images: str) -> Checkpoint:
        """Return a checkpoint; ``images`` is the fingerprint of the training images."""
        moments, losses = self._optimiser.state_dict()["state"], self._since_validation
        return Checkpoint(
            config=self.config,
            images=images,
            loop_state=self.loop.replace(losses=torch.stack(losses).tolist() if losses else ()),
            network=to_arrays(self.network.state_dict()),
            best=to_arrays(self._best_weights),
            optimiser=to_arrays(
                {f"{i}.{name}": t for i, group in moments.items() for name, t in group.items()}
            ),
        )

    def resume(self, state: Checkpoint) -> None:
        """Continue from a checkpoint.

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
        loop = self.loop = state.loop_state.replace()
        if loop.batch_size < self.config.batch_size:
            self.validation.at_once = loop.batch_size
            self.loader.disable_prefetch()
        self._since_validation = list(torch.tensor(loop.losses, device=self.device))
        self._resumed_at = loop.elapsed
        # A time limit may have ended it before: then more validations were done than are due now.
        loop.validations = min(loop.validations, int(self._used * _VALIDATIONS))
        self._eta = EtaEstimator(self._used, self.loop.elapsed)

    def _update_schedule(self, result: ValidationResult) -> None:
        """Update the schedule; a new attempt or an early end gives a notice."""
        before = self.loop.schedule
        self.loop.schedule = before.after(result, self.config.schedule)
        if self.loop.schedule.attempt > before.attempt:
            # The discriminator learns independently, so it keeps its weights.
            autoencoder = nn.ModuleList([self.network.encoder, self.network.decoder])
            initialise(autoencoder, self.config.seed + self.loop.schedule.attempt)
            self._optimiser.state.clear()
            rate = ", at half the learning rate" if self.loop.schedule.attempt > 1 else ""
            self._notices.append(
                f"Nothing was learned so far; the training starts again from other weights{rate}."
            )
        elif self.loop.schedule.anneal_start is not None and before.anneal_start is None:
            self._notices.append("The loss no longer improves; the training ends early.")

    def _remaining(self) -> float:
        """Return the seconds until the training ends, from its speed after the first steps."""
        left = self.loop.schedule.end - self._used
        return self._eta.seconds_for(left, self._used, self.loop.elapsed)

    @contextmanager
    def _less_memory_if_needed(self) -> Iterator[None]:
        """If memory runs out, undo the step and corrupt fewer batches at once or halve the batches.

        Raises
        ------
        InputError
            If the smallest batch does not fit into memory.
        """
        try:
            yield
            return
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # The error kept references to tensors; they can be released only now.
        self._optimiser.zero_grad(set_to_none=True)
        drop_unfinished(self._optimiser)
        singly = self.loader.disable_prefetch()
        release_memory(self.device)
        if singly:
            return
        if self.loop.batch_size <= _SMALLEST_BATCH:
            raise InputError(
                "There is not enough memory to train on patches of "
                f"{self.config.patch_size} pixels; choose smaller patches, another device, or "
                "close other programs."
            )
        smaller = self.loop.batch_size // 2
        self._notices.append(
            f"There is not enough memory for {self.loop.batch_size} patches at once; the training "
            f"continues with {smaller}."
        )
        self.loop.batch_size = self.validation.at_once = smaller
