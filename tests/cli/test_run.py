"""`run RECIPE` does the whole job: what train and detect do, from where it was interrupted."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_ssim_defects.cli import main
from napari_ssim_defects.cli import train as train_command
from napari_ssim_defects.core.config import settings
from napari_ssim_defects.core.config.presets import PRESETS, SSIM_ONLY
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.training import train as training
from napari_ssim_defects.io.artifacts.checkpoint_file import checkpoint_path
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.io.writers.ome_tiff import write_ome_tiff

pytestmark = pytest.mark.slow

Capture = pytest.CaptureFixture[str]

RECIPE = """\
schema = "napari-ssim-defects recipe"
version = 1
model = "models/material.safetensors"

[training]
images = ["good"]
device = "cpu"

[training.config]
system = "l2"
epochs = 2

[detection]
images = ["parts/*.png"]
folder = "results"
threshold = "fpr:0.05"
outputs = {kinds = ["residual", "labels", "mask", "table"]}
segmentation = {opening = 2}
device = "cpu"
"""


@pytest.fixture(autouse=True)
def _tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {"patch_size": 16, "latent_dimension": 8, "patches": 32, "stride": 16}
    monkeypatch.setitem(PRESETS, "quick", {**tiny, "minutes": 2.0})
    # Systems other than ssim take the preset's few patches, too.
    monkeypatch.setattr(settings, "SSIM_ONLY", tuple(set(SSIM_ONLY) - {"patches"}))
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "_REPORT_SECONDS", 0.0)


@pytest.fixture
def recipe(material: Callable[..., Any], tmp_path: Path) -> Path:
    """A recipe with its images, in a folder of its own."""
    path = tmp_path / "a job" / "recipe.toml"
    for name, seed in (("good/1", 1), ("good/2", 2), ("parts/3", 3), ("parts/4", 4)):
        file = path.parent / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(material(seed, spoilt=name.startswith("parts"))).save(file)
    path.write_text(RECIPE, "utf-8")
    return path


def _run(capsys: Capture, recipe: Path, *options: str, status: int = 0) -> Any:
    """Run a recipe, and return what it prints with ``--json``."""
    capsys.readouterr()
    assert main(["run", str(recipe), *options, "--json"]) == status
    out, _ = capsys.readouterr()
    return json.loads(out) if out else None


def _refusal(capsys: Capture, recipe: Path, *options: str) -> str:
    assert _run(capsys, recipe, *options, status=2) is None
    main(["run", str(recipe), *options])
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def _edit(recipe: Path, old: str, new: str) -> None:
    text = recipe.read_text("utf-8")
    assert old in text
    recipe.write_text(text.replace(old, new), "utf-8")


def _same_results(first: Path, second: Path) -> None:
    names = sorted(path.name for path in first.glob("[!.]*"))
    assert names == sorted(path.name for path in second.glob("[!.]*"))
    assert _regions(first) == _regions(second)
    for name in names:
        if name.endswith(".tif"):  # which hold the time
            np.testing.assert_array_equal(
                read_image(first / name).data, read_image(second / name).data
            )


def _regions(folder: Path) -> list[dict[str, str]]:
    """Read the table, without the model's name and time."""
    with (folder / "regions.csv").open(newline="", encoding="utf-8") as table:
        return [
            {name: value for name, value in row.items() if not name.startswith("model")}
            for row in csv.DictReader(table)
        ]


def _weights(path: Path) -> dict[str, Any]:
    return {name: v.numpy() for name, v in DefectModel.load(path).network.state_dict().items()}


