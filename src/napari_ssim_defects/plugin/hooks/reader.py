"""Opens the images that detection has written, with their scale, units and names of axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...io.readers.tiff import read_tiff

__all__ = ["read_results", "reader_of"]

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

    Returns
    -------
    list of tuple
        Data, properties and type of a layer for each file.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    return [_layer(Path(file)) for file in ([path] if isinstance(path, str) else path)]


def _layer(path: Path) -> LayerData:
    data, spatial = read_tiff(path)
    name = path.name.removesuffix(".tif").removesuffix(".ome")
    properties = {
        "name": name,
        "scale": spatial.scale,
        "units": tuple(unit or "pixel" for unit in spatial.units),
        "axis_labels": tuple(spatial.axes.lower()),
    }
    return data, properties, "labels" if name.endswith(_LABELS) else "image"
