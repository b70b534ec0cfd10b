"""What every test runs in: no settings of the user, no graphics card, no window left open."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest

# Test networks are tiny, and threads that wait for each other cost more than they gain.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# napari and Qt read these when they are imported, so they are set before any test is.
os.environ.setdefault("NAPARI_CONFIG", "")
if sys.platform == "linux":
    os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
    os.environ.pop("WAYLAND_DISPLAY", None)  # Xvfb is an X server


@pytest.fixture(autouse=True)
def no_window_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test of the interface that leaves a window, and with it its layers, behind."""
    if "qapp" not in request.fixturenames:
        yield
        return
    from qtpy.QtCore import QCoreApplication, QEvent
    from qtpy.QtWidgets import QApplication

    request.getfixturevalue("qapp")
    before = set(QApplication.topLevelWidgets())
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        return  # The failure has its own message, and its traceback keeps widgets alive.
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    left = [widget for widget in QApplication.topLevelWidgets() if widget not in before]
    assert not left, f"left open: {left}"
