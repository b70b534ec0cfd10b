"""Training in the background."""

from __future__ import annotations

import numpy as np
import pytest

ENDLESS = 1_000_000  # epochs


@pytest.fixture
def endless(controller, viewer, images, qtbot):
    """A training that never ends by itself, past its first steps."""
    state = controller.state
    state.config = state.config.replace(epochs=ENDLESS)
    state.training_layers = (viewer.add_image(images.texture(1), name="good"),)
    controller.train()
    qtbot.waitUntil(lambda: len(state.losses) > 1, timeout=30_000)
    return controller


def test_stop_keeps_the_model(endless, state, wait_idle):
    endless.stop()
    assert state.stopping
    wait_idle()
    assert not state.stopping
    assert state.model is not None
    assert state.status == "Stopped early; the model is trained but not saved yet."


def test_stop_before_the_first_message_is_heard(controller, state, viewer, images, wait_idle):
    state.config = state.config.replace(epochs=ENDLESS)
    state.training_layers = (viewer.add_image(images.texture(1)),)
    controller.train()
    controller.stop()
    wait_idle()
    assert state.model is not None


def test_pause_holds_the_training_and_resume_goes_on(endless, state, qtbot, wait_idle):
    endless.set_paused(True)
    assert state.pausing
    qtbot.wait(600)  # what was under way may still arrive
    count = len(state.losses)
    qtbot.wait(900)  # a running training reports twice a second
    assert len(state.losses) == count
    endless.set_paused(False)
    qtbot.waitUntil(lambda: len(state.losses) > count, timeout=10_000)
    endless.stop()
    wait_idle()


def test_stop_while_pausing_ends_the_training(endless, state, wait_idle):
    endless.set_paused(True)
    endless.stop()
    wait_idle()
    assert state.model is not None


def test_removing_the_training_layer_does_not_disturb_the_training(
    endless, state, viewer, qtbot, wait_idle
):
    viewer.layers.clear()
    assert state.training_layers == ()
    count = len(state.losses)
    qtbot.waitUntil(lambda: len(state.losses) > count, timeout=10_000)
    endless.stop()
    wait_idle()
    assert state.model is not None


def test_a_second_job_cannot_begin(endless, state, viewer, model, wait_idle):
    state.model = model
    state.detection_layers = tuple(viewer.layers)
    endless.detection.start()
    endless.train()
    assert state.activity == "training"
    endless.stop()
    wait_idle()


def test_a_failed_training_keeps_the_model_before_it(
    controller, state, viewer, images, model, wait_idle
):
    state.model = model
    state.training_layers = (viewer.add_image(images.texture(1, (8, 8))),)
    controller.train()
    wait_idle()
    assert state.status_is_error
    assert state.model is model


def test_a_region_limits_the_training(controller, state, viewer, images, wait_idle):
    """Too small a region has no room for a patch; a larger one has."""
    image = viewer.add_image(images.texture(1), name="image")
    mask = np.zeros(image.data.shape, int)
    mask[:12, :12] = 1
    state.region_layer = region = viewer.add_labels(mask)
    state.training_layers = (image,)
    controller.train()
    wait_idle()
    assert "room for a patch" in state.status
    mask[:60, :60] = 1
    region.data = mask
    controller.train()
    wait_idle()
    assert state.model is not None


def test_rgb_layers_are_trained_on_as_colour(controller, state, viewer, images, wait_idle):
    rgb = np.stack([images.texture(seed) for seed in (1, 2, 3)], axis=-1)
    state.training_layers = (viewer.add_image(rgb, rgb=True),)
    controller.train()
    wait_idle()
    assert state.model.channels == 3


def test_stacks_and_pyramids_are_trained_on(controller, state, viewer, images, wait_idle):
    stack = viewer.add_image(images.texture(1, (3, 64, 64)))
    pyramid = viewer.add_image(
        [images.texture(2, (128, 128)), images.texture(2, (64, 64))], multiscale=True
    )
    state.training_layers = (stack, pyramid)
    controller.train()
    wait_idle()
    assert state.model is not None, state.status
