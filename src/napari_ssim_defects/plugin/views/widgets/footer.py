"""What is always in sight: progress, time left, and one line about what happens."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from ...state.panel_state import PanelState
from .lifetime import while_alive

__all__ = ["Footer"]

_STEPS = 1000


class Footer(QWidget):
    """Shows what the background thread does."""

    def __init__(self, state: PanelState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self.bar = QProgressBar()
        self.bar.setAccessibleName("Progress")
        policy = self.bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # else each job lays the whole window out twice
        self.bar.setSizePolicy(policy)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setAccessibleName("Status")
        self.status.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(4)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        for signal in (state.events.activity, state.events.progress, state.events.remaining):
            signal.connect(self._show_progress)
        for signal in (state.events.status, state.events.status_is_error):
            signal.connect(self._show_status)
        self._show_progress()
        self._show_status()

    @while_alive
    def _show_progress(self) -> None:
        state = self._state
        self.bar.setVisible(state.busy)
        # A progress bar draws the window, with its canvas, at once, while others wait for a turn.
        self.bar.setUpdatesEnabled(False)
        self._move_bar()
        self.bar.setUpdatesEnabled(True)

    def _move_bar(self) -> None:
        state = self._state
        if state.progress is None:
            self.bar.setRange(0, 0)
            return
        self.bar.setRange(0, _STEPS)
        self.bar.setValue(round(_STEPS * state.progress))
        text = f"{100 * state.progress:.0f} %"
        if state.remaining is not None:
            text += f", {_duration(state.remaining)} left"
        self.bar.setFormat(text)

    @while_alive
    def _show_status(self) -> None:
        # The sign, not only a colour, tells an error from news.
        sign = "⚠ " if self._state.status_is_error else ""
        self.status.setText(sign + self._state.status)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
