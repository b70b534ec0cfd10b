"""Ways to say which part of the images counts, as frozen models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from ..common.array_checks import short_text
from ..common.errors import InputError
from ..common.frozen_model import FrozenModel

__all__ = [
    "BoxRegion",
    "MarginsRegion",
    "MaskRegion",
    "RegionOfInterest",
    "parse_region",
]

_Pixels = Annotated[int, Field(ge=0, le=10**9)]
_SIDES = ("top", "bottom", "left", "right")
_MARGINS = re.compile(r"(top|bottom|left|right):(\d{1,9})")
_BOX = re.compile(r"(\d{1,9}):(\d{1,9}),(\d{1,9}):(\d{1,9})")


class MarginsRegion(FrozenModel):
    """An image without its margins: ``bottom:60`` leaves out the last 60 rows, say a data bar."""

    kind: Literal["margins"] = "margins"
    top: _Pixels = 0
    bottom: _Pixels = 0
    left: _Pixels = 0
    right: _Pixels = 0

    def __str__(self) -> str:
        margins = ((side, getattr(self, side)) for side in _SIDES)
        return ",".join(f"{side}:{pixels}" for side, pixels in margins if pixels) or "top:0"


class BoxRegion(FrozenModel):
    """Rows and columns, counted from 0, from the first up to but without the last."""

    kind: Literal["box"] = "box"
    rows: tuple[_Pixels, _Pixels]
    columns: tuple[_Pixels, _Pixels]

    @model_validator(mode="after")
    def _holds_pixels(self) -> Self:
        for name, (first, last) in (("rows", self.rows), ("columns", self.columns)):
            if first >= last:
                raise ValueError(
                    f"the {name} {first}:{last} contain no pixel; put the smaller number first"
                )
        return self

    def __str__(self) -> str:
        return ",".join(f"{first}:{last}" for first, last in (self.rows, self.columns))


class MaskRegion(FrozenModel):
    """The pixels that are not zero in a mask file of the size of the images."""

    kind: Literal["mask"] = "mask"
    path: Path

    def __str__(self) -> str:
        return self.path.as_posix()


def parse_region(text: str) -> MarginsRegion | BoxRegion | MaskRegion:
    """Read a region as the command line and recipes write it.

    Parameters
    ----------
    text
        Margins such as ``bottom:60`` or ``top:20,bottom:60``, a box ``ROWS,COLUMNS`` such as
        ``0:960,0:1280``, or else the name of a mask.

    Raises
    ------
    InputError
        If it is empty, a margin is given twice or the box holds no pixel.

    Examples
    --------
    >>> parse_region("top:20,bottom:60").bottom
    60
    >>> parse_region("0:960,0:1280").rows
    (0, 960)
    >>> parse_region("particles.png").kind
    'mask'
    """
    plain = text.replace(" ", "")
    if found := _BOX.fullmatch(plain):
        first_row, last_row, first, last = map(int, found.groups())
        return BoxRegion(rows=(first_row, last_row), columns=(first, last))
    parts = [_MARGINS.fullmatch(part) for part in plain.split(",")]
    margins = {part[1]: int(part[2]) for part in parts if part is not None}
    if len(margins) == len(parts):
        return MarginsRegion(**margins)
    if not plain or "\0" in text or any(parts) or plain.split(":")[0] in _SIDES:
        raise InputError(
            f"{short_text(text)} is not a region; give margins such as bottom:60, a box of rows "
            "and columns such as 0:960,0:1280, or the file of a mask."
        )
    return MaskRegion(path=Path(text))


def _parsed(value: object) -> object:
    return parse_region(value) if isinstance(value, str) else value


RegionOfInterest = Annotated[
    Annotated[MarginsRegion | BoxRegion | MaskRegion, Field(discriminator="kind")],
    BeforeValidator(_parsed),
    PlainSerializer(str, when_used="json"),
]
"""The part of each image that counts; in files a short text, see `parse_region`."""
