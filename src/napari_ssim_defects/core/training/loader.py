"""What the steps of a training learn from: batches, with what was painted into them.

Painting takes hundreds of small operations, however few the patches, and a graphics card waits for
each to be asked for: there, many batches are painted at once (benchmarks/README.md). A processor
paints each by itself, so that a training that was interrupted sees what it would have seen.
"""

from __future__ import annotations

from collections import deque

import torch

from .batches import Batches, step_seed
from .losses import Objective, Painted

__all__ = ["CARD_BATCHES", "Feed"]

CARD_BATCHES = 32
"""Batches that are to be painted at once on a graphics card."""

_PIXELS = 2 * 2**20  # of all squares that are painted at once: more take memory and bring nothing


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