def test_a_recipe_gives_the_files_of_train_and_detect(
    recipe: Path, tmp_path: Path, capsys: Capture
) -> None:
    result = _run(capsys, recipe)
    assert result["training"]["stopped"] is False
    assert result["training"]["earlier"] is False
    assert [Path(file["image"]).name for file in result["detection"]["images"]] == [
        "3.png",
        "4.png",
    ]
    folder, other = recipe.parent, tmp_path / "m.safetensors"
    arguments = ["train", str(folder / "good"), "-o", str(other), "--device", "cpu"]
    assert main([*arguments, "--system", "l2", "--epochs", "2"]) == 0
    arguments = ["detect", str(other), str(folder / "parts"), "-o", str(tmp_path / "out")]
    arguments += ["--threshold", "fpr:0.05", "--opening", "2", "--device", "cpu"]
    assert main([*arguments, "--save", "residual,labels,mask,table"]) == 0
    _same_results(folder / "results", tmp_path / "out")
    mine, its = _weights(folder / "models" / "material.safetensors"), _weights(other)
    for name, weights in its.items():
        np.testing.assert_array_equal(mine[name], weights)


def test_what_is_done_is_not_done_again(recipe: Path, capsys: Capture) -> None:
    assert main(["run", str(recipe)]) == 0
    assert "Wrote residual, labels, mask, table of 2 images" in capsys.readouterr().out
    model = recipe.parent / "models" / "material.safetensors"
    before = model.read_bytes()
    result = _run(capsys, recipe)
    assert result["training"]["earlier"] is True
    assert [file["earlier"] for file in result["detection"]["images"]] == [True, True]
    moved = recipe.parent.rename(recipe.parent.with_name("elsewhere")) / recipe.name
    assert _run(capsys, moved)["training"]["earlier"] is True
    assert main(["run", str(moved)]) == 0
    assert "had been trained earlier; --overwrite trains it again" in capsys.readouterr().out
    result = _run(capsys, moved, "--overwrite")
    assert result["training"]["earlier"] is False
    assert [file["earlier"] for file in result["detection"]["images"]] == [False, False]
    model = moved.parent / "models" / "material.safetensors"
    assert model.read_bytes() != before  # it holds when it was made
    assert not checkpoint_path(model).exists()


def test_the_model_of_another_recipe_is_not_replaced(
    recipe: Path, material: Callable[..., Any], capsys: Capture
) -> None:
    _run(capsys, recipe)
    model = recipe.parent / "models" / "material.safetensors"
    before = model.read_bytes()
    _edit(recipe, "epochs = 2", "epochs = 3")
    assert "name another model in the recipe, or train this one again" in _refusal(capsys, recipe)
    _edit(recipe, "epochs = 3", "epochs = 2")
    Image.fromarray(material(9)).save(recipe.parent / "good" / "1.png")
    assert "was trained on other images" in _refusal(capsys, recipe)
    assert model.read_bytes() == before
    assert _run(capsys, recipe, "--overwrite")["training"]["earlier"] is False
    # How a threshold follows from good images needs no training.
    _edit(recipe, 'device = "cpu"\n\n[', "auto_threshold = 0.25\n\n[")
    result = _run(capsys, recipe)
    assert result["training"]["earlier"] is True
    assert DefectModel.load(model).auto_threshold == 0.25


class _Interrupted(train_command.Bar):
    """A bar during which somebody presses Ctrl-C."""

    def show(self, fraction: float, text: str, remaining: float | None = None) -> None:
        super().show(fraction, text, remaining)
        if "loss" in text and "networks" in text:
            signal.raise_signal(signal.SIGINT)


