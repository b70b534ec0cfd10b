"""A person who changes everything while a job is at work, in a real viewer.

Each job is held after its first message, so that what happens next happens in its middle.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from napari.layers import Image, Labels
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QLabel

from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.model.thresholds import QuantileThreshold
from napari_ssim_defects.plugin.controllers.panel_controller import controller_of
from napari_ssim_defects.plugin.jobs import workers
from napari_ssim_defects.plugin.jobs.runner import Runner
from napari_ssim_defects.plugin.views.panel import DefectPanel

PHASES = (
    "training", "detecting", "labelling", "exporting", "comparing", "measuring", "evaluating",
    "saving", "opening",
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("make_napari_viewer")  # a window


@pytest.fixture
def panel(viewer, controller):
    controller.state.config = TrainingConfig(
        patch_size=16, latent_dimension=8, patches=64, epochs=2, stride=16
    )
    panel = DefectPanel(viewer)
    viewer.window.add_dock_widget(panel, name="SSIM defects")
    return panel


@pytest.fixture
def hold():
    """From now on, hold jobs after their first message; call the result to let them go on."""
    held = []
    patch = pytest.MonkeyPatch()

    class Held(workers._Control):
        def __init__(self):
            super().__init__()
            self.gate.clear()
            held.append(self)

    def begin() -> Callable[[], None]:
        patch.setattr(workers, "_Control", Held)
        return release

    def release() -> None:
        patch.undo()
        for control in held:
            control.gate.set()

    yield begin
    release()


@pytest.fixture
def prepare(controller, state, viewer, images, detected, model, tmp_path, wait_idle):
    """Put all into an empty viewer that the jobs need; returns what starts each of them."""

    def prepare():
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

    return prepare


@pytest.fixture
def held(state, prepare, hold):
    """Bring a job to its middle; returns what lets it go on."""

    def held(phase):
        starts = prepare()
        release = hold()
        starts[phase]()
        if state.status_is_error:  # nothing that a file alone could repeat: refused at once
            assert phase == "comparing"
        return release

    return held


@pytest.fixture
def middles(panel, viewer, held):
    """The middle of each job in turn, in one viewer; each is what lets the job go on."""

    def middles():
        for phase in PHASES:
            viewer.layers.clear()
            yield held(phase)

    return middles


def no_thread_is_left() -> bool:
    return QThreadPool.globalInstance().activeThreadCount() == 0


def still_works(state, viewer, images, detected) -> None:
    """Whether a new image can be inspected as if nothing had happened."""
    assert "unexpected" not in state.status
    (heatmap,) = detected(viewer.add_image(images.spoilt(9), name="another"))
    assert heatmap.data.shape == (96, 80)
    assert not state.status_is_error


def test_layers_that_are_renamed_reordered_and_shown_in_3d_disturb_no_job(
    middles, controller, state, viewer, images, detected, wait_idle
):
    for held in middles():
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
    middles, state, viewer, images, detected, wait_idle
):
    for held in middles():
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


def test_layers_that_go_disturb_no_job(middles, state, viewer, images, detected, wait_idle):
    for held in middles():
        viewer.layers.clear()
        held()
        wait_idle()
        still_works(state, viewer, images, detected)


def test_a_panel_that_is_closed_disturbs_no_job(
    middles, panel, state, viewer, images, detected, wait_idle
):
    for held in middles():
        viewer.window.remove_dock_widget(panel)
        panel.deleteLater()
        held()
        wait_idle()
        still_works(state, viewer, images, detected)
        panel = DefectPanel(viewer)
        viewer.window.add_dock_widget(panel, name="SSIM defects")


@pytest.mark.parametrize("phase", PHASES)
def test_a_viewer_that_is_closed_ends_every_job(phase, held, panel, state, viewer, qtbot):
    release = held(phase)
    viewer.close()
    release()
    qtbot.waitUntil(lambda: no_thread_is_left() and not state.busy, timeout=10_000)


ERRORS = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("boom\nand its traceback"),
    OSError(errno.EIO, os.strerror(errno.EIO), "/dev/disk"),
    KeyError("missing"),
    AssertionError(),
    SystemExit(3),
    asyncio.CancelledError(),
)


def test_whatever_a_job_raises_is_one_sentence_and_the_next_one_works(
    panel, state, prepare, viewer, images, detected, wait_idle, monkeypatch
):
    real, starts = workers.start, prepare()
    for phase in PHASES:
        refused = ""  # by the job itself, before it fails
        if phase == "comparing":
            starts[phase]()
            wait_idle()
            refused = state.status
        for error, before in itertools.product(ERRORS, (0, 1)):  # messages

            def start(messages, *then, error=error, before=before):
                def failing():
                    steps = messages()
                    for _ in range(before):
                        yield next(steps)
                    raise type(error)(*error.args)

                return real(failing, *then)

            with monkeypatch.context() as patch:
                patch.setattr(workers, "start", start)
                starts[phase]()
            wait_idle()
            assert state.status_is_error, phase
            assert state.status.endswith("."), phase
            assert "\n" not in state.status, phase
            lacking = "memory" in str(error) or isinstance(error, MemoryError)
            if state.status != refused:
                assert ("not enough memory" in state.status) == lacking, phase
            assert not state.pausing, phase
            assert state.progress is None, phase
        state.status = ""
        starts["saving"]()
        wait_idle()
        assert not state.status_is_error, phase
    still_works(state, viewer, images, detected)


def test_what_is_started_twice_runs_once(panel, state, prepare, wait_idle, monkeypatch):
    jobs, real, starts = [], workers.start, prepare()

    def start(messages, on_message, on_end=None):
        if isinstance(getattr(on_end, "__self__", None), Runner):  # not of previews and tables
            jobs.append(messages)
        return real(messages, on_message, on_end)

    monkeypatch.setattr(workers, "start", start)
    for phase in PHASES:
        before = len(jobs)
        for _ in range(3):
            starts[phase]()
        assert len(jobs) == before + 1, phase
        wait_idle()
        assert state.status_is_error == (phase == "comparing"), state.status


def test_a_folder_that_takes_no_files_is_one_sentence(
    panel, controller, state, prepare, tmp_path, qtbot, monkeypatch
):
    prepare()
    folder = tmp_path / "forbidden"
    folder.mkdir()
    code = 0

    def forbid(name):
        real = getattr(Path, name)

        def refuse(path, *args, **options):
            if path.is_relative_to(folder):
                raise OSError(code, os.strerror(code), str(path))
            return real(path, *args, **options)

        monkeypatch.setattr(Path, name, refuse)

    for name in ("touch", "mkdir"):
        forbid(name)

    def export(form):
        state.outputs = state.outputs.replace(format=form)
        controller.export.start(folder)

    writes = (
        lambda: controller.save_model(folder / "model"),
        lambda: controller.regions.save(folder / "table", []),
        lambda: export("ome"),
        lambda: export("imagej"),
        lambda: export("zarr"),
    )
    for each, write in itertools.product([errno.EROFS, errno.EACCES, errno.ENOSPC], writes):
        code = each
        state.status = ""
        write()
        qtbot.waitUntil(lambda: bool(state.status) and not state.busy, timeout=30_000)
        assert state.status_is_error
        assert state.status.startswith(f"Cannot write '{folder}")
        assert state.status.endswith(".")
    assert list(folder.iterdir()) == []


def test_two_panels_in_a_viewer_show_and_do_the_same(
    panel, viewer, state, images, detected, wait_idle
):
    other = DefectPanel(viewer)
    viewer.window.add_dock_widget(other, name="SSIM defects again")
    assert other.controller is panel.controller
    (heatmap,) = detected(viewer.add_image(images.spoilt(6), name="bad"))
    for each in (panel, other):
        assert state.status in {label.text() for label in each.findChildren(QLabel)}
    state.threshold = float(np.quantile(heatmap.data, 0.95))
    viewer.window.remove_dock_widget(panel)
    panel.deleteLater()
    panel.controller.labelling.start()
    wait_idle()
    assert state.status in {label.text() for label in other.findChildren(QLabel)}
    still_works(state, viewer, images, detected)


def test_two_viewers_train_and_detect_at_the_same_time(
    make_napari_viewer, images, model, qtbot, panel, controller
):
    """What each finds is what it finds alone."""
    other = controller_of(make_napari_viewer())
    assert other is not controller
    alone = model.residual(images.spoilt(6), device="cpu")
    bad = other.viewer.add_image(images.spoilt(6), name="bad")
    other.state.model = model
    other.state.detection_layers = (bad,)
    good = controller.viewer.add_image(images.texture(5), name="good")
    controller.state.training_layers = (good,)
    controller.training.start()
    other.detection.start()
    assert (controller.state.activity, other.state.activity) == ("training", "detecting")
    qtbot.waitUntil(lambda: not (controller.state.busy or other.state.busy), timeout=30_000)
    assert controller.state.model is not None
    assert other.state.model is model
    np.testing.assert_array_equal(other.viewer.layers["bad residual"].data, alone)
    assert [layer.name for layer in controller.viewer.layers] == ["good"]
