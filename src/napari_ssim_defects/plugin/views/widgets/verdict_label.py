"""The verdict on a model, as a coloured sentence."""

from __future__ import annotations

import html

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QLabel, QWidget

from ....core.model.verdict import Verdict
from .colours import plot_colours
from .fields import wrapped

__all__ = ["VerdictLabel"]

_SIGNS = {"reliable": "●", "usable": "◐", "weak": "○"}  # so that it is not told by colour alone


class VerdictLabel(QLabel):
    """Says whether a model can be relied on; hidden without a verdict."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        wrapped(self)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setAccessibleName("Verdict")
        self.setToolTip(
            "Found by a trial: defects were painted on good material that was kept out of the "
            "training (area below the ROC curve), and good images were measured (false regions)."
        )
        self._verdict: Verdict | None = None

    def show_verdict(self, verdict: Verdict | None) -> None:
        """Show a verdict, or nothing."""
        self._verdict = verdict
        self.setVisible(verdict is not None)
        if verdict is None:
            return
        colours = plot_colours(self.palette())
        colour = {
            "reliable": colours.review,
            "usable": colours.second,
            "weak": colours.defective,
        }[verdict.grade]
        word, _, rest = verdict.text.partition(":")
        self.setText(
            f'<span style="color:{colour.name()}">{_SIGNS[verdict.grade]} <b>{word}</b></span>:'
            f"{html.escape(rest)}"
        )

    def changeEvent(self, event: QEvent | None) -> None:
        """Take the colours of another theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.PaletteChange:
            self.show_verdict(self._verdict)
