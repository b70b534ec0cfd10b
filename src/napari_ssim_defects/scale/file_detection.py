"""Detection in one image file: the files that it writes, and its messages."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.common.errors import InputError
from ..core.config import OutputKind
from ..core.config.region import MaskRegion, RegionOfInterest
from ..core.detection.anomaly_score import foreign_notice
from ..core.images.inspected_area import InspectedArea
from ..core.images.planes import Planes, as_planes
from ..core.model.defect_model import DefectModel
from ..core.segmentation.regions import Region, RegionsFound, measure_plane
from ..core.segmentation.segment import segment_planes
from ..io.artifacts.recipe import DetectionSettings
from ..io.files.pyramid import scratch_folder
from ..io.images.checks import as_grey, is_grey
from ..io.images.image_file import ImageFile, inspected_area, open_image
from ..io.readers.raster import has_palette
from ..io.writers.journal import Journal, Record
from ..io.writers.report import thumbnail
from ..io.writers.results import Result, ResultWriter, made_by, table_rows

__all__ = [
    "FileDone",
    "FileFailed",
    "FileProgress",
    "NotWritten",
    "Target",
    "detect_file",
    "detected_in_blocks",
    "file_done",
    "file_notices",
    "file_planes",
    "finished_earlier",
]

_MOST_AXES = 5  # of a TIFF: TZCYX
_LARGEST_IN_MEMORY = 2**25  # pixels; larger images are processed in blocks


@dataclass(frozen=True, slots=True)
class FileProgress:
    """Part of the whole job that is done, in [0, 1], and the file that is being worked on."""

    path: Path
    fraction: float


@dataclass(frozen=True, slots=True, eq=False)
class FileDone:
    """One file is done, here, on another computer or in an earlier run.

    Attributes
    ----------
    path
        The image file.
    files
        What was written about it, by kind.
    regions
        Number of regions, over all planes.
    defective_fraction
        Fraction of the pixels that lie in regions.
    seconds
        Time from reading to writing.
    notices
        Sentences about the image that a person should read.
    earlier
        Whether it was finished in an earlier run, with the same model and settings.
    residual, labels
        Residual and instance labels, float32 and int32 of shape (..., H, W), of an image that was
        just processed in the memory of this computer; else None.
    """

    path: Path
    files: Mapping[OutputKind, tuple[Path, ...]]
    regions: int
    defective_fraction: float
    seconds: float
    notices: tuple[str, ...] = ()
    earlier: bool = False
    residual: npt.NDArray[np.float32] | None = None
    labels: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True, slots=True)
class FileFailed:
    """One file could not be used; ``reason`` is a sentence. The others continue."""

    path: Path
    reason: str


class NotWritten(InputError):
    """A result cannot be written; the image is not the cause."""


@dataclass(frozen=True, slots=True)
class Target:
    """An image file, and the names of its results and in the table."""

    path: Path
    stem: str
    name: str


def detect_file(
    model: DefectModel, settings: DetectionSettings, target: Target, writer: ResultWriter
) -> Generator[float, None, tuple[FileDone, Record]]:
    """Detect defects in an image file and write the results, but for the table of regions.

    Large images are processed block by block, if the packages for that are installed. The written
    files are the same.

    Parameters
    ----------
    model
        The trained model.
    settings
        What is done; a mask of a region has an absolute path (see `located`).
    target
        The image.
    writer
        Writes the files.

    Yields
    ------
    float
        Fraction of the work that is done, in (0, 1].

    Raises
    ------
    NotWritten
        If a file cannot be written: others could not, either.
    InputError
        If the image cannot be used.
    """
    start = time.perf_counter()
    threshold = settings.threshold_for(model)
    image = open_image(target.path)
    spatial = image.spatial.without_channels()
    if len(spatial.axes) > _MOST_AXES:
        raise InputError(
            f"'{target.path}' has {len(spatial.axes)} dimensions besides channels, but OME-TIFF "
            f"allows at most  {_MOST_AXES}; split it."
        )
    if settings.pixel_size is not None:
        spatial = spatial.with_pixel_size(settings.pixel_size, settings.unit)
    planes = file_planes(model, image)
    area = inspected_area(settings.roi, planes.shape, planes.name)
    notices = file_notices(model, image, planes, area)
    key = _key(model, settings, target)

    with ExitStack() as stack:
        if detected_in_blocks(planes):
            from .block_detection import detect_in_blocks

            found = yield from detect_in_blocks(
                model, planes, threshold, settings.segmentation,
                stack.enter_context(scratch_folder(writer.folder)),
                stride=settings.stride, device=settings.device, area=area,
            )  # fmt: skip
        else:
            found = yield from _detect_in_memory(model, settings, planes, area)
        if found.foreign:
            notices.append(foreign_notice(planes.name))
        result = Result(
            target.name, target.stem, spatial, found.residual, found.labels, found.regions, planes,
            made_by(model.provenance, threshold),
        )  # fmt: skip
        writer.refuse_unfit(result)
        try:
            files = writer.write_files(result)
        except InputError as error:
            raise NotWritten(str(error)) from error
        defective = sum(region.area for _, region in found.regions)
        record: Record = {
            "key": key,
            "files": {kind: [path.name for path in paths] for kind, paths in files.items()},
            "regions": len(found.regions),
            "defective_fraction": defective / math.prod(planes.shape),
            "seconds": time.perf_counter() - start,
            "rows": table_rows(result),
            "notices": notices,
            "thumbnail": thumbnail(planes, found.labels, found.regions),
        }
    done = file_done(record, target.path, writer.folder)
    if isinstance(found.labels, np.ndarray):
        done = replace(done, residual=found.residual, labels=found.labels)
    return done, record


def detected_in_blocks(planes: Planes) -> bool:
    """Whether an image is processed block by block: it is large, and the packages are there."""
    return math.prod(planes.shape) > _LARGEST_IN_MEMORY and _has_dask()


def _detect_in_memory(
    model: DefectModel, settings: DetectionSettings, planes: Planes, area: InspectedArea | None
) -> Generator[float, None, RegionsFound]:
    detected = yield from model.detect_image(
        planes, stride=settings.stride, device=settings.device, area=area
    )
    residual, threshold = detected.residual, settings.threshold_for(model)
    labels = np.zeros(residual.shape, dtype=np.int32)
    regions: list[tuple[int, Region]] = []
    outlined = segment_planes(residual, threshold, settings.segmentation, area)
    for plane, (where, segmented) in enumerate(outlined):
        measured = measure_plane(labels[where], segmented, residual[where], len(regions))
        regions += [(plane, region) for region in measured]
    return RegionsFound(residual, labels, regions, detected.foreign)


def file_planes(model: DefectModel, image: ImageFile) -> Planes:
    """Give access to an image file as planes for a model.

    Raises
    ------
    InputError
        As `DefectModel.planes` does.
    """
    name = f"'{image.path}'"
    if model.channels == 1 and is_grey(image):
        image = as_grey(image)
    if image.channel_axis is None and model.channels == 1:
        # Otherwise the last axis of a grey stack would pass for RGB if it is 3 or 4 pixels wide.
        return model.planes(as_planes(image.data, grey=True, name=name))
    if image.channel_axis == -1 and model.channels != 3 and has_palette(image.path):
        raise InputError(
            f"{name} is a palette image, whose colours are read as RGB, but the model was trained "
            "on other images; save it in grey, or train a model on such images."
        )
    return model.planes(image.data, image.channel_axis, name)


def file_notices(
    model: DefectModel, image: ImageFile, planes: Planes, area: InspectedArea | None = None
) -> list[str]:
    """Return notices about an image."""
    notices = []
    if image.channel_axis is not None and planes.channel_axis is None:
        notices.append(f"'{image.path}' has three equal channels and is read as grey.")
    inspected = planes if area is None else planes.cut(area.box)
    mismatch = model.intensity_notice(inspected)
    return notices if mismatch is None else [*notices, mismatch]


def finished_earlier(
    model: DefectModel,
    settings: DetectionSettings,
    target: Target,
    writer: ResultWriter,
    journal: Journal,
) -> FileDone | None:
    """Return the result of an earlier run for an image, if nothing has changed since."""
    record = journal.find(target.path)
    try:
        if record is None or record["key"] != _key(model, settings, target):
            return None
    except OSError:  # the image is gone: said where it is opened
        return None
    done = file_done(record, target.path, writer.folder, earlier=True)
    return done if all(file.exists() for files in done.files.values() for file in files) else None


def file_done(record: Record, path: Path, folder: Path, *, earlier: bool = False) -> FileDone:
    """Return the result in a record."""
    return FileDone(
        path=path,
        files={
            kind: tuple(folder / name for name in names) for kind, names in record["files"].items()
        },
        regions=record["regions"],
        defective_fraction=record["defective_fraction"],
        seconds=record["seconds"],
        notices=tuple(map(str, record.get("notices", ()))),
        earlier=earlier,
    )


def _key(model: DefectModel, settings: DetectionSettings, target: Target) -> str:
    """Return a key that changes with every setting that affects the written files."""
    stat = _main_file(target.path).stat()
    decisive = (
        model.digest, settings.threshold_for(model), settings.segmentation.model_dump_json(),
        settings.outputs.model_dump_json(), settings.stride, settings.pixel_size, settings.unit,
        target.stem, target.name, stat.st_size, stat.st_mtime_ns,
        *_version(settings.roi),
    )  # fmt: skip
    return hashlib.blake2b(repr(decisive).encode(), digest_size=16).hexdigest()


def _version(roi: RegionOfInterest | None) -> tuple[object, ...]:
    """Return what changes when a region does, in its file too; nothing without a region."""
    if roi is None:
        return ()
    if not isinstance(roi, MaskRegion):
        return (str(roi),)
    stat = roi.path.stat()
    return "mask", stat.st_size, stat.st_mtime_ns


def _main_file(path: Path) -> Path:
    """Return the file that changes with an image; for zarr, its metadata."""
    if path.is_dir():
        return next((file for file in sorted(path.glob("*z*")) if file.is_file()), path)
    return path


def _has_dask() -> bool:
    return all(importlib.util.find_spec(package) for package in ("dask", "zarr"))
