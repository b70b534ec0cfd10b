"""What every test runs in: no settings of the user, no graphics card, no window left open."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Test networks are tiny, and threads that wait for each other cost more than they gain.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# napari and Qt read these when they are imported, so they are set before any test is.
os.environ.setdefault("NAPARI_CONFIG", "")
if sys.platform == "linux":
    os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
    os.environ.pop("WAYLAND_DISPLAY", None)  # Xvfb is an X server


def pytest_xdist_auto_num_workers() -> int:
    """On Linux, run tests side by side: there each process has a display of its own.

    Elsewhere their windows would take the focus from each other. A process takes a gigabyte.
    """
    return min(4, os.cpu_count() or 1) if sys.platform == "linux" else 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what opens a window of napari as slow: that alone takes a second or two."""
    for item in items:
        if "make_napari_viewer" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def one_number_format() -> Iterator[None]:
    """Train in float32 everywhere: the race of formats may end otherwise the next time."""
    from napari_ssim_defects.core.networks import precision

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "step_time", lambda dtype: 1.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def short_trainings() -> Iterator[None]:
    """Learn textures, which are simple here, from a tenth of the points.

    And try models on fewer painted defects: networks that were trained for a second find few.
    """
    from napari_ssim_defects.core.model import trial
    from napari_ssim_defects.core.networks import texture
    from napari_ssim_defects.core.patches import patch_source
    from napari_ssim_defects.core.training import validation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texture, "_SAMPLES", 2000)
        patch.setattr(patch_source, "_FIXED_PATCHES", 16)
        patch.setattr(validation, "_CORRUPTED", 24)
        patch.setattr(trial, "_PATCHES", 16)
        yield


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
    if set(QApplication.topLevelWidgets()) - before:
        gc.collect()  # takes longer than most tests, so only where it may matter
    left = set(QApplication.topLevelWidgets()) - before
    assert not left, f"left open: {left}"
    if "make_napari_viewer" in request.fixturenames and not gc.get_freeze_count():
        # What napari imported stays. Closing a window collects garbage twice, which takes half as
        # long without it.
        gc.collect()
        gc.freeze()


def _material(
    seed: int, shape: tuple[int, ...] = (64, 72), spoilt: bool = False
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth noise whose last two axes are a plane; spoilt: with a white square in each."""
    from scipy import ndimage

    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, (0,) * (len(shape) - 2) + (1.5, 1.5))
    image = np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    if spoilt:
        image[..., 20:40, 30:50] = 255
    return image


def _trained(images: list[np.ndarray[Any, Any]]) -> Any:
    from napari_ssim_defects.core.config import TrainingConfig
    from napari_ssim_defects.core.model.thresholds import FalsePositiveRateThreshold
    from napari_ssim_defects.core.training.messages import TrainingFinished
    from napari_ssim_defects.core.training.train import train

    tiny = TrainingConfig(
        name="tiny", patch_size=16, latent_dimension=8, patches=160, epochs=8, stride=8
    )
    *_, last = train(images, tiny, device="cpu", names=[f"'good {i}'" for i in range(len(images))])
    assert isinstance(last, TrainingFinished)
    # One region in a good image takes a network that has learned more than in a second.
    return replace(last.model, threshold=FalsePositiveRateThreshold())


@pytest.fixture(scope="session")
def material() -> Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]:
    """Maker of images of a texture, for test modules, which cannot import from here."""
    return _material


@pytest.fixture(scope="session")
def grey_model() -> Any:
    """A model of grey images, trained in a second; it tells a white square from texture."""
    return _trained([_material(1), _material(2)])


@pytest.fixture(scope="session")
def rgb_model() -> Any:
    """The same for RGB images."""
    return _trained([np.moveaxis(_material(seed, (3, 64, 72)), 0, -1) for seed in (1, 2)])


@pytest.fixture(scope="session")
def model_path(grey_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the model of grey images; not to be changed."""
    path = tmp_path_factory.mktemp("model") / "grey.safetensors"
    grey_model.save(path)
    return path


@pytest.fixture
def threads() -> Iterator[str]:
    """Address of a scheduler of dask.distributed with two workers, threads of this process."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None,
        protocol="tcp",
    ) as cluster:  # fmt: skip
        yield cluster.scheduler_address
