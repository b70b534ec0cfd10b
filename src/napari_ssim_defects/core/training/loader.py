"""Batches for the steps of a training, with the corruptions that they learn from.

Each batch follows from the seed and from the number of patches seen before it. So a training that
is resumed sees what it would have seen, and nothing but a number has to be kept for that.

Drawing corruptions takes hundreds of small operations, however few the patches, and a graphics card
waits for each to be asked for: there, many batches are corrupted at once (benchmarks/README.md). A
processor corrupts each batch by itself, so that a resumed training sees the same.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt
import torch

from ..patches.sampler import PatchSource
from .losses import Objective, Painted

__all__ = [
    "CARD_BATCHES",
    "Batches",
    "Feed",
    "step_seed",
]

_PLACES, _ORDER, _CHANGES = range(3)  # what a seed is for

CARD_BATCHES = 32
"""Batches that are to be painted at once on a graphics card."""

_PIXELS = 2 * 2**20  # of all squares that are painted at once: more take memory and bring nothing


class Batches:
    """Endless batches of augmented patches, epoch after epoch.

    Parameters
    ----------
    source
        Where patches are cut from.
    patches
        Patches per epoch.
    fixed
        Whether every epoch has the same patches, in another order, or draws new ones.
    seed
        Seed of all choices.
    """

    def __init__(self, source: PatchSource, patches: int, fixed: bool, seed: int) -> None:
        self._source = source
        self._patches = patches
        self._fixed = fixed
        self._seed = seed
        self._epoch = -1
        self._positions: npt.NDArray[np.int64] = np.empty((0, 3), np.int64)

    def after(self, seen: int, size: int) -> torch.Tensor:
        """Return the batch that follows ``seen`` patches.

        Parameters
        ----------
        seen
            Number of patches of all batches so far.
        size
            Most patches in a batch. Those of an epoch are of nearly equal size: none is so
            small that it upsets batch normalisation.

        Returns
        -------
        torch.Tensor
            float32 of shape (N, C, P, P), N at most ``size`` and at least half of it.
        """
        epoch, start = divmod(seen, self._patches)
        if epoch != self._epoch:
            self._epoch, self._positions = epoch, self._draw(epoch)
        left = len(self._positions) - start
        batches = -(-left // size)
        positions = self._positions[start : start - (-left // batches)]
        return self._source.cut_augmented(positions, self._generator(_CHANGES, seen))

    def _draw(self, epoch: int) -> npt.NDArray[np.int64]:
        number = 0 if self._fixed else epoch
        positions = self._source.positions(self._patches, self._generator(_PLACES, number))
        if self._fixed:
            positions = self._generator(_ORDER, epoch).permutation(positions)
        return positions

    def _generator(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, purpose, number])


def step_seed(seed: int, seen: int) -> int:
    """Return the seed of what else is random in the step after ``seen`` patches.

    Examples
    --------
    >>> step_seed(0, 16) == step_seed(0, 16)
    True
    >>> step_seed(0, 16) == step_seed(0, 32)
    False
    """
    return int(np.random.SeedSequence([seed, seen]).generate_state(1, np.uint64)[0] >> 1)


class Feed:
    """Batches for one step after the other, painted where the objective asks for it.

    Parameters
    ----------
    batches
        Where the squares come from.
    objective
        What paints them; its generator is seeded by its recipe and the number of patches seen.
    at_once
        Most batches that are painted at once.
    """

    def __init__(self, batches: Batches, objective: Objective, at_once: int = 1) -> None:
        self._batches = batches
        self._objective = objective
        self._at_once = at_once if objective.paints else 1
        self._ready: deque[tuple[torch.Tensor, Painted | None]] = deque()
        self._next = (0, 0)  # what the first that is ready follows, and its largest size

    def after(self, seen: int, size: int) -> tuple[torch.Tensor, Painted | None]:
        """Return the batch that follows ``seen`` patches, of at most ``size``, and its painting.

        Squares are float32 of shape (N, C, S, S), the channels last in memory. They follow from
        the seed and from what is asked for, and so does what else is random in a step; the
        painting of many batches at once depends on which of them was asked for first.
        """
        self._objective.generator.manual_seed(step_seed(self._objective.config.seed, seen))
        if not self._ready or self._next != (seen, size):
            self._ready.clear()
            self._ready.extend(self._painted(seen, size))
        squares, painted = self._ready.popleft()
        self._next = (seen + len(squares), size)
        return squares, painted

    def paint_singly(self) -> bool:
        """Paint each batch by itself from now on; returns whether that needs less memory."""
        less, self._at_once = self._at_once > 1, 1
        self._ready.clear()
        return less

    def _painted(self, seen: int, size: int) -> list[tuple[torch.Tensor, Painted | None]]:
        drawn = [self._batches.after(seen, size)]
        after = seen + len(drawn[0])
        while len(drawn) < min(self._at_once, _PIXELS // drawn[0][:, 0].numel()):
            drawn.append(self._batches.after(after, size))
            after += len(drawn[-1])
        squares = torch.cat(drawn).contiguous(memory_format=torch.channels_last)
        if not self._objective.paints:
            return [(squares, None)]
        painted = self._objective.painted(squares)
        counts = [len(batch) for batch in drawn]
        parts = (
            tensor.split(counts)
            for tensor in (squares, painted.varied, painted.corrupted, painted.mask)
        )
        return [(batch, Painted(*rest)) for batch, *rest in zip(*parts, strict=True)]
