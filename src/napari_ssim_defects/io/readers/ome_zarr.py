"""Zarr folders, of versions 2 and 3, plain or OME-Zarr: arrays that are read in parts."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.common.errors import InputError
from ..files.errors import reading
from ..files.spatial import DEFAULT_AXES, SpatialMetadata, unit_symbol
from .file_array import FileArray

__all__ = ["is_zarr", "open_zarr"]

_MARKERS = ("zarr.json", ".zarray", ".zgroup")
_KIND = "a zarr array or an OME-Zarr image"
_UNSAFE = "pickle"
_SMALL_CHUNK = 32 * 32  # pixels
_MANY_CHUNKS = 2**16  # per plane


def is_zarr(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder that holds a zarr array or group."""
    folder = Path(path)
    try:
        return folder.is_dir() and any((folder / name).is_file() for name in _MARKERS)
    except (OSError, ValueError):  # a name that is too long, say
        return False


def open_zarr(path: str | os.PathLike[str]) -> tuple[FileArray, SpatialMetadata]:
    """Open a zarr array, or the full resolution of an OME-Zarr image; pixels are not read yet.

    Parameters
    ----------
    path
        The folder of an array, or of a group that is an OME-Zarr image (NGFF 0.4 or 0.5, or what
        bioformats2raw makes) or holds one array only.

    Returns
    -------
    array
        Of shape (..., H, W), with channels where the axes say so.
    spatial
        Its axes, with scale and units of OME-Zarr. Of a plain array the axes are the last ones of
        TCZYX, with samples of RGB if the last of three or more axes has 3 or 4 entries.

    Truth values become 0 and 255, as those of TIFF do.

    Raises
    ------
    InputError
        If it cannot be read, is no image, is stored by a codec that executes code, or the package
        zarr is missing.
    """
    file = Path(path)
    try:
        import zarr

        from .zarr_store import FilesOnly
    except ImportError:
        raise InputError(
            f"'{file}' is a zarr folder; to read it, install the package zarr: "
            "pip install napari-ssim-defects[dask]."
        ) from None
    with reading(file, _KIND, folder=True):
        node = zarr.open(FilesOnly(file, read_only=True), mode="r")
        multiscale: Mapping[str, Any] = {}
        if isinstance(node, zarr.Group):
            node, multiscale = _image(file, node)
        _refuse_unsafe(file, node)
        if node.ndim < 2 or node.dtype.kind not in "buif":
            raise InputError(
                f"'{file}' is not an image (dtype {node.dtype}, shape {node.shape}); name an array "
                "of numbers with height and width in it."
            )
        _refuse_crumbs(file, node)
        spatial = _spatial(file, node.shape, multiscale)
        if node.dtype.kind == "b":

            def grey(index: Any) -> Any:
                return np.where(node[index], 255, 0)

            return FileArray(file, _KIND, node.shape, np.dtype("u1"), node.chunks, grey), spatial
        array = FileArray(file, _KIND, node.shape, node.dtype, node.chunks, node.__getitem__)
        return array, spatial


def _image(file: Path, group: Any) -> tuple[Any, Mapping[str, Any]]:
    """Return the full-resolution array of a group, and its OME-Zarr metadata."""
    attributes = group.attrs.asdict()
    attributes = attributes.get("ome", attributes)
    if "multiscales" not in attributes and "0" in group and hasattr(group["0"], "keys"):
        images = sorted((name for name in group.group_keys() if name.isdigit()), key=int)
        if len(images) > 1:
            raise InputError(
                f"'{file}' holds {len(images)} images; name one of them, such as "
                f"'{file / images[0]}'."
            )
        return _image(file, group["0"])  # of bioformats2raw
    if "multiscales" in attributes:
        multiscale = attributes["multiscales"][0]
        return group[multiscale["datasets"][0]["path"]], multiscale
    arrays = sorted(group.arrays())
    if len(arrays) != 1:
        names = ", ".join(name for name, _ in arrays[:5]) or "none"
        raise InputError(
            f"'{file}' is not an OME-Zarr image; name one of the arrays in it ( {names})."
        )
    return arrays[0][1], {}


def _refuse_unsafe(file: Path, array: Any) -> None:
    metadata = array.metadata.to_dict()
    codecs = [metadata.get(key) for key in ("codecs", "filters", "compressor")]
    if _UNSAFE in json.dumps(codecs, default=str).lower():
        raise InputError(
            f"'{file}' is stored with a codec that would execute code ({_UNSAFE}); it is not "
            "opened. Store it again with another one."
        )


def _refuse_crumbs(file: Path, array: Any) -> None:
    """Refuse tiny chunks in large numbers, as of a false shape: reading takes days."""
    shape, chunks = array.shape[-2:], array.chunks[-2:]
    count = math.prod(-(-side // chunk) for side, chunk in zip(shape, chunks, strict=True))
    if math.prod(chunks) < _SMALL_CHUNK and count > _MANY_CHUNKS:
        raise InputError(
            f"'{file}' is damaged, or stored in too small pieces: {count:.3g} of "
            f"{chunks[0]} x {chunks[1]} pixels per plane; store it again in larger chunks."
        )


def _spatial(file: Path, shape: tuple[int, ...], multiscale: Mapping[str, Any]) -> SpatialMetadata:
    count = len(shape)
    if not multiscale:
        rgb = count > 2 and shape[-1] in (3, 4)
        letters = DEFAULT_AXES.get(count - rgb)
        if letters is None:
            raise InputError(f"'{file}' has {count} dimensions; split it into fewer.")
        return SpatialMetadata(letters + "S" * rgb, (1.0,) * count, (None,) * count)
    axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in multiscale["axes"]]
    names = [str(axis["name"]) for axis in axes]
    letters = "".join(names).upper()
    if len(letters) != count or not {*letters} <= {*"TCZYX"} or not letters.endswith("YX"):
        raise InputError(
            f"'{file}' has the axes {', '.join(names)}; use images whose last two are y and x, "
            "after any of t, c and z."
        )
    scale = [1.0] * count
    found = [*multiscale["datasets"][0].get("coordinateTransformations", ()),
             *multiscale.get("coordinateTransformations", ())]  # fmt: skip
    for transformation in found:
        if transformation["type"] == "scale":
            scale = [a * float(b) for a, b in zip(scale, transformation["scale"], strict=True)]
    units = [
        unit_symbol(axis.get("unit")) if math.isfinite(size) and size > 0 else None
        for axis, size in zip(axes, scale, strict=True)
    ]
    known = zip(scale, units, strict=True)
    return SpatialMetadata(
        letters, tuple(size if unit else 1.0 for size, unit in known), tuple(units)
    )
