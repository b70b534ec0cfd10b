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

from ..patches.patch_source import PatchSource
from .losses import CorruptedBatch, Criterion

__all__ = [
    "GPU_PREFETCH_BATCHES",
    "BatchLoader",
    "PatchSampler",
    "step_seed",
]

_PLACES, _ORDER, _CHANGES = range(3)  # what a seed is for

GPU_PREFETCH_BATCHES = 32
"""Batches that are corrupted at once on a graphics card."""

_PIXELS = 2 * 2**20  # of the patches that are corrupted at once: more cost memory, gain nothing


class PatchSampler:
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


class BatchLoader:
    """Loads the batch of each step, with its corruptions if the criterion needs them.

    Parameters
    ----------
    batches
        Where the patches come from.
    criterion
        Corrupts them, with its generator as it is then: seed it by `step_seed` before.
    at_once
        Largest number of batches that are corrupted at once.
    """

    def __init__(self, batches: PatchSampler, criterion: Criterion, at_once: int = 1) -> None:
        self._batches = batches
        self.criterion = criterion
        self._at_once = at_once if criterion.needs_corruption else 1
        self._ready: deque[tuple[torch.Tensor, CorruptedBatch | None]] = deque()
        self._next = (0, 0)  # what the first that is ready follows, and its largest size

    def load(self, seen: int, size: int) -> tuple[torch.Tensor, CorruptedBatch | None]:
        """Return the batch that follows ``seen`` patches, of at most ``size``, and its corruption.

        Patches are float32 of shape (N, C, S, S), channels last in memory. They depend on the seed
        and on the arguments only. Corruptions of several batches at once also depend on which of
        these was asked for first.
        """
        if not self._ready or self._next != (seen, size):
            self._ready.clear()
            self._ready.extend(self._draw(seen, size))
        patches, corruption = self._ready.popleft()
        self._next = (seen + len(patches), size)
        return patches, corruption

    def disable_prefetch(self) -> bool:
        """Corrupt each batch by itself from now on; returns whether that needs less memory."""
        less, self._at_once = self._at_once > 1, 1
        self._ready.clear()
        return less

    def _draw(self, seen: int, size: int) -> list[tuple[torch.Tensor, CorruptedBatch | None]]:
        drawn = [self._batches.after(seen, size)]
        after = seen + len(drawn[0])
        while len(drawn) < min(self._at_once, _PIXELS // drawn[0][:, 0].numel()):
            drawn.append(self._batches.after(after, size))
            after += len(drawn[-1])
        patches = torch.cat(drawn).contiguous(memory_format=torch.channels_last)
        if not self.criterion.needs_corruption:
            return [(patches, None)]
        corruption = self.criterion.corrupt(patches)
        counts = [len(batch) for batch in drawn]
        parts = (
            tensor.split(counts)
            for tensor in (patches, corruption.varied, corruption.corrupted, corruption.mask)
        )
        return [(batch, CorruptedBatch(*rest)) for batch, *rest in zip(*parts, strict=True)]
