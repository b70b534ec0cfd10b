"""Background jobs: models, heatmaps, previews and regions, in memory or larger than it.

They are generators of messages and know no Qt. Each imports what it needs when it starts, so that
torch is never imported on the GUI thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.common.errors import InputError
from ...core.common.progress import relayed
from ...core.config import SegmentationConfig
from ..layers.large import LargeLabels, LargeResidual, LastingFolder
from ..layers.region_features import RegionsMeasured, Spacing, region_features
from .torch_loading import load_torch

if TYPE_CHECKING:
    from ...core.images.inspected_area import InspectedArea
    from ...core.images.planes import ImageLike, Planes
    from ...core.model.corrections import Mark
    from ...core.model.defect_model import DefectModel
    from ...core.segmentation.regions import Region
    from ...core.segmentation.segment import Segmented, ThresholdIndex
    from ..layers import Source
    from ..layers.large import LargeResidual

__all__ = [
    "Created",
    "Detected",
    "Done",
    "Fraction",
    "Growing",
    "Labelled",
    "ModelOpened",
    "Notices",
    "PlanePrepared",
    "PlaneSegmented",
    "Refused",
    "ViewPosition",
    "create_labels",
    "detect_layers",
    "grow",
    "label_residual",
    "new_residual",
    "open_model",
    "outline_regions",
    "prepare_planes",
    "save_model",
    "segment_prepared_planes",
]

_DRAW = "draw a rectangle around the rest in a Shapes layer and choose it as Region"

ViewPosition = tuple[tuple[int, ...], tuple[float, float]]
"""What the viewer shows: index of a plane, and row and column of the pixel in the centre."""


@dataclass(frozen=True, slots=True)
class Fraction:
    """Part of the job that is done, in [0, 1]."""

    value: float


@dataclass(frozen=True, slots=True)
class Done:
    """The job is done; ``text`` is a sentence about it."""

    text: str


@dataclass(frozen=True, slots=True)
class Notices:
    """Sentences about images that a person should read beside what is found in them."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """One of several images could not be used; ``text`` says why. The others continue."""

    text: str


@dataclass(frozen=True, slots=True)
class Detected:
    """One image has been inspected.

    Attributes
    ----------
    source
        The image.
    residual
        float32 of shape (..., H, W).
    reconstruction
        float32 like the image without opacity, in its intensities; None if not asked for.
    channel_axis
        Axis of the source that holds channels, counted from the end; None for grey and RGB.
    area
        The pixels that were inspected; None: all.
    """

    source: Source
    residual: npt.NDArray[np.float32]
    reconstruction: npt.NDArray[np.float32] | None
    channel_axis: int | None
    area: InspectedArea | None = None


@dataclass(frozen=True, slots=True)
class Growing:
    """The residual of an image that is larger than memory grows on disk."""

    source: Source
    residual: LargeResidual
    channel_axis: int | None


@dataclass(frozen=True, slots=True)
class ModelOpened:
    """A model was read from a file."""

    model: DefectModel
    path: Path


@dataclass(frozen=True, slots=True)
class PlanePrepared:
    """The morphology that commutes with thresholding has been applied to a plane."""

    index: tuple[int, ...]
    prepared: ThresholdIndex


@dataclass(frozen=True, slots=True)
class PlaneSegmented:
    """The regions of one plane above the threshold."""

    index: tuple[int, ...]
    found: Segmented


@dataclass(frozen=True, slots=True)
class Labelled:
    """All regions of a residual.

    Attributes
    ----------
    labels
        int32 of the residual's shape, numbered onward from plane to plane.
    regions
        Plane and measurements of each region, in the order of the labels.
    """

    labels: ImageLike
    regions: tuple[tuple[int, Region], ...]


def detect_layers(
    model: DefectModel,
    sources: Sequence[Source],
    stride: int | None,
    device: str,
    threads: int,
    keep_reconstruction: bool,
    known: Mapping[str, LargeResidual],
    positions: Mapping[str, ViewPosition],
    scratch: Path,
    regions: Mapping[str, npt.NDArray[np.bool_]],
) -> Generator[Fraction | Detected | Growing | Notices | Refused | Done, ViewPosition | None, None]:
    """Inspect images one after another; one that cannot be used does not stop the others.

    Parameters
    ----------
    model, sources, stride, device, threads, keep_reconstruction
        What to do. There are no reconstructions of images that are larger than memory.
    known
        Residuals on disk to continue, by the keys of their sources.
    positions
        What is looked at in each source, by its key; what is sent is looked at from then on.
    scratch
        Where residuals that are larger than memory are kept.
    regions
        What is inspected of each source that has a region of interest, by its key.
    """
    import torch

    from ...core.detection.anomaly_score import foreign_notice
    from ...io.images.checks import unseen_notice
    from ...scale.file_detection import detected_in_blocks

    torch.set_num_threads(threads)
    refused = without = 0
    yield Notices(_bar_notices(model, [source for source in sources if source.key not in regions]))
    for number, source in enumerate(sources):
        try:
            planes = model.planes(source.image, name=source.quoted)
            axis = planes.channel_axis
            area = _area(regions.get(source.key), planes, None if source.rgb else axis)
            odd = model.intensity_notice(planes if area is None else planes.cut(area.box))
            unseen = None
            if source.file is not None:
                unseen = unseen_notice(
                    source.file, source.image.shape, source.quoted, channels=axis is not None
                )
            yield Notices(tuple(text for text in (unseen, odd) if text is not None))
            if detected_in_blocks(planes):
                large = known.get(source.key)
                if large is None or not _same(large.store.area, area):
                    large = new_residual(model, planes, stride, device, scratch, area)
                yield Growing(source, large, None if source.rgb else axis)
                without += 1
                yield from _parts(grow(large, positions.get(source.key)), number, len(sources))
                if large.store.foreign:
                    yield Notices((foreign_notice(source.quoted),))
                continue

            def progress(part: float, number: int = number) -> Fraction:
                return Fraction((number + part) / len(sources))

            steps = model.detect_image(
                planes, stride=stride, device=device, reconstruct=keep_reconstruction, area=area
            )
            found = yield from relayed(steps, progress)
        except InputError as error:
            yield Refused(str(error))
            refused += 1
            continue
        if found.foreign:
            yield Notices((foreign_notice(source.quoted),))
        axis = None if source.rgb else axis
        yield Detected(source, found.residual, found.reconstruction, axis, area)
    if not refused:
        text = f"Inspected {len(sources)} image{'s' * (len(sources) != 1)}."
        if keep_reconstruction and without:
            text += " Reconstructions of images that are larger than memory are left out."
        yield Done(text)


def _bar_notices(model: DefectModel, sources: Sequence[Source]) -> tuple[str, ...]:
    """Propose to leave out a data bar that all of the images have."""
    from ...io.images.checks import data_bar_notice

    with suppress(InputError):  # said of the image that it is about
        planes = [model.planes(source.image, name=source.quoted) for source in sources]
        notice = data_bar_notice(planes, _DRAW)
        return () if notice is None else (notice,)
    return ()


def _area(
    mask: npt.NDArray[np.bool_] | None, planes: Planes, channel_axis: int | None
) -> InspectedArea | None:
    """Return the pixels that a mask on the grid of a layer, channels included, marks."""
    from ...core.images.inspected_area import InspectedArea

    if mask is None:
        return None
    if mask.ndim > 2 and channel_axis is not None:
        mask = np.asarray(mask.any(axis=channel_axis))
    return InspectedArea.from_mask(mask, planes.shape, planes.name)


def _same(first: InspectedArea | None, second: InspectedArea | None) -> bool:
    return first is second if first is None else first.equals(second)


def _parts(
    steps: Generator[float, ViewPosition | None, None], number: int, count: int
) -> Generator[Fraction, ViewPosition | None, None]:
    """Pass on how far one of several images is, and back what is looked at."""
    with suppress(StopIteration):
        fraction = next(steps)
        while True:
            position = yield Fraction((number + fraction) / count)
            fraction = steps.send(position)


def open_model(path: Path) -> Generator[ModelOpened, None, None]:
    """Read a model file."""
    load_torch()
    from ...core.model.defect_model import DefectModel

    yield ModelOpened(DefectModel.load(path), path)


def save_model(model: DefectModel, path: Path) -> Generator[Done, None, None]:
    """Write a model file."""
    from ...io.files.atomic import ensure_folder

    ensure_folder(path.parent)
    model.save(path)
    yield Done(f"Saved the model to '{path}'.")


def prepare_planes(
    residual: npt.NDArray[np.float32],
    config: SegmentationConfig,
    first: tuple[int, ...],
    area: InspectedArea | None = None,
) -> Generator[PlanePrepared, None, None]:
    """Make the planes of a residual ready for thresholding, the visible one first.

    Regions have pixels of the ``area`` only, unless that is None.
    """
    from ...core.segmentation.segment import ThresholdIndex, prepare

    for index in planes_from(residual.shape, first):
        here = None if area is None else area.plane(index)
        yield PlanePrepared(index, ThresholdIndex(prepare(residual[index], config), here))


def segment_prepared_planes(
    prepared: Sequence[tuple[tuple[int, ...], ThresholdIndex]],
    threshold: float,
    config: SegmentationConfig,
) -> Generator[PlaneSegmented, None, None]:
    """Find the regions of planes, in the given order."""
    from ...core.segmentation.segment import segment_prepared

    for index, plane in prepared:
        yield PlaneSegmented(index, segment_prepared(plane, threshold, config))


def label_residual(
    residual: npt.NDArray[np.float32],
    threshold: float,
    config: SegmentationConfig,
    area: InspectedArea | None = None,
    marks: Sequence[Mark] = (),
) -> Generator[Fraction | Labelled, None, None]:
    """Segment and measure a residual plane by plane; `Labelled` comes last.

    By the marks of its image regions are good; they have numbers like the others.
    """
    from ...core.model.corrections import marked_good
    from ...core.segmentation.regions import measure_plane
    from ...core.segmentation.segment import segment_planes

    labels = np.zeros(residual.shape, dtype=np.int32)
    regions: list[tuple[int, Region]] = []
    count = int(np.prod(residual.shape[:-2]))
    for number, (index, found) in enumerate(segment_planes(residual, threshold, config, area)):
        good = marked_good(found, [mark for mark in marks if mark.plane == number])
        measured = measure_plane(labels[index], found, residual[index], len(regions))
        regions += [
            (number, replace(region, good=bool(is_good)))
            for region, is_good in zip(measured, good, strict=True)
        ]
        yield Fraction((number + 1) / count)
    yield Labelled(labels, tuple(regions))


def planes_from(shape: tuple[int, ...], first: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Iterate over the planes of a stack of shape (..., H, W), one of them before the others."""
    yield first
    for index in np.ndindex(shape[:-2]):
        if index != first:
            yield index


