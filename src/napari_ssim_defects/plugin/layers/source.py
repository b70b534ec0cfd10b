"""What is taken from an image layer for a thread to work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari.layers import Image

from ...core.common.errors import InputError
from .spatial import spatial_metadata

__all__ = ["Source", "source_of"]


@dataclass(frozen=True, slots=True)
class Source:
    """What is kept of an image layer while a thread works on it, as the layer may vanish.

    Attributes
    ----------
    key
        The layer's unique id.
    name
        Its name.
    image
        Its pixels: (..., H, W), or (..., H, W, 3 or 4) if ``rgb``; of a pyramid, level 0.
    rgb
        Whether the last axis is colour.
    spatial
        Scale, translation, rotation, shear, affine transform, units and names of its axes.
    contrast_limits
        How it is displayed.
    """

    key: str
    name: str
    image: Any
    rgb: bool
    spatial: Mapping[str, Any]
    contrast_limits: tuple[float, float]

    @property
    def quoted(self) -> str:
        """The name as sentences show it."""
        return f"'{self.name}'"


def source_of(layer: Image) -> Source:
    """Take from an image layer what a thread needs.

    Raises
    ------
    InputError
        If a stack of grey planes is only 3 or 4 pixels wide: that is a colour image which was
        opened as a stack, and guessing would change what its axes mean.
    """
    image = layer.data[0] if layer.multiscale else layer.data
    if not layer.rgb and image.ndim >= 3 and image.shape[-1] in (3, 4):
        raise InputError(
            f"'{layer.name}' is a stack of planes that are {image.shape[-1]} pixels wide; open "
            "it as an RGB image if its last axis is colour."
        )
    low, high = layer.contrast_limits
    return Source(
        key=str(layer.unique_id),
        name=layer.name,
        image=image,
        rgb=bool(layer.rgb),
        spatial=spatial_metadata(layer),
        contrast_limits=(float(low), float(high)),
    )
