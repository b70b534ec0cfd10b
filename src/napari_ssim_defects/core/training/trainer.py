"""The optimiser's loop over a time or step budget."""

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
from ..networks.discriminator import FASTER
from .checkpoint import (
    Standing,
    TrainingState,
    drop_unfinished,
    load_arrays,
    load_moments,
    to_arrays,
)
from .loader import Feed
from .losses import Objective
from .messages import TrainingNotice, TrainingPreview, TrainingStep
from .resources import ThreadRace
from .schedule import Course, Look, Pace
from .validation import Validation

__all__ = ["Optimisation"]

_LOOKS = 25  # at the validation patches, over the whole training
_SMALLEST_BATCH = 2  # batch normalisation needs more than one


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
    feed
        What it learns from.
    objective
        The loss.
    validation
        What it is judged by.
    race
        What chooses the number of threads; None leaves it as it is, so that the same weights are
        trained again.
    steps
        Optimiser steps so far.
    elapsed
        Seconds of work so far; waiting for whoever reads the messages does not count.
    """

    config: TrainingConfig
    network: Autoencoder
    device: torch.device
    feed: Feed
    objective: Objective
    validation: Validation
    race: ThreadRace | None = None
    steps: int = field(default=0, init=False)
    elapsed: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        found = self.network.discriminator
        apart = [] if found is None else list(found.parameters())
        known = set(apart)
        rest = [each for each in self.network.parameters() if each not in known]
        self._optimiser = torch.optim.Adam(
            [{"params": rest, "faster": 1.0}, {"params": apart, "faster": FASTER}],
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self._seen = self._looks = 0
        self._resumed_at = 0.0  # what was elapsed when this run of the training began
        self._since_look: list[torch.Tensor] = []  # training losses of both networks
        self._since_report: list[torch.Tensor] = []
        self._latest = torch.zeros(())  # loss of the last step, of whatever took part
        self._history: list[HistoryEntry] = []
        self._best_loss: float | None = None
        self._best_weights: dict[str, Any] = {}
        self._batch_size = self.config.batch_size
        self._rate = self.config.learning_rate
        self._course = Course()
        self._notices: list[str] = []
        self._pace = Pace()
        self._outputs = self.validation.patches  # of the network, at the last look

    @property
    def history(self) -> tuple[HistoryEntry, ...]:
        """Losses at the looks so far."""
        return tuple(self._history)

    @property
    def fraction(self) -> float:
        """Part of the training that is done, in [0, 1]; 1 also when it ends early."""
        return min(1.0, self._used / self._course.end)

    @property
    def _used(self) -> float:
        """Part of the training that is done, or of its time if that ends first, in [0, 1]."""
        if self.config.minutes is None:
            return self._seen_part
        seconds = self.elapsed - self._resumed_at
        return min(1.0, max(self._seen_part, seconds / (60 * self.config.minutes)))

    @property
    def _seen_part(self) -> float:
        """Part of the patches of all epochs that were seen, in [0, 1]."""
        return min(1.0, self._seen / (self.config.patches * self.config.epochs))

    @property
    def share(self) -> float:
        """Part of the training that was done, in [0, 1]; below 1 where time was up before."""
        return min(1.0, self._seen_part / self._course.end)

    @property
    def validation_due(self) -> bool:
        """Whether it is time to look at the validation patches again."""
        unseen = self.steps > (self._history[-1].step if self._history else 0)
        return unseen and (self.fraction >= 1 or int(self._used * _LOOKS) > self._looks)

    @property
    def reportable(self) -> bool:
        """Whether there was a step of both networks since the training began or went on."""
        return bool(self._since_report)

    def step(self) -> None:
        """Make one optimiser step, or find out that it needs more memory than there is."""
        if self.race is not None and self.race.threads != torch.get_num_threads():
            torch.set_num_threads(self.race.threads)
        start = time.perf_counter()
        with self._less_if_too_much():
            patches, painted = self.feed.after(self._seen, self._batch_size)
            rate = self._rate * self._course.rate(self.config.schedule, self._used)
            for group in self._optimiser.param_groups:
                group["lr"] = rate * group["faster"]
            self.network.train()
            self._optimiser.zero_grad(set_to_none=True)
            blank = self._course.blank
            in_turn = self.steps % self.config.reconstruction_interval == 0
            first = not self._since_look  # after a look: the next is to have a loss to tell
            redraw = blank or in_turn or first or self.network.discriminator is None
            loss = self.objective(self.network, patches, painted, blank=blank, redraw=redraw)
            loss.backward()
            self._optimiser.step()
            self._latest = loss.detach()
            if redraw:
                self._since_look.append(self._latest)
                self._since_report.append(self._latest)
            self._seen += len(patches)
            self.steps += 1
        seconds = time.perf_counter() - start
        self.elapsed += seconds
        if self.race is not None:
            self.race.step_took(seconds)

    def look(self) -> None:
        """Look at the validation patches: history, best weights, and what the course becomes.

        With held-out patches, the weights are kept if they are the best.
        """
        start = time.perf_counter()
        with self._less_if_too_much():
            loss = self.validation.loss(self.network)  # if not finite, `recover` acts on it
            self._outputs = self.validation.reconstruct(self.network)
            learned = self.validation.learned(self._outputs)
            if loss is not None and (self._best_loss is None or loss < self._best_loss):
                self._best_loss = loss
                self._best_weights = copy.deepcopy(self.network.state_dict())
            training = float(torch.stack(self._since_look).mean())
            self._since_look.clear()
            self._history.append(HistoryEntry(self.steps, self.elapsed, training, loss))
            self._follow(Look(used=self._used, step=self.steps, learned=learned, loss=loss))
        self.elapsed += time.perf_counter() - start
        self._looks = int(self._used * _LOOKS)  # slow looks do not pile up

    def recover(self) -> bool:
        """Undo a divergence, if it happened: back to the best weights at half the rate.

        Raises
        ------
        InputError
            If it keeps happening.
        """
        if all(torch.isfinite(loss) for loss in (*self._since_report, self._latest)):
            return False
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
        self._latest = torch.zeros(())
        for losses in (self._since_look, self._since_report):
            losses[:] = [loss for loss in losses if torch.isfinite(loss)]
        self._notices.append(
            "The training diverged; it goes on from its best weights at half the learning rate."
        )
        return True

    def notices(self) -> list[TrainingNotice]:
        """Return what happened that a person should know, and was not told yet."""
        notices = [TrainingNotice(text) for text in self._notices]
        self._notices.clear()
        return notices

    def restore_best(self) -> None:
        """Give the network its best weights and put it into evaluation mode."""
        if self._best_weights:
            self.network.load_state_dict(self._best_weights)
        self.network.eval()

    def report(self) -> TrainingStep:
        """Describe the steps since the last report."""
        loss = float(torch.stack(self._since_report).mean())
        del self._since_report[:-1]
        return TrainingStep(
            step=self.steps,
            fraction=self.fraction,
            loss=loss,
            validation_loss=self._history[-1].validation_loss if self._history else None,
            elapsed=self.elapsed,
            remaining=self._remaining(),
            patches_per_second=self._seen / self.elapsed,
        )

    def preview(self) -> TrainingPreview:
        """Show validation patches as the network saw them at the last look."""
        return self.validation.preview(self._outputs)

    def state(self, images: str) -> TrainingState:
        """Copy all that it needs to go on; ``images`` tells what it learns from."""
        moments = self._optimiser.state_dict()["state"]
        return TrainingState(
            config=self.config,
            images=images,
            standing=Standing(
                seen=self._seen,
                steps=self.steps,
                elapsed=self.elapsed,
                looks=self._looks,
                batch_size=self._batch_size,
                learning_rate=self._rate,
                best_loss=self._best_loss,
                course=self._course,
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
        self._seen, self.steps = standing.seen, standing.steps
        self._batch_size, self._rate = standing.batch_size, standing.learning_rate
        self._best_loss, self._course = standing.best_loss, standing.course
        if self._batch_size < self.config.batch_size:
            self.validation.at_once = self._batch_size
            self.feed.paint_singly()
        self._since_look = list(torch.tensor(standing.losses, device=self.device))
        self._history = list(standing.history)
        self.elapsed = self._resumed_at = standing.elapsed
        # Time may have been up before: then more of it was used than is done.
        self._looks = min(standing.looks, int(self._used * _LOOKS))
        self._pace = Pace(self._used, self.elapsed)

    def _follow(self, look: Look) -> None:
        """Take the course that a look leads to, and say so where it turns."""
        before, self._course = self._course, self._course.after(look, self.config.schedule)
        if self._course.attempt > before.attempt:
            # Only what redraws begins again: a discriminator learns all the same.
            autoencoder = nn.ModuleList([self.network.encoder, self.network.decoder])
            initialise(autoencoder, self.config.seed + self._course.attempt)
            self._optimiser.state.clear()
            rate = ", at half the learning rate" if self._course.attempt > 1 else ""
            self._notices.append(
                f"Nothing was learned so far; the training begins again from other weights{rate}."
            )
        elif self._course.cooling is not None and before.cooling is None:
            self._notices.append("The loss improves no more; the training ends early.")

    def _remaining(self) -> float:
        """Seconds until the training ends, by its speed after the first steps."""
        return self._pace.seconds_for(self._course.end - self._used, self._used, self.elapsed)

    @contextmanager
    def _less_if_too_much(self) -> Iterator[None]:
        """Paint less at once or halve the batches when memory runs out; a step is not done then.

        Raises
        ------
        InputError
            If the smallest batch needs too much.
        """
        try:
            yield
            return
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # Only now that the error is gone can what it referred to be released.
        self._optimiser.zero_grad(set_to_none=True)
        drop_unfinished(self._optimiser)
        singly = self.feed.paint_singly()
        release_memory(self.device)
        if singly:
            return
        if self._batch_size <= _SMALLEST_BATCH:
            raise InputError(
                "There is not enough memory to train on patches of "
                f"{self.config.patch_size} pixels; choose smaller patches, another device, or "
                "close other programs."
            )
        smaller = self._batch_size // 2
        self._notices.append(
            f"There is not enough memory for {self._batch_size} patches at once; the training "
            f"goes on with {smaller}."
        )
        self._batch_size = self.validation.at_once = smaller