def new_residual(
    model: DefectModel,
    planes: Planes,
    stride: int | None,
    device: str,
    root: Path,
    area: InspectedArea | None = None,
) -> LargeResidual:
    """Make the residual of an image on disk, of which nothing is known yet."""
    from ...scale.residual_store import ResidualStore

    folder = LastingFolder(root)
    store = ResidualStore(model, planes, folder.path, stride=stride, device=device, area=area)
    return LargeResidual(store, folder)


def grow(
    large: LargeResidual, position: ViewPosition | None
) -> Generator[float, ViewPosition | None, None]:
    """Compute the missing blocks, those in view first; another position may be sent."""
    from ...scale.residual_store import Priority

    if position is not None and len(position[0]) != len(large.store.shape) - 2:
        position = None  # of an image with channels, whose planes are numbered otherwise
    steps = large.store.fill(None if position is None else Priority(*position))
    with suppress(StopIteration):
        fraction = next(steps)
        while True:
            position = yield fraction
            fraction = steps.send(None if position is None else Priority(*position))


def outline_regions(
    large: LargeResidual, threshold: float, config: SegmentationConfig
) -> Generator[Fraction, None, LargeLabels]:
    """Outline and measure the regions of a residual, and keep their labels on disk."""
    from ...io.files.pyramid import ScratchPyramid
    from ...scale.block_detection import outline_blocks

    folder = LastingFolder(large.folder.path.parent)
    pyramid = ScratchPyramid(folder.path, large.store.shape, np.dtype(np.int32))
    steps = outline_blocks(large.levels[0], threshold, config, pyramid, area=large.store.area)
    found: Any = yield from relayed(steps, Fraction)
    return LargeLabels(pyramid, found.regions, folder)


