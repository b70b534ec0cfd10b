"""What the steps of a training learn from: batches, with what was painted into them.

Painting takes hundreds of small operations, however few the patches. A processor computes each in
about the time that it takes to ask for it, but a graphics card waits to be asked: there, many
batches are painted at once (benchmarks/README.md).
"""

from __future__ import annotations

from collections import deque

import torch

from .batches import Batches, step_seed
from .losses import Objective, Painted

__all__ = ["CARD_PIXELS", "Feed"]

CARD_PIXELS = 2 * 2**20
"""Pixels, of squares together, that are to be painted at once on a graphics card."""


class Feed:
    """Batches for one step after the other, painted where the objective asks for it.

    Parameters
    ----------
    batches
        Where the squares come from.
    objective
        What paints them; its generator is seeded by the number of patches seen.
    seed
        Seed of the training.
    pixels
        Pixels, of squares together, that are painted at once; 0: each batch by itself. May be
        changed at any time, as where memory runs out.
    """

    def __init__(self, batches: Batches, objective: Objective, seed: int, pixels: int = 0) -> None:
        self._batches = batches
        self._objective = objective
        self._seed = seed
        self.pixels = pixels
        self._ready: deque[tuple[torch.Tensor, Painted | None]] = deque()
        self._next = (0, 0)  # what the first that is ready follows, and its largest size

    def after(self, seen: int, size: int) -> tuple[torch.Tensor, Painted | None]:
        """Return the batch that follows ``seen`` patches, of at most ``size``, and its painting.

        Squares are float32 of shape (N, C, S, S), the channels last in memory. They follow from
        the seed and from what is asked for; so does the painting of batches by themselves, while
        that of many at once depends on which of them was asked for first.
        """
        if not self._ready or self._next != (seen, size):
            self._ready.clear()
            self._ready.extend(self._painted(seen, size))
        squares, painted = self._ready.popleft()
        self._next = (seen + len(squares), size)
        return squares, painted

    def _painted(self, seen: int, size: int) -> list[tuple[torch.Tensor, Painted | None]]:
        drawn = [self._batches.after(seen, size)]
        if self._objective.paints:
            after, wanted = seen + len(drawn[0]), self.pixels // drawn[0][:, 0].numel()
            while len(drawn) < wanted:
                drawn.append(self._batches.after(after, size))
                after += len(drawn[-1])
        squares = torch.cat(drawn).contiguous(memory_format=torch.channels_last)
        self._objective.generator.manual_seed(step_seed(self._seed, seen))
        if not self._objective.paints:
            return [(squares, None)]
        painted = self._objective.painted(squares)
        counts = [len(batch) for batch in drawn]
        parts = (
            tensor.split(counts)
            for tensor in (squares, painted.varied, painted.corrupted, painted.mask)
        )
        return [(batch, Painted(*rest)) for batch, *rest in zip(*parts, strict=True)]
