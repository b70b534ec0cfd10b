"""The command line: what it prints where, its exit status, and one line for each bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from napari_ssim_defects import __version__
from napari_ssim_defects.cli import main
from napari_ssim_defects.cli import train as train_command
from napari_ssim_defects.core.config import TrainingConfig
from napari_ssim_defects.core.config.presets import PRESETS
from napari_ssim_defects.core.images.intensity import IntensityRange
from napari_ssim_defects.core.model.calibration import Calibration
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.core.model.thresholds import parse_threshold
from napari_ssim_defects.core.networks.autoencoder import Autoencoder
from napari_ssim_defects.io.artifacts import pretrained_weights as alexnet_weights
from napari_ssim_defects.io.files.spatial import unit_symbol
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.io.writers.ome_tiff import write_ome_tiff
from napari_ssim_defects.scale import folders

Images = Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]
Capture = pytest.CaptureFixture[str]

PROGRAM = "import sys; from napari_ssim_defects.cli import main; sys.exit(main())"


TINY = {"patch_size": 16, "latent_dimension": 8, "patches": 32, "stride": 16, "epochs": 2}
WITH_TINY_PRESET = (
    "import sys; from napari_ssim_defects.core.config.presets import PRESETS; "
    f"PRESETS['quick'] = {TINY}; from napari_ssim_defects.cli import main; sys.exit(main())"
)


@pytest.fixture(autouse=True)
def _tiny_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "quick", TINY)


@pytest.fixture
def good(material: Images, tmp_path: Path) -> Path:
    """A folder with two good images."""
    folder = tmp_path / "good"
    folder.mkdir()
    for seed in (1, 2):
        Image.fromarray(material(seed)).save(folder / f"good_{seed}.png")
    return folder


@pytest.fixture
def bad(material: Images, tmp_path: Path) -> Path:
    """A folder with two spoilt images; their masks are in ``masks`` beside it."""
    folder, masks = tmp_path / "bad", tmp_path / "masks"
    folder.mkdir()
    masks.mkdir()
    for seed in (3, 4):
        Image.fromarray(material(seed, spoilt=True)).save(folder / f"bad_{seed}.png")
        mask = np.zeros((64, 72), np.uint8)
        mask[20:40, 30:50] = 255
        Image.fromarray(mask).save(masks / f"bad_{seed}.png")
    return folder


def _run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def _refusal(capsys: Capture, *arguments: object) -> str:
    """Run what must be refused, and return the one line on stderr."""
    capsys.readouterr()
    assert _run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert "\r" not in err
    assert err.startswith("napari-ssim-defects: ")
    assert err.endswith(".\n")
    return err


def _result(capsys: Capture, *arguments: object) -> dict[str, Any]:
    """Run what must succeed with ``--json``, and return the one object on stdout."""
    capsys.readouterr()
    assert _run(*arguments, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert isinstance(result, dict)
    return result


# train


def test_train_writes_a_model_and_says_how_it_went(
    good: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "new" / "model.safetensors"
    assert _run("train", good, "-o", path, "--epochs", 2, "--seed", 7, "--device", "cpu") == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"Saved {path}: loss ")
    assert "Training on 2 planes, cpu" in err
    assert "100%" in err
    model = DefectModel.load(path)
    assert out.splitlines()[1:] == [model.verdict.text]
    assert (model.config.name, model.config.epochs, model.config.seed) == ("quick", 2, 7)
    assert model.config.minutes is None
    assert "good_1.png" in model.provenance["training images"]


def test_train_prints_one_json_object(good: Path, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "model.safetensors"
    result = _result(capsys, "train", good, "-o", path, "--epochs", 2, "--device", "cpu")
    assert result["model"] == str(path)
    assert result["stopped"] is False
    assert result["loss"] > 0
    assert result["training_seconds"] > 0
    assert result["auto_threshold"] == DefectModel.load(path).auto_threshold


@pytest.mark.slow
def test_train_takes_minutes_and_systems(good: Path, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "model.safetensors"
    _result(capsys, "train", good, "-o", path, "--minutes", 0.005, "--system", "l2")
    config = DefectModel.load(path).config
    assert (config.minutes, config.system, config.residual.kind) == (0.005, "l2", "squared_error")


@pytest.mark.slow
def test_the_same_seed_trains_the_same_model(good: Path, tmp_path: Path, capsys: Capture) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path in paths:
        _result(capsys, "train", good, "-o", path, "--epochs", 1, "--device", "cpu", "--seed", 3)
    first, second = (DefectModel.load(path) for path in paths)
    assert first.auto_threshold == second.auto_threshold


@pytest.mark.slow
def test_train_takes_files_folders_and_globs_once_each(
    good: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "model.safetensors"
    inputs = (good / "good_1.png", good, good / "*_2.png")
    _result(capsys, "train", *inputs, "-o", path, "--epochs", 1)
    names = DefectModel.load(path).provenance["training images"]
    assert (names.count("good_1.png"), names.count("good_2.png")) == (1, 1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
def test_names_that_are_no_text_do_not_lose_the_training(
    good: Path, tmp_path: Path, capsys: Capture
) -> None:
    (good / "good_1.png").rename(good / os.fsdecode(b"good_\xff.png"))
    path = tmp_path / "model.safetensors"
    _result(capsys, "train", good, "-o", path, "--epochs", 1)
    assert "good_2.png" in DefectModel.load(path).provenance["training images"]


class _Interrupted(train_command.Bar):
    """A bar during which somebody presses Ctrl-C."""

    moment = "show"

    def show(self, fraction: float, text: str, remaining: float | None = None) -> None:
        super().show(fraction, text, remaining)
        if "loss" in text:  # at least one step is done
            self._press("show")

    def say(self, text: str) -> None:
        super().say(text)
        self._press("say")

    def _press(self, moment: str) -> None:
        if moment == type(self).moment:
            type(self).moment = "pressed"
            signal.raise_signal(signal.SIGINT)


def test_interrupt_saves_the_best_model_so_far(
    good: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even before the first look at the held-out patches, after which there is a history."""
    monkeypatch.setattr(_Interrupted, "moment", "show")
    monkeypatch.setattr(train_command, "Bar", _Interrupted)
    path = tmp_path / "model.safetensors"
    result = _result(capsys, "train", good, "-o", path, "--epochs", 1_000_000, "--device", "cpu")
    assert result["stopped"] is True
    assert result["loss"] > 0
    assert 0 < result["training_seconds"] < 60
    model = DefectModel.load(path)
    assert result["auto_threshold"] == model.auto_threshold > 0