@dataclass(frozen=True, slots=True)
class Created:
    """The regions of a heatmap.

    Attributes
    ----------
    labels
        int32 of the heatmap's shape, numbered onward from plane to plane; on disk if they are
        larger than memory.
    measured
        Their measurements.
    """

    labels: npt.NDArray[np.int32] | LargeLabels
    measured: RegionsMeasured


def create_labels(
    residual: npt.NDArray[np.float32] | LargeResidual,
    threshold: float,
    config: SegmentationConfig,
    spacing: Spacing,
    area: InspectedArea | None = None,
    marks: Sequence[Mark] = (),
) -> Generator[Fraction | Created, None, None]:
    """Segment and measure a residual (..., H, W).

    Parameters
    ----------
    residual
        In memory, or on disk.
    threshold, config
        How to segment it.
    spacing
        Of its pixels.
    area
        The pixels that were inspected, of a residual in memory; None: all.
    marks
        A person's marks of regions of the image.
    """
    if isinstance(residual, LargeResidual):
        found = yield from outline_regions(residual, threshold, config)
        features = region_features(found.regions, len(found.shape), spacing)
        yield Created(found, RegionsMeasured(features, 0))
        return
    for message in label_residual(residual, threshold, config, area, marks):
        if isinstance(message, Labelled):
            measured = RegionsMeasured.from_regions(message.labels, message.regions, spacing)
            yield Created(message.labels, measured)
        else:
            yield message


def one_by_one(
    work: Sequence[Callable[[], Generator[Any, None, None]]],
) -> Generator[Any, None, None]:
    """Do jobs one after another; their progress becomes that of all of them."""
    for number, job in enumerate(work):
        for message in job():
            if isinstance(message, Fraction):
                yield Fraction((number + message.value) / len(work))
            else:
                yield message
