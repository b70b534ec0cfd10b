"""Settings that are remembered from one session to the next."""

from __future__ import annotations

import pytest

from napari_ssim_defects.core.config import OutputConfig, SegmentationConfig, TrainingConfig
from napari_ssim_defects.plugin.state.panel_state import PanelState
from napari_ssim_defects.plugin.state.session import Remembered
from napari_ssim_defects.plugin.state.training_time import expected_minutes


@pytest.fixture
def session(tmp_path):
    """Begins a session; returns its state."""

    def begin():
        state = PanelState()
        begin.last = Remembered(state, tmp_path / "data")
        return state

    return begin


def test_settings_come_back_in_the_next_session(session):
    first = session()
    first.use_preset("best")
    first.use_system("l2")
    first.config = first.config.replace(minutes=7.0)
    first.segmentation = SegmentationConfig(closing=6, review_threshold=0.4)
    first.outputs = OutputConfig(format="imagej")
    first.keep_reconstruction = True
    first.pace = 1.5
    second = session()
    assert second.config == TrainingConfig.preset("best", system="l2").replace(minutes=7.0)
    assert second.segmentation == SegmentationConfig(closing=6)  # a threshold belongs to its model
    assert second.outputs.format == "imagej"
    assert second.keep_reconstruction
    assert second.pace == 1.5


def test_nothing_is_written_until_something_changes(session, tmp_path):
    state = session()
    assert state.config == PanelState().config
    state.segmentation = SegmentationConfig(review_threshold=0.4)
    assert not (tmp_path / "data").exists()


def test_what_was_not_changed_follows_the_defaults_of_a_later_release(session, tmp_path):
    session().segmentation = SegmentationConfig(closing=6)
    text = (tmp_path / "data" / "session.json").read_text("utf-8")
    assert "closing" in text
    assert "opening" not in text


@pytest.mark.parametrize("text", ["", "{", '{"segmentation": {"opening": -3}}', '{"preset": 1}'])
def test_a_damaged_file_is_as_none(session, tmp_path, text):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "session.json").write_text(text, "utf-8")
    assert session().segmentation == SegmentationConfig()


def test_a_preset_of_another_release_is_not_taken(session, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "session.json").write_text('{"preset": "fastest"}', "utf-8")
    assert session().config == PanelState().config


def test_a_limit_shortens_what_a_training_is_expected_to_take():
    quick, best = TrainingConfig.preset("quick"), TrainingConfig.preset("best")
    assert expected_minutes(quick, None) == pytest.approx(3, abs=0.5)
    assert expected_minutes(best, None) == pytest.approx(10, abs=1)
    assert expected_minutes(best, 2.0) == pytest.approx(2 * expected_minutes(best, None))
    assert expected_minutes(best.replace(minutes=1.0), None) < 2
    assert expected_minutes(TrainingConfig.preset("paper"), None) > 600
