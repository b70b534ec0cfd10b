"""A controller on a viewer, and a model that is trained in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from napari_ssim_defects.core.config import TrainingConfig

TINY = TrainingConfig(
    patch_size=16, latent_dimension=8, patches=64, epochs=2, stride=16, name="quick"
)


def texture(
    seed: int, shape: tuple[int, ...] = (96, 80), sigma: float = 1.5
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth noise; the last two axes of the shape are a plane."""
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, (0,) * (len(shape) - 2) + (sigma, sigma))
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def spoilt(seed: int, shape: tuple[int, ...] = (96, 80)) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A texture with a bright square in each plane."""
    image = texture(seed, shape)
    image[..., 30:50, 20:40] = 255
    return image


@pytest.fixture(scope="session")
def images() -> SimpleNamespace:
    """Makers of images, as test modules cannot import from here."""
    return SimpleNamespace(texture=texture, spoilt=spoilt)


@pytest.fixture(scope="session")
def model() -> Any:
    """A grey model; good enough to tell a bright square from texture."""
    from napari_ssim_defects.core.training.messages import TrainingFinished
    from napari_ssim_defects.core.training.train import train

    for message in train([texture(1), texture(2)], TINY, device="cpu"):
        if isinstance(message, TrainingFinished):
            return message.model
    raise AssertionError("the training did not finish")


@pytest.fixture(autouse=True)
def no_preferences_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run on the processor with one thread, and never write to the home folder."""
    from napari_ssim_defects.plugin.controllers import (
        batch,
        detection,
        export,
        panel_controller,
        recipe_files,
        training,
    )
    from napari_ssim_defects.plugin.state import preferences
    from napari_ssim_defects.plugin.views.sections import detect

    fixed = preferences.Preferences("cpu", 1, tmp_path, tmp_path / "data")
    for module in (
        batch, detection, export, panel_controller, recipe_files, training, detect,
    ):  # fmt: skip
        monkeypatch.setattr(module, "preferences", lambda: fixed)


@pytest.fixture
def viewer(request: pytest.FixtureRequest) -> Any:
    """A viewer without a window; one with a window where a test uses make_napari_viewer."""
    from napari.components import ViewerModel

    if "make_napari_viewer" in request.fixturenames:
        return request.getfixturevalue("make_napari_viewer")()
    return ViewerModel()


@pytest.fixture
def docked(viewer: Any) -> Callable[..., Any]:
    """Put a widget into the window of the viewer, which is shown if asked for."""

    def dock(widget: Any, *, show: bool = False) -> Any:
        viewer.window.add_dock_widget(widget, name="SSIM defects")
        if show:
            viewer.window._qt_window.show()
        return widget

    return dock


@pytest.fixture
def controller(viewer: Any, qtbot: Any) -> Iterator[Any]:
    from napari.components import ViewerModel

    from napari_ssim_defects.plugin.controllers.panel_controller import Controller, controller_of
    from napari_ssim_defects.plugin.state.panel_state import PanelState

    if type(viewer) is not ViewerModel:
        yield controller_of(viewer)  # which ends with the window
        return
    controller = Controller(viewer, PanelState(config=TINY))
    yield controller
    controller.close()


@pytest.fixture
def state(controller: Any) -> Any:
    return controller.state


@pytest.fixture
def wait_idle(state: Any, qtbot: Any) -> Callable[[], None]:
    """Wait until the background job is done."""

    def wait() -> None:
        qtbot.waitUntil(lambda: not state.busy, timeout=30_000)

    return wait


@pytest.fixture
def detected(controller: Any, viewer: Any, model: Any, wait_idle: Callable[[], None]) -> Callable:
    """Inspect images with the tiny model; returns their heatmap layers."""

    def detect(*layers: Any) -> list[Any]:
        controller.state.model = model
        controller.state.detection_layers = layers
        controller.detection.start()
        wait_idle()
        origins = {
            layer.metadata["napari-ssim-defects"]["source_id"]: layer
            for layer in viewer.layers
            if layer.metadata.get("napari-ssim-defects", {}).get("kind") == "residual"
        }
        keys = [str(layer.unique_id) for layer in layers]
        return [origins[key] for key in keys if key in origins]

    return detect


@pytest.fixture
def commit(viewer: Any, controller: Any) -> Callable[..., Any]:
    """Add a layer of regions as Create labels does, on an image of its own; 2 is to be reviewed."""
    from napari_ssim_defects.core.segmentation.regions import measure_planes
    from napari_ssim_defects.plugin import layers
    from napari_ssim_defects.plugin.layers.region_features import RegionsMeasured
    from napari_ssim_defects.plugin.layers.spatial import pixel_size

    def add(labels: np.ndarray, name: str = "image", **place: Any) -> Any:
        residual = np.random.default_rng(0).random(labels.shape, dtype=np.float32)
        image = viewer.add_image((255 * residual).astype(np.uint8), name=name, **place)
        heatmap = layers.new_heatmap(
            residual, layers.source_of(image), (0.0, 1.0), {"model": "fibres"}
        )
        regions = [
            (plane, region)
            for plane, found in measure_planes(labels, residual, {2})
            for region in found
        ]
        measured = RegionsMeasured.from_regions(labels, regions, pixel_size(heatmap))
        layer = layers.new_labels(labels, measured, heatmap, {"threshold": 0.5})
        viewer.add_layer(layer)
        return layer

    return add
