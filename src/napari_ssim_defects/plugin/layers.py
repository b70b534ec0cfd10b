"""The only place that turns arrays into napari layers and back.

What tells derived layers apart, and finds them, is `derived`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels
from napari.utils.colormaps import Colormap, DirectLabelColormap, ensure_colormap

from ..core.errors import InputError
from ..io.overlay import DEFECT_COLOUR, REVIEW_COLOUR
from .derived import (
    created_labels,
    find_derived,
    is_committed,
    is_heatmap,
    is_inspectable,
    is_painted,
    show_only,
    source_name,
)
from .provenance import PROVENANCE, provenance
from .region_features import RegionsMeasured
from .spatial import spatial_metadata, without_axis

if TYPE_CHECKING:
    from ..io.spatial import SpatialMetadata

__all__ = [
    "Source",
    "created_labels",
    "find_derived",
    "is_committed",
    "is_heatmap",
    "is_inspectable",
    "is_painted",
    "new_heatmap",
    "new_image",
    "new_labels",
    "new_preview",
    "new_reconstruction",
    "show_only",
    "source_name",
    "source_of",
    "update_heatmap",
    "update_labels",
]


@dataclass(frozen=True, slots=True)
class Source:
    """What is kept of an image layer while a thread works on it, as the layer may vanish.

    Attributes
    ----------
    key
        The layer's unique id.
    name
        Its name.
    image
        Its pixels: (..., H, W), or (..., H, W, 3 or 4) if ``rgb``; of a pyramid, level 0.
    rgb
        Whether the last axis is colour.
    spatial
        Scale, translation, rotation, shear, affine transform, units and names of its axes.
    contrast_limits
        How it is displayed.
    """

    key: str
    name: str
    image: Any
    rgb: bool
    spatial: Mapping[str, Any]
    contrast_limits: tuple[float, float]

    @property
    def quoted(self) -> str:
        """The name as sentences show it."""
        return f"'{self.name}'"


def source_of(layer: Image) -> Source:
    """Take from an image layer what a thread needs.

    Raises
    ------
    InputError
        If a stack of grey planes is only 3 or 4 pixels wide: that is a colour image which was
        opened as a stack, and guessing would change what its axes mean.
    """
    image = layer.data[0] if layer.multiscale else layer.data
    if not layer.rgb and image.ndim >= 3 and image.shape[-1] in (3, 4):
        raise InputError(
            f"'{layer.name}' is a stack of planes that are {image.shape[-1]} pixels wide; open "
            "it as an RGB image if its last axis is colour."
        )
    low, high = layer.contrast_limits
    return Source(
        key=str(layer.unique_id),
        name=layer.name,
        image=image,
        rgb=bool(layer.rgb),
        spatial=spatial_metadata(layer),
        contrast_limits=(float(low), float(high)),
    )


def new_image(data: Any, rgb: bool, spatial: SpatialMetadata, name: str) -> Image:
    """Make the layer of an image that was read from a file."""
    axes = len(spatial.scale) - rgb  # colour is no axis of a layer
    return Image(
        data,
        rgb=rgb,
        name=name,
        scale=spatial.scale[:axes],
        units=tuple(unit or "pixel" for unit in spatial.units[:axes]),
        axis_labels=tuple(spatial.axes.lower()[:axes]),
    )


def new_heatmap(
    residual: npt.NDArray[np.float32],
    source: Source,
    limits: tuple[float, float],
    origin: Mapping[str, Any],
    channel_axis: int | None = None,
) -> Image:
    """Make the heatmap of a source.

    Parameters
    ----------
    residual
        float32 of shape (..., H, W).
    source
        What it was computed from.
    limits
        The model's contrast limits. They are the same for every image, so that a good image
        stays dark and two heatmaps can be compared.
    origin
        What to remember about model and settings.
    channel_axis
        Axis of the source that holds channels, counted from the end, so that the residual
        lacks it; None for grey and RGB images, whose layers have no such axis.
    """
    layer = Image(
        residual,
        name=f"{source.name} residual",
        colormap=_overlay(),
        contrast_limits=limits,
        metadata={PROVENANCE: _origin("residual", source, origin)},
        rgb=False,
        **without_axis(source.spatial, channel_axis),
    )
    _widen(layer, residual, limits)
    return layer


def update_heatmap(
    layer: Image,
    residual: npt.NDArray[np.float32],
    source: Source,
    limits: tuple[float, float],
    origin: Mapping[str, Any],
) -> None:
    """Show a newer residual of the same source in the layer that is there already."""
    layer.data = residual
    layer.metadata = {**layer.metadata, PROVENANCE: _origin("residual", source, origin)}
    _widen(layer, residual, limits)
    layer.contrast_limits = limits


def new_reconstruction(
    reconstruction: npt.NDArray[np.float32], source: Source, origin: Mapping[str, Any]
) -> Image:
    """Make the layer of a reconstruction; it is displayed like its source."""
    data: npt.NDArray[Any] = reconstruction
    dtype = np.dtype(source.image.dtype)
    if source.rgb and dtype.kind == "u":
        # napari shows RGB of floats between 0 and 1 only
        data = np.clip(np.rint(data), 0, np.iinfo(dtype).max).astype(dtype)
    return Image(
        data,
        name=f"{source.name} reconstruction",
        rgb=source.rgb,
        contrast_limits=None if source.rgb else source.contrast_limits,
        metadata={PROVENANCE: _origin("reconstruction", source, origin)},
        visible=False,
        **source.spatial,
    )


def new_preview(mask: npt.NDArray[np.uint8], heatmap: Image) -> Labels:
    """Make the layer that follows the threshold.

    Parameters
    ----------
    mask
        uint8 of the heatmap's shape: 1 in defects, 2 in what is to be reviewed. The layer looks
        at this very buffer: writing to it and refreshing the layer makes the slider instant.
    heatmap
        The layer that is being segmented.
    """
    layer = Labels(
        mask,
        name=f"{source_name(heatmap)} threshold",
        colormap=DirectLabelColormap(
            color_dict={
                None: "transparent",
                1: np.divide(DEFECT_COLOUR, 255),
                2: np.divide(REVIEW_COLOUR, 255),
            }
        ),
        opacity=0.6,
        metadata={PROVENANCE: {**provenance(heatmap), "kind": "preview"}},
        **spatial_metadata(heatmap),
    )
    layer.editable = False
    return layer


def new_labels(
    labels: npt.NDArray[np.int32],
    measured: RegionsMeasured,
    heatmap: Image,
    settings: Mapping[str, Any],
) -> Labels:
    """Make the layer of committed regions, with their measurements as features.

    Parameters
    ----------
    labels
        int32 of the heatmap's shape.
    measured
        Their measurements.
    heatmap
        The layer that was segmented.
    settings
        Threshold and post-processing.
    """
    return Labels(
        labels,
        name=f"{source_name(heatmap)} defects",
        features=measured.features,
        metadata=_labels_metadata(measured, heatmap, settings),
        **spatial_metadata(heatmap),
    )


def update_labels(
    layer: Labels,
    labels: npt.NDArray[np.int32],
    measured: RegionsMeasured,
    heatmap: Image,
    settings: Mapping[str, Any],
) -> None:
    """Put newer regions of the same image into the layer that is there already.

    It keeps its name and its looks, and napari is spared removing a layer and adding another,
    which takes it several times as long.
    """
    layer.metadata = {**layer.metadata, **_labels_metadata(measured, heatmap, settings)}
    before = spatial_metadata(layer)
    for name, value in spatial_metadata(heatmap).items():
        if not np.array_equal(before[name], value):  # each draws the layer again
            setattr(layer, name, value)
    layer.data = labels
    layer.features = measured.features
    layer.visible = True


def _labels_metadata(
    measured: RegionsMeasured, heatmap: Image, settings: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    return {
        PROVENANCE: {
            **provenance(heatmap),
            "kind": "labels",
            "checksum": measured.checksum,
            "measured": measured.checksum,  # the pixels that the features were measured on
            # What regions that a person paints are measured on, even if the heatmap goes.
            "residual": heatmap.data,
            **settings,
        }
    }


def _origin(kind: str, source: Source, origin: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "source": source.name, "source_id": source.key, **origin}


def _overlay() -> Colormap:
    """Inferno that is transparent where the residual is low.

    Additive blending would wash out on bright images, an opaque map would hide the image.
    """
    steps = np.linspace(0, 1, 256)
    colours = ensure_colormap("inferno").map(steps)
    colours[:, 3] = np.minimum(1, 1.6 * steps)
    return Colormap(colours, name="inferno overlay")


def _widen(layer: Image, residual: npt.NDArray[np.float32], limits: tuple[float, float]) -> None:
    """Let the contrast slider reach every residual without changing the contrast."""
    layer.contrast_limits_range = (0.0, max(limits[1], float(residual.max(initial=0.0))))
