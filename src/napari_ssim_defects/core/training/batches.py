"""Training batches, each of which follows from the seed and from how much was seen before it.

So a training that goes on where it was interrupted sees what it would have seen, and nothing but
a number has to be kept for that.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ..patches.sampler import PatchSource

__all__ = ["Batches", "step_seed"]

_PLACES, _ORDER, _CHANGES = range(3)  # what a seed is for


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
