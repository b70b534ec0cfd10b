"""Saves image and labels layers as OME-TIFF with their scale and units."""

from __future__ import annotations

from typing import Any

from ...io.files.spatial import DEFAULT_AXES, unit_symbol
from ...io.writers.ome_tiff import write_ome_tiff

__all__ = ["write_image", "write_labels"]


def write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an Image layer; see `write_ome_tiff`.

    Parameters
    ----------
    path
        The file, ``.ome.tif`` or ``.ome.tiff``; one that exists is replaced.
    data
        The layer's data; of a pyramid, level 0 is written, as the file gets its own.
    meta
        The layer's other properties.

    Raises
    ------
    InputError
        If the file cannot be written, or OME-TIFF cannot hold such data.
    """
    rgb = bool(meta.get("rgb", False))
    return _write(path, data, meta, "S" if rgb else "")


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer; parameters as for `write_image`."""
    return _write(path, data, meta, "")


def _write(path: str, data: Any, meta: dict[str, Any], samples: str) -> list[str]:
    if meta.get("multiscale", False):
        data = data[0]
    ndim = data.ndim - len(samples)
    axes = DEFAULT_AXES.get(ndim, "")
    units = [unit_symbol(unit) for unit in meta.get("units") or [None] * ndim]
    write_ome_tiff(
        path,
        data,
        pixel_size=tuple(float(value) for value in meta.get("scale", [1.0] * ndim)),
        unit=units,
        axes=axes and axes + samples,
    )
    return [path]
