"""Which results of a detection are written, as a frozen set of values."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import field_validator

from .values import Values

__all__ = ["OutputConfig", "OutputKind", "TiffFormat"]

OutputKind = Literal["residual", "labels", "mask", "table", "overlay"]
"""Residual map; numbered regions; where regions are; their table; picture with outlines."""

TiffFormat = Literal["ome", "imagej"]
"""OME-TIFF, which holds everything, and ImageJ's own form, which is less and opens in any Fiji."""


class OutputConfig(Values):
    """What is written about each image, and in which kind of TIFF.

    Attributes
    ----------
    kinds
        What is written, each once, in the order of `OutputKind`.
    tiff
        Kind of TIFF for residuals, labels and masks.

    Examples
    --------
    >>> OutputConfig(kinds=("table", "mask")).kinds
    ('mask', 'table')
    """

    kinds: tuple[OutputKind, ...] = ("residual", "labels", "table")
    tiff: TiffFormat = "ome"

    @field_validator("kinds")
    @classmethod
    def _in_order(cls, value: tuple[OutputKind, ...]) -> tuple[OutputKind, ...]:
        return tuple(kind for kind in get_args(OutputKind) if kind in value)