def test_a_training_that_was_stopped_goes_on(
    recipe: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = recipe.with_name("whole.toml")
    whole.write_text(recipe.read_text("utf-8").replace("models/", "whole/"), "utf-8")
    _run(capsys, whole)
    with monkeypatch.context() as patch:
        patch.setattr(train_command, "Bar", _Interrupted)
        result = _run(capsys, recipe, status=1)
    assert result["training"]["stopped"] is True
    assert result["detection"] is None
    model = recipe.parent / "models" / "material.safetensors"
    assert checkpoint_path(model).exists()
    assert main(["run", str(recipe)]) == 0
    assert "Continuing a training that was" in capsys.readouterr().err
    assert not checkpoint_path(model).exists()
    mine = _weights(model)
    for name, weights in _weights(recipe.parent / "whole" / "material.safetensors").items():
        np.testing.assert_array_equal(mine[name], weights)


def test_either_part_may_be_absent(recipe: Path, capsys: Capture) -> None:
    text = recipe.read_text("utf-8")
    training_only, detection_only = recipe.with_name("t.toml"), recipe.with_name("d.toml")
    head, rest = text.split("[training]\n")
    middle, end = rest.split("[detection]\n")
    training_only.write_text(f"{head}[training]\n{middle}", "utf-8")
    detection_only.write_text(f"{head}[detection]\n{end}", "utf-8")
    assert "material.safetensors" in _refusal(capsys, detection_only)  # it is not there yet
    assert _run(capsys, training_only)["detection"] is None
    assert not (recipe.parent / "results" / "regions.csv").exists()
    assert _run(capsys, detection_only)["training"] is None
    assert (recipe.parent / "results" / "regions.csv").exists()


def test_images_that_are_not_there_are_said_before_the_training(
    recipe: Path, capsys: Capture
) -> None:
    _edit(recipe, "parts/*.png", "parts/*.bmp")
    assert "No image matches" in _refusal(capsys, recipe)
    assert not (recipe.parent / "models").exists()


def test_an_image_that_cannot_be_used_is_reported(recipe: Path, capsys: Capture) -> None:
    (recipe.parent / "parts" / "5.png").write_text("no picture")
    result = _run(capsys, recipe, status=2)
    assert len(result["detection"]["images"]) == 2
    assert len(result["detection"]["failed"]) == 1


def test_masks_limit_what_is_learned(recipe: Path, capsys: Capture) -> None:
    """Also of stacks, and by exactly the pixels that Python's masks do."""
    folder = recipe.parent
    masks = folder / "masks"
    masks.mkdir()
    mask = np.zeros((64, 72), bool)
    mask[:, :40] = True
    stack = np.stack([np.asarray(Image.open(folder / "good" / "1.png"))] * 2)
    write_ome_tiff(folder / "good" / "3.ome.tif", stack, axes="TYX")
    for name in ("1", "2"):
        Image.fromarray(mask).save(masks / f"{name}_mask.png")
    write_ome_tiff(masks / "3_mask.ome.tif", np.stack([mask, ~mask]), axes="TYX")
    _edit(recipe, 'images = ["good"]', 'images = ["good"]\nmasks = "masks"')
    _run(capsys, recipe)
    images = [read_image(path).data for path in sorted((folder / "good").iterdir())]
    model = DefectModel.load(folder / "models" / "material.safetensors")
    config = training.TrainingConfig.preset("quick", system="l2", epochs=2)
    both = np.stack([mask, ~mask])
    assert training.trained_by(model, images, config, masks=[mask, mask, both])
    assert not training.trained_by(model, images, config, masks=[mask, mask, both[::-1]])
    (masks / "2_mask.png").unlink()
    assert "There is no mask of" in _refusal(capsys, recipe, "--overwrite")


@pytest.mark.parametrize("said", ["recipe", "option"])
def test_a_cluster_gives_the_same_files(
    said: str, recipe: Path, capsys: Capture, threads: str
) -> None:
    _run(capsys, recipe)
    results = recipe.parent / "results"
    results.rename(recipe.parent / "here")
    options = ["--cluster", threads]
    if said == "recipe":
        _edit(recipe, 'folder = "results"', f'folder = "results"\ncluster = "{threads}"')
        options = []
    result = _run(capsys, recipe, *options)
    assert result["training"]["earlier"] is True
    assert [file["earlier"] for file in result["detection"]["images"]] == [False, False]
    _same_results(recipe.parent / "here", results)


def test_the_device_of_an_option_counts(recipe: Path, capsys: Capture) -> None:
    _edit(recipe, 'device = "cpu"', 'device = "none"')
    assert "none" in _refusal(capsys, recipe)
    assert _run(capsys, recipe, "--device", "cpu")["training"]["stopped"] is False
