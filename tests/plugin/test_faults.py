"""A person who changes everything while a job is at work, in a real viewer.

Each job is held after its first message, so that what happens next happens in its middle.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.layers import Image, Labels
from qtpy.QtCore import QThreadPool

from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.thresholds import QuantileThreshold
from napari_ssim_defects.plugin import workers
from napari_ssim_defects.plugin.session import controller_of
from napari_ssim_defects.plugin.views.panel import DefectPanel

PHASES = (
    "training", "detecting", "labelling", "exporting", "comparing", "measuring", "evaluating",
    "saving", "opening",
)  # fmt: skip


@pytest.fixture
def viewer(make_napari_viewer):
    """A viewer with a window."""
    return make_napari_viewer()


@pytest.fixture
def controller(viewer):
    return controller_of(viewer)


@pytest.fixture
def panel(viewer, controller):
    controller.state.config = TrainingConfig(
        patch_size=16, latent_dimension=8, patches=64, epochs=2, stride=16
    )
    panel = DefectPanel(viewer)
    viewer.window.add_dock_widget(panel, name="SSIM defects")
    return panel


@pytest.fixture
def hold(monkeypatch):
    """From now on, hold jobs after their first message; call the result to let them go on."""
    held = []

    class Held(workers._Control):
        def __init__(self):
            super().__init__()
            self.gate.clear()
            held.append(self)

    def begin() -> Callable[[], None]:
        monkeypatch.setattr(workers, "_Control", Held)
        return release

    def release() -> None:
        monkeypatch.undo()
        for control in held:
            control.gate.set()

    yield begin
    release()


@pytest.fixture
def starts(controller, state, viewer, images, detected, model, tmp_path, wait_idle):
    """What starts each job, with all that it needs there."""
    good = viewer.add_image(images.texture(5), name="good")
    bad = viewer.add_image(images.spoilt(6), name="bad")
    heatmaps = detected(bad, good)
    state.threshold = float(np.quantile(heatmaps[0].data, 0.95))
    controller.labelling.start()
    wait_idle()
    state.training_layers = (good,)
    state.good_layer = heatmaps[1]
    truth = np.zeros((96, 80), np.int32)
    truth[30:50, 20:40] = 1
    state.truth_layer = viewer.add_labels(truth, name="truth")
    path = tmp_path / "model.safetensors"
    model.save(path)
    return {
        "training": controller.training.start,
        "detecting": controller.detection.start,
        "labelling": controller.labelling.start,
        "exporting": lambda: controller.export.start(tmp_path / "results"),
        "comparing": lambda: controller.export.copy("command", lambda text: None),
        "measuring": lambda: controller.proposals.propose(QuantileThreshold(quantile=0.9)),
        "evaluating": controller.evaluation.start,
        "saving": lambda: controller.save_model(tmp_path / "other.safetensors"),
        "opening": lambda: controller.open_model(path),
    }


@pytest.fixture(params=PHASES)
def held(request, panel, state, starts, hold):
    """In the middle of each job in turn; call it to let the job go on."""
    release = hold()
    starts[request.param]()
    if state.status_is_error:  # nothing that a file alone could repeat: refused at once
        assert request.param == "comparing"
    return release


def no_thread_is_left() -> bool:
    return QThreadPool.globalInstance().activeThreadCount() == 0


def still_works(state, viewer, images, detected) -> None:
    """Whether a new image can be inspected as if nothing had happened."""
    assert "unexpected" not in state.status
    (heatmap,) = detected(viewer.add_image(images.spoilt(9), name="another"))
    assert heatmap.data.shape == (96, 80)
    assert not state.status_is_error


def test_layers_that_are_renamed_reordered_and_shown_in_3d_disturb_no_job(
    held, controller, state, viewer, images, detected, wait_idle
):
    for number, layer in enumerate(viewer.layers):
        layer.name = f"renamed {number}"
    viewer.layers.reverse()
    viewer.dims.ndisplay = 3
    controller.detection.start()  # refused, or after a job that ended at once
    viewer.dims.ndisplay = 2
    held()
    wait_idle()
    still_works(state, viewer, images, detected)


def test_layers_that_get_other_data_disturb_no_job(
    held, state, viewer, images, detected, wait_idle
):
    for layer in list(viewer.layers):
        if isinstance(layer, Image) and layer.data.dtype == np.uint8:
            layer.data = images.texture(1, (50, 130))
        elif isinstance(layer, Image):
            layer.data = np.zeros((40, 130), np.float32)
        elif isinstance(layer, Labels) and layer.name == "truth":
            layer.data = np.zeros((7, 7), np.int32)
    held()
    wait_idle()
    still_works(state, viewer, images, detected)


def test_layers_that_go_disturb_no_job(held, state, viewer, images, detected, wait_idle):
    viewer.layers.clear()
    held()
    wait_idle()
    still_works(state, viewer, images, detected)


def test_a_panel_that_is_closed_disturbs_no_job(
    held, panel, state, viewer, images, detected, wait_idle
):
    viewer.window.remove_dock_widget(panel)
    panel.deleteLater()
    held()
    wait_idle()
    still_works(state, viewer, images, detected)


def test_a_viewer_that_is_closed_ends_every_job(held, state, viewer, qtbot):
    viewer.close()
    held()
    qtbot.waitUntil(lambda: no_thread_is_left() and not state.busy, timeout=10_000)
