"""OME-Zarr images (NGFF 0.4), written block by block."""

from __future__ import annotations

import os
from typing import Any

from ...core.common.array_checks import refuse_masked
from ...core.common.errors import InputError
from ...core.images.planes import ImageLike
from ..files.atomic import atomic_folder
from ..files.pyramid import BLOCK, blocks, level_shape, levels, read_level, storable
from ..files.spatial import SpatialMetadata

__all__ = ["refuse_axes", "refuse_without_zarr", "write_ome_zarr"]

_VERSION = "0.4"  # on version 2 of zarr, which most programs read
_ORDER = "TCZYX"
_TYPES = {"T": "time", "C": "channel"}
_UNITS = {
    "pm": "picometer", "Å": "angstrom", "nm": "nanometer", "µm": "micrometer",
    "mm": "millimeter", "cm": "centimeter", "m": "meter", "km": "kilometer", "in": "inch",
    "µs": "microsecond", "ms": "millisecond", "s": "second", "min": "minute", "h": "hour",
}  # fmt: skip


def write_ome_zarr(path: str | os.PathLike[str], data: ImageLike, spatial: SpatialMetadata) -> None:
    """Write an image, a residual, a mask or labels as OME-Zarr, whole or not at all.

    Types and levels are those of `write_ome_tiff`: large planes get a pyramid.

    Parameters
    ----------
    path
        The folder; one that exists is replaced.
    data
        Array of up to five dimensions, numpy or any other that can be sliced (dask, zarr, ...); it
        is read block by block, by 512 pixels, so what is costly to compute is better stored first.
    spatial
        Its axes, of T, C, Z, Y and X in this order, with distances and units.

    Raises
    ------
    InputError
        If the folder cannot be written, OME-Zarr has no such axes or values, or the package zarr
        is missing.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from napari_ssim_defects.io.readers.ome_zarr import open_zarr
    >>> path = Path(tempfile.mkdtemp()) / "weave.ome.zarr"
    >>> write_ome_zarr(path, np.eye(3), SpatialMetadata("YX", (0.5, 0.5), ("µm", "µm")))
    >>> open_zarr(path)[1].pixel_size
    (0.5, 0.5)
    """
    name = os.fspath(path)
    refuse_without_zarr(name)
    import numcodecs
    import zarr

    axes = spatial.axes
    refuse_axes(name, axes)
    refuse_masked(data, "The image")
    if len(axes) != data.ndim or not axes.endswith("YX"):
        raise InputError(
            f"Cannot write '{name}': its {data.ndim} axes are not '{axes}'; give one letter for "
            "each, height and width last."
        )
    y = axes.index("Y")
    if 0 in data.shape:
        raise InputError(f"Cannot write '{name}': the image has no pixels.")
    finer: Any = storable(data, y, name)
    datasets: list[Any] = []
    with atomic_folder(path) as temporary:
        group = zarr.open_group(temporary, mode="w", zarr_format=2)
        for level in range(levels(finer.shape, y) + 1):
            shape = level_shape(finer.shape, y) if level else finer.shape
            array = group.create_array(
                str(level),
                shape=shape,
                chunks=(*(1 for _ in shape[:y]), *(min(BLOCK, side) for side in shape[y:])),
                dtype=finer.dtype,
                compressors=numcodecs.Blosc(),
                chunk_key_encoding={"name": "v2", "separator": "/"},
            )
            for index in blocks(shape, y):
                array[index] = read_level(finer, y, index) if level else finer[index]
            size = [*spatial.scale[:y], *(2**level * step for step in spatial.scale[y:])]
            datasets.append({
                "path": str(level),
                "coordinateTransformations": [{"type": "scale", "scale": size}],
            })  # fmt: skip
            finer = array
        group.attrs["multiscales"] = [
            {"version": _VERSION, "axes": _axes(spatial), "datasets": datasets}
        ]


def refuse_axes(name: str, axes: str) -> None:
    """Raise `InputError` if OME-Zarr has no such axes in this order."""
    if sorted(axes, key=_ORDER.find) != [*axes] or not {*axes} <= {*_ORDER}:
        raise InputError(
            f"Cannot write '{name}': OME-Zarr has no axes {axes}; save fewer dimensions at a time."
        )


def refuse_without_zarr(name: str) -> None:
    """Raise `InputError` if the package that writes zarr is missing."""
    try:
        import zarr  # noqa: F401
    except ImportError:
        raise InputError(
            f"Cannot write '{name}': OME-Zarr needs the package zarr: "
            "pip install napari-ssim-defects[dask]."
        ) from None


def _axes(spatial: SpatialMetadata) -> list[Any]:
    described = []
    for letter, unit in zip(spatial.axes, spatial.units, strict=True):
        axis = {"name": letter.lower(), "type": _TYPES.get(letter, "space")}
        described.append({**axis, "unit": _UNITS[unit]} if unit else axis)
    return described
