"""Layers that show where defects are, and which image they belong to by their name."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from napari.layers import Labels, Layer

from .derived import is_inspectable, is_mask
from .provenance import provenance

if TYPE_CHECKING:
    from napari.components import LayerList

__all__ = ["images_of_truth", "is_truth", "truth_of"]

_OF_TRUTH = {"mask", "gt", "label", "labels", "ground", "truth"}
_OF_IMAGES = {"image", "defective", "with", "defects"}


def is_truth(layer: Layer) -> bool:
    """Whether a layer can be ground truth: labels that detection has not made, or a mask."""
    return (isinstance(layer, Labels) and not provenance(layer)) or is_mask(layer)


def truth_of(image: str, layers: LayerList) -> Layer | None:
    """Return the ground truth that is called as an image is, as ``7_mask`` is for ``7``, if one is.

    Words such as mask, gt, label and truth do not count; of several layers none is taken.
    """
    wanted = _words(image)
    found = [layer for layer in layers if is_truth(layer) and _words(layer.name) == wanted]
    return found[0] if wanted and len(found) == 1 else None


def images_of_truth(layers: LayerList) -> dict[Layer, Layer]:
    """Return the image that each ground truth belongs to by its name, where there is just one."""
    images: dict[tuple[str, ...], list[Layer]] = {}
    for layer in filter(is_inspectable, layers):
        images.setdefault(_words(layer.name), []).append(layer)
    called = {layer: images.get(_words(layer.name), []) for layer in filter(is_truth, layers)}
    return {layer: found[0] for layer, found in called.items() if len(found) == 1}


@lru_cache(maxsize=4096)  # each image is compared with each layer whenever the list changes
def _words(name: str) -> tuple[str, ...]:
    """Return the words of a name that tell one image from another."""
    name = re.sub(r" \[\d+\]$", "", name.casefold())  # napari's, of a second layer of that name
    words = re.split(r"[\W_]+", name)
    return tuple(word for word in words if word not in _OF_TRUTH | _OF_IMAGES)
