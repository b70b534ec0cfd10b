"""The only place that starts threads: generators of messages, run beside the GUI."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer
from superqt.utils import GeneratorWorker

from ..core.errors import InputError

__all__ = ["Failure", "Job", "Later", "start"]

_log = logging.getLogger(__name__)

Messages = Generator[Any, Any, None]


@dataclass(frozen=True, slots=True)
class Failure:
    """The last message of a job that went wrong.

    Attributes
    ----------
    text
        One sentence for the person.
    """

    text: str


class Job:
    """A generator at work in a thread.

    Its messages arrive on the GUI thread, in order, until it ends or is discarded.
    """

    def __init__(
        self,
        messages: Callable[[], Messages],
        on_message: Callable[[Any], None],
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self._relay: _Relay | None = _Relay(on_message, on_end)
        # superqt's own way to send fails when something is sent before the first message.
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._worker = _Worker(_caught, messages, self._inbox)
        self._worker.yielded.connect(self._relay.message)
        self._worker.finished.connect(self._relay.end)
        _silence.begin()
        self._worker.finished.connect(_silence.end)
        self._worker.start()

    def send(self, value: Any) -> None:
        """Send a value into the generator; it arrives after the next message."""
        self._inbox.put(value)

    def set_paused(self, paused: bool) -> None:
        """Hold the generator after its next message, or let it go on."""
        if paused:
            self._worker.pause()
        else:
            self._worker.resume()

    def discard(self) -> None:
        """End at the next message of the generator; none of them arrives any more."""
        if self._relay is not None:
            self._relay.forget()
            self._relay = None
        self._worker.quit()


def start(
    messages: Callable[[], Messages],
    on_message: Callable[[Any], None],
    on_end: Callable[[], None] | None = None,
) -> Job:
    """Run a generator in a thread.

    Parameters
    ----------
    messages
        Makes the generator; called in the thread, so imports in it do not block the GUI. It
        must yield at least twice a second, so that closing the viewer never waits for it.
    on_message
        Called on the GUI thread with each message; with a `Failure` last if it raised.
    on_end
        Called on the GUI thread after the last message, unless the job was discarded.
    """
    return Job(messages, on_message, on_end)


class Later:
    """Calls a function once nothing has asked for it for a while.

    Parameters
    ----------
    function
        What to call, on the GUI thread.
    milliseconds
        How long to wait after the last request.
    """

    def __init__(self, function: Callable[[], None], milliseconds: int) -> None:
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(milliseconds)
        self._timer.timeout.connect(function)

    def request(self) -> None:
        """Ask for the call, and start to wait anew."""
        self._timer.start()

    def cancel(self) -> None:
        """Take the request back."""
        with suppress(RuntimeError):  # Qt deletes timers before Python ends
            self._timer.stop()


def _caught(messages: Callable[[], Messages], inbox: SimpleQueue[Any]) -> Messages:
    """Pass messages on; turn whatever is raised into a `Failure`.

    The numeric state is set around each step only: a generator that is left in the middle
    would otherwise restore it in another thread.
    """
    incoming = None
    generator: Messages | None = None
    try:
        while True:
            with np.errstate(all="ignore"):
                if generator is None:
                    generator = messages()
                message = generator.send(incoming)
            yield message
            incoming = None if inbox.empty() else inbox.get()
    except StopIteration:
        return
    except InputError as error:
        yield Failure(str(error))
    except MemoryError:
        yield Failure("There is not enough memory; use smaller images or fewer of them.")
    except Exception as error:
        _log.exception("A background job failed")
        yield Failure(f"Something unexpected went wrong ({type(error).__name__}: {error}).")


class _Worker(GeneratorWorker):
    """napari's worker, less its handling of warnings and of errors, which it does not need.

    superqt replaces the process-wide warning filters from the worker thread, which two
    workers at the same time leave broken.
    """

    def run(self) -> None:
        """Work in the thread."""
        self._running = True
        with suppress(RuntimeError):  # the application ended, and Qt deleted the signals
            self.started.emit()
            self.work()
        self._gen.close()
        self._running = False
        with suppress(RuntimeError):
            self.finished.emit()
            self._finished.emit(self)


class _Relay(QObject):
    """Lives on the GUI thread, so that what arrives by signal is handled there."""

    def __init__(
        self, on_message: Callable[[Any], None], on_end: Callable[[], None] | None
    ) -> None:
        super().__init__()
        self._on_message: Callable[[Any], None] | None = on_message
        self._on_end = on_end

    def message(self, message: Any) -> None:
        if self._on_message is not None:
            self._on_message(message)

    def end(self) -> None:
        on_end, self._on_message, self._on_end = self._on_end, None, None
        if on_end is not None:
            on_end()

    def forget(self) -> None:
        self._on_message = self._on_end = None


class _Silence(QObject):
    """Keeps warnings of numerical libraries from popping up in napari while jobs run.

    Filters are process-wide, so the GUI thread sets them for the first job and restores
    them after the last.
    """

    def __init__(self) -> None:
        super().__init__()
        self._jobs = 0
        self._context: warnings.catch_warnings[None] | None = None

    def begin(self) -> None:
        if self._jobs == 0:
            self._context = warnings.catch_warnings()
            self._context.__enter__()
            for module in ("numpy", "scipy", "skimage", "torch"):
                warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
        self._jobs += 1

    def end(self) -> None:
        self._jobs -= 1
        if self._jobs == 0 and self._context is not None:
            self._context.__exit__(None, None, None)
            self._context = None


_silence = _Silence()
