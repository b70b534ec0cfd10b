"""The only place that starts threads: generators of messages, run beside the GUI."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer
from superqt.utils import GeneratorWorker

from ...core.common.errors import NOT_ENOUGH_MEMORY, InputError, is_out_of_memory

__all__ = ["Failure", "Job", "Later", "start"]

_log = logging.getLogger(__name__)
_LONGEST = 500  # characters of what an error says

Messages = Generator[Any, Any, None]


@dataclass(frozen=True, slots=True)
class Failure:
    """The last message of a job that went wrong."""

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
        self._control = _Control()
        self._worker = _Worker(messages, self._control)
        self._worker.yielded.connect(self._relay.message)
        self._worker.finished.connect(self._relay.end)
        _silence.begin()
        self._worker.finished.connect(_silence.end)
        self._worker.start()

    def send(self, value: Any) -> None:
        """Send a value to the generator; it arrives after the next message."""
        self._control.inbox.put(value)

    def set_paused(self, paused: bool) -> None:
        """Pause the generator after its next message, or continue it."""
        if paused:
            self._control.gate.clear()
        else:
            self._control.gate.set()

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
    """Calls a function after a time without further requests."""

    def __init__(self, function: Callable[[], None], milliseconds: int) -> None:
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(milliseconds)
        self._timer.timeout.connect(function)

    def request(self) -> None:
        """Request the call, and restart the wait."""
        self._timer.start()

    def cancel(self) -> None:
        """Cancel the request."""
        with suppress(RuntimeError):  # Qt deletes timers before Python ends
            self._timer.stop()


class _Control:
    """Messages from the GUI thread to the worker thread.

    superqt can send and pause too, but a value that is sent before the first message is an error
    there, and resuming right after pausing does nothing.
    """

    def __init__(self) -> None:
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.gate = Event()
        self.gate.set()
        self.ended = False


def _caught(messages: Callable[[], Messages], control: _Control) -> Messages:
    """Pass messages on; turn any exception into a `Failure`.

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
                message = next(generator) if incoming is None else generator.send(incoming)
            yield message
            control.gate.wait()
            if control.ended:
                return
            incoming = None if control.inbox.empty() else control.inbox.get()
    except (StopIteration, GeneratorExit):
        return
    except BaseException as error:  # a thread that ends by sys.exit() would end napari
        yield Failure(_sentence(error))


def _sentence(error: BaseException) -> str:
    """Return a sentence about an exception."""
    if isinstance(error, InputError):
        return str(error)
    if is_out_of_memory(error):
        return NOT_ENOUGH_MEMORY
    _log.error("A background job failed", exc_info=error)
    what = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":.")
    return f"Something unexpected went wrong ({what[:_LONGEST]})."


class _Worker(GeneratorWorker):
    """superqt's worker without its handling of warnings and errors.

    It replaces the process-wide warning filters from the worker thread, which two workers at the
    same time leave broken; errors never come this far.
    """

    def __init__(self, messages: Callable[[], Messages], control: _Control) -> None:
        super().__init__(_caught, messages, control)
        self._control = control

    def quit(self) -> None:
        """End at the next message, also when pausing."""
        super().quit()
        self._control.ended = True
        self._control.gate.set()

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
    """Handles signals on the GUI thread."""

    def __init__(
        self, on_message: Callable[[Any], None], on_end: Callable[[], None] | None
    ) -> None:
        super().__init__()
        self._on_message: Callable[[Any], None] | None = on_message
        self._on_end = on_end

    def message(self, message: Any) -> None:
        if self._on_message is not None:
            self._on_message(message)

    def end(self, _: None = None) -> None:
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

    def end(self, _: None = None) -> None:
        self._jobs -= 1
        if self._jobs == 0 and self._context is not None:
            self._context.__exit__(None, None, None)
            self._context = None


_silence = _Silence()
