"""What is in view, in a viewer with a window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_ssim_defects.plugin.previews.camera import canvas_size

pytestmark = pytest.mark.usefixtures("make_napari_viewer")  # a window


def camera(viewer: Any) -> Any:
    return getattr(viewer, "scene", viewer).camera


def view(viewer: Any) -> tuple[list[float], list[float]]:
    """Return the corners of what is in view."""
    half = np.array(canvas_size(viewer)) / camera(viewer).zoom / 2
    centre = np.array(camera(viewer).center[-2:])
    return (centre - half).tolist(), (centre + half).tolist()


def is_fitted(viewer: Any, layer: Any) -> bool:
    low, high = layer.extent.world
    (top, left), (bottom, right) = view(viewer)
    inside = top <= low[0] and left <= low[1] and bottom >= high[0] and right >= high[1]
    return bool(inside and ((high - low) / (bottom - top, right - left)).max() > 0.9)


def test_a_row_never_zooms_further_out_than_the_whole_image(viewer, controller, commit):
    labels = np.zeros((60, 90), np.int32)
    labels[5:55, 40:60] = 1
    labels[2:4, 2:4] = 2
    layer = commit(labels)
    viewer.reset_view()
    controller.regions.select(0)
    assert is_fitted(viewer, layer)


@pytest.mark.parametrize("place", [(0, 0), (0, 5000), (5000, 0)])
def test_an_image_of_another_size_or_place_is_fitted_when_it_is_its_turn(
    viewer, controller, images, place
):
    large = viewer.add_image(images.texture(1, (600, 900)), name="large")
    small = viewer.add_image(images.texture(2, (60, 90)), name="small", translate=place)
    controller.images.choose(large)
    camera(viewer).center = (0.0, 300.0, 450.0)
    camera(viewer).zoom = 0.5 * min(canvas_size(viewer)) / 600
    controller.images.step(1)
    assert controller.state.image is small
    assert is_fitted(viewer, small)
    controller.images.step(-1)
    assert is_fitted(viewer, large) or place == (0, 0)  # of which a detail is seen


def test_a_detail_that_is_looked_at_stays_from_image_to_image(viewer, controller, images):
    layers = [viewer.add_image(images.texture(n, (600, 900)), name=f"{n}") for n in (1, 2)]
    controller.images.choose(layers[0])
    camera(viewer).center, camera(viewer).zoom = (0.0, 100.0, 200.0), 20.0
    controller.images.step(1)
    assert tuple(camera(viewer).center) == (0.0, 100.0, 200.0)
    assert camera(viewer).zoom == 20.0
