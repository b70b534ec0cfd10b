"""What the panel says to somebody who has opened it for the first time."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QLabel

from napari_ssim_defects import samples
from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.plugin.views.panel import DefectPanel

pytestmark = pytest.mark.usefixtures("make_napari_viewer")  # a window


@pytest.fixture
def panel(viewer, docked):
    return docked(DefectPanel(viewer))


def texts(view):
    return [label.text() for label in view.findChildren(QLabel) if label.isVisibleTo(view)]


def test_each_section_says_what_to_do_first(panel):
    said = {
        panel.train: "Open images of good material",
        panel.detect: "No model yet: train one",
        panel.segment: "No heatmap yet: press Detect",
        panel.regions: "No regions yet: press Create labels",
        panel.evaluate: "No heatmap yet: press Detect",
        panel.export: "Nothing to export yet: press Detect",
    }
    for view, start in said.items():
        assert any(text.startswith(start) for text in texts(view)), start


def test_a_link_draws_the_sample_in_a_thread_and_chooses_its_images(
    panel, state, viewer, monkeypatch, wait_idle
):
    monkeypatch.setattr(samples, "GOOD_SEEDS", (0, 1))
    monkeypatch.setattr(samples, "DEFECTIVE_SEEDS", (5,))
    (label,) = [label for label in panel.train.findChildren(QLabel) if "<a " in label.text()]
    label.linkActivated.emit("sample")
    assert (len(viewer.layers), state.status) == (0, "Drawing the sample images …")
    wait_idle()
    assert panel.train.picker.selected() == [viewer.layers["nanofibres good"]]
    assert panel.detect.picker.selected() == [viewer.layers["nanofibres defective 1"]]
    assert [layer.name for layer in viewer.layers if layer.visible] == ["nanofibres good"]
    assert "press Train" in state.status
    assert not label.isVisibleTo(panel.train)


def test_lines_on_what_comes_next_go_once_it_was_done(panel, viewer, images, detected):
    detected(viewer.add_image(images.spoilt(2), name="bad"))
    assert not any("No heatmap yet" in text for text in texts(panel.segment))
    assert any("Draw its defects into a Labels layer" in text for text in texts(panel.evaluate))


def test_presets_say_what_they_are_for_and_how_long_they_take(panel, state):
    state.config = TrainingConfig.preset("quick")
    preset = panel.train.preset
    assert [preset.itemText(row) for row in range(preset.count())] == [
        "Quick, 3 min", "Best quality, 10 min", "As in the paper, 17 h",
    ]  # fmt: skip
    assert panel.train.purpose.text() == (
        "Enough for most materials. About 3 min on two processor cores."
    )
    state.pace = 0.5
    panel.train.preset.chosen.emit("best")
    assert panel.train.purpose.text().endswith("About 5 min on this computer.")
    assert preset.currentText() == "Best quality, 5 min"


@pytest.mark.parametrize("discriminator", [True, False])
def test_a_training_like_those_of_the_presets_tells_how_fast_this_computer_is(
    panel, state, viewer, images, wait_idle, discriminator
):
    state.config = TrainingConfig(
        patch_size=16, latent_dimension=8, patches=64, epochs=2, stride=16, name="quick",
        discriminator=discriminator,
    )  # fmt: skip
    state.training_layers = (viewer.add_image(images.texture(1), name="good"),)
    panel.train.train_button.click()
    wait_idle()
    assert state.model is not None
    assert (state.pace is not None) == discriminator
    assert ("on this computer" in panel.train.purpose.text()) == discriminator
