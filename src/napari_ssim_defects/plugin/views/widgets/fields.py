"""Small widgets that the sections share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from napari.components import LayerList
from napari.layers import Layer
from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ....core.config import Shown
from .colours import SECOND

__all__ = [
    "Check",
    "Choice",
    "IntegerBox",
    "LayerCombo",
    "NumberBox",
    "Section",
    "column",
    "form",
    "heading",
    "next_step",
    "notice_label",
    "setting_field",
    "show_notices",
    "while_alive",
    "wrapped",
]

_MOST_NOTICES = 3  # that are shown
_MOST_LINES = 20  # of a tool tip
_LARGEST = 2**31 - 1  # that an integer box takes

_Method = TypeVar("_Method", bound=Callable[..., Any])


def while_alive(method: _Method) -> _Method:
    """Let a method of a widget, which follows the state or layers, do nothing without the widget.

    The object in Python may outlive the widget: a panel that is closed in the middle of a job
    hears of it until it is collected, and to touch what Qt has deleted is an error. (To disconnect
    when Qt deletes it would not do: that may happen while Python collects both, and crash.)
    """

    @wraps(method)
    def guarded(self: object, *arguments: Any) -> None:
        if isalive(self):
            method(self, *arguments)

    return cast(_Method, guarded)


class _Unscrolled:
    """Leaves the wheel to the panel, whose scrolling must not change a value."""

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Scroll the panel."""
        if event is not None:
            event.ignore()


class IntegerBox(_Unscrolled, QSpinBox):
    """An integer on a grid, such as a multiple of 16 or an odd number."""

    edited = Signal(int)

    def __init__(
        self, low: int, high: int, *, step: int = 1, suffix: str = "", tip: str = ""
    ) -> None:
        super().__init__()
        self.setRange(low, high)
        self.setSingleStep(step)
        self.setSuffix(suffix)
        self.setKeyboardTracking(False)
        _prepare(self, tip)
        self.valueChanged.connect(self._snap)

    def show_value(self, value: int | None) -> None:
        """Show a value, None by the special text, without emitting a signal."""
        with QSignalBlocker(self):
            self.setValue(self.minimum() if value is None else value)

    def _snap(self, value: int) -> None:
        step = self.singleStep()
        snapped = self.minimum() + round((value - self.minimum()) / step) * step
        self.show_value(snapped)
        self.edited.emit(snapped)


class NumberBox(_Unscrolled, QDoubleSpinBox):
    """A number."""

    edited = Signal(float)

    def __init__(
        self, low: float, high: float, *, decimals: int = 1, suffix: str = "", tip: str = ""
    ) -> None:
        super().__init__()
        self.setRange(low, high)
        self.setDecimals(decimals)
        self.setSuffix(suffix)
        self.setKeyboardTracking(False)
        _prepare(self, tip)
        self.valueChanged.connect(self.edited)

    def show_value(self, value: float | None) -> None:
        """Show a value, None by the special text, without emitting a signal."""
        with QSignalBlocker(self):
            self.setValue(self.minimum() if value is None else value)


class Choice(_Unscrolled, QComboBox):
    """One of a few values, each with a text."""

    chosen = Signal(object)

    def __init__(self, values: Mapping[Any, str], tip: str = "") -> None:
        super().__init__()
        for value, text in values.items():
            self.addItem(text, value)
        _prepare(self, tip)
        self.activated.connect(lambda _: self.chosen.emit(self.currentData()))

    def show_value(self, value: object) -> None:
        """Show a value without telling anyone; one that is not in the list shows as nothing."""
        self.setCurrentIndex(self.findData(value))


class Check(QCheckBox):
    """A switch."""

    def show_value(self, value: bool) -> None:
        """Show whether it is on, without emitting a signal."""
        with QSignalBlocker(self):
            self.setChecked(value)


def setting_field(
    about: Shown, edit: Callable[[Any], object]
) -> IntegerBox | NumberBox | Choice | Check:
    """Return the field of a setting, which calls ``edit`` with each value that a person gives it.

    Its label is its accessible name. A number that may be None shows that below its range.
    """
    tip, limits = about.help.replace("``", ""), about.limits
    field: IntegerBox | NumberBox | Choice | Check
    if about.kind is bool:
        field = Check(about.label)
        field.setToolTip(tip)
        field.toggled.connect(edit)
    elif about.choices:
        field = Choice({value: about.texts.get(value, value) for value in about.choices}, tip)
        field.chosen.connect(edit)
    else:
        low = 0 if about.optional else limits.get("ge", 0)
        high, suffix = min(limits.get("le", _LARGEST), _LARGEST), f" {about.unit}".rstrip()
        if about.kind is int:
            field = IntegerBox(int(low), int(high), step=about.step, suffix=suffix, tip=tip)
        else:
            field = NumberBox(low, high, suffix=suffix, tip=tip)
        if about.optional:
            field.setSpecialValueText(about.texts[None])
        field.edited.connect(lambda value: edit(value or None) if about.optional else edit(value))
    field.setAccessibleName(about.label)
    return field


