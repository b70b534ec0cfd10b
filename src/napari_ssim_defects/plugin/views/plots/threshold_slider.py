"""A threshold, and a lower one for review, set on the histogram of what they divide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ..widgets.fields import NumberBox
from .histogram import Histogram, percent
from .histogram_plot import STEPS, HistogramPlot, Line
from .ticks import decimals_for

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["ThresholdSlider"]


class ThresholdSlider(QWidget):
    """A histogram with a line to drag, and a box to type the same value into.

    Everything at or right of the line is defective and painted in an accent colour. A second line
    may lie left of it, from which on values are to be reviewed. Only what a person does emits
    ``value_changed`` and ``review_changed``; the methods below never do.

    Arrow keys move by 1/200 of the range, PageUp and PageDown by 1/20, Home and End to its ends;
    with Shift they move the second line. A double-click takes the marker's value.
    """

    value_changed = Signal(float)
    review_changed = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._low, self._high, self._value = 0.0, 1.0, 0.5

        self._plot = HistogramPlot(self)
        self._plot.setAccessibleName("Threshold on the histogram")
        self._plot.asked.connect(self._on_asked)
        self._spin = NumberBox(0, 1)
        self._spin.setAccessibleName("Threshold")
        self._spin.edited.connect(self._change)
        self._share = QLabel(self)
        self._share.setWordWrap(True)  # or a narrow panel would cut off its other rows
        name = QLabel("Threshold", self)
        name.setBuddy(self._spin)

        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(name)
        row.addWidget(self._spin, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._plot, 1)
        layout.addLayout(row)
        layout.addWidget(self._share)  # beside the box a narrow panel would break it into lines
        self.setFocusProxy(self._plot)
        self._show_range()

    def value(self) -> float:
        """Return the threshold; always inside the range."""
        return min(max(self._value, self._low), self._high)

    def set_value(self, value: float) -> None:
        """Set the threshold.

        A value outside the range counts as the nearest end, and comes back when the range grows, so
        that the order of ``set_range`` and ``set_value`` does not matter.

        Raises
        ------
        ValueError
            If the value is not finite.
        """
        if not math.isfinite(value):
            raise ValueError(f"a threshold must be finite, not {value}")
        self._value = float(value)
        self._show_value()

    def set_review(self, value: float | None) -> None:
        """Set from where on values are to be reviewed; None: there is no such line.

        It counts while it lies below the threshold.
        """
        self._plot.review = value
        self._plot.update()

    def set_range(self, low: float, high: float) -> None:
        """Set what the axis spans.

        Raises
        ------
        ValueError
            If an end is not finite, or the range is reversed.
        """
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(f"a range must be finite and increasing, not {low} to {high}")
        self._low, self._high = float(low), float(high)
        self._show_range()

    def set_histogram(self, counts: ArrayLike | None, edges: ArrayLike | None = None) -> None:
        """Show the histogram of the image.

        Parameters
        ----------
        counts
            (n,) numbers of pixels, or None to show none. Drawn on a logarithmic scale.
        edges
            (n + 1,) increasing ends of the bins; the range is not changed by them.
        """
        self._plot.histogram = _histogram(counts, edges)
        self._plot.forget_paths()
        self._show_value()

    def set_reference_histogram(
        self, counts: ArrayLike | None, edges: ArrayLike | None = None
    ) -> None:
        """Show the histogram of defect-free images behind, scaled to as many pixels."""
        self._plot.reference = _histogram(counts, edges)
        self._plot.forget_paths()
        self._show_value()

    def set_marker(self, value: float | None, text: str = "") -> None:
        """Mark a value, such as the calibrated threshold, with a dashed line."""
        self._plot.marker = None if value is None or not math.isfinite(value) else float(value)
        self._plot.marker_text = text
        self._plot.update()

    def _on_asked(self, line: Line, value: float) -> None:
        if line == "threshold":
            self._change(value)
            return
        review = min(value, self.value())
        if review != self._plot.review:
            self.set_review(review)
            self.review_changed.emit(review)

    def _change(self, value: float) -> None:
        """Take a value that a person asks for."""
        before = self.value()
        self._value = min(max(value, self._low), self._high)
        self._show_value()
        if self._value != before:
            self.value_changed.emit(self._value)

    def _show_range(self) -> None:
        span = self._high - self._low
        self._spin.blockSignals(True)
        self._spin.setDecimals(decimals_for(span))
        self._spin.setRange(self._low, self._high)
        self._spin.setSingleStep(span / STEPS)
        self._spin.blockSignals(False)
        self._plot.low, self._plot.high = self._low, self._high
        self._plot.forget_paths()
        self._show_value()

    def _show_value(self) -> None:
        value = self.value()
        self._spin.show_value(value)
        self._plot.threshold = value
        self._plot.update()
        shares = {
            whose: percent(histogram.share_above(value))
            for whose, histogram in (
                ("this histogram", self._plot.histogram),
                ("defect-free images", self._plot.reference),
            )
            if histogram is not None
        }
        good = self._plot.reference
        text = f"{next(iter(shares.values()))} above" if shares else ""
        if good is not None and len(shares) > 1:
            none = f": none of {good.counts.sum():,.0f} good pixels"
            share = f" {shares['defect-free images']}"
            text += f", false positives{none if good.number_above(value) < 0.5 else share}"
        self._share.setText(text)
        lines = [f"{share} of {whose}" for whose, share in shares.items()]
        self._share.setToolTip("\n".join(["At or above the threshold:", *lines]) if lines else "")


def _histogram(counts: ArrayLike | None, edges: ArrayLike | None) -> Histogram | None:
    if counts is None or edges is None:
        return None
    return Histogram(np.asarray(counts, np.float64), np.asarray(edges, np.float64))
