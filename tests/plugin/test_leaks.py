"""What is closed is gone, and what is done again and again takes no more memory each time."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import Counter
from pathlib import Path

import pytest
from qtpy.QtCore import QCoreApplication, QEvent, QObject, QThreadPool

from napari_ssim_defects.plugin.controllers.panel_controller import controller_of
from napari_ssim_defects.plugin.views.panel import DefectPanel


@pytest.fixture
def controller(make_napari_viewer, request):
    """On a viewer with a window, unlike that of most tests."""
    return controller_of(make_napari_viewer())


@pytest.fixture
def viewer(controller):
    return controller.viewer


def collect() -> None:
    for _ in range(2):  # what is collected may delete something later, in turn
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QCoreApplication.processEvents()
        gc.collect()


def ours() -> Counter[str]:
    """Objects of this package, and of Qt, by their type."""
    kinds = (type(thing) for thing in gc.get_objects())
    return Counter(
        kind.__qualname__
        for kind in kinds
        if issubclass(kind, QObject) or str(kind.__module__).startswith("napari_ssim_defects")
    )


def listeners(state) -> int:
    return sum(len(state.events[name]) for name in state.events)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_panel_that_is_opened_and_closed_fifty_times_leaves_nothing(viewer, state):
    def open_and_close() -> weakref.ref[DefectPanel]:
        panel = DefectPanel(viewer)
        viewer.window.add_dock_widget(panel, name="SSIM defects")
        viewer.window.remove_dock_widget(panel)
        return weakref.ref(panel)

    for _ in range(3):  # what is made once, and kept
        open_and_close()
    collect()
    objects, signals = ours(), listeners(state)
    panels = [open_and_close() for _ in range(50)]
    collect()
    assert not [panel for panel in panels if panel() is not None]
    assert listeners(state) == signals
    assert dict(ours() - objects) == {}


def test_a_viewer_that_is_closed_takes_the_controller_with_it(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    panel = DefectPanel(viewer)
    viewer.window.add_dock_widget(panel, name="SSIM defects")
    controller = weakref.ref(panel.controller)
    gone = weakref.ref(panel)
    viewer.close()
    del viewer, panel
    qtbot.waitUntil(lambda: collect() or controller() is None, timeout=10_000)
    assert gone() is None


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files where Linux shows them")
def test_two_hundred_detections_in_a_row_take_no_more_memory(
    state, viewer, images, detected, qtbot
):
    layer = viewer.add_image(images.spoilt(6, (48, 40)), name="bad")

    def detect(times: int) -> tuple[int, int, int]:
        for _ in range(times):
            detected(layer)
        qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)
        qtbot.waitUntil(lambda: state.summary is not None and state.summary.complete)
        collect()
        return len(gc.get_objects()), open_files(), listeners(state)

    objects, files, signals = detect(20)
    after = detect(200)
    assert after[0] < objects + 1000  # five for each would be a leak
    assert after[1] < files + 20  # threads come and go, each with a file; one in ten would leak
    assert after[2] == signals
