"""Labels and Shapes layers as masks on the pixel grid of an image layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels, Layer, Shapes
from scipy import ndimage

from ...core.common.errors import InputError
from .derived import is_mask
from .spatial import plane_matrix, unit_factors

__all__ = ["is_region", "region_mask"]

_Mask = npt.NDArray[np.bool_]


def is_region(layer: Layer) -> bool:
    """Whether a layer can limit training or inspection to a region."""
    return isinstance(layer, Labels | Shapes) or is_mask(layer)


def region_mask(
    region: Layer, image: Image, *, empty: bool = False, what: str = "defect-free"
) -> _Mask:
    """Return which pixels of an image lie in a region.

    Parameters
    ----------
    region
        A Labels layer or the image of a mask (values other than 0 are inside), or a Shapes
        layer (inside of any shape).
        With fewer axes than the image it holds for every plane. It may have another scale,
        position, orientation or unit: what counts is where both are in the world.
    image
        The layer whose pixel grid is meant.
    empty
        Whether a layer without any label or shape will do: it marks nothing.
    what
        What a sentence calls the part to mark.

    Returns
    -------
    numpy.ndarray
        bool of shape (H, W) or (..., H, W).

    Raises
    ------
    InputError
        If no pixel of the image is inside.
    """
    factors = unit_factors(image, region)
    units = np.diag([*factors[-2:], 1.0])
    to_region = np.linalg.inv(plane_matrix(region)) @ units @ plane_matrix(image)
    data = image.data[0] if image.multiscale else image.data
    shape = tuple(data.shape[:-1] if image.rgb else data.shape)
    if isinstance(region, Labels | Image):
        mask = _labels_mask(region, to_region, shape)
    else:
        mask = _shapes_mask(region, np.linalg.inv(to_region), shape, image)
    if not mask.any() and not (empty and _is_empty(region)):
        raise InputError(
            f"No pixel of '{image.name}' lies inside '{region.name}'; mark the {what} part "
            "of the image in that layer, or choose no region."
        )
    return mask


def _is_empty(region: Layer) -> bool:
    if isinstance(region, Shapes):
        return not len(region.data)
    return not np.asarray(region.data[0] if region.multiscale else region.data).any()


def _labels_mask(region: Labels, to_region: npt.NDArray[Any], shape: tuple[int, ...]) -> _Mask:
    labels = region.data[0] if region.multiscale else region.data
    inside = np.asarray(labels) != 0
    if inside.ndim > 2 and inside.shape[:-2] != shape[:-2]:
        raise InputError(
            f"'{region.name}' has planes {inside.shape[:-2]}, the image has {shape[:-2]}; choose "
            "a region with the same number of planes, or with one plane for all."
        )
    if np.allclose(to_region, np.eye(3), atol=1e-6) and inside.shape[-2:] == shape[-2:]:
        return inside
    mask = np.empty((*inside.shape[:-2], *shape[-2:]), dtype=bool)
    for index in np.ndindex(inside.shape[:-2]):
        mask[index] = ndimage.affine_transform(
            inside[index].astype(np.uint8), to_region, output_shape=shape[-2:], order=0
        )
    return mask


def _shapes_mask(
    region: Shapes, to_image: npt.NDArray[Any], shape: tuple[int, ...], image: Image
) -> _Mask:
    """Draw the shapes; those of a stack count on the plane that they were drawn on."""
    planes = shape[:-2] if region.ndim == len(shape) else ()
    mask = np.zeros((*planes, *shape[-2:]), dtype=bool)
    for vertices, kind in zip(region.data, region.shape_type, strict=True):
        vertices = np.asarray(vertices, dtype=float)
        index: tuple[int, ...] = ()
        if planes:
            world = np.asarray(region.data_to_world(vertices[0])) * unit_factors(region, image)
            corner = image.world_to_data(world)
            index = tuple(round(float(value)) for value in corner[:-2])
            if any(not 0 <= i < size for i, size in zip(index, planes, strict=True)):
                continue
        plane = vertices[:, -2:] @ to_image[:2, :2].T + to_image[:2, 2]
        plane = np.round(plane, 6)  # rounding errors would move what lies on the centre of a pixel
        mask[index] |= _drawn(plane, kind, shape[-2:])
    return mask


def _drawn(vertices: npt.NDArray[np.float64], kind: Any, shape: tuple[int, ...]) -> _Mask:
    # napari draws every kind of shape; it only needs to see them in pixels of the image.
    masks = Shapes([vertices], shape_type=str(kind)).to_masks(mask_shape=shape)
    return np.asarray(masks[0], dtype=bool)
