"""Round numbers for the axes of small plots."""

from __future__ import annotations

import math

__all__ = ["decimals_for", "linear_ticks", "log_ticks"]


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most ``most`` equally spaced round numbers from ``low`` to ``high``.

    Parameters
    ----------
    low, high
        Ends of the axis, both possible ticks.
    most
        The largest number of ticks there is room for.

    Examples
    --------
    >>> linear_ticks(0, 1, 6)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low or most < 1:
        return []
    exponent = math.floor(math.log10((high - low) / most))
    slack = 1e-9 * (high - low)
    for power in range(exponent - 1, exponent + 3):
        for mantissa in (1, 2, 5):
            step = mantissa * 10.0**power
            first = math.ceil((low - slack) / step)
            last = math.floor((high + slack) / step)
            if last - first < most:
                digits = max(0, -power)
                return [round(index * step, digits) + 0.0 for index in range(first, last + 1)]
    return []


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most ``most`` round numbers for a logarithmic axis, where that many suffice.

    Examples
    --------
    >>> log_ticks(0.03, 0.9, 4)
    [0.05, 0.1, 0.2, 0.5]
    """
    if not 0 < low < high or most < 1:
        return []
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        ticks = [
            float(f"{mantissa}e{power}")
            for power in powers
            for mantissa in mantissas
            if low * (1 - 1e-9) <= float(f"{mantissa}e{power}") <= high * (1 + 1e-9)
        ]
        if len(ticks) <= most:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]


def decimals_for(span: float) -> int:
    """Return the decimals that resolve a ten-thousandth of a range.

    Examples
    --------
    >>> decimals_for(1.0), decimals_for(65535.0), decimals_for(0.02)
    (4, 0, 6)
    """
    return min(max(math.ceil(-math.log10(span / 10_000)), 0), 12) if span > 0 else 4
