"""The pictures of the panel on the page about napari, and those of the tutorial.

xvfb-run -a -s "-screen 0 1600x1100x24" python docs/screenshots.py FOLDER [tutorial]

FOLDER is what `napari-ssim-defects demo` has made. Written to docs/images: the window with the
panel, a drag of the threshold, frame by frame, the table of regions, and the folder section; and
the ten steps of the tutorial, or these only.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("NAPARI_CONFIG", "")
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()  # nothing is remembered from before

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
SMALL = (720, 560)
TUTORIAL = (1040, 720)
TRAINED = 60  # points of the loss curve that a picture shows


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
    image.quantize(256).save(IMAGES / name, optimize=True)


def tutorial() -> None:
    """Take the pictures of the ten steps, from opening the sample to files for Fiji."""
    viewer = napari.Viewer(show=True)
    window = viewer.window._qt_window
    panel = DefectPanel(viewer)
    dock = viewer.window.add_dock_widget(panel, name="SSIM defects")
    state, controller = panel.state, panel.controller
    window.resize(1300, 900)
    window.resizeDocks([dock], [400], Qt.Orientation.Horizontal)
    number = 0

    def step(*names: str) -> None:
        """Show these sections, and take the next picture."""
        nonlocal number
        number += 1
        for name, section in panel._sections.items():
            section.set_expanded(name in names)
        wait(idle)
        picture(viewer, f"tutorial-{number}.png", TUTORIAL)

    def idle() -> bool:
        counted = state.heatmap is None or (state.summary is not None and state.summary.complete)
        if counted and sum(layer.name.endswith(" residual") for layer in viewer.layers) > 1:
            listed = {heatmap: found.regions for heatmap, found in state.overview}
            counted = listed.get(state.heatmap) == state.summary.regions
        flashing = any(getattr(layer, "show_selected_label", False) for layer in viewer.layers)
        return state.activity in ("idle", "training") and counted and not flashing

    def false_region() -> int:
        """Return the place in the gallery of a region that is no defect."""
        for place in range(gallery.pictures.rowCount()):
            layer, (_, label) = gallery.pictures.region(place)
            truth = viewer.layers[layer.name.replace("defective", "truth").removesuffix(" defects")]
            if not truth.data[layer.data == label].any():
                return place
        raise SystemExit("Every region is a defect; mark another one.")

    step("Train", "Detect")
    controller.open_sample()
    wait(lambda: not state.busy)
    viewer.dims.set_point(0, 0)
    viewer.reset_view()
    step("Train")
    controller.training.start()
    wait(lambda: len(state.losses) > TRAINED and state.preview is not None)
    step("Train")
    controller.stop()
    wait(lambda: state.discardable or not state.busy)
    controller.stop()  # discards the model
    wait(lambda: not state.busy)
    controller.open_model("nanofibres.safetensors")
    wait(lambda: not state.busy)
    step("Detect")
    controller.detection.start()
    wait(lambda: not state.busy and idle())
    viewer.reset_view()
    step("Segment")
    state.threshold = 1.5 * state.auto_threshold
    step("Segment")
    controller.proposals.use_automatic()
    controller.labelling.start(all_images=True)
    wait(lambda: not state.busy and len(state.all_regions) > 1)
    gallery = panel.regions.gallery
    gallery.setCurrentIndex(gallery.pictures.index(2))
    step("Regions")
    gallery.setCurrentIndex(gallery.pictures.index(false_region()))
    panel.regions.good_button.click()
    step("Regions")
    image = state.image
    state.truth_layer = viewer.layers[image.name.replace("defective", "truth")]
    controller.evaluation.start()
    wait(lambda: not state.busy and state.evaluation is not None)
    viewer.reset_view()
    step("Evaluate")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        state.export_folder = Path("results")
        state.outputs = state.outputs.replace(format="imagej")
        controller.export.start()
        wait(lambda: not state.busy)
        step("Export")
    viewer.close()


def main() -> None:
    load_torch()
    os.chdir(sys.argv[1])  # so that paths in the pictures are short
    if sys.argv[2:] != ["tutorial"]:
        napari_page()
    tutorial()


def napari_page() -> None:
    """Take the pictures of the page about napari."""
    viewer = napari.Viewer(show=True)
    window = viewer.window._qt_window
    panel = DefectPanel(viewer)
    viewer.window.add_dock_widget(panel, name="SSIM defects")
    state, controller = panel.state, panel.controller
    sample = nanofibres(seed=1, defects=True)
    image = viewer.add_image(sample.image, name="fibres", scale=(0.04, 0.04), units="um")
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
    window.resize(1080, 840)
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
