"""The dock widget "SSIM defects": its sections, and a footer that is always visible."""

from __future__ import annotations

from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ..controllers.panel_controller import Controller, controller_of
from ..layers import is_inspectable
from ..state.panel_state import PanelState
from .sections.batch import BatchView
from .sections.detect import DetectView
from .sections.evaluate import EvaluateView
from .sections.export import ExportView
from .sections.region_table import RegionTableView
from .sections.segment import SegmentView
from .sections.train import TrainView
from .widgets.colours import SECOND
from .widgets.fields import LayerCombo, Section, while_alive, wrapped

__all__ = [
    "DefectPanel",
    "Footer",
    "ImageBar",
]

_STEPS = 1000
_LAID_OUT = 250  # milliseconds in which a section that was opened gets its place
_LINES = 4  # of a message; one or two more where the bar is while nothing is done
# napari's themes hardly show which button or box has the focus.
_FOCUS = (
    "QPushButton:focus, QComboBox:focus, QAbstractSpinBox:focus, QLineEdit:focus, QCheckBox:focus,"
    f" QAbstractItemView:focus {{ border: 1px solid {SECOND}; }}"
)


class Footer(QWidget):
    """Shows what the background thread does."""

    def __init__(self, state: PanelState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self.bar = QProgressBar()
        self.bar.setAccessibleName("Progress")
        self.status = wrapped(QLabel())
        self.status.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.status.setAccessibleName("Status")
        self.status.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(4)
        layout.addWidget(self.bar)
        layout.addWidget(self.status, 1)
        self._fix_height()
        for signal in (state.events.activity, state.events.progress, state.events.remaining):
            signal.connect(self._show_progress)
        for signal in (state.events.status, state.events.status_is_error):
            signal.connect(self._show_status)
        self._show_progress()
        self._show_status()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take one height, in the theme's font, so that no job and no message lays out the rest."""
        super().showEvent(event)
        self._fix_height()

    def _fix_height(self) -> None:
        self.ensurePolished()
        text = self.status.fontMetrics().lineSpacing() * _LINES
        self.setFixedHeight(text + self.bar.sizeHint().height() + 20)  # and margins

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
            text += f", {_duration(state.remaining)}"
        self.bar.setFormat(text)

    @while_alive
    def _show_status(self) -> None:
        # The sign, not only a colour, tells an error from news.
        sign = "⚠ " if self._state.status_is_error else ""
        self.status.setText(sign + self._state.status)
        self.status.setToolTip(self._state.status)  # whole, should it be longer than its place


def _duration(seconds: float) -> str:
    """Say how long it still takes, no more exactly than it is known."""
    minutes = seconds / 60
    if minutes >= 90:
        return f"about {minutes / 60:.0f} h left"
    if minutes >= 10:
        return f"about {minutes:.0f} min left"
    if minutes >= 1:
        return f"about {round(2 * minutes) / 2:g} min left"
    return f"about {max(10, 10 * round(seconds / 10))} s left" if seconds > 10 else "soon done"


class DefectPanel(QWidget):
    """Train, detect, segment, list, evaluate, export and inspect folders, from top to bottom.

    Parameters
    ----------
    napari_viewer
        The viewer; one that had a panel before gets the state of that.
    """

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controller = controller_of(napari_viewer)
        self.state = self.controller.state
        self.train = TrainView(self.controller)
        self.detect = DetectView(self.controller)
        self.segment = SegmentView(self.controller)
        self.regions = RegionTableView(self.controller)
        self.evaluate = EvaluateView(self.controller)
        self.export = ExportView(self.controller)
        self.batch = BatchView(self.controller)
        self.images = ImageBar(self.controller)
        self.footer = Footer(self.state)
        self._detected, self._detecting = self.state.heatmap is not None, False
        self._sections = {
            "Train": Section("Train", self.train, expanded=True),
            "Detect": Section("Detect", self.detect, expanded=True),
            "Segment": Section("Segment", self.segment, expanded=self.state.heatmap is not None),
            "Regions": Section(
                "Regions", self.regions, expanded=self.state.labels_layer is not None
            ),
            "Evaluate": Section("Evaluate", self.evaluate),
            "Export": Section("Export", self.export),
            "Folder": Section("Folder", self.batch),
        }
        content = QWidget()
        sections = QVBoxLayout(content)
        sections.setContentsMargins(2, 2, 2, 2)
        sections.setSpacing(4)
        for section in self._sections.values():
            sections.addWidget(section)
        sections.addStretch(1)
        self._scroll = scroll = QScrollArea()
        self._opened = QTimer(self)  # sections have their places only when they are laid out
        self._opened.setSingleShot(True)
        self._opened.timeout.connect(self._reveal)
        self._revealed: Section | None = None
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        scroll.setWidget(content)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.images)
        layout.addWidget(scroll, 1)
        layout.addWidget(self.footer)
        self.setMinimumWidth(260)
        self.setStyleSheet(_FOCUS)
        self.state.events.heatmap.connect(self._on_heatmap)
        self.state.events.labels_layer.connect(self._on_labels_layer)
        self.state.events.activity.connect(self._on_activity)

    def sizeHint(self) -> QSize:
        """Width that shows everything."""
        return QSize(350, 700)

    @while_alive
    def _on_heatmap(self) -> None:
        there, self._detected = self._detected, self.state.heatmap is not None
        if self._detected and not there:  # another one moves nothing under the mouse
            if not self._sections["Segment"].is_expanded():
                self._sections["Train"].set_expanded(False)  # what comes next must be visible
            self._sections["Export"].set_expanded(True)
            self._open("Segment")

    @while_alive
    def _on_labels_layer(self) -> None:
        if self.state.labels_layer is not None and not self._sections["Regions"].is_expanded():
            self._open("Regions")

    @while_alive
    def _on_activity(self, activity: str) -> None:
        if self._detecting and activity == "idle" and self.state.heatmap is not None:
            self._open("Segment")
        self._detecting = activity == "detecting"

    def _open(self, title: str) -> None:
        """Open a section, and scroll as much of it into sight as there is room for."""
        self._revealed = self._sections[title]
        self._revealed.set_expanded(True)
        self._opened.start(_LAID_OUT)

    def _reveal(self) -> None:
        bar, section = self._scroll.verticalScrollBar(), self._revealed
        viewport = self._scroll.viewport()
        if section is None or bar is None or viewport is None:
            return
        top, bottom = section.y(), section.y() + section.height()
        lowest = min(top, bottom - viewport.height())  # where all of it is visible, or its top
        bar.setValue(min(max(bar.value(), lowest), top))


