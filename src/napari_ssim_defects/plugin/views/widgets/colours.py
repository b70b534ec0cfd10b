"""Colours for what is painted by hand, taken from the palette that napari's theme sets.

napari's stylesheet fills a widget's palette: ``Window`` is the theme's background and
``WindowText`` its text. Its highlight is a grey, so the hues that carry a meaning are our own,
made lighter or darker until they have contrast with the background of any theme.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from qtpy.QtGui import QColor, QFont, QPalette

__all__ = ["PlotColours", "contrast", "plot_colours", "small"]

DEFECTIVE = "#f0702c"  # orange and blue: different with any kind of colour vision
SECOND = "#3f8ef0"
REVIEW = "#35c435"  # the green of what is to be reviewed in the canvas
LEGIBLE = 3.0  # contrast ratio that WCAG 2.1 asks of graphics


@dataclass(frozen=True)
class PlotColours:
    """What a plot is painted with; all opaque."""

    text: QColor
    muted: QColor
    faint: QColor
    field: QColor
    bulk: QColor
    second: QColor
    review: QColor
    defective: QColor


def plot_colours(palette: QPalette, *, enabled: bool = True) -> PlotColours:
    """Return the colours of a plot on a widget with this palette.

    Parameters
    ----------
    palette
        The widget's palette, after its stylesheet was applied.
    enabled
        Whether the widget reacts; everything fades into the background where it does not.
    """
    window = palette.color(QPalette.ColorRole.Window).rgb()
    text = palette.color(QPalette.ColorRole.WindowText).rgb()
    return _plot_colours(window, text, enabled)


@lru_cache(maxsize=16)
def _plot_colours(window_rgb: int, text_rgb: int, enabled: bool) -> PlotColours:
    window, text = QColor(window_rgb), QColor(text_rgb)
    fade = 1.0 if enabled else 0.45

    def towards_text(amount: float) -> QColor:
        return _mixed(window, text, amount * fade)

    return PlotColours(
        text=towards_text(1.0),
        muted=towards_text(0.65),
        faint=towards_text(0.2),
        field=towards_text(0.06),
        bulk=towards_text(0.45),
        second=_mixed(window, _legible(QColor(SECOND), window), fade),
        review=_mixed(window, _legible(QColor(REVIEW), window), fade),
        defective=_mixed(window, _legible(QColor(DEFECTIVE), window), fade),
    )


def _mixed(first: QColor, second: QColor, amount: float) -> QColor:
    """Return the colour that lies ``amount`` (0 to 1) of the way from the first to the second."""
    parts = zip(first.getRgbF()[:3], second.getRgbF()[:3], strict=True)
    return QColor.fromRgbF(*((1 - amount) * a + amount * b for a, b in parts))


def _legible(colour: QColor, background: QColor) -> QColor:
    """Return a colour of the same hue that stands out from the background."""
    away = QColor("black") if _luminance(background) > 0.18 else QColor("white")
    for step in range(20):
        candidate = _mixed(colour, away, step / 20)
        if contrast(candidate, background) >= LEGIBLE:
            return candidate
    return away


def contrast(first: QColor, second: QColor) -> float:
    """Return the contrast ratio of two colours, 1 (none) to 21, as WCAG 2.1 defines it."""
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: QColor) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in colour.getRgbF()[:3]
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def small(font: QFont) -> QFont:
    """Return a font a little smaller, for ticks and legends."""
    smaller = QFont(font)
    if font.pointSizeF() > 0:
        smaller.setPointSizeF(max(7.0, 0.85 * font.pointSizeF()))
    return smaller
