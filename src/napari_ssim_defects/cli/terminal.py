"""Results, progress bars, notices and interrupts of commands."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["Bar", "CommandResult", "deferred_interrupt", "say_notices"]


_LAYOUT = "{desc} {percentage:3.0f}% |{bar}| {elapsed}{postfix}"
_LOG_SECONDS = 10  # between lines if stderr is a log file, not a terminal


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command prints, for programs or for people, and its exit status."""

    values: Mapping[str, Any]
    text: str
    status: int = 0

    def print(self, *, as_json: bool) -> None:
        """Write it to stdout, whatever its encoding."""
        text = json.dumps(self.values, indent=2) if as_json else self.text
        encoding = sys.stdout.encoding or "utf-8"  # a StringIO has none
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()


class Bar:
    """A progress bar on stderr; there is none before there is progress."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._start = time.time()
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, fraction: float, text: str, remaining: float | None = None) -> None:
        """Move to a fraction in [0, 1]; the time left follows from it unless it is known."""
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=1.0,
                desc=self._title,
                file=sys.stderr,
                bar_format=_LAYOUT,
                mininterval=0.1 if sys.stderr.isatty() else _LOG_SECONDS,
            )
            self._bar.start_t = self._start
        if remaining is None and fraction > 0:
            remaining = (time.time() - self._start) * (1 - fraction) / fraction
        left = [] if remaining is None else [f"about {tqdm.format_interval(remaining)} left"]
        self._bar.set_postfix_str(", ".join([*left, *([text] if text else [])]), refresh=False)
        self._bar.update(fraction - self._bar.n)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is None:
            sys.stderr.write(f"{text}\n")
        else:
            self._bar.write(text, file=sys.stderr)


def say_notices(notices: Iterable[str], bar: Bar | None = None) -> None:
    """Print notices on stderr, one a line."""
    for notice in notices:  # names of files may hold line breaks
        line = f"napari-ssim-defects: {' '.join(notice.splitlines())}"
        (bar or Bar("")).say(line)


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Defer the first Ctrl-C, which can be asked about; the second one interrupts as usual."""
    interrupts: list[int] = []

    def remember(number: int, _: object) -> None:
        interrupts.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: bool(interrupts)
    finally:
        signal.signal(signal.SIGINT, before)
