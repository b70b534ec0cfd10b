"""The labels of one heatmap that follow the threshold, in memory or larger than it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels

from ...core.config import SegmentationConfig
from ..jobs import jobs, workers
from ..layers import new_preview, set_visible
from ..layers.large import large_residual, shown
from ..layers.provenance import inspected_area
from ..layers.spatial import visible_plane

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...core.images.planes import ImageLike
    from ...core.model.corrections import Mark
    from ...core.segmentation.segment import Segmented, ThresholdIndex

__all__ = [
    "Counts",
    "HeatmapPreview",
    "LargePreview",
]

_REST = 80  # milliseconds without a new threshold after which what is left is done in a thread
_OUTLINED = 500_000  # pixels of regions; more would take too long while a threshold moves
_LINE = 400  # pixels of an image for each pixel that an outline is wide
_LIVE_SEGMENTS = 120_000  # of 16 pixels: above the threshold there may be two million of them
_MORPHOLOGY = {"opening", "closing"}  # what is done before the threshold

PlaneIndex = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of regions and of their pixels: of defects, and of what is to be reviewed.

    ``good`` is the number of regions that are left out because a person has marked them good.
    """

    regions: int = 0
    pixels: int = 0
    review_regions: int = 0
    review_pixels: int = 0
    good: int = 0

    @classmethod
    def from_regions(cls, found: Segmented, good: int) -> Counts:
        """Count the regions of a plane."""
        areas, review = found.areas(), found.review
        reviewed = int(np.count_nonzero(review))
        defects, others = int(areas[~review].sum()), int(areas[review].sum())
        return cls(found.count - reviewed, defects, reviewed, others, good)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.regions + other.regions,
            self.pixels + other.pixels,
            self.review_regions + other.review_regions,
            self.review_pixels + other.review_pixels,
            self.good + other.good,
        )


