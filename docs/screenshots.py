"""The pictures of the panel on the page about napari.

xvfb-run -a -s "-screen 0 1600x1100x24" python docs/screenshots.py FOLDER

FOLDER is what `napari-ssim-defects demo` has made. Written to docs/images: the window with the
panel, a drag of the threshold, frame by frame, the table of regions, and the folder section.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("NAPARI_CONFIG", "")

import napari
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_ssim_defects import DefectModel
from napari_ssim_defects.plugin.jobs.torch_loading import load_torch
from napari_ssim_defects.plugin.views.panel import DefectPanel
from napari_ssim_defects.samples import nanofibres

IMAGES = Path(__file__).resolve().parent / "images"
DRAG = (3.0, 4.0, 5.0, 6.0, 7.0)
SMALL = (720, 480)


def wait(until: Callable[[], bool]) -> None:
    """Let the viewer work until something is true, and then draw."""
    quiet = time.monotonic()
    while time.monotonic() - quiet < 1:
        QApplication.processEvents()
        if not until():
            quiet = time.monotonic()


def picture(viewer: napari.Viewer, name: str, size: tuple[int, int] | None = None) -> None:
    pixels = viewer.screenshot(canvas_only=False, flash=False)
    image = Image.fromarray(pixels).convert("RGB")
    if size is not None:
        image = image.resize(size, Image.Resampling.LANCZOS)
    image.quantize(128).save(IMAGES / name, optimize=True)


def main() -> None:
    viewer = napari.Viewer(show=True)
    window = viewer.window._qt_window
    panel = DefectPanel(viewer)
    viewer.window.add_dock_widget(panel, name="SSIM defects")
    state, controller = panel.state, panel.controller
    sample = nanofibres(seed=1, defects=True)
    image = viewer.add_image(sample.image, name="fibres", scale=(0.04, 0.04), units="um")
    load_torch()
    os.chdir(sys.argv[1])  # so that paths in the pictures are short
    state.model = DefectModel.load("nanofibres.safetensors")
    state.detection_layers = (image,)
    controller.detection.start()

    def complete() -> bool:
        return not state.busy and state.summary is not None and state.summary.complete

    wait(complete)

    def expand(*names: str) -> None:
        for name, section in panel._sections.items():
            section.set_expanded(name in names)

    expand("Segment")
    docks = viewer.window._qt_viewer.dockLayerList, viewer.window._qt_viewer.dockLayerControls
    for dock in docks:
        dock.setVisible(False)
    window.resize(1080, 720)
    state.threshold = DRAG[0]
    wait(complete)
    viewer.reset_view()
    for number, threshold in enumerate(DRAG, start=1):
        state.threshold = threshold
        wait(complete)
        picture(viewer, f"drag-{number}.png", SMALL)

    state.threshold = state.auto_threshold
    controller.labelling.start()
    wait(lambda: not state.busy)
    expand("Regions")
    for dock in docks:
        dock.setVisible(True)
    window.resize(1400, 860)
    wait(lambda: True)
    viewer.reset_view()
    viewer.scene.camera.zoom *= 2.5
    state.heatmap.visible = False
    panel.regions.table.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    rows, centres = panel.regions.model.regions(), state.regions.columns["centroid_row"]
    inside = [place for place, row in enumerate(rows) if 100 < centres[row] < 600]
    panel.regions.table.selectRow(inside[0])
    wait(lambda: True)
    picture(viewer, "regions.png")

    state.labels_layer.visible = False
    state.heatmap.visible = True
    truth = viewer.add_labels(sample.labels, name="truth", scale=image.scale, units=image.units)
    truth.visible = False
    state.truth_layer = truth
    panel.evaluate.evaluate_button.click()
    wait(lambda: not state.busy and state.evaluation is not None)
    expand("Segment", "Evaluate")
    viewer.layers.selection.active = state.heatmap
    viewer.layers["fibres threshold"].visible = True
    window.resize(1500, 1080)
    viewer.reset_view()
    wait(lambda: True)
    picture(viewer, "panel.png")

    batch = panel.batch
    for field, text in ((batch.inputs, "defective"), (batch.results, "inspected")):
        field.setText(text)
        field.editingFinished.emit()
    batch.report.setChecked(True)
    batch.overwrite.setChecked(True)
    expand("Folder")
    batch.start_button.click()
    wait(lambda: not state.busy and bool(batch.summary.text()))
    panel._sections["Folder"].grab().save(str(IMAGES / "folder.png"))
    viewer.close()


if __name__ == "__main__":
    main()
