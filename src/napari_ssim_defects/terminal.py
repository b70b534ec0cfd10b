"""What long commands show and take in a terminal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

__all__ = ["Bar", "deferred_interrupt"]


class Bar:
    """A progress bar on stderr; silent when stderr is not a terminal and nothing is said."""

    def __init__(self, title: str) -> None:
        from tqdm import tqdm

        layout = "{desc} {percentage:3.0f}% |{bar}| {elapsed} of about {remaining} left {postfix}"
        self._bar = tqdm(total=1.0, desc=title, file=sys.stderr, bar_format=layout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, fraction: float, text: str) -> None:
        """Move to a fraction in [0, 1]."""
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(fraction - self._bar.n)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.write(text, file=sys.stderr)


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C only be asked about; the second one interrupts as usual."""
    seen: list[int] = []

    def remember(number: int, _: object) -> None:
        seen.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, before)
