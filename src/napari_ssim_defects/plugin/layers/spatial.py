"""Where a layer lies in the world, and the array that a thread takes from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer

from ...core.common.errors import InputError
from ...io.files.spatial import DEFAULT_AXES, SpatialMetadata, converted, unit_symbol

__all__ = [
    "Source",
    "file_metadata",
    "pixel_area",
    "pixel_size",
    "plane_matrix",
    "source_of",
    "spatial_metadata",
    "unit_factors",
    "visible_plane",
    "without_axis",
]


def spatial_metadata(layer: Layer) -> dict[str, Any]:
    """Return the keyword arguments that put another layer exactly where this one is."""
    return {
        "scale": tuple(map(float, layer.scale)),
        "translate": tuple(map(float, layer.translate)),
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": tuple(layer.units),
        "axis_labels": tuple(layer.axis_labels),
    }


def without_axis(spatial: Mapping[str, Any], axis: int | None) -> dict[str, Any]:
    """Leave one axis out of spatial metadata."""
    if axis is None:
        return dict(spatial)
    ndim = len(spatial["scale"])
    kept = [index for index in range(ndim) if index != ndim + axis]
    fitting: dict[str, Any] = {
        name: tuple(spatial[name][index] for index in kept)
        for name in ("scale", "translate", "units", "axis_labels")
    }
    # napari stores shear as the entries above the diagonal.
    shear = np.eye(ndim)
    shear[np.triu_indices(ndim, 1)] = spatial["shear"]
    fitting["shear"] = shear[np.ix_(kept, kept)][np.triu_indices(ndim - 1, 1)]
    fitting["rotate"] = spatial["rotate"][np.ix_(kept, kept)]
    fitting["affine"] = spatial["affine"][np.ix_([*kept, ndim], [*kept, ndim])]
    return fitting


def plane_matrix(layer: Layer) -> npt.NDArray[np.float64]:
    """Return how pixels of the last two axes map to the world, as a 3 x 3 matrix."""
    origin = np.asarray(layer.data_to_world(np.zeros(layer.ndim)), dtype=float)[-2:]
    matrix = np.eye(3)
    for column, axis in enumerate((-2, -1)):
        step = np.zeros(layer.ndim)
        step[axis] = 1
        matrix[:2, column] = np.asarray(layer.data_to_world(step), dtype=float)[-2:] - origin
    matrix[:2, 2] = origin
    return matrix


def unit_factors(layer: Layer, other: Layer) -> npt.NDArray[np.float64]:
    """Return what world coordinates of a layer are multiplied by in the units of another layer.

    One factor per axis that both have, the last axes of each; 1 where units cannot be converted,
    such as pixels.
    """
    factors = []
    ndim = min(layer.ndim, other.ndim)
    for unit, wanted in zip(layer.units[-ndim:], other.units[-ndim:], strict=True):
        symbol, target = unit_symbol(unit), unit_symbol(wanted)
        factor = None
        if symbol is not None and target is not None:
            factor = converted(1.0, symbol, target)
        factors.append(1.0 if factor is None else factor)
    return np.array(factors)


def visible_plane(layer: Layer, point: Sequence[float]) -> tuple[int, ...]:
    """Return the index of the plane of a layer (..., H, W) at a point of the world."""
    position = layer.world_to_data(point[-layer.ndim :])[:-2]
    return tuple(
        int(np.clip(round(float(value)), 0, size - 1))
        for value, size in zip(position, layer.data.shape, strict=False)
    )


def pixel_area(layer: Layer) -> tuple[float, str]:
    """Return the area of a pixel in world units, and the unit; "" for plain pixels."""
    height, width = (unit_symbol(unit) for unit in layer.units[-2:])
    if height is None or height != width:
        return 1.0, ""
    # The determinant, so that rotation and shear do not matter.
    return float(abs(np.linalg.det(plane_matrix(layer)))), height


def pixel_size(layer: Layer) -> tuple[tuple[float, float], str | None]:
    """Return height and width of a pixel in world units, and the unit; None for plain pixels."""
    matrix = plane_matrix(layer)
    height, width = (float(np.hypot(*matrix[:2, column])) for column in (0, 1))
    symbols = {unit_symbol(unit) for unit in layer.units[-2:]}
    return (height, width), symbols.pop() if len(symbols) == 1 else None


def file_metadata(layer: Layer) -> SpatialMetadata:
    """Return axes, distances and units of a layer without colour, as image files hold them.

    Axes are called what the layer calls them where these are the letters of TZCYX, and else as
    usual for their number. Distances include those of an affine transform.

    Raises
    ------
    InputError
        If it has more axes than an image file.
    """
    if layer.ndim not in DEFAULT_AXES:
        raise InputError(
            f"'{layer.name}' has {layer.ndim} dimensions and TIFF two to five; split it."
        )
    axes = "".join(layer.axis_labels).upper()
    if len(axes) != layer.ndim or len({*axes}) < layer.ndim or not axes.endswith("YX"):
        axes = DEFAULT_AXES[layer.ndim]
    if not {*axes} <= {*"TZCYX"}:
        axes = DEFAULT_AXES[layer.ndim]
    axes = _fitting(axes, [unit_symbol(unit) for unit in layer.units])
    origin = np.asarray(layer.data_to_world(np.zeros(layer.ndim)), dtype=float)
    steps = np.array([layer.data_to_world(step) for step in np.eye(layer.ndim)]) - origin
    sizes, scale = np.linalg.norm(steps, axis=1), np.abs(layer.scale)
    # Free of the rounding errors of the sums above, so that files say 0.25 and not 0.24999.
    sizes = np.where(np.isclose(sizes, scale), scale, sizes)
    units = tuple(unit_symbol(unit) for unit in layer.units)
    return SpatialMetadata(axes, tuple(map(float, sizes)), units)


def _fitting(axes: str, units: Sequence[str | None]) -> str:
    """Call an axis that is counted in seconds T: depths in seconds are not valid OME."""
    timed = [
        index
        for index, unit in enumerate(units[:-2])
        if unit is not None and converted(1.0, unit, "s") is not None
    ]
    if not timed or axes[timed[0]] == "T":
        return axes
    letters = list(axes)
    if "T" in letters:
        letters[letters.index("T")] = letters[timed[0]]
    letters[timed[0]] = "T"
    return "".join(letters)


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
    file
        Where napari's own reader took all of it from; None: no such file.
    """

    key: str
    name: str
    image: Any
    rgb: bool
    spatial: Mapping[str, Any]
    contrast_limits: tuple[float, float]
    file: Path | None = None

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
        file=_opened_file(layer),
    )


def _opened_file(layer: Layer) -> Path | None:
    """Return the file of a layer that napari opened by itself; other readers may split a file."""
    source = layer.source
    by_napari = source.path is not None and source.reader_plugin == "napari"
    return Path(str(source.path)) if by_napari else None
