"""Where a derived layer came from, kept in its metadata."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer

__all__ = ["PROVENANCE", "provenance", "update_provenance"]

PROVENANCE = "napari-ssim-defects"
"""Key of ``layer.metadata`` that says where a derived layer came from."""


def provenance(layer: Layer) -> dict[str, Any]:
    """Return where a derived layer came from; empty for any other layer."""
    value = layer.metadata.get(PROVENANCE, {})
    return value if isinstance(value, dict) else {}


def update_provenance(layer: Layer, **values: Any) -> None:
    """Correct what a derived layer knows about where it came from."""
    layer.metadata = {**layer.metadata, PROVENANCE: {**provenance(layer), **values}}