class HeatmapPreview:
    """Shows the regions of a heatmap for a threshold and post-processing in a Labels layer.

    Opening and closing are applied to the residual once, in a thread, the visible plane first.
    After that, each threshold is drawn at once in the visible plane: the layer shares a buffer in
    which the pixels of the last regions are cleared and those of the new ones are set. The other
    planes follow in a thread when the threshold rests. So does a plane with too many pixels above
    the threshold; until then it shows the bare comparison.

    Parameters
    ----------
    viewer
        Gets the Labels layer, and says which plane is visible.
    heatmap
        What to segment.
    on_counted
        Called whenever `counts` has changed.
    on_failure
        Called with a sentence when a thread fails.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        heatmap: Image,
        on_counted: Callable[[HeatmapPreview], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self.heatmap = heatmap
        self.threshold = 0.0
        self._viewer = viewer
        self._on_counted = on_counted
        self._on_failure = on_failure
        self._settings: SegmentationConfig | None = None
        self._job: workers.Job | None = None
        self._later = workers.Later(self._complete, _REST)
        self._layer: Labels | None = None
        self._visible = True  # also of a layer that is yet to come
        self._residual: npt.NDArray[np.float32] = np.asarray(heatmap.data, dtype=np.float32)
        self._buffer: npt.NDArray[np.uint8] = np.zeros((0, 0), dtype=np.uint8)
        self._painted: dict[PlaneIndex, npt.NDArray[np.int64] | None] = {}
        self._ready: dict[PlaneIndex, ThresholdIndex] = {}
        self._found: dict[PlaneIndex, Counts] = {}
        self._marks: tuple[Mark, ...] = ()
        self.limits: tuple[float, float] | None = None  # of colours, that were set for it

    @property
    def counts(self) -> tuple[Counts | None, bool]:
        """Counts, and whether they cover all planes or only the visible one."""
        if len(self._found) == self._planes:
            return sum(self._found.values(), Counts()), True
        return self._found.get(self._visible_plane), False

    def reload(self) -> None:
        """Read the current residual of the heatmap; call `show` afterwards."""
        self._stop()
        self._residual = np.asarray(self.heatmap.data, dtype=np.float32)
        self._settings = None
        if self._layer is not None and self._buffer.shape != self._residual.shape:
            self.remove()

    def show(self, threshold: float, settings: SegmentationConfig) -> None:
        """Show another threshold and other settings."""
        before, self._settings = self._settings, settings
        self._visible = True
        self.threshold = threshold
        self._found.clear()
        if before is None or any(
            getattr(settings, name) != getattr(before, name) for name in _MORPHOLOGY
        ):
            self._prepare()
            return
        if self._job is not None and len(self._ready) == self._planes:
            self._stop()  # a completion that is out of date
        self._draw(self._visible_plane)
        if self._layer is not None:
            set_visible(self._layer, True)
        self._later.request()
        self._on_counted(self)

    def mark(self, marks: tuple[Mark, ...]) -> None:
        """Leave out what was marked good; marks are those of the image."""
        if marks != self._marks:
            self._marks = marks
            self._found.clear()
            self._draw(self._visible_plane)
            self._later.request()
            self._on_counted(self)

    def show_plane(self) -> None:
        """Draw the plane that has become visible, if it is out of date."""
        plane = self._visible_plane
        if plane not in self._found:
            self._draw(plane)
            self._on_counted(self)

    def set_visible(self, visible: bool) -> None:
        """Show or hide the layer; it comes back when the threshold moves."""
        self._visible = visible
        if self._layer is not None:
            set_visible(self._layer, visible)

    def remove(self) -> None:
        """Stop, and take the layer away."""
        self._stop()
        layer, self._layer = self._layer, None
        self._painted.clear()
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def close(self) -> None:
        """Stop; the layer stays."""
        self._stop()

    def forget_layer(self, layer: Any) -> None:
        """Handle the removal of a layer."""
        if layer is self._layer:
            self._layer = None
            self._painted.clear()

    def _prepare(self) -> None:
        self._stop()
        self._ready.clear()
        assert self._settings is not None
        self._on_counted(self)
        self._job = workers.start(
            partial(
                jobs.prepare_planes,
                self._residual,
                self._settings,
                self._visible_plane,
                inspected_area(self.heatmap),
            ),
            self._on_prepared,
            self._later.request,
        )

    def _on_prepared(self, message: jobs.PlanePrepared | workers.Failure) -> None:
        if isinstance(message, workers.Failure):
            self._on_failure(message.text)
            return
        self._ready[message.index] = message.prepared
        if message.index == self._visible_plane:
            self._draw(message.index)
            self._on_counted(self)

    def _draw(self, plane: PlaneIndex) -> None:
        """Show the regions of one plane, or the bare comparison if there is too much of them."""
        from ...core.segmentation.segment import segment_prepared

        index, settings = self._ready.get(plane), self._settings
        if index is None or settings is None:
            return
        layer = self._ensure_layer()
        low = settings.review_threshold
        lowest = self.threshold if low is None else min(low, self.threshold)
        if index.segments_above(lowest) > _LIVE_SEGMENTS:
            flat = self._buffer[plane]
            np.greater(index.plane, self.threshold, out=flat, casting="unsafe")
            self._painted[plane] = None
        else:
            self._paint(plane, segment_prepared(index, self.threshold, settings))
        layer.refresh(extent=False, highlight=False, thumbnail=False)

    def _paint(self, plane: PlaneIndex, found: Segmented) -> None:
        from ...core.model.corrections import kept_regions

        before, found = found.count, kept_regions(found, self._marks, plane, self._residual.shape)
        flat = self._buffer[plane].reshape(-1)
        painted = self._painted.get(plane, np.zeros(0, dtype=np.int64))
        if painted is None:
            flat[:] = 0
        else:
            flat[painted] = 0
        pixels, kinds = found.runs.pixels(), found.kinds()
        flat[pixels] = kinds
        if len(pixels) <= _OUTLINED:
            flat[pixels[_on_outline(flat, pixels, kinds, self._residual.shape[-2:])]] += 2
        self._painted[plane] = pixels
        self._found[plane] = Counts.from_regions(found, before - found.count)

    def _complete(self) -> None:
        """Find the regions of the planes that are not done, in a thread."""
        if self._settings is None or len(self._ready) < self._planes:
            return  # preparation asks again when it is done
        self._stop()
        order = jobs.planes_from(self._residual.shape, self._visible_plane)
        left = [(plane, self._ready[plane]) for plane in order if plane not in self._found]
        if left:
            self._job = workers.start(
                partial(jobs.segment_prepared_planes, left, self.threshold, self._settings),
                self._on_segmented,
            )
        elif self._layer is not None:
            self._layer.refresh(extent=False, highlight=False, thumbnail=True)

    def _on_segmented(self, message: jobs.PlaneSegmented | workers.Failure) -> None:
        if isinstance(message, workers.Failure):
            self._on_failure(message.text)
            return
        layer = self._ensure_layer()
        self._paint(message.index, message.found)
        last = len(self._found) == self._planes
        if message.index == self._visible_plane or last:
            layer.refresh(extent=False, highlight=False, thumbnail=last)
        if last:
            self._on_counted(self)

    def _ensure_layer(self) -> Labels:
        if self._layer is None:
            self._buffer = np.zeros(self._residual.shape, dtype=np.uint8)
            self._painted.clear()
            self._layer = new_preview(self._buffer, self.heatmap)
            set_visible(self._layer, self._visible)
            selection = set(self._viewer.layers.selection)
            self._viewer.add_layer(self._layer)
            if selection:  # dragging the threshold must not change what is selected
                self._viewer.layers.selection = selection
        return self._layer

    @property
    def _planes(self) -> int:
        return int(np.prod(self._residual.shape[:-2]))

    @property
    def _visible_plane(self) -> PlaneIndex:
        return visible_plane(self.heatmap, self._viewer.dims.point)

    def _stop(self) -> None:
        self._later.cancel()
        if self._job is not None:
            self._job.discard()
            self._job = None


def _on_outline(
    plane: npt.NDArray[np.uint8],
    pixels: npt.NDArray[np.int64],
    kinds: npt.NDArray[np.uint8],
    shape: tuple[int, ...],
) -> npt.NDArray[np.bool_]:
    """Return which pixels of regions lie at their rims, as wide as the image needs to show it.

    It takes a few milliseconds while a threshold moves, so it is not exact: at the border of the
    image, and in gaps between regions that are narrower than the line, it may be missing.

    Parameters
    ----------
    plane
        Flat plane in which the pixels have their kinds, and all others another one.
    pixels, kinds
        Places in it, and kind of each.
    shape
        Height and width.
    """
    line, width = 1 + max(shape) // _LINE, shape[1]
    inside = np.ones(len(pixels), bool)
    for away in (line, -line, line * width, -line * width):  # no checks of borders: it must be fast
        inside &= plane.take(pixels + away, mode="clip") == kinds
    return ~inside


class LargePreview:
    """Compares the visible part of a large heatmap with a threshold, in a Labels layer.

    napari asks for the visible part at the resolution of the screen and gets its comparison, so
    moving the threshold costs the same for any image. Regions, opening, closing and limits of size
    are computed by Create labels only.
    """

    def __init__(self, viewer: ViewerModel, heatmap: Image) -> None:
        self.heatmap = heatmap
        self.threshold = 0.0
        self.limits: tuple[float, float] | None = None
        self._viewer = viewer
        self._layer: Labels | None = None
        self._levels: list[_Above] = []

    @property
    def counts(self) -> tuple[Counts | None, bool]:
        """Return nothing: there are no regions before they are created."""
        return None, False

    def reload(self) -> None:
        """Read the current residual of the heatmap."""
        for level in self._levels:
            level.forget()
        self._refresh(thumbnail=True)

    def show(self, threshold: float, settings: SegmentationConfig) -> None:
        """Show another threshold, and another one for review."""
        self.threshold = threshold
        layer = self._ensure_layer()
        for level in self._levels:
            level.set(threshold, settings.review_threshold)
        set_visible(layer, True)
        self._refresh()

    def mark(self, marks: tuple[Mark, ...]) -> None:
        """Do nothing: there are no regions to mark before they are created."""

    def show_plane(self) -> None:
        """Do nothing: napari asks for what has become visible."""

    def set_visible(self, visible: bool) -> None:
        """Show or hide the layer; it comes back when the threshold moves."""
        if self._layer is not None:
            set_visible(self._layer, visible)

    def remove(self) -> None:
        """Take the layer away."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def close(self) -> None:
        """Do nothing: no thread runs, and the layer stays."""

    def forget_layer(self, layer: Any) -> None:
        """Handle the removal of a layer."""
        if layer is self._layer:
            self._layer = None

    def _ensure_layer(self) -> Labels:
        if self._layer is None:
            large = large_residual(self.heatmap)
            assert large is not None
            self._levels = [_Above(level) for level in large.levels]
            self._layer = new_preview(shown(self._levels), self.heatmap)
            selection = set(self._viewer.layers.selection)
            self._viewer.add_layer(self._layer)
            if selection:  # dragging the threshold must not change what is selected
                self._viewer.layers.selection = selection
        return self._layer

    def _refresh(self, *, thumbnail: bool = False) -> None:
        if self._layer is not None and self._layer.visible:
            self._layer.refresh(extent=False, highlight=False, thumbnail=thumbnail)