class ImageBar(QWidget):
    """Chooses the image that is shown, alone with its heatmap and its outlines."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = controller.state
        images = controller.images
        self.image = LayerCombo(
            controller.viewer.layers,
            is_inspectable,
            "no image chosen",
            "The image that is shown, with its heatmap and its outlines; others are hidden.",
        )
        self.image.setAccessibleName("Image")
        self.previous_button = _button("◂", "Previous image", "Show the previous image (key ,).")
        self.next_button = _button("▸", "Next image", "Show the next image (key .).")
        self.plain_button = QPushButton("Plain")
        self.plain_button.setToolTip(
            "Hold to see the image without heatmap and outlines (or hold the key H)."
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 2)
        layout.setSpacing(4)
        for widget in (self.previous_button, self.image, self.next_button, self.plain_button):
            layout.addWidget(widget, int(widget is self.image))
        self._images = images
        self.image.chosen.connect(self._on_chosen)
        self.previous_button.clicked.connect(lambda: images.step(-1))
        self.next_button.clicked.connect(lambda: images.step(1))
        self.plain_button.pressed.connect(lambda: images.set_plain(True))
        self.plain_button.released.connect(lambda: images.set_plain(False))
        self._state.events.image.connect(self._show_image)
        self._show_image()

    def _on_chosen(self, image: Layer | None) -> None:
        if image is not None:
            self._images.choose(image)
        self._show_image()

    @while_alive
    def _show_image(self) -> None:
        self.image.show_layer(self._state.image)


def _button(text: str, name: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setFixedWidth(28)
    button.setAccessibleName(name)
    button.setToolTip(tip)
    return button
