"""Which results of a detection are written, as a frozen set of values."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import field_validator

from ..common.frozen_model import Values

__all__ = ["OutputConfig", "OutputKind", "TiffFormat"]

OutputKind = Literal["residual", "labels", "mask", "table", "overlay"]
"""Residual map; numbered regions; where regions are; their table; picture with outlines."""

TiffFormat = Literal["ome", "imagej", "zarr"]
"""OME-TIFF, which holds everything; ImageJ's own TIFF, which is less and opens in any Fiji; and
OME-Zarr, a folder of small files, for images that are looked at over a network."""


class OutputConfig(Values):
    """What is written about each image, and in which format.

    Attributes
    ----------
    kinds
        What is written, each once, in the order of `OutputKind`.
    tiff
        Format of residuals, labels and masks.

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
