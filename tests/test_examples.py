"""The examples run, and show what the documentation says that they show."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_figure_2_shows_that_ssim_separates_strokes_from_edges_and_squared_error_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["figure_2.py", str(tmp_path / "figure.png")])
    runpy.run_path(str(ROOT / "examples" / "figure_2.py"))
    ssim, squared = map(float, re.findall(r"AUROC (0\.\d+)", capsys.readouterr().out))
    assert ssim > 0.93
    assert squared < 0.85
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    page = (ROOT / "docs" / "figure-2.md").read_text("utf-8")
    assert f"| 0 (the picture) | {ssim:.3f} | {squared:.3f} |".replace("0.", ".") in page
