"""Detection over many image files: residuals, labels and one table of regions."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.config import SegmentationConfig
from ..core.device import choose_device
from ..core.errors import InputError
from ..core.evaluation import Evaluation, Evaluator
from ..core.model import DefectModel
from ..core.outputs import OutputConfig, OutputKind
from ..core.planes import Planes
from ..core.progress import InspectionProgress, PlaneInspected
from ..core.regions import Region, measure_plane
from ..core.segmentation import refuse_reversed, segment, segment_planes
from ..io.images import ImageFile, match_masks, read_image, read_mask
from ..io.naming import output_stems, table_names
from ..io.results import Result, ResultWriter

__all__ = [
    "FileDetected",
    "FileFailed",
    "FileProgress",
    "FilesEvaluated",
    "detect_files",
    "evaluate_files",
    "inspect_file",
]

_USUAL = OutputConfig()
_MOST_AXES = 5  # of a TIFF: TZCYX


@dataclass(frozen=True, slots=True)
class FileProgress:
    """Part of the whole job that is done, in [0, 1], and the file that is being worked on."""

    path: Path
    fraction: float


@dataclass(frozen=True, slots=True)
class FileDetected:
    """One file is done.

    Attributes
    ----------
    path
        The image file.
    files
        What was written about it, by kind.
    residual, labels
        Residual and instance labels, float32 and int32 of shape (..., H, W).
    reconstruction
        float32 of shape (planes, C, H, W), in the intensities of the image.
    regions
        Number of regions, over all planes.
    seconds
        Time from reading to writing.
    """

    path: Path
    files: Mapping[OutputKind, tuple[Path, ...]]
    residual: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    reconstruction: npt.NDArray[np.float32]
    regions: int
    seconds: float

    @property
    def defective_fraction(self) -> float:
        """Fraction of the pixels that lie in regions."""
        return float(np.count_nonzero(self.labels) / self.labels.size)


@dataclass(frozen=True, slots=True)
class FileFailed:
    """One file could not be used; ``reason`` is a sentence. The others go on."""

    path: Path
    reason: str


def detect_files(
    model: DefectModel,
    paths: Sequence[Path],
    folder: str | os.PathLike[str],
    threshold: float,
    segmentation: SegmentationConfig,
    outputs: OutputConfig = _USUAL,
    *,
    stride: int | None = None,
    device: str | None = None,
    pixel_size: Sequence[float] | None = None,
    unit: str | None = None,
) -> Iterator[FileProgress | FileDetected | FileFailed]:
    """Inspect image files and write what is found.

    Parameters
    ----------
    model
        The trained model.
    paths
        Image files.
    folder
        Where `ResultWriter` puts the files about each image and one ``regions.csv``; made if it
        does not exist. The table names images by file name, or by path where names are not unique.
    threshold
        Residual above which a pixel is a candidate.
    segmentation
        Post-processing.
    outputs
        What is written, and as which kind of TIFF.
    stride
        Distance between patches, in pixels; None: the recipe's.
    device
        Where the network runs; None: the fastest there is.
    pixel_size, unit
        What counts instead of the pixel size in the files, see `SpatialMetadata.with_pixel_size`.

    Yields
    ------
    FileProgress, FileDetected or FileFailed
        Progress within a file, then its end.

    Raises
    ------
    InputError
        If the folder or a file in it cannot be written, the threshold is no number, or the
        device is not there.
    """
    if not math.isfinite(threshold):
        raise InputError(f"The threshold must be a number, not {threshold}.")
    refuse_reversed(threshold, segmentation)
    choose_device(device)
    writer = ResultWriter(folder, outputs)
    stems, names = output_stems(paths), table_names(paths)
    for index, (path, stem, name) in enumerate(zip(paths, stems, names, strict=True)):
        start = time.perf_counter()
        try:
            image = read_image(path)
            spatial = image.spatial.without_channels()
            if len(spatial.axes) > _MOST_AXES:
                raise InputError(
                    f"'{path}' has {len(spatial.axes)} dimensions besides channels and OME-TIFF "
                    f"takes {_MOST_AXES}; split it."
                )
            if pixel_size is not None:
                spatial = spatial.with_pixel_size(pixel_size, unit)
            residuals, reconstructions = [], []
            for message in inspect_file(model, image, stride=stride, device=device):
                if isinstance(message, PlaneInspected):
                    residuals.append(message.residual)
                    reconstructions.append(message.reconstruction)
                else:
                    yield FileProgress(path, (index + message.fraction) / len(paths))
            planes = _planes(model, image)
            residual = np.stack(residuals).reshape(planes.shape)
            labels = np.zeros(residual.shape, dtype=np.int32)
            regions: list[tuple[int, Region]] = []
            for plane, (where, found) in enumerate(
                segment_planes(residual, threshold, segmentation)
            ):
                measured = measure_plane(labels[where], found, residual[where], len(regions))
                regions += [(plane, region) for region in measured]
            result = Result(name, stem, spatial, residual, labels, regions, planes)
            writer.refuse_unfit(result)
        except InputError as error:
            yield FileFailed(path, str(error))
            continue
        yield FileDetected(
            path,
            writer.write(result),
            residual,
            labels,
            np.stack(reconstructions),
            len(regions),
            time.perf_counter() - start,
        )
    writer.finish()


@dataclass(frozen=True, slots=True)
class FilesEvaluated:
    """Scores over all files, and the mean time that a file took to read and inspect."""

    paths: tuple[Path, ...]
    evaluation: Evaluation
    seconds_per_image: float


def evaluate_files(
    model: DefectModel,
    paths: Sequence[Path],
    mask_folder: str | os.PathLike[str] | Sequence[Path | None],
    threshold: float | None = None,
    segmentation: SegmentationConfig | None = None,
    *,
    stride: int | None = None,
    device: str | None = None,
) -> Iterator[FileProgress | FilesEvaluated]:
    """Score a model on image files against their masks.

    Parameters
    ----------
    model, stride, device
        As for `detect_files`.
    paths
        Image files.
    mask_folder
        Folder with one mask per image (see `match_masks`), or the masks themselves; non-zero =
        defect, None = an image without defects.
    threshold
        Residual above which a pixel is a candidate; None: the model's automatic one.
    segmentation
        Post-processing of what is compared with the masks at the threshold; None: the default.

    Raises
    ------
    InputError
        If an image or its mask cannot be used, or there is nothing to score.
    """
    masks: Sequence[Path | None]
    if isinstance(mask_folder, str | os.PathLike):
        masks = match_masks(paths, mask_folder)
    else:
        masks = mask_folder
    threshold = model.auto_threshold if threshold is None else threshold
    settings = (segmentation or SegmentationConfig()).model_dump()
    evaluator, seconds = Evaluator(), 0.0
    for index, (path, mask) in enumerate(zip(paths, masks, strict=True)):
        start = time.perf_counter()
        image = read_image(path)
        planes = _planes(model, image)
        if len(planes) > 1:
            raise InputError(f"'{path}' is a stack; evaluate its planes as single files.")
        seconds += time.perf_counter() - start
        shape = planes.shape[-2:]
        truth = np.zeros(shape, bool) if mask is None else read_mask(mask, shape)
        start = time.perf_counter()
        for message in inspect_file(model, image, stride=stride, device=device):
            if isinstance(message, PlaneInspected):
                residual = message.residual
            else:
                yield FileProgress(path, (index + message.fraction) / len(paths))
        seconds += time.perf_counter() - start
        evaluator.add(residual, truth, segment(residual, threshold, **settings) > 0)
    yield FilesEvaluated(tuple(paths), evaluator.result(), seconds / len(paths))


def inspect_file(
    model: DefectModel, image: ImageFile, *, stride: int | None = None, device: str | None = None
) -> Iterator[InspectionProgress | PlaneInspected]:
    """Inspect an image that was read from a file; see `DefectModel.inspect`."""
    data, channel_axis = _channels_named(model, image)
    return model.inspect(
        data,
        stride=stride,
        channel_axis=channel_axis,
        device=device,
        name=f"'{image.path}'",
    )


def _planes(model: DefectModel, image: ImageFile) -> Planes:
    data, channel_axis = _channels_named(model, image)
    return model.planes(data, channel_axis, f"'{image.path}'")


def _channels_named(
    model: DefectModel, image: ImageFile
) -> tuple[npt.NDArray[np.generic], int | None]:
    """Return pixels and channel axis, with an axis of one channel where there is none.

    Without it the last axis of a grey stack would pass for RGB if it is 3 or 4 pixels wide.
    """
    if image.channel_axis is None and model.channels == 1:
        return image.data[..., np.newaxis], -1
    return image.data, image.channel_axis
