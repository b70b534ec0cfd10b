"""Generated sample images whose defects are known to the pixel; pure numpy and scipy."""

from __future__ import annotations

from .checkerboard import CheckerboardSample, checkerboard
from .nanofibres import DEFECTIVE_SEEDS, GOOD_SEEDS, NanofibreSample, nanofibres
from .painted_texture import PaintedTexture, painted_texture

__all__ = [
    "DEFECTIVE_SEEDS",
    "GOOD_SEEDS",
    "CheckerboardSample",
    "NanofibreSample",
    "PaintedTexture",
    "checkerboard",
    "nanofibres",
    "painted_texture",
]
