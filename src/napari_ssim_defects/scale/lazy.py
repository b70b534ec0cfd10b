"""Residuals and labels of images that are larger than memory, as dask arrays."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import chain
from typing import Any, TypeAlias

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.array.overlap import overlap
from dask.base import compute
from dask.delayed import delayed

from ..core.common.device import choose_device
from ..core.common.errors import InputError
from ..core.common.progress import drained
from ..core.config import SegmentationConfig
from ..core.detection.residual import needs_whole_plane, plane_offsets, score_of, typical_tiles
from ..core.images.inspected_area import InspectedArea
from ..core.images.planes import ImageLike, Planes, plane_number
from ..core.images.tiles import Box, spans, tile_side, tiles
from ..core.model.defect_model import DefectModel
from ..core.networks.precision import fast_dtype
from ..core.segmentation.runs import Runs, ThresholdIndex
from ..core.segmentation.segment import Segmented, prepare, refuse_reversed, segment_prepared
from .plane_steps import Index, PlaneSteps, Tile

__all__ = [
    "LabelImage",
    "lazy_labels",
    "lazy_residual",
    "prepare_model",
    "segment_in_blocks",
]

Array: TypeAlias = Any  # dask arrays are not typed


def lazy_residual(
    model: DefectModel,
    image: ImageLike,
    *,
    stride: int | None = None,
    channel_axis: int | None = None,
    device: str | None = None,
) -> Array:
    """Return the residual of an image as a dask array, computed block by block on demand.

    Parameters
    ----------
    model
        The trained model.
    image
        A dask, zarr, memory-mapped or other array, as for `DefectModel.planes`. Only what is
        needed is read.
    stride, channel_axis, device
        As for `DefectModel.detect`.

    Returns
    -------
    dask.array.Array
        float32 of shape (..., H, W). On the same kind of processor its values are those of
        `DefectModel.residual`, bit by bit; to compute a part of it, slice it first. An ensemble
        needs up to four other tiles of its plane for any part, too.

    Raises
    ------
    InputError
        If the image or the device cannot be used; NaN and infinite pixels are found when they
        are computed.

    Examples
    --------
    >>> import tempfile
    >>> import dask.array as da
    >>> import numpy as np
    >>> from napari_ssim_defects import TrainingConfig, train
    >>> config = TrainingConfig(patch_size=16, latent_dimension=2, patches=8, epochs=1, stride=8)
    >>> image = np.random.default_rng(0).random((64, 64))
    >>> *_, last = train([image], config, device="cpu")
    >>> residual = lazy_residual(last.model, da.from_array(image), device="cpu")
    >>> bool((residual.compute() == last.model.residual(image, device="cpu")).all())
    True
    """
    prepare_model(stride, device)
    planes = model.planes(image, channel_axis)
    maps = [_lazy_plane(model, planes, number, stride, device) for number in range(len(planes))]
    return da.stack(maps).reshape(planes.shape)


def _lazy_plane(
    model: DefectModel, planes: Planes, number: int, stride: int | None, device: str | None
) -> Array:
    steps = PlaneSteps(model, (planes.height, planes.width), stride, device)
    shared = delayed(steps, traverse=False)
    (pixels,) = _normalised_plane(model, planes, number).to_delayed()
    known: dict[str, dict[Index, Any]] = {"pixels": dict(np.ndenumerate(pixels))}
    for step, boxes in steps.boxes.items():
        if step in known:
            continue
        known[step] = {}
        for index in np.ndindex(len(boxes), len(boxes[0])):
            needed = [
                [known[earlier][tile] for tile in steps.under(earlier, box)]
                for earlier, box in steps.needs(step, index)
            ]
            known[step][index] = delayed(_computed)(shared, step, index, needed)
    residual, boxes = delayed(model.config.residual, traverse=False), steps.boxes["members"]
    excess: Any = ()
    if needs_whole_plane(model.config.residual):
        typical = [steps.under("members", box) for box in typical_tiles(boxes)]
        excess = delayed(plane_offsets)([known["members"][index] for (index,) in typical], residual)
    return da.block([
        [
            da.from_delayed(
                delayed(score_of)(known["members"][row, column], residual, excess),
                box.shape,
                np.float32,
            )
            for column, box in enumerate(line)
        ]
        for row, line in enumerate(boxes)
    ])  # fmt: skip


def _computed(steps: PlaneSteps, step: str, index: Index, tiles: Sequence[Sequence[Tile]]) -> Tile:
    """Compute a tile from the tiles under the boxes that it needs."""
    needed = [
        steps.assembled(earlier, box, found)
        for (earlier, box), found in zip(steps.needs(step, index), tiles, strict=True)
    ]
    return drained(steps.compute(step, index, needed))


def _normalised_plane(model: DefectModel, planes: Planes, index: int) -> Array:
    """Return a plane in normalised intensities, a dask array (C, H, W) of float32."""
    image, axis = planes.image, planes.channel_axis
    source = image if isinstance(image, da.Array) else da.from_array(
        image, chunks=_chunks(planes), name=False
    )  # fmt: skip
    if axis is not None:
        source = da.moveaxis(source, axis, -3)
    plane = source[planes.place(index)]
    plane = plane[..., *planes.box.slices]
    plane = plane[np.newaxis] if axis is None else plane[: planes.channels]
    rows, columns = (
        tuple(stop - start for start, stop in spans(length, tile_side()))
        for length in (planes.height, planes.width)
    )
    place = f"plane {index} of {planes.name}" if len(planes) > 1 else planes.name
    return plane.rechunk((-1, rows, columns)).map_blocks(
        _normalised, model.intensity, place, dtype=np.float32
    )


def _normalised(pixels: npt.NDArray[Any], intensity: Any, name: str) -> npt.NDArray[np.float32]:
    whole = Planes(pixels, -3, name=name)
    return np.asarray(intensity.normalise(whole[0], name))


def _chunks(planes: Planes) -> tuple[int, ...]:
    """Chunks to read at a time: whole chunks of the file that cover a tile or more."""
    shape = tuple(planes.image.shape)
    stored = getattr(planes.image, "chunks", None) or (1,) * len(shape)
    axes = list(range(len(shape)))
    channels = None if planes.channel_axis is None else axes.pop(planes.channel_axis)
    chunks = [1] * len(shape)
    for axis in axes[-2:]:
        chunks[axis] = min(shape[axis], stored[axis] * -(-tile_side() // stored[axis]))
    if channels is not None:
        chunks[channels] = shape[channels]
    return tuple(chunks)


def prepare_model(stride: int | None, device: str | None) -> None:
    """Refuse settings that do not work, and choose the number format before threads do."""
    if stride is not None and stride < 1:
        raise InputError(f"The stride must be at least 1 pixel, not {stride}.")
    fast_dtype(choose_device(device))


def segment_in_blocks(
    plane: Array,
    threshold: float,
    config: SegmentationConfig,
    *,
    whole: bool = False,
    area: InspectedArea | None = None,
) -> Generator[float, None, Segmented]:
    """Segment a plane of a residual block by block, with the same result as in memory.

    Parameters
    ----------
    plane
        dask array, float32 of shape (H, W).
    threshold, config
        As for `segment_planes`.
    whole
        Whether all blocks are computed at once, each of them once. If not, one row of them after
        another, and some more than once: do so with what is on disk.
    area
        The pixels that regions may have; None: all.

    Yields
    ------
    float
        Fraction of the blocks that is done, in (0, 1].

    Raises
    ------
    InputError
        If the residual holds NaN, or the threshold is not a number.
    """
    if not np.isfinite(threshold):
        raise InputError("The residual must not hold NaN, and the threshold must be a number.")
    review = config.review_threshold
    thresholds = [threshold] if review is None else [threshold, review]
    prepared = _BlocksAbove(plane.shape, thresholds, area)
    yield from prepared.find(plane, config, whole=whole)
    return segment_prepared(prepared, threshold, config)


def lazy_labels(
    residual: Array, threshold: float, config: SegmentationConfig | None = None
) -> Array:
    """Outline the defects in a residual that is larger than memory.

    Parameters
    ----------
    residual
        dask array, float32 of shape (..., H, W). All of it is computed, once: instances are not
        known before. Store it first if it is costly.
    threshold
        Pixels above it are candidates.
    config
        Post-processing; None: the default.

    Returns
    -------
    dask.array.Array
        int32 of the same shape and blocks: the numbers that `segment` gives, consistent across
        blocks. Blocks are drawn on demand.

    Raises
    ------
    InputError
        If the residual holds NaN, or thresholds do not fit each other.

    Examples
    --------
    >>> residual = da.zeros((300, 300), dtype=np.float32, chunks=100)
    >>> residual[90:110, 90:110] = 1
    >>> labels = lazy_labels(residual, 0.5)
    >>> labels.compute().max(), labels.chunks == residual.chunks
    (np.int32(1), True)
    """
    config = config or SegmentationConfig()
    refuse_reversed(threshold, config)
    found = [
        drained(segment_in_blocks(residual[index], threshold, config, whole=True))
        for index in np.ndindex(residual.shape[:-2])
    ]
    labels = LabelImage(residual.shape, found)
    return da.from_array(labels, chunks=residual.chunks, name=False)


class LabelImage:
    """An array of labels, of which only the contours of the regions are kept.

    Parameters
    ----------
    shape
        (..., H, W).
    planes
        The regions of each plane; their numbers continue from plane to plane.
    """

    dtype = np.dtype(np.int32)

    def __init__(self, shape: Sequence[int], planes: Sequence[Segmented]) -> None:
        self.shape = tuple(shape)
        self.ndim = len(shape)
        self._planes = planes
        self._before = np.cumsum([0, *(plane.count for plane in planes)]).tolist()

    def __getitem__(self, key: tuple[int | slice, ...]) -> npt.NDArray[np.int32]:
        """Paint part of the labels.

        Parameters
        ----------
        key
            A number or a slice per leading axis, and slices with steps of one of height and width.
        """
        parts = [slice(part, part + 1) if isinstance(part, int) else part for part in key]
        *leading, rows, columns = (
            range(*part.indices(size)) for part, size in zip(parts, self.shape, strict=True)
        )
        box = Box(rows.start, columns.start, rows.stop, columns.stop)
        labels = np.empty((*map(len, leading), *box.shape), np.int32)
        for place in np.ndindex(labels.shape[:-2]):
            whole = [axis[i] for axis, i in zip(leading, place, strict=True)]
            plane = plane_number(whole, self.shape)
            labels[place] = self._planes[plane].labels_in(box, self._before[plane])
        return labels[tuple(0 if isinstance(part, int) else slice(None) for part in key)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[(slice(None),) * self.ndim], dtype=dtype)


class _BlocksAbove:
    """The runs of a prepared plane above some thresholds, found block by block."""

    def __init__(
        self, shape: tuple[int, int], thresholds: list[float], area: InspectedArea | None
    ) -> None:
        self.area = area
        self._shape = shape
        self._thresholds = thresholds
        self._runs: dict[float, Runs] = {}

    def find(self, plane: Array, config: SegmentationConfig, *, whole: bool) -> Iterator[float]:
        """Find the runs, at once or row by row; tells which fraction of them is done."""
        reach = sum(max(0, diameter - 1) for diameter in (config.opening, config.closing))
        boxes = tiles(self._shape, tile_side(2 * reach))
        rows = tuple(row[0].shape[0] for row in boxes)
        columns = tuple(box.shape[1] for box in boxes[0])
        depth = {axis: reach * (len(sizes) > 1) for axis, sizes in enumerate((rows, columns))}
        around = overlap(plane.rechunk((rows, columns)), depth, "none").to_delayed()
        rows_of_blocks = [
            list(zip(line, row, strict=True)) for line, row in zip(around, boxes, strict=True)
        ]
        steps = [list(chain.from_iterable(rows_of_blocks))] if whole else rows_of_blocks
        parts: list[tuple[Box, list[Runs]]] = []
        for number, step in enumerate(steps):
            found = compute(*(
                delayed(_runs_above)(
                    block, box, box.grown(reach, self._shape), self._thresholds, config
                )
                for block, box in step
            ))  # fmt: skip
            parts += [(box, runs) for (_, box), runs in zip(step, found, strict=True)]
            yield (number + 1) / len(steps)
        self._runs = {
            threshold: Runs.assembled([(box, runs[number]) for box, runs in parts], *self._shape)
            for number, threshold in enumerate(self._thresholds)
        }

    def above(self, threshold: float) -> Runs:
        """Return the runs of the pixels above one of the thresholds."""
        return self._runs[threshold]


def _runs_above(
    block: npt.NDArray[np.float32],
    box: Box,
    around: Box,
    thresholds: list[float],
    config: SegmentationConfig,
) -> list[Runs]:
    if np.isnan(block).any():
        raise InputError("The residual must not hold NaN, and the threshold must be a number.")
    prepared = ThresholdIndex(prepare(block, config)[box.inside(around).slices])
    return [prepared.above(threshold) for threshold in thresholds]
