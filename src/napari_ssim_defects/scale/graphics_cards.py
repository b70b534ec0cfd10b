"""Workers of this computer, one for each of its graphics cards."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from ..core.common.device import choose_device

__all__ = ["several_cards", "worker_per_card"]


def several_cards(device: str | None, images: int) -> tuple[str, ...]:
    """Return the CUDA names of the cards to distribute images over; none if it is not worth it.

    Parameters
    ----------
    device
        Where networks are to run; None: the fastest there is. A single card such as ``"cuda:1"``
        is used alone.
    images
        Number of images.
    """
    count = min(torch.cuda.device_count(), images)
    certain = device is not None and device not in ("auto", "cuda")
    if count < 2 or certain or importlib.util.find_spec("distributed") is None:
        return ()
    if choose_device(device).type != "cuda":
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = visible.split(",") if visible else map(str, range(count))
    return tuple(card.strip() for card in cards)[:count]


@contextmanager
def worker_per_card(cards: Sequence[str]) -> Iterator[str | None]:
    """Start a worker process for each card; gives the address of their scheduler.

    Parameters
    ----------
    cards
        As `several_cards` names them; none: nothing is started, and there is no address. The
        processes begin by importing the program that asks for them, so a script has to be
        guarded by ``if __name__ == "__main__"``.
    """
    if not cards:
        yield None
        return
    from distributed import Nanny, Scheduler, SpecCluster

    workers = {
        card: {
            "cls": Nanny,
            "options": {"nthreads": 1, "env": {"CUDA_VISIBLE_DEVICES": card}},
        }
        for card in cards
    }
    options = {"host": "127.0.0.1", "dashboard": False}
    with SpecCluster(workers, {"cls": Scheduler, "options": options}, silence_logs=40) as cluster:
        yield str(cluster.scheduler_address)
