"""Axes of an image, and how far apart its pixels are along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...core.common.errors import InputError

__all__ = ["DEFAULT_AXES", "SpatialMetadata", "converted", "unit_symbol"]

DEFAULT_AXES = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}
"""What the axes of an image are called where nobody says so, by their number."""

_NAMES = {
    "pm": ("pm", "picometer", "picometre"),
    "Å": ("å", "angstrom", "ångström", "ångstrom"),
    "nm": ("nm", "nanometer", "nanometre"),
    # Micro sign and Greek mu look the same; ImageJ writes the escape.
    "µm": ("µm", "μm", "um", "micron", "micrometer", "micrometre", "\\u00b5m"),
    "mm": ("mm", "millimeter", "millimetre"),
    "cm": ("cm", "centimeter", "centimetre"),
    "m": ("m", "meter", "metre"),
    "km": ("km", "kilometer", "kilometre"),
    "in": ("in", "inch", "inches"),
    "µs": ("µs", "μs", "us", "microsecond"),
    "ms": ("ms", "msec", "millisecond"),
    "s": ("s", "sec", "second"),
    "min": ("min", "minute"),
    "h": ("h", "hour"),
}
# What a unit is in metres, or in seconds.
_LENGTHS = {
    "pm": 1e-12, "Å": 1e-10, "nm": 1e-9, "µm": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3,
    "in": 0.0254,
}  # fmt: skip
_TIMES = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_SYMBOLS = {name: symbol for symbol, names in _NAMES.items() for name in names}


def unit_symbol(unit: object) -> str | None:
    """Return the symbol that OME-TIFF knows a unit of length or time by.

    Parameters
    ----------
    unit
        A symbol or English name, singular or plural, or a pint unit such as those of napari's
        layers.

    Returns
    -------
    str or None
        None for pixels and for anything else that is no unit of length or time.

    Examples
    --------
    >>> unit_symbol("micrometer"), unit_symbol("pixel")
    ('µm', None)
    """
    name = str(unit).strip().lower()
    return _SYMBOLS.get(name) or _SYMBOLS.get(name.removesuffix("s"))


def converted(size: float, unit: str, other: str) -> float | None:
    """Return a length or a time in another unit; None if one is a length and the other a time.

    Examples
    --------
    >>> converted(250.0, "nm", "µm"), converted(1.0, "s", "µm")
    (0.25, None)
    """
    if unit == other:
        return size
    for known in (_LENGTHS, _TIMES):
        if unit in known and other in known:
            # Digits beyond those of the factors would be rounding errors.
            return float(f"{size * known[unit] / known[other]:.15g}")
    return None


@dataclass(frozen=True, slots=True)
class SpatialMetadata:
    """What the axes of an image are.

    Attributes
    ----------
    axes
        One letter per axis, as in OME-TIFF: ``"YX"``, ``"ZYX"``, ``"CYX"``, ``"YXS"`` (S: the
        samples of an RGB pixel), ...
    scale
        Distance between neighbours along each axis; 1.0 where it is not known.
    units
        Symbol of the unit of each distance, such as ``"µm"``; None where it is not known.
    """

    axes: str
    scale: tuple[float, ...]
    units: tuple[str | None, ...]

    @property
    def channel_axis(self) -> int | None:
        """Axis of the channels, counted from the end; None for grey images."""
        for letter in "SC":
            if letter in self.axes:
                return self.axes.index(letter) - len(self.axes)
        return None

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """Height and width of a pixel in `unit`; None where they are not known."""
        if self.unit is None:
            return None
        return self.scale[self.axes.index("Y")], self.scale[self.axes.index("X")]

    @property
    def unit(self) -> str | None:
        """Symbol of the unit of height and width; None where it is not known."""
        height, width = (self.units[self.axes.index(letter)] for letter in "YX")
        return width if height == width else None

    def without_channels(self) -> SpatialMetadata:
        """Return what describes a residual or a mask of the image, of shape (..., H, W)."""
        if self.channel_axis is None:
            return self
        gone = len(self.axes) + self.channel_axis
        return SpatialMetadata(
            self.axes[:gone] + self.axes[gone + 1 :],
            self.scale[:gone] + self.scale[gone + 1 :],
            self.units[:gone] + self.units[gone + 1 :],
        )

    def with_pixel_size(self, size: Sequence[float], unit: str | None) -> SpatialMetadata:
        """Return the same axes with other distances along the last of them.

        Parameters
        ----------
        size
            Height and width of a pixel, or one number for both, or one for each of more axes.
        unit
            Their unit, as `unit_symbol` knows it; None or pixels: they are not known.

        Raises
        ------
        InputError
            If there are more numbers than axes, or the unit is none of length.
        """
        size = (*size, *size) if len(size) == 1 else tuple(size)
        symbol = unit_symbol(unit)
        if symbol is None and str(unit).strip().lower() not in ("none", "pixel", "pixels", "px"):
            raise InputError(f"'{unit}' is not a unit of length; use um, mm or pixel, for example.")
        if len(size) > len(self.axes):
            raise InputError(
                f"A pixel size of {len(size)} numbers does not fit an image with {len(self.axes)} "
                "axes besides channels; give height and width."
            )
        kept = len(self.axes) - len(size)
        return SpatialMetadata(
            self.axes,
            self.scale[:kept] + (size if symbol else (1.0,) * len(size)),
            self.units[:kept] + (symbol,) * len(size),
        )
