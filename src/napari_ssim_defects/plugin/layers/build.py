"""The only place that turns arrays into napari layers.

`derived` tells derived layers apart and finds them; `spatial` is the way back to arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels
from napari.utils.colormaps import Colormap, DirectLabelColormap, ensure_colormap

from ...core.model.calibration import limits_beyond
from ...io.writers.overlay import DEFECT_COLOUR, REVIEW_COLOUR
from .derived import set_visible, source_name
from .large import (
    LARGE,
    LARGE_LABELS,
    LargeLabels,
    LargeResidual,
    large_residual,
    shown,
)
from .provenance import PROVENANCE, provenance
from .region_features import RegionsMeasured
from .spatial import Source, spatial_metadata, without_axis

if TYPE_CHECKING:
    from ...io.files.spatial import SpatialMetadata

_COVER = 0.6  # opacity of regions, and of what lies inside their outlines
_INSIDE = 0.15

GOOD_COLOUR = (140, 140, 140)
"""Grey, RGB: what a person has marked good."""

__all__ = [
    "new_heatmap",
    "new_image",
    "new_labels",
    "new_preview",
    "new_reconstruction",
    "show_growth",
    "show_threshold",
    "show_verdicts",
    "update_heatmap",
    "update_labels",
]


def new_image(data: Any, rgb: bool, spatial: SpatialMetadata, name: str) -> Image:
    """Make the layer of an image that was read from a file."""
    axes = len(spatial.scale) - rgb  # colour is not an axis of a layer
    return Image(
        data,
        rgb=rgb,
        name=name,
        scale=spatial.scale[:axes],
        units=tuple(unit or "pixel" for unit in spatial.units[:axes]),
        axis_labels=tuple(spatial.axes.lower()[:axes]),
    )


def new_heatmap(
    residual: npt.NDArray[np.float32] | LargeResidual,
    source: Source,
    limits: tuple[float, float],
    origin: Mapping[str, Any],
    channel_axis: int | None = None,
) -> Image:
    """Make the heatmap of a source.

    Parameters
    ----------
    residual
        float32 of shape (..., H, W), or one on disk that may still grow.
    source
        Image that it was computed from.
    limits
        The model's contrast limits. They are the same for every image, so that a good image
        stays dark and two heatmaps can be compared.
    origin
        Provenance: model and settings.
    channel_axis
        Axis of the source that holds channels, counted from the end, so that the residual
        lacks it; None for grey and RGB images, whose layers have no such axis.
    """
    large = residual if isinstance(residual, LargeResidual) else None
    origin = {**_origin("residual", source, origin), **({} if large is None else {LARGE: large})}
    layer = Image(
        residual if large is None else shown(large.levels),
        name=f"{source.name} residual",
        colormap=_overlay(),
        contrast_limits=limits,
        metadata={PROVENANCE: origin},
        multiscale=large is not None and len(large.levels) > 1,
        rgb=False,
        **without_axis(source.spatial, channel_axis),
    )
    _widen(layer, _highest(residual), limits)
    return layer


def show_growth(heatmap: Image) -> None:
    """Show new blocks of a residual on disk."""
    large = large_residual(heatmap)
    assert large is not None
    low, high = heatmap.contrast_limits
    _widen(heatmap, large.highest, (low, high))
    heatmap.refresh(extent=False, highlight=False)


def update_heatmap(
    layer: Image,
    residual: npt.NDArray[np.float32],
    source: Source,
    limits: tuple[float, float],
    origin: Mapping[str, Any],
) -> None:
    """Show a newer residual of the same source in its existing layer."""
    layer.data = residual
    layer.metadata = {**layer.metadata, PROVENANCE: _origin("residual", source, origin)}
    _widen(layer, _highest(residual), limits)
    layer.contrast_limits = limits


def show_threshold(
    heatmap: Image, threshold: float, known: tuple[float, float] | None = None
) -> tuple[float, float] | None:
    """Let the colours of a heatmap reach well beyond its threshold.

    Limits that a person has set stay as long as they contain it.

    Parameters
    ----------
    heatmap, threshold
        The heatmap, and its threshold.
    known
        What was returned the last time.
    """
    usual = provenance(heatmap).get("contrast_limits")
    now = tuple(heatmap.contrast_limits)
    if usual is None or (now not in (tuple(usual), known) and threshold < now[1]):
        return known
    wanted = limits_beyond(usual, threshold)
    if now != wanted:
        heatmap.contrast_limits = wanted
    return wanted


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


def new_preview(mask: Any, heatmap: Image) -> Labels:
    """Make the layer that follows the threshold.

    Parameters
    ----------
    mask
        uint8 of the heatmap's shape: 1 in defects, 2 in what is to be reviewed, and 3 and 4 on the
        outlines of both. The layer shares this buffer, so writing to it and refreshing the layer
        makes the slider instant. For a large heatmap, a list of ever smaller arrays, of which only
        visible parts are read, without outlines.
    heatmap
        The layer that is being segmented.
    """
    large = isinstance(mask, list)
    inside, outline = (_COVER, _COVER) if large else (_INSIDE, 1.0)
    colours: dict[int | None, Any] = {
        None: "transparent",
        1: (*np.divide(DEFECT_COLOUR, 255), inside),
        2: (*np.divide(REVIEW_COLOUR, 255), inside),
        3: (*np.divide(DEFECT_COLOUR, 255), outline),
        4: (*np.divide(REVIEW_COLOUR, 255), outline),
    }
    layer = Labels(
        mask,
        multiscale=large,
        name=f"{source_name(heatmap)} threshold",
        colormap=DirectLabelColormap(color_dict=colours),
        opacity=1.0,
        metadata={PROVENANCE: {**provenance(heatmap), "kind": "preview"}},
        **spatial_metadata(heatmap),
    )
    layer.editable = False
    return layer


def new_labels(
    labels: npt.NDArray[np.int32] | LargeLabels,
    measured: RegionsMeasured,
    heatmap: Image,
    settings: Mapping[str, Any],
) -> Labels:
    """Make the layer of committed regions, with their measurements as features.

    Parameters
    ----------
    labels
        int32 of the heatmap's shape, or what is on disk of that shape, which cannot be painted.
    measured
        Their measurements.
    heatmap
        The layer that was segmented.
    settings
        Threshold and post-processing.
    """
    large = labels if isinstance(labels, LargeLabels) else None
    if large is not None:
        settings = {**settings, LARGE_LABELS: large}
    layer = Labels(
        labels if large is None else shown(large.levels),
        multiscale=large is not None and len(large.levels) > 1,
        name=f"{source_name(heatmap)} defects",
        features=measured.features,
        metadata=_labels_metadata(measured, heatmap, settings),
        **spatial_metadata(heatmap),
    )
    layer.editable = large is None
    show_verdicts(layer)
    return layer


def show_verdicts(layer: Labels) -> None:
    """Show committed regions in the colours of their verdicts, as the outlines have them."""
    features = layer.features
    colours: dict[int | None, Any] = {
        int(label): np.divide(REVIEW_COLOUR if verdict == "review" else GOOD_COLOUR, 255)
        for label, verdict in zip(features["index"], features["verdict"], strict=True)
        if verdict != "defect"
    }
    colours |= {None: np.divide(DEFECT_COLOUR, 255), 0: "transparent"}
    wanted = DirectLabelColormap(color_dict=colours)
    known = getattr(layer.colormap, "color_dict", {})
    if known.keys() != wanted.color_dict.keys() or any(
        not np.array_equal(known[label], colour) for label, colour in wanted.color_dict.items()
    ):  # napari tells of another label that is selected when colours are set
        layer.colormap = wanted


def update_labels(
    layer: Labels,
    labels: npt.NDArray[np.int32],
    measured: RegionsMeasured,
    heatmap: Image,
    settings: Mapping[str, Any],
) -> None:
    """Put newer regions of the same image into their existing layer.

    The layer keeps its name and appearance. Removing a layer and adding another takes napari
    several times as long.
    """
    layer.metadata = {**layer.metadata, **_labels_metadata(measured, heatmap, settings)}
    before = spatial_metadata(layer)
    for name, value in spatial_metadata(heatmap).items():
        if not np.array_equal(before[name], value):  # each draws the layer again
            setattr(layer, name, value)
    layer.data = labels
    layer.features = measured.features
    show_verdicts(layer)
    set_visible(layer, True)


def _labels_metadata(
    measured: RegionsMeasured, heatmap: Image, settings: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    return {
        PROVENANCE: {
            **provenance(heatmap),
            "kind": "labels",
            "checksum": measured.checksum,
            "measured": measured.checksum,  # the pixels that the features were measured on
            "review": frozenset(
                label
                for label, verdict in zip(
                    measured.features["index"], measured.features["verdict"], strict=True
                )
                if verdict == "review"
            ),
            # Regions that a person paints are measured on it, even after the heatmap was removed.
            "residual": heatmap.data,
            **settings,
        }
    }


def _origin(kind: str, source: Source, origin: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "source": source.name, "source_id": source.key, **origin}


def _overlay() -> Colormap:
    """Inferno colormap that is transparent where the residual is low.

    Additive blending would wash out on bright images, and an opaque map would hide the image.
    """
    steps = np.linspace(0, 1, 256)
    colours = ensure_colormap("inferno").map(steps)
    colours[:, 3] = np.minimum(1, 1.6 * steps)
    return Colormap(colours, name="inferno overlay")


def _highest(residual: npt.NDArray[np.float32] | LargeResidual) -> float:
    if isinstance(residual, LargeResidual):
        return residual.highest
    return float(residual.max(initial=0.0))


def _widen(layer: Image, highest: float, limits: tuple[float, float]) -> None:
    """Let the contrast slider reach every residual without changing the contrast."""
    wanted = (0.0, max(limits[1], highest))
    if tuple(layer.contrast_limits_range) != wanted:
        layer.contrast_limits_range = wanted
