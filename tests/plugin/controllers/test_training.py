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
    controller.training.start()
    qtbot.waitUntil(lambda: len(state.losses) > 1, timeout=90_000)  # torch is imported first
    return controller


def test_stop_keeps_the_model(endless, state, wait_idle):
    endless.stop()
    assert state.stopping
    wait_idle()
    assert not state.stopping
    assert state.model is not None
    assert state.status.startswith("Ended early, not saved yet.")


def test_stop_says_that_it_measures_and_a_second_one_discards(
    endless, state, model, qtbot, wait_idle
):
    state.model = model
    said = []

    def discard(discardable):
        if discardable:
            said.append(state.status)
            endless.stop()

    state.events.discardable.connect(discard)
    endless.stop()
    endless.stop()  # a double click
    wait_idle()
    assert "for its thresholds" in said[0]
    assert "Discard" in said[0]
    assert state.model is model
    assert state.status.startswith("Discarded")
    assert state.resumable  # the training itself is not lost
    state.events.discardable.disconnect(discard)
    endless.training.resume()
    qtbot.waitUntil(lambda: bool(state.losses), timeout=30_000)
    endless.stop()
    wait_idle()
    assert state.model is not model


def test_stop_before_the_first_message_is_heard(controller, state, viewer, images, wait_idle):
    state.config = state.config.replace(epochs=ENDLESS)
    state.training_layers = (viewer.add_image(images.texture(1)),)
    controller.training.start()
    controller.stop()
    wait_idle()
    assert state.model is not None


def test_pause_holds_the_training_and_resume_goes_on(endless, state, qtbot, wait_idle):
    endless.training.set_paused(True)
    assert state.pausing
    qtbot.wait(600)  # what was under way may still arrive
    count = len(state.losses)
    qtbot.wait(900)  # a running training reports twice a second
    assert len(state.losses) == count
    endless.training.set_paused(False)
    qtbot.waitUntil(lambda: len(state.losses) > count, timeout=10_000)
    endless.stop()
    wait_idle()


def test_stop_while_pausing_ends_the_training(endless, state, wait_idle):
    endless.training.set_paused(True)
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
    endless.training.start()
    assert state.activity == "training"
    endless.stop()
    wait_idle()


def test_a_failed_training_keeps_the_model_before_it(
    controller, state, viewer, images, model, wait_idle
):
    state.model = model
    state.training_layers = (viewer.add_image(images.texture(1, (8, 8))),)
    controller.training.start()
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
    controller.training.start()
    wait_idle()
    assert "room for a patch" in state.status
    mask[:60, :60] = 1
    region.data = mask
    controller.training.start()
    wait_idle()
    assert state.model is not None


def test_rgb_layers_are_trained_on_as_colour(controller, state, viewer, images, wait_idle):
    rgb = np.stack([images.texture(seed) for seed in (1, 2, 3)], axis=-1)
    state.training_layers = (viewer.add_image(rgb, rgb=True),)
    controller.training.start()
    wait_idle()
    assert state.model.channels == 3


def test_stacks_and_pyramids_are_trained_on(controller, state, viewer, images, wait_idle):
    stack = viewer.add_image(images.texture(1, (3, 64, 64)))
    pyramid = viewer.add_image(
        [images.texture(2, (128, 128)), images.texture(2, (64, 64))], multiscale=True
    )
    state.training_layers = (stack, pyramid)
    controller.training.start()
    wait_idle()
    assert state.model is not None, state.status


@pytest.fixture
def reopened(qtbot):
    """A controller on another viewer, as after napari was closed and opened again."""
    from napari.components import ViewerModel

    from napari_ssim_defects.plugin.controllers.panel_controller import Controller

    made = []

    def reopen():
        controller = Controller(ViewerModel())
        made.append(controller)
        return controller

    yield reopen
    for controller in made:
        controller.close()


@pytest.mark.slow
def test_a_stopped_training_can_be_resumed(endless, state, qtbot, wait_idle):
    endless.stop()
    wait_idle()
    assert state.resumable
    before = state.losses[-1].seconds
    endless.training.resume()
    assert not state.resumable
    qtbot.waitUntil(lambda: bool(state.losses), timeout=30_000)
    assert state.losses[-1].seconds > before
    assert state.progress > 0
    endless.stop()
    wait_idle()
    assert state.model is not None