class LayerCombo(_Unscrolled, QComboBox):
    """One of the layers, or none; it follows the layer list."""

    chosen = Signal(object)

    def __init__(
        self, layers: LayerList, accepts: Callable[[Layer], bool], nothing: str, tip: str = ""
    ) -> None:
        super().__init__()
        self._layers = layers
        self._accepts = accepts
        self._nothing = nothing
        self._shown: Any = None
        self._offered: list[Layer] = []
        _prepare(self, tip)
        self.activated.connect(self._on_activated)
        for event in ("inserted", "removed", "reordered", "renamed"):
            getattr(layers.events, event).connect(self._fill)
        self._fill()

    def show_layer(self, layer: Layer | None) -> None:
        """Show a layer without emitting a signal."""
        self._shown = layer
        self._fill()

    @while_alive
    def _fill(self) -> None:
        self._offered = [layer for layer in self._layers if self._accepts(layer)]
        with QSignalBlocker(self):
            self.clear()
            self.addItem(self._nothing)
            self.addItems([layer.name for layer in self._offered])
            index = self._offered.index(self._shown) + 1 if self._shown in self._offered else 0
            self.setCurrentIndex(index)

    def _on_activated(self, index: int) -> None:
        self._shown = self._offered[index - 1] if index else None
        self.chosen.emit(self._shown)


def column(*widgets: QWidget) -> QVBoxLayout:
    """Return a layout of widgets below each other, close together."""
    layout = QVBoxLayout()
    layout.setContentsMargins(4, 2, 4, 6)
    layout.setSpacing(4)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def form(*rows: tuple[str, QWidget] | QWidget) -> QFormLayout:
    """Return a layout of labelled fields; each label takes over the tool tip of its field.

    Without a label a field has its accessible name.
    """
    layout = QFormLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setVerticalSpacing(4)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    layout.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    for row in rows:
        text, field = row if isinstance(row, tuple) else (row.accessibleName(), row)
        label = QLabel(text)
        label.setToolTip(field.toolTip())
        label.setBuddy(field)
        field.setAccessibleName(text)
        layout.addRow(label, field)
    return layout


def wrapped(label: QLabel) -> QLabel:
    """Let the text of a label take as many lines as it needs, and never widen the panel."""
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def heading(text: str, tip: str = "") -> QLabel:
    """Return a label that stands above a widget."""
    label = QLabel(text)
    label.setToolTip(tip)
    return label


def next_step(text: str = "", follow: Callable[[str], object] | None = None) -> QLabel:
    """Return a line that says what to do next; ``follow`` is called with a link that is clicked.

    Links are written as ``[text](where)``.
    """
    label = wrapped(QLabel())
    label.setAccessibleName("Next step")
    link = rf'<a href="\2" style="color: {SECOND}">\1</a>'
    label.setText(re.sub(r"\[(.+?)\]\((.+?)\)", link, text))
    if follow is not None:
        by = Qt.TextInteractionFlag
        label.setTextInteractionFlags(by.LinksAccessibleByMouse | by.LinksAccessibleByKeyboard)
        label.linkActivated.connect(follow)
    return label


def notice_label() -> QLabel:
    """Return a label for sentences that a person should read; not seen without any."""
    label = QLabel()
    label.setWordWrap(True)
    label.setAccessibleName("Notices")
    label.hide()
    return label


def show_notices(label: QLabel, notices: Sequence[str]) -> None:
    """Show the first sentences, and all of them in the tool tip."""
    shown = [f"⚠ {text}" for text in notices[:_MOST_NOTICES]]
    more = len(notices) - _MOST_NOTICES
    label.setText("\n".join([*shown, f"… and {more} more"] if more > 0 else shown))
    label.setToolTip("\n".join(notices[:_MOST_LINES]))
    label.setVisible(bool(notices))


def _prepare(field: QWidget, tip: str) -> None:
    field.setToolTip(tip)
    field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    # A long layer name must not make the panel wider.
    field.setMinimumWidth(60)
    field.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    if isinstance(field, QComboBox):
        field.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        field.setMinimumContentsLength(8)


class Section(QWidget):
    """Shows or hides a widget below a button with a title.

    Unlike superqt's ``QCollapsible`` it has no fixed height while it is open, so its content may
    grow and sections can be nested, and its arrow is text, which follows the theme.

    Parameters
    ----------
    title
        Text of the button.
    content
        What it shows.
    expanded
        Whether it starts open.
    main
        Whether it is one of the panel's main parts, which stand out.
    """

    def __init__(
        self,
        title: str,
        content: QWidget,
        *,
        expanded: bool = False,
        main: bool = True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._title = title
        self._content = content
        self._expanded = expanded
        # Not checkable: the theme would paint every open section in its accent colour.
        self._button = QPushButton()
        self._button.setAccessibleName(title)
        self._button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._button.setStyleSheet(
            "text-align: left; font-weight: bold; padding: 5px;"
            if main
            else "text-align: left; background: transparent; padding: 3px 0px;"
        )
        self._button.clicked.connect(lambda: self.set_expanded(not self._expanded))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._button)
        layout.addWidget(content)
        self.set_expanded(expanded)

    def is_expanded(self) -> bool:
        """Whether it is open."""
        return self._expanded

    def set_expanded(self, expanded: bool) -> None:
        """Open or close it."""
        self._expanded = expanded
        self._content.setVisible(expanded)
        self._button.setText(f"{'▾' if expanded else '▸'}  {self._title}")
        self._button.setAccessibleDescription("expanded" if expanded else "collapsed")
