"""Generated sample images whose defects are known to the pixel; pure numpy and scipy."""

from __future__ import annotations

from .checkerboard import CheckerboardSample, checkerboard
from .nanofibres import NanofibreSample, nanofibres
from .painted_texture import PaintedTexture, painted_texture

__all__ = [
    "CheckerboardSample",
    "NanofibreSample",
    "PaintedTexture",
    "checkerboard",
    "nanofibres",
    "painted_texture",
]
