"""From a value of the threshold slider to the refreshed labels, in a real viewer.

xvfb-run -a python benchmarks/slider.py [--steps 60] [--json]

For each size and setting: the 50th and 95th percentile of the milliseconds that a step takes
before the viewer draws, that percentile over the one with hulls and the usual morphology, and the
same with drawing. Beside them what plain scikit-image takes for the same mask (without hulls for
the large image, for which they take minutes), like with like: against finding the regions alone,
and, shown by a plain `layer.data = mask`, against the step. The last lines compare a drag
with and without a training in the background. `--quick` leaves the large image out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("NAPARI_CONFIG", "")
os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")

import napari
import numpy as np
import numpy.typing as npt
from qtpy.QtWidgets import QApplication
from scipy import ndimage
from skimage import measure, morphology, segmentation

from napari_ssim_defects import SegmentationConfig, TrainingConfig
from napari_ssim_defects.core.segmentation.morphology import disk
from napari_ssim_defects.core.segmentation.runs import Runs
from napari_ssim_defects.core.segmentation.segment import ThresholdIndex, prepare, segment_prepared
from napari_ssim_defects.plugin import layers
from napari_ssim_defects.plugin.state.panel_state import PanelState
from napari_ssim_defects.plugin.views.panel import DefectPanel

SIZES = ((700, 1024), (4096, 4096))
SETTINGS = {
    "hull off": SegmentationConfig(convex_hull=False),
    "hull on": SegmentationConfig(),
}
# As large as they can be without removing or joining most of the regions.
EXPENSIVE = {
    (700, 1024): SegmentationConfig(opening=9, closing=9, max_area=10**6, clear_border=True),
    (4096, 4096): SegmentationConfig(opening=16, closing=25, max_area=10**6, clear_border=True),
}
THRESHOLDS = (0.15, 0.45)


def residual_with_defects(shape: tuple[int, int], regions: int = 400) -> npt.NDArray[np.float32]:
    """Smooth noise with blobs on a grid, each of its own height, that are regions throughout."""
    random = np.random.default_rng(0)
    rows = round((regions * shape[0] / shape[1]) ** 0.5)
    columns = -(-regions // rows)
    image = np.zeros(shape, dtype=np.float32)
    reach = int(0.33 * min(shape[0] / rows, shape[1] / columns, 60))
    for number in range(regions):
        row = int((number // columns + 0.5) * shape[0] / rows)
        column = int((number % columns + 0.5) * shape[1] / columns)
        for _ in range(3):  # overlapping rectangles: no region is convex
            high, wide = random.integers(reach // 3, reach + 1, 2)
            y, x = row - random.integers(1, high), column - random.integers(1, wide)
            height = random.uniform(0.6, 1)
            part = image[max(y, 0) : y + high, max(x, 0) : x + wide]
            np.maximum(part, height, out=part)
    noise = ndimage.gaussian_filter(random.normal(size=shape).astype(np.float32), 2)
    image = ndimage.gaussian_filter(image, 1.5) + 0.03 * noise / noise.std()
    return np.clip(image, 0, None).astype(np.float32)


def milliseconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - start)


def plain(
    residual: npt.NDArray[np.float32], threshold: float, config: SegmentationConfig
) -> npt.NDArray[np.bool_]:
    """Compute what a step of the slider shows by calls of scikit-image only."""
    mask = morphology.opening(residual > threshold, disk(config.opening))
    if config.closing:
        mask = morphology.closing(mask, disk(config.closing))
    background = measure.label(~mask, connectivity=1)
    edges = (background[0], background[-1], background[:, 0], background[:, -1])
    mask = ~np.isin(background, np.setdiff1d(np.concatenate(edges), 0))
    labels = measure.label(mask, connectivity=2)
    area = np.bincount(labels.ravel())
    kept = area >= config.min_area
    kept[0] = False
    if config.max_area is not None:
        kept &= area <= config.max_area
    mask = kept[labels]
    if config.clear_border:
        mask = segmentation.clear_border(measure.label(mask, connectivity=2)) > 0
    return morphology.convex_hull_object(mask) if config.convex_hull else mask


def open_panel(residual: npt.NDArray[np.float32]) -> DefectPanel:
    """Open a viewer with the panel, an image and its heatmap."""
    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(1400, 900)
    panel = DefectPanel(viewer)
    viewer.window.add_dock_widget(panel, name="SSIM defects")
    image = viewer.add_image((255 * np.clip(residual, 0, 1)).astype(np.uint8), name="image")
    heatmap = layers.new_heatmap(residual, layers.source_of(image), (0.0, 1.0), {})
    viewer.add_layer(heatmap)
    panel.state.training_layers = (image,)
    panel.state.heatmap = heatmap
    return panel


def wait(until: Callable[[], bool], seconds: float = 120) -> None:
    """Let the viewer work until something is true, and a little longer."""
    deadline = time.monotonic() + seconds
    while not until() and time.monotonic() < deadline:
        QApplication.processEvents()
    for _ in range(20):
        QApplication.processEvents()
        time.sleep(0.01)


def drag(
    state: PanelState, values: npt.NDArray[np.float64]
) -> tuple[list[float], list[float], list[int]]:
    """Move the slider; returns milliseconds, the same with drawing, and regions of each step."""
    wait(lambda: state.summary is not None and state.summary.complete)
    times, drawn, regions = [], [], []
    for value in values:
        times.append(milliseconds(partial(setattr, state, "threshold", float(value))))
        drawn.append(times[-1] + milliseconds(QApplication.processEvents))
        regions.append(state.summary.regions)
    return times, drawn, regions


def measure_size(shape: tuple[int, int], steps: int) -> list[dict[str, Any]]:
    residual = residual_with_defects(shape)
    panel = open_panel(residual)
    state, viewer = panel.state, panel.controller.viewer
    results = []
    values = np.random.default_rng(1).uniform(*THRESHOLDS, steps)
    for name, config in {**SETTINGS, "expensive morphology": EXPENSIVE[shape]}.items():
        state.segmentation = config
        state.threshold = float(values[-1])
        times, drawn, regions = drag(state, values)
        # Hulls of a large image take scikit-image minutes; it is let off them.
        large = residual.size > 1_000_000
        reference = config.replace(convex_hull=config.convex_hull and not large)
        tries = values[:1] if reference.convex_hull else values[:5]
        references = [milliseconds(partial(plain, residual, value, reference)) for value in tries]
        mask = plain(residual, values[0], SETTINGS["hull off"])
        layer = viewer.add_labels(mask.copy())
        showing = [milliseconds(partial(setattr, layer, "data", mask)) for _ in range(5)]
        viewer.layers.remove(layer)
        QApplication.processEvents()
        prepared = ThresholdIndex(prepare(residual, config))
        finding = [
            milliseconds(partial(segment_prepared, prepared, float(value), config))
            for value in values
        ]
        step, alone = float(np.percentile(times, 50)), float(np.percentile(finding, 50))
        results.append({
            "size": f"{shape[1]}x{shape[0]}",
            "setting": name,
            "regions": int(np.median(regions)),
            "regions_alone_ms": round(alone, 2),
            "p50_ms": round(step, 2),
            "p95_ms": round(float(np.percentile(times, 95)), 2),
            "p95_with_drawing_ms": round(float(np.percentile(drawn, 95)), 2),
            "scikit_image_ms": round(min(references), 1),
            "scikit_image_shown_ms": round(min(references) + min(showing), 1),
            "times_faster": round(min(references) / alone, 1),
            "times_faster_shown": round((min(references) + min(showing)) / step, 1),
        })  # fmt: skip
        print(results[-1], file=sys.stderr, flush=True)
    usual = next(row["p95_ms"] for row in results if row["setting"] == "hull on")
    for row in results:
        row["p95_of_usual"] = round(row["p95_ms"] / usual, 2)
    viewer.close()
    return results


def measure_training(steps: int) -> dict[str, dict[str, float]]:
    """The same drag without and with a training in the background."""
    panel = open_panel(residual_with_defects(SIZES[0]))
    state, controller = panel.state, panel.controller
    values = np.random.default_rng(1).uniform(*THRESHOLDS, steps)
    results = {}
    state.config = TrainingConfig.preset("quick")
    for name in ("without a training", "with a training"):
        if name == "with a training":
            controller.training.start()
            wait(lambda: len(state.losses) > 3)
        times, drawn, _ = drag(state, values)
        results[name] = {
            "p50_ms": round(float(np.percentile(times, 50)), 2),
            "p95_ms": round(float(np.percentile(times, 95)), 2),
            "p95_with_drawing_ms": round(float(np.percentile(drawn, 95)), 2),
        }
        print(name, results[name], file=sys.stderr, flush=True)
    controller.stop()
    wait(lambda: not state.busy)
    controller.viewer.close()
    return results


def measure_hulls() -> dict[str, Any]:
    mask = residual_with_defects((700, 1024)) > 0.4
    runs = Runs.from_mask(mask)
    region, count = runs.regions(8)
    ours = min(milliseconds(lambda: runs.hulls(region)) for _ in range(20))
    return {
        "regions": count,
        "hulls_ms": round(ours, 2),
        "mask_to_hulls_ms": round(min(milliseconds(lambda: from_mask(mask)) for _ in range(20)), 2),
        "scikit_image_ms": round(milliseconds(lambda: morphology.convex_hull_object(mask)), 1),
    }


def from_mask(mask: npt.NDArray[np.bool_]) -> Runs:
    runs = Runs.from_mask(mask)
    return runs.hulls(runs.regions(8)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="1024x700 only")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    hulls = measure_hulls()
    print(hulls, file=sys.stderr, flush=True)
    sizes = SIZES[:1] if options.quick else SIZES
    with contextlib.redirect_stdout(sys.stderr):  # napari prints its notifications
        steps = [row for shape in sizes for row in measure_size(shape, options.steps)]
        beside = measure_training(options.steps)
    result = {
        "napari": napari.__version__, "hulls": hulls, "steps": steps, "1024x700 beside": beside
    }  # fmt: skip
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for row in steps:
            print(", ".join(f"{name} {value}" for name, value in row.items()))
        for name, row in beside.items():
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
