"""Recognises and finds layers that were derived from others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image, Labels, Layer

from .large import large_labels
from .provenance import is_by, provenance
from .region_features import checksum

if TYPE_CHECKING:
    from napari.components import LayerList

    from ...core.model.corrections import Mark
    from ...core.model.defect_model import DefectModel

__all__ = [
    "created_labels",
    "find_derived",
    "image_key",
    "is_committed",
    "is_heatmap",
    "is_inspectable",
    "is_mask",
    "is_painted",
    "marks_on",
    "set_visible",
    "source_name",
]

_MOST_MARKED = 0.3  # part of an image that may be defects
_MASKS: WeakKeyDictionary[Layer, tuple[Any, bool]] = WeakKeyDictionary()


def is_heatmap(layer: Layer) -> bool:
    """Whether a layer is a residual that detection made."""
    return isinstance(layer, Image) and provenance(layer).get("kind") == "residual"


def is_committed(layer: Layer) -> bool:
    """Whether a layer holds regions that were created from a heatmap."""
    return isinstance(layer, Labels) and provenance(layer).get("kind") == "labels"


def is_inspectable(layer: Layer) -> bool:
    """Whether a layer can be trained on or inspected: an image that is not derived."""
    return isinstance(layer, Image) and not provenance(layer) and not is_mask(layer)


def is_mask(layer: Layer) -> bool:
    """Whether an image is one of defects that somebody has marked: nothing, and one value on it.

    Such files are opened as images. Where the value covers much, it is a picture in two tones.
    """
    if not isinstance(layer, Image) or layer.rgb or layer.multiscale:
        return False
    data = layer.data
    if getattr(data, "dtype", np.dtype(float)).kind not in "bu" or not isinstance(data, np.ndarray):
        return False
    known = _MASKS.get(layer)
    if known is None or known[0] is not data:
        marked = data != 0
        share = float(marked.mean()) if data.size else 0.0
        values = data[marked]
        alike = not values.size or bool((values == values.flat[0]).all())
        known = _MASKS[layer] = data, alike and 0 < share <= _MOST_MARKED
    return known[1]


def find_derived(layers: Iterable[Layer], kind: str, key: str) -> Layer | None:
    """Return the layer of a kind that came from the source with this id, if there is one."""
    for layer in layers:
        origin = provenance(layer)
        if origin.get("kind") == kind and origin.get("source_id") == key:
            return layer
    return None


def created_labels(heatmap: Image, layers: LayerList) -> Labels | None:
    """Return the committed regions of a heatmap; None if it was computed again since."""
    origin = provenance(heatmap)
    # The last one, because painted labels are kept when newer ones are created.
    labels = find_derived(reversed(layers), "labels", origin["source_id"])
    if labels is None or provenance(labels).get("detected") != origin.get("detected"):
        return None
    return labels if labels.data.shape == heatmap.data.shape else None


def is_painted(labels: Labels) -> bool:
    """Whether a person has changed committed regions since they were made."""
    if large_labels(labels) is not None:  # cannot be painted
        return False
    return provenance(labels).get("checksum") != checksum(labels.data)


def image_key(layer: Layer) -> str | None:
    """Return the id of the image that a layer is or was made of; None for any other layer."""
    if is_inspectable(layer):
        return str(layer.unique_id)
    key = provenance(layer).get("source_id")
    return None if key is None else str(key)


def set_visible(layer: Layer, visible: bool) -> None:
    """Show or hide a layer; napari draws all of them again even where nothing changes."""
    if layer.visible != visible:
        layer.visible = visible


def source_name(layer: Layer) -> str:
    """Name of the image that a derived layer came from."""
    return str(provenance(layer).get("source", layer.name))


def marks_on(layer: Layer, model: DefectModel | None) -> tuple[Mark, ...]:
    """Return the marks of a model on the image of a layer, if it is the one that made the layer."""
    if model is None or not model.corrections:
        return ()
    if not is_by(model, layer):
        return ()
    image = source_name(layer)
    return tuple(mark for mark in model.corrections if mark.image == image)
