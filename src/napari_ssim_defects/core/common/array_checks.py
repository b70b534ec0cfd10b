"""Checks of arrays and numbers: an unusable one is refused in one sentence."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError, counted

__all__ = [
    "finite_number",
    "number_array",
    "plain_array",
    "plane_shaped",
    "refuse_masked",
    "short_text",
    "truth_array",
    "whole_number",
]


def plain_array(data: Any, name: str) -> npt.NDArray[Any]:
    """Return data as an array of any type; an array is neither copied nor changed.

    Parameters
    ----------
    data
        An array, or nested sequences.
    name
        What the sentence calls it: ``"residual"``.

    Raises
    ------
    InputError
        If it is no array, or some of it is masked.
    """
    refuse_masked(data, f"The {name}")
    try:
        return np.asarray(data)
    except (ValueError, TypeError, OverflowError):  # for example rows of different lengths
        raise InputError(
            f"The {name} is not an array; give one of real numbers, with rows of one length."
        ) from None


def number_array(data: Any, name: str) -> npt.NDArray[Any]:
    """Return an array of booleans or real numbers, as `plain_array` does.

    Raises
    ------
    InputError
        If it is no array, holds anything but real numbers, or some of it is masked.
    """
    array = plain_array(data, name)
    if array.dtype.kind not in "buif":
        raise InputError(
            f"The {name} has dtype {array.dtype}; convert it to an integer or floating-point type "
            "first."
        )
    return array


def plane_shaped(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return an array that has height and width, and pixels.

    Raises
    ------
    InputError
        If it has fewer than two axes, or one of the last two is empty.
    """
    if array.ndim < 2:
        raise InputError(
            f"The {name} has height and width, not {counted(array.ndim, 'dimension')}."
        )
    if 0 in array.shape[-2:]:
        raise InputError(f"The {name} is empty (shape {array.shape}); it needs pixels.")
    return array


def truth_array(data: Any, name: str) -> npt.NDArray[np.bool_]:
    """Return where a mask is not zero, as an array of booleans.

    Raises
    ------
    InputError
        As for `number_array`, or if it holds NaN, which is neither true nor false.
    """
    array = number_array(data, name)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError(f"The {name} holds NaN; write 0 or 1 instead.")
    return array.astype(bool, copy=False)


def refuse_masked(data: Any, subject: str) -> None:
    """Refuse an array with masked pixels, because later steps ignore masks.

    Parameters
    ----------
    data
        Anything; only a masked array can be refused.
    subject
        What the sentence begins with: ``"The residual"``.

    Raises
    ------
    InputError
        If some of it is masked.
    """
    if np.ma.isMaskedArray(data) and np.ma.is_masked(data):
        raise InputError(
            f"{subject} has masked pixels, which would count like the others; fill them first "
            "(numpy.ma.filled)."
        )


def finite_number(value: Any, name: str) -> float:
    """Return a real number that is neither NaN nor infinite.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"The {name} must be a finite number, not {short_text(value)}.")
    return number


def whole_number(value: Any, name: str) -> int:
    """Return a whole number, of Python or numpy.

    Raises
    ------
    InputError
        If it is none, such as 1.5 or "1".
    """
    try:
        return operator.index(value)
    except TypeError:
        raise InputError(f"The {name} must be a whole number, not {short_text(value)}.") from None


def short_text(value: Any) -> str:
    """Return a short text of a value for a sentence, without line breaks."""
    if isinstance(value, int) and abs(value) > 10**20:
        return "one so large"
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:40]}..."
