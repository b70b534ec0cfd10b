"""What the panel says of a model, and how it goes on with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_ssim_defects.core.model.verdict import PaintedDefect
from napari_ssim_defects.plugin.views.sections.detect import DetectView
from napari_ssim_defects.plugin.views.widgets import unsaved


@pytest.fixture
def view(controller: Any, qtbot: Any) -> DetectView:
    view = DetectView(controller)
    qtbot.addWidget(view)
    view.show()
    return view


@pytest.mark.parametrize(("found", "word"), [(9, "Reliable"), (5, "Usable"), (2, "Weak, train on")])
def test_a_model_comes_with_a_verdict(view, state, model, found, word):
    high = model.auto_threshold + 1
    levels = [high if number < found else 0.0 for number in range(10)]
    painted = [*(PaintedDefect(500, level) for level in levels), *[PaintedDefect(30, 0.0)] * 10]
    state.model = replace(model, painted=tuple(painted))
    assert view.verdict.isVisible()
    assert f"<b>{word}</b>" in view.verdict.text()


def test_a_model_that_was_not_tried_has_none(view, state, model):
    state.model = replace(model, painted=())
    assert not view.verdict.isVisible()


def test_train_longer_goes_on_with_the_model_for_as_long_again(
    view, controller, state, viewer, images, wait_idle, qtbot
):
    state.training_layers = (viewer.add_image(images.texture(1), name="good"),)
    controller.training.start()
    wait_idle()
    first = state.model
    assert first.verdict is not None
    assert state.status == f"Trained, not saved yet. {first.verdict.text}"
    qtbot.mouseClick(view.longer_button, Qt.MouseButton.LeftButton)
    wait_idle()
    assert state.model is not first
    assert state.model.config.epochs == 2 * first.config.epochs
    assert state.model.history[-1].step == 2 * first.history[-1].step
    assert state.model.history[0] == first.history[0]


def test_a_model_from_a_file_cannot_be_trained_longer(view, state, model):
    state.model = model
    assert not view.longer_button.isVisible()


class TestUnsavedModels:
    @pytest.fixture
    def train(self, controller: Any, state: Any, viewer: Any, images: Any, model: Any, qtbot: Any):
        from napari_ssim_defects.plugin.views.sections.train import TrainView

        state.model, state.model_path = model, None
        state.training_layers = (viewer.add_image(images.texture(1), name="good"),)
        view = TrainView(controller)
        qtbot.addWidget(view)
        return view

    def answer(self, monkeypatch, text):
        asked = []
        monkeypatch.setattr(unsaved, "ask", lambda _, question: asked.append(question) or text)
        return asked

    def test_a_new_training_asks_before_it_replaces_one(
        self, train, state, model, monkeypatch, wait_idle
    ):
        asked = self.answer(monkeypatch, "cancel")
        train.train_button.click()
        assert not state.busy
        assert state.model is model
        assert "not saved" in asked[0]
        self.answer(monkeypatch, "replace")
        train.train_button.click()
        wait_idle()
        assert state.model is not model

    def test_it_can_be_saved_first(
        self, train, state, model, monkeypatch, qtbot, tmp_path, wait_idle
    ):
        path = tmp_path / "first.safetensors"
        self.answer(monkeypatch, "save")
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
        train.train_button.click()
        qtbot.waitUntil(lambda: state.activity == "training", timeout=30_000)
        assert path.exists()
        wait_idle()
        assert state.model is not model

    def test_a_recipe_asks_too(self, train, controller, state, model, monkeypatch, qtbot):
        from napari_ssim_defects.plugin.views.sections.export import ExportView

        view = ExportView(controller)
        qtbot.addWidget(view)
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("nowhere.toml", ""))
        asked = self.answer(monkeypatch, "cancel")
        view.open_recipe_button.click()
        assert asked
        assert state.model is model
        assert not state.busy

    def test_a_saved_model_is_replaced_without_a_question(
        self, train, state, monkeypatch, tmp_path, wait_idle
    ):
        state.model_path = tmp_path / "saved.safetensors"
        asked = self.answer(monkeypatch, "cancel")
        train.train_button.click()
        wait_idle()
        assert not asked


def test_while_a_model_is_trained_the_verdict_on_the_last_one_is_not_shown(view, state, model):
    state.model = replace(model, painted=(PaintedDefect(500, model.auto_threshold + 1),))
    state.activity = "training"
    assert not view.verdict.isVisible()
    assert view.model_label.text() == "A model is being trained."
    state.activity = "idle"
    assert view.verdict.isVisible()


def test_the_panel_says_what_a_model_judges_by(view, state, model):
    state.model = model
    assert "judged by structure (SSIM)" in view.model_label.text()
