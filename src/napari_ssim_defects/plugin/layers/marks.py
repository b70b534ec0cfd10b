"""What a person has said of the regions of an image: the marks of the model that found them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Layer

from .derived import source_name
from .provenance import is_by

if TYPE_CHECKING:
    from ...core.model.corrections import Mark
    from ...core.model.defect_model import DefectModel

__all__ = ["marks_on"]


def marks_on(layer: Layer, model: DefectModel | None) -> tuple[Mark, ...]:
    """Return the marks of a model on the image of a layer, if it is the one that made the layer."""
    if model is None or not model.corrections:
        return ()
    if not is_by(model, layer):
        return ()
    image = source_name(layer)
    return tuple(mark for mark in model.corrections if mark.image == image)