class _Above:
    """The comparison of a residual with thresholds as an array, computed on demand.

    The last part that was read is kept, because it is compared again while a threshold moves.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, residual: ImageLike) -> None:
        self._residual = residual
        self._limits: tuple[float, float | None] = (np.inf, None)
        self._key: Any = None
        self._part: npt.NDArray[np.float32] | None = None
        # napari keeps the array of the smallest copy, so it must always be the same one.
        self._kept = np.zeros(self.shape, np.uint8) if isinstance(residual, np.ndarray) else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the residual."""
        return tuple(self._residual.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return int(np.prod(self.shape, dtype=object))

    def set(self, threshold: float, review: float | None) -> None:
        """Set the thresholds."""
        self._limits = threshold, review
        self._fill()

    def forget(self) -> None:
        """Read again what was read before."""
        self._key = self._part = None
        self._fill()

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:
        """Compare a part."""
        if self._kept is not None:
            return self._kept[key]
        if self._part is None or key != self._key:
            self._part, self._key = np.asarray(self._residual[key]), key
        return self._above(self._part)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[(slice(None),) * self.ndim], dtype=dtype)

    def _fill(self) -> None:
        if self._kept is not None:
            self._kept[...] = self._above(np.asarray(self._residual))

    def _above(self, part: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        threshold, review = self._limits
        above = (part > threshold).astype(np.uint8)
        if review is not None and review < threshold:
            above[(part > review) & (part <= threshold)] = 2
        return above
