"""What the panel says of a model, and how it goes on with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from qtpy.QtCore import Qt

from napari_ssim_defects.core.model.verdict import PaintedDefect
from napari_ssim_defects.plugin.views.sections.detect import DetectView


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


class TestModelsOfTheSession:
    @pytest.fixture
    def train(self, controller: Any, state: Any, viewer: Any, images: Any, wait_idle: Any):
        state.training_layers = (viewer.add_image(images.texture(1), name="good"),)

        def train():
            controller.training.start()
            wait_idle()
            return state.model

        return train

    def titles(self, view):
        return [view.models.itemText(place) for place in range(view.models.count())]

    def choose(self, view, place):
        view.models.setCurrentIndex(place)
        view.models.activated.emit(place)

    def test_a_new_training_keeps_the_model_before_which_can_be_chosen_again(
        self, view, train, state
    ):
        first = train()
        assert not view.models.isVisible()
        second = train()
        assert view.models.isVisible()
        assert self.titles(view) == ["model 1, not saved", "model 2, not saved"]
        assert view.models.currentIndex() == 1
        self.choose(view, 0)
        assert state.model is first
        assert state.model_name == "model 1"
        self.choose(view, 1)
        assert state.model is second

    def test_an_opened_model_joins_and_one_that_is_opened_again_is_listed_once(
        self, view, train, controller, state, model, wait_idle, tmp_path
    ):
        first = train()
        path = tmp_path / "fibres.safetensors"
        model.save(path)
        for _ in range(2):
            controller.open_model(path)
            wait_idle()
            assert self.titles(view) == ["model 1, not saved", "fibres"]
            assert state.model_path == path
        self.choose(view, 0)
        assert state.model is first
        assert state.model_path is None

    def test_a_saved_model_is_marked_once_its_regions_are(
        self, view, train, controller, state, wait_idle, tmp_path
    ):
        train()
        train()
        controller.save_model(tmp_path / "best.safetensors")
        wait_idle()
        assert self.titles(view) == ["model 1, not saved", "best"]
        state.model = replace(state.model, warnings=("Changed.",))  # as corrections do
        assert self.titles(view)[1] == "best, changed since it was saved"
        controller.save_model(tmp_path / "best.safetensors")
        wait_idle()
        assert self.titles(view)[1] == "best"

    def test_no_other_model_is_chosen_in_the_middle_of_a_job(self, view, train, state):
        train()
        train()
        state.activity = "detecting"
        assert not view.models.isEnabled()
        state.activity = "idle"
        assert view.models.isEnabled()


def test_while_a_model_is_trained_the_verdict_on_the_last_one_is_not_shown(view, state, model):
    state.model = replace(model, painted=(PaintedDefect(500, model.auto_threshold + 1),))
    state.activity = "training"
    assert not view.verdict.isVisible()
    assert view.model_label.text() == "A model is being trained."
    state.activity = "idle"
    assert view.verdict.isVisible()


def test_the_panel_says_what_a_model_was_trained_on_and_its_tip_what_it_judges_by(
    view, state, model
):
    made = {
        "training images": "'/data/my set/a.tif', 'C:\\data\\b.tif'",
        "created": "2024-05-06T07",
    }
    state.model = replace(model, provenance=made)
    assert (
        view.model_label.text().splitlines()[0]
        == "Not saved yet: trained on 'a.tif', 'b.tif'; 2024-05-06"
    )
    assert "Scored by structure (SSIM); grey, patches of 16 px." in view.model_label.toolTip()