def test_interrupt_before_the_first_step_saves_nothing(
    good: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Interrupted, "moment", "say")
    monkeypatch.setattr(train_command, "Bar", _Interrupted)
    path = tmp_path / "model.safetensors"
    assert _run("train", good, "-o", path, "--epochs", 1_000_000, "--device", "cpu") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("napari-ssim-defects: interrupted.\n")
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no way to press Ctrl-C in a process")
def test_interrupt_of_the_program_saves_the_best_model_so_far(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    arguments = ["train", str(good), "-o", str(path), "--epochs", "1000000", "--json"]
    with subprocess.Popen(
        [sys.executable, "-c", WITH_TINY_PRESET, *arguments, "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Ctrl-C stops" in line:
                break
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    if process.returncode == 0:
        assert json.loads(out)["stopped"] is True
        assert DefectModel.load(path).provenance["device"] == "cpu"
    else:  # a slow machine has not made a step yet
        assert (process.returncode, out, path.exists()) == (1, "", False)


def test_unusable_training_images_are_one_line(
    good: Path, material: Images, tmp_path: Path, capsys: Capture
) -> None:
    model = tmp_path / "model.safetensors"

    def refusal(*images: object) -> str:
        message = _refusal(capsys, "train", *images, "-o", model)
        assert not model.exists()
        return message

    assert "no file or folder" in refusal(tmp_path / "missing.png")
    (tmp_path / "empty").mkdir()
    assert "no images in" in refusal(tmp_path / "empty")
    assert "No image matches" in refusal(tmp_path / "*.bmp")
    text = tmp_path / "text.png"
    text.write_text("no picture")
    assert "text.png" in refusal(text)
    (tmp_path / "notes.docx").write_text("no picture")
    assert "notes.docx" in refusal(tmp_path / "notes.docx")
    constant = tmp_path / "constant.png"
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(constant)
    assert "constant" in refusal(constant)
    broken = material(1).astype(np.float32)
    broken[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", broken)
    assert "nan.tif" in refusal(good, tmp_path / "nan.tif")
    small = tmp_path / "small.png"
    Image.fromarray(material(1, (12, 12))).save(small)
    assert "smaller" in refusal(small)
    colour = tmp_path / "colour.png"
    Image.fromarray(np.moveaxis(material(1, (3, 64, 64)), 0, -1)).save(colour)
    message = refusal(good, colour)
    assert "good_1.png" in message
    assert "colour.png" in message


def test_bad_usage_is_one_line(good: Path, tmp_path: Path, capsys: Capture) -> None:
    model = tmp_path / "model.safetensors"

    def refusal(*options: object) -> str:
        return _refusal(capsys, "train", good, "-o", model, *options)

    for minutes in ("0", "-1", "nan", "inf", "soon"):
        assert "--minutes" in refusal("--minutes", minutes)
    for epochs in ("0", "-1", "1.5", "many"):
        assert "--epochs" in refusal("--epochs", epochs)
    assert "quick, best, paper" in refusal("--preset", "fastest").replace("'", "")
    assert "--system" in refusal("--system", "gan")
    assert "seed" in refusal("--seed", -1)
    assert "quantum" in refusal("--device", "quantum")
    assert "--surprise" in refusal("--surprise")
    assert "--output" in _refusal(capsys, "train", good)
    assert "--help" in _refusal(capsys, "train")
    assert "COMMAND" in _refusal(capsys)
    assert "guess" in _refusal(capsys, "guess")
    assert not model.exists()


def test_model_that_could_not_be_written_is_refused_before_the_training(
    good: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*arguments: object, **options: object) -> None:
        raise AssertionError

    monkeypatch.setattr("napari_ssim_defects.core.training.train.train", train)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.safetensors").mkdir()
    message = _refusal(capsys, "train", good, "-o", tmp_path / "file" / "model.safetensors")
    assert "a folder needs" in message
    message = _refusal(capsys, "train", good, "-o", tmp_path / "folder.safetensors")
    assert "it is a folder" in message
    message = _refusal(capsys, "train", good, "-o", tmp_path / ("m" * 300 + ".safetensors"))
    assert "too long" in message


# detect


def test_detect_writes_what_it_finds(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "results"
    assert _run("detect", model_path, bad, "-o", folder, "--device", "cpu") == 0
    out, err = capsys.readouterr()
    assert "bad_3.png: " in out
    assert out.splitlines()[-1].startswith("Wrote residual, labels, table of 2 images to ")
    assert "detecting" in err
    assert sorted(path.name for path in folder.glob("[!.]*")) == [
        "bad_3.labels.ome.tif", "bad_3.residual.ome.tif", "bad_4.labels.ome.tif",
        "bad_4.residual.ome.tif", "regions.csv",
    ]  # fmt: skip
    assert tifffile.imread(folder / "bad_3.residual.ome.tif").dtype == np.float32


def test_detect_prints_one_json_object(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "results"
    result = _result(
        capsys, "detect", model_path, bad, "-o", folder, "--device", "cpu", "--stride", 8,
        "--opening", 2, "--min-area", 1, "--no-convex-hull", "--no-fill-holes",
        "--threshold", "fpr:0.05",
    )  # fmt: skip
    assert result["threshold"] == DefectModel.load(model_path).calibration.threshold(0.05)
    assert result["table"] == str(folder / "regions.csv")
    assert result["failed"] == []
    assert [Path(image["image"]).name for image in result["images"]] == ["bad_3.png", "bad_4.png"]
    for image in result["images"]:
        labels = tifffile.imread(image["labels"])
        assert image["regions"] == labels.max() > 0
        assert image["defective_fraction"] == np.count_nonzero(labels) / labels.size
        assert Path(image["residual"]).exists()
        assert image["seconds"] > 0


@pytest.mark.parametrize("threshold", ["auto", "0.5", "-1", "1e-3"])
def test_detect_takes_a_threshold(
    threshold: str, model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    result = _result(
        capsys, "detect", model_path, bad / "bad_3.png", "-o", tmp_path / "results",
        "--threshold", threshold,
    )  # fmt: skip
    auto = DefectModel.load(model_path).auto_threshold
    assert result["threshold"] == (auto if threshold == "auto" else float(threshold))


def test_detect_reports_bad_images_and_does_the_others(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    (bad / "bad_3b.png").write_text("no picture")
    status = _run("detect", model_path, bad, "-o", tmp_path / "results", "--json")
    assert status == 2
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert len(result["images"]) == 2
    (failed,) = result["failed"]
    assert failed["image"] == str(bad / "bad_3b.png")
    assert f"napari-ssim-defects: {failed['reason']}\n" in err


def test_detect_remembers_no_pixels_of_images_that_are_done(
    model_path: Path, bad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder may hold more images than fit into memory."""
    alive: list[int] = []
    residuals: list[weakref.ref[Any]] = []
    real = folders.detect_files

    def watched(*arguments: Any, **options: Any) -> Any:
        for message in real(*arguments, **options):
            if isinstance(message, folders.FileDone):
                residuals.append(weakref.ref(message.residual))
                alive.append(sum(residual() is not None for residual in residuals))
            yield message

    monkeypatch.setattr(folders, "detect_files", watched)
    images = [bad / "bad_3.png", bad / "bad_4.png"]
    for number in range(4):
        images.append(bad / f"copy_{number}.png")
        images[-1].write_bytes(images[0].read_bytes())
    assert _run("detect", model_path, *images, "-o", tmp_path / "results") == 0
    assert 0 < max(alive) <= 2


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.cuda.OutOfMemoryError("CUDA out of memory.")]
)
def test_too_little_memory_is_one_line(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, error: Exception
) -> None:
    def scarce(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("napari_ssim_defects.core.training.train.train", scarce)
    assert _run("train", good, "-o", tmp_path / "model.safetensors") == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "napari-ssim-defects: There is not enough memory; use smaller images or fewer of them."
    )


def test_detect_saves_what_is_asked_for(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "results"
    result = _result(
        capsys, "detect", model_path, bad / "bad_3.png", "-o", folder, "--save", "overlay,mask",
        "--format", "imagej", "--pixel-size", "0.5,0.25", "--unit", "mm",
    )  # fmt: skip
    names = ["bad_3.mask.tif", "bad_3.overlay.png"]
    assert sorted(path.name for path in folder.glob("[!.]*")) == names
    (image,) = result["images"]
    assert [Path(image[kind]).name for kind in ("mask", "overlay")] == names
    assert "residual" not in image
    assert result["table"] is None
    mask = read_image(folder / names[0])
    assert (mask.pixel_size, mask.unit) == ((0.5, 0.25), "mm")


def test_pixel_size_counts_instead_of_that_of_the_file(
    model_path: Path, material: Images, tmp_path: Path, capsys: Capture
) -> None:
    path, folder = tmp_path / "stack.ome.tif", tmp_path / "results"
    write_ome_tiff(path, material(3, (2, 32, 32)), pixel_size=(3, 2, 2), unit="mm")
    for size, unit, scale in (
        ("0.5", "um", (3, 0.5, 0.5)), ("9,1,1", "nm", (9, 1, 1)), ("1", "pixel", (3, 1, 1)),
    ):  # fmt: skip
        _result(
            capsys, "detect", model_path, path, "-o", folder, "--pixel-size", size, "--unit", unit
        )
        spatial = read_image(folder / "stack.residual.ome.tif").spatial
        assert spatial.scale == scale
        assert spatial.unit == unit_symbol(unit)
    for options, reason in (
        (("--pixel-size", "1,1,1,1"), "does not fit an image with 3 axes"),
        (("--pixel-size", "1", "--unit", "furlong"), "'furlong' is not a unit"),
    ):
        assert _run("detect", model_path, path, "-o", folder, *options) == 2
        assert reason in capsys.readouterr().err


def test_bad_input_of_detect_is_one_line(
    model_path: Path, rgb_model: DefectModel, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "results"

    def refusal(*options: object, model: Path = model_path, image: Path = bad) -> str:
        message = _refusal(capsys, "detect", model, image, "-o", folder, *options)
        assert not folder.exists()
        return message

    for threshold in ("high", "nan", "inf", ""):
        assert "--threshold" in refusal("--threshold", threshold)
    for stride in ("0", "-4", "wide"):
        assert "--stride" in refusal("--stride", stride)
    for size in ("0", "-1", "wide", "1,"):
        assert "--pixel-size" in refusal("--pixel-size", size)
    assert "'heatmap' is not one of residual, labels" in refusal("--save", "heatmap,labels")
    assert "--format" in refusal("--format", "png")
    assert "opening" in refusal("--opening", -1)
    assert "--min-area" in refusal("--min-area", -1)
    assert "quantum" in refusal("--device", "quantum")
    assert "missing.safetensors" in refusal(model=tmp_path / "missing.safetensors")
    text = tmp_path / "text.safetensors"
    text.write_text("no weights")
    assert "text.safetensors" in refusal(model=text)
    assert "missing.png" in refusal(image=tmp_path / "missing.png")
    (tmp_path / "empty").mkdir()
    assert "no images in" in refusal(image=tmp_path / "empty")


def test_output_folder_that_cannot_be_made_is_refused_before_the_work(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        assert "a folder needs" in _refusal(capsys, "detect", model_path, bad, "-o", folder)


def test_image_of_another_kind_than_the_training_images_is_one_line_on_stderr(
    model_path: Path, rgb_model: DefectModel, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    colour = tmp_path / "colour.png"
    Image.new("RGB", (72, 64), "red").save(colour)
    rgb_path = tmp_path / "rgb.safetensors"
    rgb_model.save(rgb_path)
    for model, image, has in (
        (model_path, colour, "is RGB"),
        (rgb_path, bad / "bad_3.png", "is grey"),
    ):
        assert _run("detect", model, image, "-o", tmp_path / "results") == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert has in err
        assert image.name in err


@pytest.mark.slow
def test_zarr_is_trained_on_and_inspected_and_written(
    material: Images, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr = pytest.importorskip("zarr")
    monkeypatch.setattr("napari_ssim_defects.io.images.image_file._SMALL", 0)
    for name, seed in (("good", 1), ("bad", 3)):
        pixels = material(seed, (96, 120), spoilt=name == "bad")
        zarr.create_array(tmp_path / f"{name}.zarr", data=pixels, chunks=(32, 32))
    model, folder = tmp_path / "model.safetensors", tmp_path / "results"
    _result(capsys, "train", tmp_path / "good.zarr", "-o", model, "--epochs", 1)
    _result(capsys, "calibrate", model, tmp_path / "good.zarr")
    result = _result(
        capsys, "detect", model, tmp_path / "bad.zarr", "-o", folder, "--format", "zarr",
        "--device", "cpu",
    )  # fmt: skip
    (image,) = result["images"]
    assert image["residual"] == str(folder / "bad.residual.ome.zarr")
    expected = DefectModel.load(model).residual(material(3, (96, 120), spoilt=True), device="cpu")
    np.testing.assert_array_equal(read_image(image["residual"]).data, expected)


def test_detect_goes_on_where_it_was_stopped(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "results"
    command = ("detect", model_path, bad, "-o", folder, "--device", "cpu")
    first = _result(capsys, *command)
    assert [image["earlier"] for image in first["images"]] == [False, False]
    table = (folder / "regions.csv").read_bytes()
    written = folder / "bad_3.labels.ome.tif"
    written.unlink()
    second = _result(capsys, *command)
    assert [image["earlier"] for image in second["images"]] == [False, True]
    assert written.exists()
    assert (folder / "regions.csv").read_bytes() == table
    for image, again in zip(first["images"], second["images"], strict=True):
        assert again["regions"] == image["regions"]
        assert again["defective_fraction"] == image["defective_fraction"]
    assert _run(*command) == 0
    out, _ = capsys.readouterr()
    assert "2 images had been finished earlier" in out
    assert "of 0 images to" in out
    third = _result(capsys, *command, "--overwrite")
    assert [image["earlier"] for image in third["images"]] == [False, False]
    other = _result(capsys, *command, "--threshold", 0.9)
    assert [image["earlier"] for image in other["images"]] == [False, False]


def test_detect_sums_up_what_could_not_be_used_and_reports(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    (bad / "bad_1.png").write_text("no picture")
    folder = tmp_path / "results"
    assert _run("detect", model_path, bad, "-o", folder, "--report", "--threshold", "fpr:0.2") == 2
    out, _ = capsys.readouterr()
    assert "1 image could not be used: bad_1.png." in out
    page = (folder / "report.html").read_text("utf-8")
    assert "bad_1.png" in page
    assert page.count("data:image/jpeg;base64,") == 2


# evaluate


def test_evaluate_prints_the_documented_scores(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    result = _result(capsys, "evaluate", model_path, bad, tmp_path / "masks", "--device", "cpu")
    for name in ("pixel_auroc", "pixel_auprc", "aupro"):
        assert 0 <= result[name] <= 1
    assert result["pixel_auroc"] > 0.5
    overlap = result["overlap_at_fpr_0.05"]
    assert list(overlap) == ["0.25", "0.5", "0.75"]
    assert 0 <= overlap["0.25"] <= overlap["0.5"] <= overlap["0.75"] <= 1
    assert result["images"] == 2
    assert result["seconds_per_image"] > 0
    assert _run("evaluate", model_path, bad, tmp_path / "masks") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"pixel AUROC {result['pixel_auroc']:.3f}")
    assert out.count("\n") == 1


def test_evaluate_searches_folders_inside_and_counts_good_images(
    model_path: Path, material: Images, tmp_path: Path, capsys: Capture
) -> None:
    test, masks = tmp_path / "test", tmp_path / "ground_truth"
    for seed, kind in enumerate(("good", "hole", "scratch")):
        (test / kind).mkdir(parents=True)
        (masks / kind).mkdir(parents=True)
        Image.fromarray(material(seed, spoilt=kind != "good")).save(test / kind / "0.png")
    mask = np.zeros((64, 72), np.uint8)
    mask[20:40, 30:50] = 255
    for kind in ("hole", "scratch"):
        Image.fromarray(mask).save(masks / kind / "0_mask.png")
    result = _result(capsys, "evaluate", model_path, test, masks)
    assert (result["images"], result["good_images"], result["defects"]) == (3, 1, 2)
    assert result["false_regions_per_good_image"] == result["per_image"][0]["false_regions"]
    pattern = _result(capsys, "evaluate", model_path, test / "*" / "*.png", masks)
    assert pattern["pixel_auroc"] == result["pixel_auroc"]
    err = _refusal(capsys, "evaluate", model_path, test, masks / "hole")
    assert "no mask of" in err
    assert "scratch" in err


def test_evaluate_of_images_without_defects_counts_false_alarms(
    model_path: Path, good: Path, tmp_path: Path, capsys: Capture
) -> None:
    plot = tmp_path / "curves.png"
    result = _result(capsys, "evaluate", model_path, good, "--plot", plot)
    assert [result[name] for name in ("pixel_auroc", "pixel_auprc", "aupro")] == [None] * 3
    assert (result["defects"], result["good_images"]) == (0, result["images"])
    assert 0 <= result["false_positive_rate"] < 0.1
    assert result["false_regions_per_image"] >= 0
    assert plot.exists()
    assert _run("evaluate", model_path, good) == 0
    out = capsys.readouterr().out
    assert out.startswith("pixel AUROC –, AUPRC –, AUPRO – over")
    assert "0 of 0 defects found" in out
    assert "false positive rate" in out


def test_evaluate_names_an_implausible_mask(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    Image.fromarray(np.full((64, 72), 255, np.uint8)).save(tmp_path / "masks" / "bad_3.png")
    assert _run("evaluate", model_path, bad, tmp_path / "masks", "--json") == 0
    assert "bad_3.png' marks 100 % of its image" in capsys.readouterr().err


def test_images_in_a_format_that_is_not_read_are_left_out_with_a_word(
    model_path: Path, good: Path, tmp_path: Path, capsys: Capture
) -> None:
    (good / "a.czi").touch()
    assert _run("detect", model_path, good, "-o", tmp_path / "results", "--json") == 0
    out, err = capsys.readouterr()
    assert "a.czi' is left out: save it as TIFF" in err
    assert json.loads(out)["notices"][0] in err
    assert _run("calibrate", model_path, good, "-o", tmp_path / "other.safetensors") == 0
    assert "a.czi' is left out" in capsys.readouterr().err


def test_intensities_on_another_scale_are_one_line_on_stderr(
    model_path: Path, good: Path, material: Images, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(material(1).astype(np.uint16) * 257).save(path)
    assert _run("detect", model_path, path, "-o", tmp_path / "results", "--json") == 0
    out, err = capsys.readouterr()
    assert "deep.png' (" in err
    assert "far outside those of the training images" in err
    assert json.loads(out)["images"][0]["notices"][0] in err
    assert _run("calibrate", model_path, path, "-o", tmp_path / "other.safetensors") == 0
    assert "far outside those of the training images" in capsys.readouterr().err
    assert "deep.png' is 16-bit" in _refusal(
        capsys, "train", good, path, "-o", tmp_path / "mixed.safetensors"
    )


@pytest.mark.parametrize(("name", "start"), [("roc.png", b"\x89PNG"), ("roc.svg", b"<?xml")])
def test_evaluate_writes_the_curves(
    name: str, start: bytes, model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    plot = tmp_path / name
    _result(capsys, "evaluate", model_path, bad, tmp_path / "masks", "--plot", plot)
    assert plot.read_bytes().startswith(start)


def test_plot_that_could_not_be_written_is_refused_before_the_work(
    model_path: Path,
    bad: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def detect(*arguments: object, **options: object) -> None:
        raise AssertionError

    monkeypatch.setattr(DefectModel, "detect", detect)
    for plot, reason in (
        ("roc.gif", ".png, .svg or .pdf"), ("roc", ".png, .svg or .pdf"),
        ("nowhere/roc.png", "there is no folder"),
    ):  # fmt: skip
        message = _refusal(
            capsys, "evaluate", model_path, bad, tmp_path / "masks", "--plot", tmp_path / plot
        )
        assert reason in message


def test_bad_input_of_evaluate_is_one_line(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    masks = tmp_path / "masks"

    def refusal(test: Path = bad, folder: Path = masks) -> str:
        return _refusal(capsys, "evaluate", model_path, test, folder)

    assert "nowhere" in refusal(folder=tmp_path / "nowhere")
    assert "nowhere" in refusal(test=tmp_path / "nowhere")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(masks / "bad_3.png")
    assert "bad_3.png" in refusal()
    (masks / "bad_3.png").write_text("no picture")
    assert "bad_3.png" in refusal()
    (masks / "bad_3.png").unlink()
    assert "no mask of" in refusal()


def test_evaluate_scores_what_is_outlined_and_each_image(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    arguments = ("evaluate", model_path, bad, tmp_path / "masks", "--device", "cpu")
    result = _result(capsys, *arguments)
    assert result["residual"] == "ssim"
    assert result["threshold"] == DefectModel.load(model_path).auto_threshold
    assert 0 <= result["iou"] <= result["f1"] <= 1
    assert [Path(image["image"]).name for image in result["per_image"]] == [
        "bad_3.png",
        "bad_4.png",
    ]
    assert all(0 <= image["pixel_auroc"] <= 1 for image in result["per_image"])
    high = _result(capsys, *arguments, "--threshold", "5")
    assert high["iou"] == 0
    assert high["pixel_auroc"] == result["pixel_auroc"]
    other = _result(capsys, *arguments, "--residual", "squared_error")
    assert other["residual"] == "squared_error"
    assert other["pixel_auroc"] != result["pixel_auroc"]
    assert other["threshold"] != result["threshold"]


def test_what_is_to_be_reviewed_is_outlined_for_the_scores(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    arguments = ("evaluate", model_path, bad, tmp_path / "masks", "--threshold", "5")
    assert _result(capsys, *arguments)["false_positive_rate"] == 0
    result = _result(capsys, *arguments, "--review-threshold", "0.01")
    assert result["false_positive_rate"] > 0
    assert result["f1"] > 0


@pytest.mark.parametrize("policy", ["fpr:0.02", "quantile:0.99", "region:30"])
def test_threshold_may_follow_from_good_images(
    policy: str, model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    result = _result(
        capsys, "detect", model_path, bad, "-o", tmp_path / "results", "--threshold", policy
    )
    model = DefectModel.load(model_path)
    assert result["threshold"] == parse_threshold(policy).threshold_for(model.calibration)


def test_residual_that_the_model_does_not_have_is_one_line(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    message = _refusal(
        capsys, "detect", model_path, bad, "-o", tmp_path / "results",
        "--residual", "reconstruction_probability",
    )  # fmt: skip
    assert "choose one of ssim, squared_error" in message


def test_calibrate_stores_what_it_measures(
    model_path: Path, good: Path, tmp_path: Path, capsys: Capture
) -> None:
    copy = tmp_path / "copy.safetensors"
    result = _result(
        capsys, "calibrate", model_path, good, "-o", copy, "--auto-threshold", "region:50"
    )
    model = DefectModel.load(copy)
    assert result["policy"] == str(model.threshold) == "region:50"
    assert result["auto_threshold"] == model.auto_threshold
    assert result["calibration_pixels"] == model.calibration.pixels
    assert str(DefectModel.load(model_path).threshold) == "fpr:0.001"
    assert _run("calibrate", copy, good) == 0
    assert str(DefectModel.load(copy).threshold) == "region:50"


def test_train_stores_how_the_threshold_is_chosen(
    good: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "model.safetensors"
    _result(
        capsys, "train", good, "-o", path, "--minutes", 0.01, "--auto-threshold", "quantile:0.9"
    )
    model = DefectModel.load(path)
    assert model.auto_threshold == model.calibration.threshold(1 - 0.9)


def test_fmae_without_weights_is_one_line(
    good: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(url: str, timeout: float) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(alexnet_weights, "urlopen", unreachable)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    output = tmp_path / "model.safetensors"
    message = _refusal(capsys, "train", good, "-o", output, "--system", "fmae")
    assert "AlexNet's weights" in message
    assert not output.exists()


# info


def test_info_prints_every_value(model_path: Path, capsys: Capture) -> None:
    model = DefectModel.load(model_path)
    result = _result(capsys, "info", model_path)
    assert TrainingConfig(**result["config"]) == model.config
    assert result["channels"] == 1
    assert result["auto_threshold"] == model.auto_threshold
    assert result["provenance"]["training images"] == "'good 0', 'good 1'"
    assert len(result["history"]) == len(model.history)
    assert result["parameters"] == sum(p.numel() for p in model.network.parameters())
    assert _run("info", model_path) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert len(out.splitlines()) <= 10  # for people; numbers are for --json
    for text in ("Trained on 'good 0', 'good 1'", "Automatic threshold", model.verdict.text):
        assert text in out
    assert result["verdict"]["text"] == model.verdict.text


def test_info_does_not_wait_for_torch(model_path: Path) -> None:
    script = (
        "import sys\n"
        "from napari_ssim_defects.cli import main\n"
        "assert main(['info', sys.argv[1]]) == 0\n"
        "slow = {'torch', 'matplotlib', 'skimage', 'napari', 'qtpy'} & set(sys.modules)\n"
        "sys.exit(str(slow) if slow else 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, model_path], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_info_prints_the_papers_values(tmp_path: Path, capsys: Capture) -> None:
    config = TrainingConfig.preset("paper")
    model = DefectModel(
        config,
        Autoencoder(128, 1, 500),
        channels=1,
        channel_axis=None,
        intensity=IntensityRange((0.0,), (255.0,)),
        calibration=Calibration.from_residuals(
            [np.linspace(0, 1, 100, dtype=np.float32)], held_out=False
        ),
    )
    model.save(tmp_path / "paper.safetensors")
    config = _result(capsys, "info", tmp_path / "paper.safetensors")["config"]
    paper = {
        "name": "paper", "patch_size": 128, "latent_dimension": 500, "batch_norm": False,
        "batch_size": 128, "patches": 20000, "fixed_patches": True, "epochs": 200,
        "minutes": None, "learning_rate": 0.0002, "weight_decay": 1e-05, "stride": 30,
    }  # fmt: skip
    assert paper.items() <= config.items()
    assert config["ssim"]["window_size"] == 11


def test_info_refuses_what_is_no_model(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "text.safetensors"
    path.write_text("no weights")
    assert "text.safetensors" in _refusal(capsys, "info", path)
    assert "check its name" in _refusal(capsys, "info", tmp_path / "missing.safetensors")


def test_name_with_a_line_break_is_still_one_line(tmp_path: Path, capsys: Capture) -> None:
    assert "two lines" in _refusal(capsys, "info", tmp_path / "two\nlines.safetensors")


def test_text_that_the_terminal_cannot_show_is_escaped(
    grey_model: DefectModel, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    replace(grey_model, provenance={"training images": "'fibre 5 µm 織物.png'"}).save(path)
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, "info", path],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert b"5 \\xb5m \\u7e54\\u7269.png" in run.stdout
    assert run.stderr == b""


# the program


def test_the_version_is_that_of_the_package(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("command", ["", "demo", "train", "detect", "run", "evaluate", "info"])
def test_every_command_explains_itself(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as done:
        main([*command.split(), "--help"])
    assert done.value.code == 0
    out, err = capsys.readouterr()
    assert f"usage: napari-ssim-defects {command}".strip() in out
    assert err == ""


def test_help_and_bad_usage_do_not_wait_for_torch() -> None:
    script = (
        "import sys\n"
        "from napari_ssim_defects.cli import main\n"
        "assert main(['train', '--minutes', '0']) == 2\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "slow = {'torch', 'matplotlib', 'skimage', 'napari', 'qtpy'} & set(sys.modules)\n"
        "sys.exit(str(slow) if slow else 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes")
def test_reader_that_goes_away_is_no_error_message(model_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as closed:
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, "info", model_path],
            stdout=closed,
            stderr=subprocess.PIPE,
        )
    assert run.stderr == b""
    assert run.returncode == 1


# models whose training went wrong


def test_a_model_that_did_not_learn_says_so_wherever_it_is_used(
    grey_model: DefectModel, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "model.safetensors"
    replace(grey_model, warnings=("The training did not learn the material.",)).save(path)
    assert _run("detect", path, bad, "-o", tmp_path / "out") == 0
    assert "did not learn the material" in capsys.readouterr().err
    assert _run("evaluate", path, bad, tmp_path / "masks") == 0
    assert "did not learn the material" in capsys.readouterr().err
    assert _run("info", path) == 0
    assert "warning: The training did not learn the material." in capsys.readouterr().out
    result = _result(capsys, "info", path)
    assert result["warnings"] == ["The training did not learn the material."]


def test_a_model_that_learned_is_used_without_a_word(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert _result(capsys, "info", model_path)["warnings"] == []


# region of interest


@pytest.fixture
def barred(material: Images, tmp_path: Path) -> tuple[Path, Path]:
    """Folders of good images and of parts with a defect, each with the same data bar below."""
    folders = tmp_path / "good bars", tmp_path / "part bars"
    for number, folder in enumerate(folders):
        folder.mkdir()
        for seed in (2, 3):
            bar = np.zeros((16, 200), np.uint8)
            bar[4:12, 4 + seed : 150 : 3] = 255
            image = material(10 * number + seed, (160, 200), spoilt=bool(number))
            Image.fromarray(np.vstack([image, bar])).save(folder / f"{seed}.png")
    return folders


def test_data_bar_is_proposed_and_left_out_on_request_only(
    model_path: Path, barred: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    _, parts = barred
    labels = {}
    for name, options in (("as is", ()), ("cut", ("--roi", "bottom:16"))):
        folder = tmp_path / name
        assert _run("detect", model_path, parts, "-o", folder, "--device", "cpu", *options) == 0
        err = capsys.readouterr().err
        text = "a data bar along the bottom, 16 rows high; exclude it with --roi bottom:16"
        assert (text in err) is not bool(options)
        labels[name] = read_image(folder / "2.labels.ome.tif").data
    assert labels["as is"][160:].any()
    assert not labels["cut"][160:].any()


@pytest.mark.slow
def test_region_of_interest_of_training_calibration_and_evaluation(
    barred: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    good, parts = barred
    model = tmp_path / "bars.safetensors"
    assert _run("train", good, "-o", model, "--device", "cpu", "--roi", "bottom:16") == 0
    assert "data bar" not in capsys.readouterr().err
    assert DefectModel.load(model).intensity.high[0] < 250
    for command in ("calibrate", "evaluate"):
        assert _run(command, model, parts, "--roi", "bottom:16") == 0
        assert "data bar" not in capsys.readouterr().err
        assert _run(command, model, parts) == 0
        assert "--roi bottom:16" in capsys.readouterr().err


def test_region_of_interest_that_cannot_be_is_one_line(
    model_path: Path, bad: Path, tmp_path: Path, capsys: Capture
) -> None:
    arguments = ("evaluate", model_path, bad, tmp_path / "masks", "--roi")
    assert "does not fit" in _refusal(capsys, *arguments, "bottom:400")
    assert "not a region" in _refusal(capsys, *arguments, "bottom:x")
    assert "no file or folder" in _refusal(capsys, *arguments, tmp_path / "roi.png")