@pytest.mark.slow
def test_an_interrupted_training_goes_on_in_another_viewer(endless, images, qtbot, reopened):
    config = endless.state.config
    endless.close()
    again = reopened()
    assert again.state.resumable
    layer = again.viewer.add_image(images.texture(1), name="good")
    again.viewer.add_image(images.texture(2), name="another")
    again.training.resume()
    assert again.state.training_layers == (layer,)
    assert again.state.config == config
    qtbot.waitUntil(lambda: len(again.state.losses) > 1, timeout=30_000)
    again.stop()
    qtbot.waitUntil(lambda: not again.state.busy, timeout=30_000)
    assert again.state.model is not None, again.state.status


def test_a_training_that_was_interrupted_while_it_paused_goes_on(endless, images, reopened, qtbot):
    endless.training.set_paused(True)
    endless.close()
    again = reopened()
    again.viewer.add_image(images.texture(1), name="good")
    again.training.resume()
    qtbot.waitUntil(lambda: bool(again.state.losses), timeout=30_000)


def test_layers_that_are_not_there_are_asked_for(endless, reopened):
    endless.close()
    again = reopened()
    again.training.resume()
    assert again.state.status == "Open 'good' first; the training needs it to continue."
    assert again.state.status_is_error
    assert again.state.resumable


def test_another_image_of_the_same_name_is_not_mixed_up(endless, images, reopened, qtbot):
    endless.close()
    again = reopened()
    again.viewer.add_image(images.texture(2), name="good")
    again.training.resume()
    qtbot.waitUntil(lambda: not again.state.busy, timeout=30_000)
    assert "other images" in again.state.status
    assert again.state.resumable


@pytest.mark.slow
def test_a_region_is_found_again(controller, state, viewer, images, qtbot, reopened):
    mask = np.zeros((96, 80), int)
    mask[:60, :60] = 1
    state.config = state.config.replace(epochs=ENDLESS)
    state.training_layers = (viewer.add_image(images.texture(1), name="good"),)
    state.region_layer = viewer.add_labels(mask, name="part")
    controller.training.start()
    qtbot.waitUntil(lambda: len(state.losses) > 1, timeout=30_000)
    controller.close()
    again = reopened()
    again.viewer.add_image(images.texture(1), name="good")
    again.training.resume()
    assert again.state.status.startswith("Open 'part' first")
    region = again.viewer.add_labels(mask, name="part")
    again.training.resume()
    assert again.state.region_layer is region
    qtbot.waitUntil(lambda: bool(again.state.losses), timeout=30_000)


@pytest.mark.slow
def test_a_model_that_was_never_saved_can_be_had_again(
    controller, state, viewer, images, wait_idle, reopened, qtbot
):
    state.training_layers = (viewer.add_image(images.texture(1), name="good"),)
    controller.training.start()
    wait_idle()
    assert not state.resumable  # there is nothing to go on with in this session
    controller.close()
    again = reopened()
    assert again.state.resumable
    again.viewer.add_image(images.texture(1), name="good")
    again.training.resume()
    qtbot.waitUntil(lambda: not again.state.busy, timeout=30_000)
    for name, weights in state.model.network.state_dict().items():
        np.testing.assert_array_equal(weights, again.state.model.network.state_dict()[name])


def test_nothing_is_resumed_once_the_model_is_saved(
    controller, state, viewer, images, wait_idle, reopened, tmp_path
):
    state.training_layers = (viewer.add_image(images.texture(1), name="good"),)
    controller.training.start()
    wait_idle()
    controller.save_model(tmp_path / "model")
    wait_idle()
    assert not reopened().state.resumable


def test_a_training_that_cannot_be_kept_goes_on(
    controller, state, viewer, images, wait_idle, tmp_path
):
    (tmp_path / "data").touch()  # a file in the way of the folder
    state.training_layers = (viewer.add_image(images.texture(1), name="good"),)
    controller.training.start()
    wait_idle()
    assert state.model is not None
    assert not state.resumable


def test_a_damaged_checkpoint_is_one_sentence(controller, state, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "last-training.safetensors").write_bytes(b"nothing")
    controller.training.resume()
    assert state.status_is_error
    assert "not a safetensors file" in state.status
