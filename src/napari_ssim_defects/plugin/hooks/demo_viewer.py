"""The results of the demo as layers of a viewer, with the panel ready to continue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from napari.layers import Image, Labels

from ...core.config import SegmentationConfig
from ...core.segmentation.regions import measure_regions
from .. import layers
from ..controllers.panel_controller import controller_of
from ..layers.provenance import model_origin
from ..layers.region_features import RegionsMeasured
from ..layers.spatial import pixel_size

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from ...cli.demo import DemoResults

__all__ = ["add_results", "show_demo"]


def show_demo(results: DemoResults) -> None:
    """Open napari on the results; return when it is closed."""
    add_results(napari.Viewer(), results)
    napari.run()


def add_results(viewer: Viewer, results: DemoResults) -> None:
    """Add the demo's images, heatmaps and labels to a viewer, and open the panel beside them.

    The layers are those that training, detecting and segmenting in the panel make, so that
    every control of it works on them.
    """
    viewer.window.add_plugin_dock_widget("napari-ssim-defects", "SSIM defects")
    state = controller_of(viewer).state
    spatial = {"scale": results.pixel_size, "units": (results.unit,) * 2, "axis_labels": ("y", "x")}
    for number, sample in enumerate(results.good, start=1):
        viewer.add_layer(Image(sample.image, name=f"good {number}", visible=False, **spatial))
    model, threshold = results.model, results.model.auto_threshold
    state.model_name = results.model_path.stem
    state.model_path = results.model_path
    state.model = model
    origin = model_origin(model, state.model_name, None)
    settings = {"threshold": threshold, **SegmentationConfig().model_dump()}
    heatmaps = []
    for number, found in enumerate(results.rows, start=1):
        image = Image(found.image, name=f"defective {number}", **spatial)
        viewer.add_layer(image)
        truth = Labels(found.truth, name=f"defective {number} truth", visible=False, **spatial)
        viewer.add_layer(truth)
        heatmap = layers.new_heatmap(
            found.residual, layers.source_of(image), model.contrast_limits, origin
        )
        viewer.add_layer(heatmap)
        regions = [(0, region) for region in measure_regions(found.labels, found.residual)]
        measured = RegionsMeasured.from_regions(found.labels, regions, pixel_size(heatmap))
        viewer.add_layer(layers.new_labels(found.labels, measured, heatmap, settings))
        heatmaps.append(heatmap)
    # The first image is shown; the others wait in the layer list.
    for layer in viewer.layers:
        layer.visible = layer.name in ("defective 1", "defective 1 defects")
    state.export_layers = tuple(heatmaps)
    state.heatmap = heatmaps[0]
    viewer.reset_view()
