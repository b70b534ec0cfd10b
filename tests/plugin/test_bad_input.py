"""Input that cannot be used: one clear sentence, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def train_on(controller, state, viewer, wait_idle):
    def train(*arrays, **kwargs):
        layers = [
            viewer.add_image(array, name=f"image {number}", **kwargs)
            for number, array in enumerate(arrays, start=1)
        ]
        state.training_layers = tuple(layers)
        controller.training.start()
        wait_idle()
        assert state.status_is_error
        return state.status

    return train


def holed(image):
    image = image.astype(np.float32)
    image[10, 10] = np.nan
    return image


def test_no_training_layer(controller, state):
    controller.training.start()
    assert state.status == "Choose at least one image layer without defects to train on."
    assert state.activity == "idle"


def test_images_smaller_than_a_patch(train_on, images):
    assert (
        "no training image has room for a patch of 16 x 16"
        in train_on(images.texture(1, (12, 40))).lower()
    )


def test_nan_pixels(train_on, images):
    assert "'image 1' has NaN or infinite pixels" in train_on(holed(images.texture(1)))


def test_constant_images(train_on):
    assert "constant" in train_on(np.full((64, 64), 3, np.uint8))


def test_mixed_channels(controller, state, viewer, images, wait_idle):
    grey = viewer.add_image(images.texture(1), name="grey")
    rgb = viewer.add_image(np.stack([images.texture(1)] * 3, -1), rgb=True, name="colour")
    state.training_layers = (grey, rgb)
    controller.training.start()
    wait_idle()
    assert "must have the same channels" in state.status
    assert "'colour' has 3" in state.status


def test_types_that_are_no_intensity(train_on, images):
    assert "'image 1' has dtype bool" in train_on(images.texture(1) > 128)


def test_colour_that_was_opened_as_a_stack(train_on, images):
    colour = np.stack([images.texture(1)] * 3, axis=-1)
    assert "open it as an RGB image" in train_on(colour, rgb=False)


def test_a_region_beside_the_image(controller, state, viewer, images):
    image = viewer.add_image(images.texture(1), name="image")
    state.region_layer = viewer.add_labels(
        np.ones((10, 10), int), translate=(500, 500), name="elsewhere"
    )
    state.training_layers = (image,)
    controller.training.start()
    assert "No pixel of 'image' lies inside 'elsewhere'" in state.status


def test_detection_without_model_or_layer(controller, state, model):
    controller.detection.start()
    assert "There is no model yet" in state.status
    state.model = model
    controller.detection.start()
    assert "Choose at least one image layer to inspect" in state.status


def test_colour_for_a_grey_model_does_not_stop_the_other_images(state, viewer, images, detected):
    rgb = viewer.add_image(np.stack([images.texture(1)] * 3, -1), rgb=True, name="colour")
    grey = viewer.add_image(images.texture(2), name="grey")
    heatmaps = detected(rgb, grey)
    assert [layer.name for layer in heatmaps] == ["grey residual"]
    assert state.status_is_error
    assert "trained on grey images, but 'colour' is RGB" in state.status


def test_nan_in_an_image_to_inspect(state, viewer, images, detected):
    bad = viewer.add_image(holed(images.texture(1)), name="holed")
    assert detected(bad) == []
    assert "'holed' has NaN" in state.status


def test_a_file_that_is_no_model(controller, state, tmp_path, model, wait_idle):
    state.model = model
    path = tmp_path / "notes.safetensors"
    path.write_text("shopping list")
    controller.open_model(path)
    wait_idle()
    assert state.status_is_error
    assert "notes.safetensors" in state.status
    assert state.model is model


def test_a_model_cannot_be_saved_where_a_file_is_in_the_way(
    controller, state, tmp_path, model, wait_idle
):
    (tmp_path / "file").write_text("")
    state.model = model
    controller.save_model(tmp_path / "file" / "model.safetensors")
    wait_idle()
    assert state.status_is_error
    assert "Cannot write" in state.status or "folder" in state.status
    assert state.model is model
    assert state.model_path is None


def test_an_export_folder_that_cannot_be_made(
    controller, state, viewer, images, detected, tmp_path, wait_idle
):
    detected(viewer.add_image(images.texture(1)))
    (tmp_path / "file").write_text("")
    state.export_folder = tmp_path / "file"
    controller.export.start()
    wait_idle()
    assert state.status_is_error
    assert "file" in state.status


def test_an_unexpected_failure_is_told_and_leaves_the_panel_usable(
    state, viewer, images, monkeypatch, detected
):
    from napari_ssim_defects.core.model.defect_model import DefectModel

    def broken(*_, **__):
        raise ZeroDivisionError("boom")
        yield

    layer = viewer.add_image(images.texture(1))
    with monkeypatch.context() as patch:
        patch.setattr(DefectModel, "detect", broken)
        assert detected(layer) == []
    assert "ZeroDivisionError: boom" in state.status
    assert len(detected(layer)) == 1
