"""The examples run, and show what the documentation says that they show."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from napari_ssim_defects.cli import main
from napari_ssim_defects.core.config.presets import PRESETS

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


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/recipes.md"])
def test_recipes_of_the_documentation_run(
    page: str, material: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {"patch_size": 16, "latent_dimension": 8, "patches": 32, "epochs": 1, "stride": 16}
    for name in ("quick", "best"):
        monkeypatch.setitem(PRESETS, name, tiny)
    for file, spoilt in (("good/1", False), ("parts/2", True), ("late/part 7", True)):
        path = tmp_path / f"{file}.png"
        path.parent.mkdir()
        Image.fromarray(material(1, spoilt=spoilt)).save(path)
    (text,) = re.findall("```toml\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    (tmp_path / "recipe.toml").write_text(text, "utf-8")
    assert main(["run", str(tmp_path / "recipe.toml"), "--device", "cpu"]) == 0
    assert (tmp_path / "material.safetensors").exists()
    assert (tmp_path / "results" / "regions.csv").exists()
