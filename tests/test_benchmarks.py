"""The reproduction of the paper trains each system once and goes on where it stopped."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_ssim_defects.io import alexnet_weights

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "paper.py"


@pytest.fixture
def dataset(material: Callable[..., Any], tmp_path: Path) -> Path:
    for name in ("train_good", "test", "mask"):
        (tmp_path / "weave" / name).mkdir(parents=True)
    root = tmp_path / "weave"
    Image.fromarray(material(1, (80, 80))).save(root / "train_good" / "1.png")
    Image.fromarray(material(2, (80, 80), spoilt=True)).save(root / "test" / "2.png")
    mask = np.zeros((80, 80), np.uint8)
    mask[20:40, 30:50] = 255
    Image.fromarray(mask).save(root / "mask" / "2.png")
    return root


def test_systems_and_sweeps_are_trained_once_and_fmae_never_without_weights(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def unreachable(url: str, timeout: float) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(alexnet_weights, "urlopen", unreachable)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    command = [
        "paper.py", str(dataset), "--preset", "quick", "--epochs", "1", "--patches", "16",
        "--out", str(tmp_path / "out"), "--systems", "ssim", "l2", "fmae", "--sweep", "patch",
    ]  # fmt: skip

    def run(*more: str) -> str:
        monkeypatch.setattr(sys, "argv", [*command, *more])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        assert not ended.value.code
        return str(capsys.readouterr().out)

    first = json.loads(run("--json"))
    assert [row["system"] for row in first["runs"]] == [
        "ssim",
        "l2",
        "fmae",
        "ssim",
        "ssim",
        "ssim",
    ]
    assert "could not be fetched" in first["runs"][2]["not_run"]
    assert first["runs"][3]["change"] == {"patch_size": 32}
    assert "128 x 128" in first["runs"][5]["not_run"]
    # The sweep's 64 px is the preset itself, and 128 px do not fit the images.
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "weave").iterdir()}
    assert len(files) == 2 * 3
    assert "| l2 |" in run()
    assert files == {
        path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "weave").iterdir()
    }


def test_the_benchmark_of_training_compares_and_names_its_limits(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for package in ("pytorch_msssim", "kornia", "torchmetrics"):
        pytest.importorskip(package)
    command = ["training.py", "--quick", "--rounds", "1", "--json"]
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(str(SCRIPT.with_name("training.py")), run_name="__main__")
    result = json.loads(capsys.readouterr().out)
    assert result["training"]["times_straightforward"] > 0
    assert result["training"]["limit_patches_per_second"] > 0
    for window in ("gaussian", "uniform"):
        assert result["ssim_loss"][window]["gradient_error"] < 1e-4
        assert result["ssim_loss"][window]["times_fastest_other"] > 0
    assert result["reconstruction"]["seconds"] > 0


def test_the_benchmark_of_collapse_counts_for_each_material(
    material: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Image.fromarray(material(1, (200, 200))).save(tmp_path / "good.png")
    command = ["collapse.py", str(tmp_path), "--seeds", "1", "--minutes", "0.002", "--json"]
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(str(SCRIPT.with_name("collapse.py")), run_name="__main__")
    (result,) = json.loads(capsys.readouterr().out)["materials"]
    assert result["material"] == tmp_path.name
    assert result["collapsed"] in (0, 1)
    assert result["runs"][0]["steps"] > 0
