"""For how long the panel's actions keep the viewer from reacting, in a real viewer.

xvfb-run -a python benchmarks/blocking.py [--large] [--repeats 3] [--json]

A timer beats every few milliseconds. For each action: the longest time between two beats, from the
beginning of the action until what it started in the background has settled, and the longest time
that the viewer's thread computed between two beats, which other programs on the machine do not
prolong; medians over the repetitions. What napari itself takes to add labels and to draw them is
measured in the same way, without the panel: the panel cannot be quicker than that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("NAPARI_CONFIG", "")
os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QApplication
from slider import residual_with_defects

from napari_ssim_defects import TrainingConfig
from napari_ssim_defects.plugin import layers
from napari_ssim_defects.plugin.views.panel import DefectPanel

DESCENDING = Qt.SortOrder.DescendingOrder
BEAT = 2  # milliseconds
QUIET = 0.5  # seconds without anything to do after which an action has settled
TRAINING = TrainingConfig.preset("quick", patches=20_000, minutes=0.1)


class Heartbeat(QObject):
    """Notes the longest pause between two beats of a timer: by the clock, and of computing."""

    def __init__(self) -> None:
        super().__init__()
        self.begin()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(BEAT)

    def begin(self) -> None:
        self.longest = np.zeros(2)
        self._last = self._now()

    def _beat(self) -> None:
        now = self._now()
        self.longest = np.maximum(self.longest, now - self._last)
        self._last = now

    def _now(self) -> np.ndarray:
        return 1000 * np.array([time.perf_counter(), time.thread_time()])


class Studio:
    """A viewer with the panel, an image, and its heatmap with many regions."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.viewer = napari.Viewer(show=True)
        self.heart = Heartbeat()  # a timer needs the application that the viewer makes
        self.viewer.window._qt_window.resize(1400, 900)
        self.panel = DefectPanel(self.viewer)
        self.viewer.window.add_dock_widget(self.panel, name="SSIM defects")
        self.state, self.controller = self.panel.state, self.panel.controller
        self.residual = residual_with_defects(shape)
        pixels = (255 * np.clip(self.residual, 0, 1)).astype(np.uint8)
        self.image = self.viewer.add_image(pixels, name="image")
        self.settle()

    def settle(self, until: Callable[[], bool] = lambda: True) -> None:
        """Let the event loop run until something is true and nothing is left to do."""
        quiet = time.monotonic()
        while time.monotonic() - quiet < QUIET:
            QApplication.processEvents()
            if self.state.busy or not until():
                quiet = time.monotonic()

    def blocked(self, action: Callable[[], Any], until: Callable[[], bool] = lambda: True) -> float:
        """Return the longest pause, in milliseconds, from an action until it has settled."""
        self.settle()
        self.heart.begin()
        action()
        self.settle(until)
        return self.heart.longest

    def complete(self) -> bool:
        return self.state.summary is not None and self.state.summary.complete


def measure(shape: tuple[int, int], repeats: int) -> list[dict[str, Any]]:
    studio = Studio(shape)
    table = studio.panel.regions.table
    state, controller, viewer = studio.state, studio.controller, studio.viewer
    random = np.random.default_rng(0)
    pauses: dict[str, list[np.ndarray]] = {}

    def note(name: str, *arguments: Any) -> None:
        pauses.setdefault(name, []).append(studio.blocked(*arguments))
        print(f"{name}: {np.rint(pauses[name][-1])} ms", file=sys.stderr, flush=True)

    def napari_adds_labels() -> None:
        viewer.add_layer(Labels((studio.residual > 0.4).astype(np.int32)))

    note("nothing", lambda: None)
    note("napari alone: add labels, the first time", napari_adds_labels)
    for _ in range(repeats):
        viewer.layers[-1].visible = False
        note("napari alone: add labels", napari_adds_labels)
    viewer.layers[-1].visible = False
    state.config = TRAINING
    state.training_layers = state.detection_layers = (studio.image,)
    note("train, the first time (imports PyTorch)", controller.training.start)
    for _ in range(repeats):
        note("train", controller.training.start)
        note("detect", controller.detection.start, studio.complete)

    heatmap = layers.new_heatmap(
        studio.residual, layers.source_of(studio.image), (0.0, 1.0), {"detected": "now"}
    )
    viewer.add_layer(heatmap)
    state.segmentation = state.segmentation.replace(opening=4)
    state.threshold = 0.3
    note("choose a heatmap", lambda: setattr(state, "heatmap", heatmap), studio.complete)

    def drag() -> None:
        for value in random.uniform(0.15, 0.45, 30):
            state.threshold = float(value)
            QApplication.processEvents()

    def paint() -> None:
        labels = state.labels_layer
        row, column = (int(size * random.uniform(0.1, 0.9)) for size in shape)
        labels.paint((row, column), int(labels.data.max()) + 1)

    for number in range(repeats):
        note("drag the threshold", drag, studio.complete)
        note(
            "change morphology",
            lambda number=number: setattr(
                state, "segmentation", state.segmentation.replace(opening=5 + number)
            ),
            studio.complete,
        )
        note("create labels", controller.labelling.start)
        note("create labels again", controller.labelling.start)
        regions = state.regions
        note("paint a region", paint, lambda old=regions: state.regions is not old)
        row, column = int(random.integers(len(state.regions))), 1 + number % 3
        note("choose a row", lambda row=row: table.selectRow(row))
        note("sort the table", lambda column=column: table.sortByColumn(column, DESCENDING))
    count = len(state.regions)
    viewer.close()
    return [
        {
            "size": f"{shape[1]}x{shape[0]}",
            "regions": count,
            "action": name,
            "pause_ms": round(float(np.median(values, axis=0)[0])),
            "computing_ms": round(float(np.median(values, axis=0)[1])),
        }
        for name, values in pauses.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="4096x4096 instead of 1024x700")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):  # napari prints its notifications
        rows = measure((4096, 4096) if options.large else (700, 1024), options.repeats)
    if options.json:
        print(json.dumps({"napari": napari.__version__, "actions": rows}, indent=2))
    else:
        for row in rows:
            print(", ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
