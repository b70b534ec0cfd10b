"""The command line ``napari-ssim-defects``."""

from __future__ import annotations

from .main import main

__all__ = ["main"]
