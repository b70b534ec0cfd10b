"""What the workflows run is what was looked at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WORKFLOWS = sorted((Path(__file__).parents[1] / ".github" / "workflows").glob("*.y*ml"))
# owner/name or owner/name/folder, a whole commit, and the release that it is for whoever reads it.
PINNED = re.compile(r"[\w.-]+(?:/[\w.-]+)+@[0-9a-f]{40} # v\d[\w.]*")


def actions(workflow: Path) -> list[str]:
    """Return whatever stands behind a ``uses``, comment included."""
    return re.findall(r"""\buses["']?\s*:\s*(.*?)\s*$""", workflow.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_actions_are_pinned_to_a_commit(workflow: Path) -> None:
    assert [action for action in actions(workflow) if not PINNED.fullmatch(action)] == []


def test_workflows_use_actions() -> None:
    assert all(actions(workflow) for workflow in WORKFLOWS)
    assert WORKFLOWS


def test_a_release_has_one_version() -> None:
    root = Path(__file__).parents[1]
    version = re.search(r'^version = "(.+)"$', (root / "pyproject.toml").read_text("utf-8"), re.M)
    cited = re.search(r"^version: (.+)$", (root / "CITATION.cff").read_text("utf-8"), re.M)
    assert version is not None
    assert cited is not None
    assert version[1] == cited[1]
