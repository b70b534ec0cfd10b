"""A training on the command line survives being killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_ssim_defects.cli import main
from napari_ssim_defects.core.config.presets import PRESETS
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.training import train as training
from napari_ssim_defects.io.artifacts.checkpoint_file import checkpoint_path, read_checkpoint

pytestmark = pytest.mark.slow

TINY = {"patch_size": 16, "latent_dimension": 8, "patches": 32, "stride": 16}
LENGTH = ("--epochs", "6", "--json")
# Ends itself by what nothing can be caught or cleaned up after, once seven steps are on disk.
KILLED = f"""
import os, signal, sys
from napari_ssim_defects.cli import main
from napari_ssim_defects.core.config.presets import PRESETS
from napari_ssim_defects.core.networks import precision
from napari_ssim_defects.core.training import train as training
from napari_ssim_defects.io.artifacts import checkpoint_file

PRESETS["quick"] = {TINY}
training._CHECKPOINT_SECONDS = training._REPORT_SECONDS = 0.0
precision.step_time = lambda dtype: 1.0
written = []
def write(*arguments):
    write_checkpoint(*arguments)
    written.append(arguments)
    if len(written) == 7:
        os.kill(os.getpid(), signal.SIGKILL)
write_checkpoint, checkpoint_file.write_checkpoint = checkpoint_file.write_checkpoint, write
sys.exit(main())
"""

on_posix = pytest.mark.skipif(sys.platform == "win32", reason="nothing there is like kill -9")


@pytest.fixture(autouse=True)
def _tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "quick", TINY)
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "_REPORT_SECONDS", 0.0)


@pytest.fixture(scope="module")
def good(material: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.png"
    Image.fromarray(material(1)).save(path)
    return path


@pytest.fixture(scope="module")
def killed(good: Path) -> Path:
    """Where a model would be had its training not been killed; not to be changed."""
    path = good.with_name("killed.safetensors")
    arguments = ["train", str(good), "-o", str(path), "--device", "cpu", *LENGTH]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()
    return path


@pytest.fixture
def model(killed: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    path = tmp_path / killed.name
    shutil.copy(checkpoint_path(killed), checkpoint_path(path))
    return path


def _train(good: Path, model: Path, *options: str) -> int:
    return main(["train", str(good), "-o", str(model), "--device", "cpu", *options])


@on_posix
def test_a_killed_training_goes_on_where_it_was_and_ends_with_the_same_model(
    good: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_checkpoint(checkpoint_path(model)).loop_state.steps == 7
    assert _train(good, model, *LENGTH, "--resume") == 0
    out, err = capsys.readouterr()
    assert "Continuing a training that was 58% done." in err
    assert json.loads(out)["stopped"] is False
    assert not checkpoint_path(model).exists()
    whole = tmp_path / "whole.safetensors"
    assert _train(good, whole, *LENGTH) == 0
    resumed, other = (DefectModel.load(path).network.state_dict() for path in (model, whole))
    for name, weights in resumed.items():
        np.testing.assert_array_equal(weights, other[name])


@on_posix
def test_a_training_with_other_settings_or_images_is_not_resumed(
    good: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(good, model, *LENGTH, "--seed", "1", "--resume") == 2
    assert "another setting 'seed'" in capsys.readouterr().err.splitlines()[-1]
    other = tmp_path / "other.png"
    Image.fromarray(np.asarray(Image.open(good))[::-1]).save(other)
    assert _train(other, model, *LENGTH, "--resume") == 2
    assert "other images" in capsys.readouterr().err.splitlines()[-1]
    assert checkpoint_path(model).exists()


@on_posix
def test_training_anew_says_that_an_interrupted_training_could_go_on(
    good: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(good, model, "--epochs", "1") == 0
    assert "--resume would continue it" in capsys.readouterr().err
    assert not checkpoint_path(model).exists()


def test_a_training_that_was_killed_while_good_images_were_measured_is_not_lost(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"

    class Killed(BaseException):
        pass

    def die(*arguments: object, **options: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(training, "calibrate_residuals", die)
        with pytest.raises(Killed):
            _train(good, path, *LENGTH)
    capsys.readouterr()
    assert _train(good, path, *LENGTH, "--resume") == 0
    assert json.loads(capsys.readouterr().out)["loss"] > 0
    assert DefectModel.load(path).history
    assert not checkpoint_path(path).exists()


def test_without_an_interrupted_training_resume_starts_one(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(good, tmp_path / "model.safetensors", "--epochs", "1", "--resume") == 0
    assert "There is no interrupted training" in capsys.readouterr().err


def test_a_training_whose_checkpoints_cannot_be_written_goes_on(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.safetensors"
    # In a folder that is not there.
    monkeypatch.setattr(
        "napari_ssim_defects.io.artifacts.checkpoint_file.checkpoint_path",
        lambda model: tmp_path / "no" / "a",
    )
    assert _train(good, model, "--epochs", "2") == 0
    assert capsys.readouterr().err.count("cannot be resumed") == 1
    assert DefectModel.load(model)
