"""Result files of a detection, the same from the panel and from the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from ...core.common.errors import InputError
from ...core.config import OutputConfig, OutputKind
from ...core.images.planes import ImageLike, Planes
from ...core.segmentation.regions import Region
from ..files.atomic import ensure_folder, ensure_writable
from ..files.spatial import SpatialMetadata
from .imagej import refuse_unfit, write_imagej_tiff
from .ome_tiff import write_ome_tiff
from .ome_zarr import refuse_axes, refuse_without_zarr, write_ome_zarr
from .overlay import display_limits, reduced, write_overlay
from .tables import REGION_COLUMNS, region_rows, write_csv

__all__ = ["TABLE_NAME", "Result", "ResultWriter", "made_by", "table_rows"]

TABLE_NAME = "regions.csv"
"""The table of the regions of all images."""

_LARGEST_PICTURE = 8192  # pixels along the longer side
_ENDINGS = {"ome": ".ome.tif", "imagej": ".tif", "zarr": ".ome.zarr"}


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What was found in one image.

    Attributes
    ----------
    name
        What the table calls the image.
    stem
        What the names of its files begin with.
    spatial
        Axes, distances and units of the residual.
    residual
        float32 of shape (..., H, W), in memory or not.
    labels
        Regions, int32 of the same shape: 0 is background; in memory or not.
    regions
        Plane and measurements of each region.
    planes
        The image itself, for pictures; None if it is not at hand.
    description
        How it was made; TIFF files hold it.
    """

    name: str
    stem: str
    spatial: SpatialMetadata
    residual: ImageLike
    labels: ImageLike
    regions: Sequence[tuple[int, Region]]
    planes: Planes | None = None
    description: str = ""


