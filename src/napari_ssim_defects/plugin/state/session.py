"""Settings of the panel that are remembered from one session to the next."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ...core.config import OutputConfig, SegmentationConfig, System, TrainingConfig
from ...core.config.presets import PRESETS
from .panel_state import PanelState

__all__ = ["Remembered"]

_FILE = "session.json"


class _Session(BaseModel):
    """What differs from the defaults; of a training only what is chosen in the panel first."""

    preset: str | None = None
    system: System = "ssim"
    minutes: float | None = None
    pace: float | None = None
    keep_reconstruction: bool = False
    segmentation: SegmentationConfig = SegmentationConfig()
    outputs: OutputConfig = OutputConfig()


class Remembered:
    """Gives a state the settings of the last session, and writes them down as they change.

    Thresholds, layers and files are none of them: they belong to a model and its images.

    Parameters
    ----------
    state
        State of the panel.
    folder
        Where the file is kept; without one, or with a damaged one, the state stays as it is.
    """

    def __init__(self, state: PanelState, folder: Path) -> None:
        self._state = state
        self._file = folder / _FILE
        with suppress(OSError, ValueError, ValidationError):
            self._apply(_Session.model_validate_json(self._file.read_text("utf-8")))
        self._written = self._text()
        for signal in self._signals():
            signal.connect(self._write)

    def close(self) -> None:
        """Disconnect from the state."""
        for signal in self._signals():
            signal.disconnect(self._write)

    def _signals(self) -> tuple[Any, ...]:
        events = self._state.events
        return events.config, events.pace, events.keep_reconstruction, events.segmentation, \
            events.outputs  # fmt: skip

    def _apply(self, session: _Session) -> None:
        state = self._state
        if session.preset in PRESETS:
            config = TrainingConfig.preset(session.preset, system=session.system)
            state.config = config.replace(minutes=session.minutes)
        state.pace = session.pace
        state.keep_reconstruction = session.keep_reconstruction
        state.segmentation, state.outputs = session.segmentation, session.outputs

    def _text(self) -> str:
        state = self._state
        session = _Session(
            preset=state.config.name,
            system=state.config.system,
            minutes=state.config.minutes,
            pace=state.pace,
            keep_reconstruction=state.keep_reconstruction,
            segmentation=state.segmentation.replace(review_threshold=None),
            outputs=state.outputs,
        )
        return session.model_dump_json(exclude_defaults=True)

    def _write(self) -> None:
        text = self._text()
        if text != self._written:  # a threshold for review changes with every step of a drag
            self._written = text
            with suppress(OSError):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.write_text(text, "utf-8")
