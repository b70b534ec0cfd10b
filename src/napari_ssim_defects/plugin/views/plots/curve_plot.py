"""Curves between 0 and 1: ROC, precision and recall, overlaps, drawn as ``--plot`` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ..widgets.colours import plot_colours

if TYPE_CHECKING:
    from ....core.evaluation.scores import CurveSet

__all__ = ["CurvePlot"]

_HEIGHT = 230  # pixels


class CurvePlot(QWidget):
    """Plots curves in the colours of the theme, with tools to zoom and to save."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Evaluation curves")
        self._curves: CurveSet | None = None
        self._canvas: Any = None  # with the first curves, as to import matplotlib takes time
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)

    def show_curves(self, curves: CurveSet | None) -> None:
        """Show other curves, or none."""
        self._curves = curves
        words = "" if curves is None else f"{curves.title}: {', '.join(curves.curves)}"
        self.setAccessibleDescription(words)
        if curves is not None:
            self._draw(curves)

    def changeEvent(self, event: QEvent | None) -> None:
        """Redraw in the colours of another theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.PaletteChange and self._curves:
            self._draw(self._curves)

    def _draw(self, curves: CurveSet) -> None:
        from matplotlib import rc_context, rcsetup
        from matplotlib.backends.backend_qt import NavigationToolbar2QT
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
        from matplotlib.figure import Figure

        from ....io.writers.figures import draw_curves

        if self._canvas is None:
            self._canvas = FigureCanvasQTAgg(Figure(layout="constrained"))
            self._canvas.setFixedHeight(_HEIGHT)
            self._canvas.setMinimumWidth(60)
            layout = self.layout()
            assert layout is not None
            layout.addWidget(self._canvas)
            layout.addWidget(NavigationToolbar2QT(self._canvas, self, coordinates=False))
        colours = plot_colours(self.palette(), enabled=self.isEnabled())
        text, window = colours.text.name(), self.palette().window().color().name()
        figure = self._canvas.figure
        figure.clear()
        figure.set_facecolor(window)
        hues = [colour.name() for colour in (colours.second, colours.defective, colours.text)]
        style: dict[Any, Any] = {
            # Told apart by dashes too, not only by colour.
            "axes.prop_cycle": rcsetup.cycler(color=hues, linestyle=["-", "--", ":"]),
            "axes.facecolor": colours.field.name(),
            "font.size": 8,
            "legend.facecolor": window,
        }
        for part in ("text.", "axes.label", "axes.edge", "xtick.", "ytick."):
            style[f"{part}color"] = text
        with rc_context(style):
            draw_curves(figure.subplots(), curves)
        self._canvas.draw_idle()
