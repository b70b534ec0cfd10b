"""Opening and saving models from the panel."""

from __future__ import annotations

import numpy as np


def test_a_saved_model_is_the_same_when_it_is_opened(
    controller, state, model, images, tmp_path, wait_idle
):
    state.model = model
    controller.save_model(tmp_path / "new folder" / "fibres")
    wait_idle()
    path = tmp_path / "new folder" / "fibres.safetensors"
    assert state.model_path == path
    assert state.model_name == "fibres"
    state.model = None
    controller.open_model(path)
    wait_idle()
    assert state.status == "Opened the model 'fibres.safetensors'."
    image = images.spoilt(4)
    np.testing.assert_allclose(
        state.model.residual(image, device="cpu"), model.residual(image, device="cpu"), atol=1e-5
    )


def test_without_a_model_there_is_nothing_to_save(controller, state, tmp_path):
    controller.save_model(tmp_path / "model")
    assert "There is no model to save" in state.status
    assert not list(tmp_path.iterdir())


def test_a_model_that_did_not_learn_says_so_when_it_is_opened(
    controller, state, model, tmp_path, wait_idle, qtbot
):
    from dataclasses import replace

    from napari_ssim_defects.plugin.views.sections.detect import DetectView

    path = tmp_path / "model.safetensors"
    replace(model, warnings=("The training did not learn the material.",)).save(path)
    view = DetectView(controller)
    qtbot.addWidget(view)
    controller.open_model(path)
    wait_idle()
    assert "⚠ The training did not learn the material." in view.model_label.text()
