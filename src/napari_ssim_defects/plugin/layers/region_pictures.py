"""Small pictures of regions, and the planes of an image as its heatmap has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels

from ...core.common.errors import InputError
from ...io.writers.overlay import outlined
from .provenance import provenance
from .spatial import Source, source_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Layer

    from ...core.images.planes import Planes

__all__ = ["planes_like", "region_picture"]

_AROUND = 1.8  # of what is seen, to the size of the region
_LEAST = 40  # pixels


def planes_like(source: Source, shape: tuple[int, ...]) -> Planes | None:
    """See an image as the planes of its heatmap (..., H, W); None if it has changed since."""
    from ...core.images.planes import as_planes

    image = source.image
    for axis in (None, *range(-1, -image.ndim - 1, -1)):
        kept = image.shape if axis is None else image.shape[:axis] + image.shape[axis:][1:]
        if kept == shape:
            return as_planes(image, None if source.rgb else axis, grey=axis is None)
    return None


def region_picture(
    labels: Labels,
    layers: Iterable[Layer],
    plane: int,
    label: int,
    box: Sequence[int],
    side: int,
    review: bool = False,
) -> npt.NDArray[np.uint8]:
    """Draw a region of a layer with what lies around it; nothing else of the image is read.

    Parameters
    ----------
    labels
        The regions of an image.
    layers
        Where the image is looked for; without it the residual is drawn.
    plane, label, box
        Which region: its plane, its label, and its first row and column and those past its last.
    side
        Pixels of the picture along each side, at most twice as many are read.
    review
        Whether the region is to be reviewed, and gets another colour.

    Returns
    -------
    numpy.ndarray
        uint8 of shape (H, W, 3).
    """
    marked, planes, limits = _parts(labels, layers)
    size = max(_LEAST, round(_AROUND * max(box[2] - box[0], box[3] - box[1])))
    step = max(1, size // side)
    rows, columns = (
        _window(low, high, size, end, step)
        for low, high, end in zip(box[:2], box[2:], marked.shape[-2:], strict=True)
    )
    place = tuple(int(axis) for axis in np.unravel_index(plane, marked.shape[:-2]))
    here = np.asarray(marked[(*place, rows, columns)])
    try:
        pixels = planes.read(plane, rows, columns)
    except InputError:  # somebody has put NaN into the image since
        pixels = np.zeros((1, *here.shape), np.float32)
    here = np.where(here == label, here, 0)
    return outlined(pixels, here, limits, here[here > 0] if review else None)


def _parts(labels: Labels, layers: Iterable[Layer]) -> tuple[Any, Planes, tuple[float, float]]:
    """Return the labels, their image, or else its residual, and what of it is black and white."""
    from ...core.images.planes import as_planes

    origin = provenance(labels)
    marked, residual = labels.data, origin["residual"]
    if labels.multiscale:
        marked, residual = marked[0], residual[0]
    image = next((each for each in layers if str(each.unique_id) == origin["source_id"]), None)
    if isinstance(image, Image):
        source = source_of(image)
        planes = planes_like(source, marked.shape)
        if planes is not None:
            white = 255.0 if planes.dtype.kind == "u" else 1.0
            return marked, planes, (0.0, white) if source.rgb else source.contrast_limits
    return marked, as_planes(residual, grey=True), origin.get("contrast_limits", (0.0, 1.0))


def _window(low: int, high: int, size: int, end: int, step: int) -> slice:
    """Return so many pixels around a range, shifted to lie inside of the image."""
    first = max(0, min((low + high - size) // 2, end - size))
    return slice(first, min(first + size, end), step)
