"""Reads and writes OME-TIFF for napari, with scale, units and names of axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...io.readers.tiff import read_tiff
from ...io.writers.ome_tiff import write_ome_tiff
from ..layers.spatial import file_metadata

__all__ = [
    "read_results",
    "reader_of",
    "write_image",
    "write_labels",
]

_PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_LABELS = (".labels", ".mask")
LayerData = tuple[Any, dict[str, Any], str]


def reader_of(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]]:
    """Return what reads the files, as napari asks for it; see `read_results`."""
    return read_results


def read_results(path: str | Sequence[str]) -> list[LayerData]:
    """Read residuals as images, and labels and masks as labels.

    Parameters
    ----------
    path
        One or more TIFF files. napari's own reader leaves out scale and units.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    return [_layer(Path(file)) for file in ([path] if isinstance(path, str) else path)]


def _layer(path: Path) -> LayerData:
    data, spatial = read_tiff(path)
    name = path.name.removesuffix(".tif").removesuffix(".ome")
    rgb = spatial.axes.endswith("S")
    axes = len(spatial.axes) - rgb  # colour is not an axis of a layer
    properties = {
        "name": name,
        "scale": spatial.scale[:axes],
        "units": tuple(unit or "pixel" for unit in spatial.units[:axes]),
        "axis_labels": tuple(spatial.axes.lower()[:axes]),
    }
    if name.endswith(_LABELS):
        return data, properties, "labels"
    return data, {**properties, "rgb": rgb}, "image"


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
    from napari.layers import Image

    if meta.get("multiscale", False):
        data = data[0]
    # A layer in the same place, so that axes, sizes and units are those that Export writes.
    shape = data.shape[:-1] if samples else data.shape
    place = {name: meta[name] for name in _PLACE if meta.get(name) is not None}
    layer = Image(np.broadcast_to(np.uint8(0), shape), rgb=False, name=meta.get("name"), **place)
    spatial = file_metadata(layer)
    write_ome_tiff(
        path, data, pixel_size=spatial.scale, unit=spatial.units, axes=spatial.axes + samples
    )
    return [path]
