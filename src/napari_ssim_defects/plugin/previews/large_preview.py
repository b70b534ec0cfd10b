"""What lies above the threshold in a heatmap that is larger than memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels

from ...core.config import SegmentationConfig
from ..layers import new_preview
from ..layers.large import large_residual, shown

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...core.images.planes import ImageLike
    from .heatmap_preview import Counts

__all__ = ["LargePreview"]


class LargePreview:
    """Keeps a Labels layer in step with a threshold, of which only what is in sight is compared.

    napari asks for the part in sight, at the resolution of the screen, and gets the comparison of
    that part: so moving the threshold costs the same for any image. Regions are found by Create
    labels only, and so is what opening, closing and the size of regions leave of them.

    Parameters
    ----------
    viewer
        Gets the Labels layer.
    heatmap
        What to compare; its residual is on disk.
    """

    def __init__(self, viewer: ViewerModel, heatmap: Image) -> None:
        self.heatmap = heatmap
        self.threshold = 0.0
        self._viewer = viewer
        self._layer: Labels | None = None
        self._levels: list[_Above] = []

    @property
    def counts(self) -> tuple[Counts | None, bool]:
        """Return nothing: there are no regions before they are created."""
        return None, False

    def reload(self) -> None:
        """Take the residual of the heatmap as it is now."""
        for level in self._levels:
            level.forget()
        self._refresh(thumbnail=True)

    def show(self, threshold: float, settings: SegmentationConfig) -> None:
        """Follow a threshold, and that of what is to be reviewed."""
        self.threshold = threshold
        layer = self._ensure_layer()
        for level in self._levels:
            level.set(threshold, settings.review_threshold)
        layer.visible = True
        self._refresh()

    def show_plane(self) -> None:
        """Do nothing: napari asks for what has become visible."""

    def set_visible(self, visible: bool) -> None:
        """Show or hide the layer; it comes back when the threshold moves."""
        if self._layer is not None:
            self._layer.visible = visible

    def remove(self) -> None:
        """Take the layer away."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def close(self) -> None:
        """Do nothing: no thread runs, and the layer stays."""

    def forget_layer(self, layer: Any) -> None:
        """Take note that a layer was removed."""
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
    """An array of what lies above thresholds, computed where it is asked for.

    What was read last is kept, as it is compared again and again while a threshold moves.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, residual: ImageLike) -> None:
        self._residual = residual
        self._limits: tuple[float, float | None] = (np.inf, None)
        self._key: Any = None
        self._part: npt.NDArray[np.float32] | None = None
        # napari keeps what it once got of the smallest copy, so that has to be one array for good.
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
