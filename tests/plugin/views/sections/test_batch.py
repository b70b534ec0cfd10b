"""What the Folder section says before it can start."""

from __future__ import annotations

from typing import Any

import pytest

from napari_ssim_defects.plugin.views.sections.batch import BatchView


@pytest.fixture
def view(controller: Any, qtbot: Any) -> BatchView:
    view = BatchView(controller)
    qtbot.addWidget(view)
    return view


def type_in(qtbot: Any, field: Any, text: str) -> None:
    field.clear()
    qtbot.keyClicks(field, text)
    field.editingFinished.emit()


def test_a_folder_can_be_typed_in(view, state, model, tmp_path, qtbot):
    state.model = model
    type_in(qtbot, view.inputs, str(tmp_path))
    assert state.batch.inputs == (tmp_path,)
    assert state.batch.folder == tmp_path / "results"
    assert view.start_button.isEnabled()


def test_it_is_said_why_it_cannot_start(view, state, model, tmp_path, qtbot):
    assert "no model yet" in view.settings.text()
    state.model = model
    assert "Choose the folder or the files" in view.settings.text()
    type_in(qtbot, view.inputs, str(tmp_path / "nowhere"))
    assert f"There is no '{tmp_path / 'nowhere'}'" in view.settings.text()
    assert not view.start_button.isEnabled()
    type_in(qtbot, view.inputs, "")
    assert state.batch.inputs == ()
