"""Where the camera looks: never further out than the whole image, never past it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Layer

__all__ = ["bring_into_view", "canvas_size", "follow_scale", "look_at"]

_MARGIN = 1.05  # of an image that fills the canvas
_SMALLEST = 1 / 3  # part of the canvas that an image covers along its longer side
_IN_VIEW = 0.5  # part of what can be in view


def canvas_size(viewer: Any) -> tuple[float, float]:
    """Return height and width of the canvas in pixels of the screen."""
    height, width = getattr(viewer, "_canvas_size", (600, 800))
    return max(1.0, float(height)), max(1.0, float(width))


def look_at(viewer: Any, centre: Sequence[float], zoom: float, layer: Layer) -> None:
    """Look at a point of a layer; at the whole of it where that needs no smaller zoom.

    Parameters
    ----------
    viewer
        Has the camera.
    centre
        Point of the world, along the axes that are displayed.
    zoom
        Pixels of the screen for each unit of the world.
    layer
        What is looked at.
    """
    low, high = _extent(viewer, layer)
    fitted = _fitted(viewer, high - low)
    if zoom <= fitted:
        zoom, centre = fitted, ((low + high) / 2).tolist()
    camera = getattr(viewer, "scene", viewer).camera  # 0.9, 0.7
    camera.center = (*(0.0,) * (3 - len(centre)), *centre)
    camera.zoom = zoom


def bring_into_view(viewer: Any, layer: Layer) -> None:
    """Fit a layer into the canvas if it is out of view or small; a detail in view stays."""
    if viewer.dims.ndisplay != 2:
        return
    low, high = _extent(viewer, layer)
    camera = getattr(viewer, "scene", viewer).camera  # 0.9, 0.7
    visible = np.array(canvas_size(viewer)) / camera.zoom
    middle = np.asarray(camera.center[-2:])
    shared = np.minimum(high, middle + visible / 2) - np.maximum(low, middle - visible / 2)
    possible = np.minimum(high - low, visible)
    small = ((high - low) / visible).max() < _SMALLEST
    if small or np.clip(shared, 0, None).prod() < _IN_VIEW * possible.prod():
        look_at(viewer, ((low + high) / 2).tolist(), 0.0, layer)


def follow_scale(viewer: Any, factor: float) -> None:
    """Look at what was looked at, after all layers became larger by a factor."""
    camera = getattr(viewer, "scene", viewer).camera  # 0.9, 0.7
    camera.center = tuple(factor * place for place in camera.center)
    camera.zoom /= factor


def _extent(viewer: Any, layer: Layer) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the corners of a layer along the axes that are displayed."""
    offset = viewer.dims.ndim - layer.ndim
    axes = [axis - offset for axis in viewer.dims.displayed if axis >= offset]
    low, high = layer.extent.world[:, axes]
    return low, high


def _fitted(viewer: Any, size: npt.NDArray[Any]) -> float:
    """Return the zoom at which a layer of a size in the world fills the canvas."""
    canvas = np.array(canvas_size(viewer))
    return float((canvas / np.maximum(size[-2:], 1e-12)).min() / _MARGIN)