class ResultWriter:
    """Writes the results of one image after another, and at last the table of all their regions.

    Raises
    ------
    InputError
        If nothing is to be written, the folder cannot be made or takes no files, or the package
        that writes OME-Zarr is missing.
    """

    def __init__(self, folder: str | os.PathLike[str], outputs: OutputConfig) -> None:
        if not outputs.kinds:
            raise InputError(f"No output is chosen; choose from {', '.join(get_args(OutputKind))}.")
        self._outputs = outputs
        if outputs.format == "zarr":
            refuse_without_zarr(os.fspath(folder))
        self.folder = ensure_folder(folder)
        self._rows: list[dict[str, object]] = []
        ensure_writable(self.folder / TABLE_NAME)

    def paths(self, stem: str, leading_shape: Sequence[int]) -> dict[OutputKind, tuple[Path, ...]]:
        """Return the files of each kind that are written about an image, without the table.

        Parameters
        ----------
        stem
            What their names begin with.
        leading_shape
            Shape of the residual without height and width. Pictures of a stack are numbered.
        """
        paths: dict[OutputKind, tuple[Path, ...]] = {}
        for kind in self._outputs.kinds:
            if kind == "overlay":
                planes = range(int(np.prod(leading_shape)))
                numbers = [f"-{plane}" for plane in planes] if leading_shape else [""]
                names = [f"{stem}.overlay{number}.png" for number in numbers]
            elif kind != "table":
                names = [f"{stem}.{kind}{_ENDINGS[self._outputs.format]}"]
            else:
                continue
            paths[kind] = tuple(self.folder / name for name in names)
        return paths

    def refuse_existing(self, images: Iterable[tuple[str, Sequence[int]]]) -> None:
        """Refuse to replace files.

        Parameters
        ----------
        images
            Stem and leading shape of each image, as for `paths`.

        Raises
        ------
        InputError
            If one of the files that would be written is there already.
        """
        wanted = [
            path
            for stem, leading_shape in images
            for paths in self.paths(stem, leading_shape).values()
            for path in paths
        ]
        if "table" in self._outputs.kinds:
            wanted.append(self.folder / TABLE_NAME)
        there = [path.name for path in wanted if path.exists()]
        if there:
            others = f" and {len(there) - 1} more" if len(there) > 1 else ""
            verb = "are" if others else "is"
            raise InputError(
                f"'{there[0]}'{others} {verb} already in '{self.folder}'; choose another folder, "
                "or allow files to be replaced."
            )

    def refuse_unfit(self, result: Result) -> None:
        """Refuse a result that the chosen files cannot hold, before any of them is written.

        Raises
        ------
        InputError
            If it is too much for ImageJ's TIFF, has other axes than OME-Zarr, or there is no image
            to draw on.
        """
        if "overlay" in self._outputs.kinds and result.planes is None:
            raise InputError(
                f"There is no image to draw the outlines of '{result.name}' on; open it again and "
                "detect, or do without the overlay."
            )
        for kind, (path, *_) in self.paths(result.stem, ()).items():
            if kind != "overlay" and self._outputs.format == "imagej":
                refuse_unfit(np.asarray(_pixels(kind, result)), result.spatial, path.name)
            elif kind != "overlay" and self._outputs.format == "zarr":
                refuse_axes(path.name, result.spatial.axes)

    def write(self, result: Result) -> dict[OutputKind, tuple[Path, ...]]:
        """Write the files about one image, existing ones are replaced; returns their `paths`.

        Raises
        ------
        InputError
            If a file cannot be written; those before it are there.
        """
        self.refuse_unfit(result)
        files = self.write_files(result)
        self._rows += table_rows(result)
        return files

    def write_files(self, result: Result) -> dict[OutputKind, tuple[Path, ...]]:
        """Write the files as `write` does, without adding regions to the table."""
        spatial, text = result.spatial, result.description
        files = self.paths(result.stem, result.residual.shape[:-2])
        for kind, paths in files.items():
            if kind == "overlay":
                self._write_overlays(result, paths)
            elif self._outputs.format == "imagej":
                write_imagej_tiff(paths[0], np.asarray(_pixels(kind, result)), spatial, text)
            elif self._outputs.format == "zarr":
                write_ome_zarr(paths[0], _pixels(kind, result), spatial)
            else:
                write_ome_tiff(
                    paths[0],
                    _pixels(kind, result),
                    pixel_size=spatial.scale,
                    unit=spatial.units,
                    axes=spatial.axes,
                    description=text,
                )
        return files

    def finish(self, rows: Iterable[Mapping[str, object]] | None = None) -> tuple[Path, ...]:
        """Write the table of the regions of all images; returns its path if it is wanted.

        Parameters
        ----------
        rows
            What it holds; None: the regions of all images that were written.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        if "table" not in self._outputs.kinds:
            return ()
        write_csv(self.folder / TABLE_NAME, self._rows if rows is None else rows, REGION_COLUMNS)
        return (self.folder / TABLE_NAME,)

    def _write_overlays(self, result: Result, paths: Sequence[Path]) -> None:
        assert result.planes is not None
        limits = display_limits(result.planes)
        review = np.array([region.label for _, region in result.regions if region.review], int)
        for index, path in enumerate(paths):
            plane, found = reduced(result.planes, index, result.labels, _LARGEST_PICTURE)
            write_overlay(path, plane, found, limits, review)


def made_by(provenance: Mapping[str, str], threshold: float, name: str = "") -> str:
    """Say which model made a result, and at which threshold.

    Examples
    --------
    >>> made_by({"created": "2024-05-06T07:08", "training images": "'a.png'"}, 4.5, "fibres")
    "Made by napari-ssim-defects at threshold 4.5, with model fibres of 2024-05-06T07:08 ('a.png')."
    """
    images = provenance.get("training images", "")
    model = " ".join(
        filter(None, ("model", name, f"of {provenance.get('created', 'no known time')}"))
    )
    trained = f" ({images})" if images else ""
    return f"Made by napari-ssim-defects at threshold {threshold:.6g}, with {model}{trained}."


def table_rows(result: Result) -> list[dict[str, object]]:
    """Return the rows of the table of regions that are about an image."""
    spatial = result.spatial
    return [
        row
        for plane, region in result.regions
        for row in region_rows(result.name, plane, [region], spatial.pixel_size, spatial.unit)
    ]


def _pixels(kind: OutputKind, result: Result) -> ImageLike:
    """Return what a file of a kind holds."""
    if kind == "residual":
        return result.residual
    return result.labels if kind == "labels" else _mask(result.labels)


def _mask(labels: ImageLike) -> ImageLike:
    return labels > 0 if isinstance(labels, np.ndarray) else Mask(labels)


@dataclass(frozen=True, eq=False, slots=True)
class Mask:
    """Where labels that are read in parts are not background."""

    labels: ImageLike

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels."""
        return tuple(self.labels.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[np.bool_]:
        """Always bool."""
        return np.dtype(np.bool_)

    def __getitem__(self, index: Any) -> npt.NDArray[np.bool_]:
        """Read a part."""
        return np.asarray(np.asarray(self.labels[index]) > 0)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[(slice(None),) * self.ndim], dtype=dtype)
