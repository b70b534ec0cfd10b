"""The demo does the whole job and leaves files that the other commands can go on with."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_ssim_defects.cli import demo, main
from napari_ssim_defects.cli.demo import DemoResults, run_demo
from napari_ssim_defects.cli.main import show_results
from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config.presets import PRESETS
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.io.images.image_file import find_images, read_image
from napari_ssim_defects.samples import GOOD_SEEDS, NanofibreSample, nanofibres

pytestmark = pytest.mark.slow

SHAPE = (160, 192)


def _small(seed: int, *, defects: bool) -> NanofibreSample:
    return nanofibres(seed, defects=defects, shape=SHAPE)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> DemoResults:
    """A demo on small images with a network that has hardly learned anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "nanofibres", _small)
        patch.setitem(
            PRESETS,
            "quick",
            {"patch_size": 32, "latent_dimension": 16, "stride": 32, "patches": 320, "epochs": 1},
        )
        return run_demo(tmp_path_factory.mktemp("demo") / "results", minutes=2)


@pytest.fixture
def folder(results: DemoResults) -> Path:
    return Path(results.summary["folder"])


def test_demo_writes_everything_that_it_made(results: DemoResults, folder: Path) -> None:
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    defective = [f"defective_{number}" for number in (1, 2, 3)]
    assert files == {
        "nanofibres.safetensors",
        "overview.png",
        ".detection.jsonl",
        "regions.csv",
        *(f"good/good_{number}.ome.tif" for number in GOOD_SEEDS),
        *(f"defective/{name}.ome.tif" for name in defective),
        *(f"truth/{name}.ome.tif" for name in defective),
        *(f"{name}.residual.ome.tif" for name in defective),
        *(f"{name}.labels.ome.tif" for name in defective),
    }


def test_files_hold_what_the_results_say(results: DemoResults, folder: Path) -> None:
    for number, sample in enumerate(results.good, start=1):
        assert not sample.labels.any()
        image = read_image(folder / "good" / f"good_{number}.ome.tif")
        np.testing.assert_array_equal(image.data, sample.image)
        assert (image.pixel_size, image.unit) == (results.pixel_size, results.unit)
    for number, row in enumerate(results.rows, start=1):
        name = f"defective_{number}"
        for file, pixels in {
            f"defective/{name}.ome.tif": row.image,
            f"truth/{name}.ome.tif": row.truth,
            f"{name}.residual.ome.tif": row.residual,
            f"{name}.labels.ome.tif": row.labels,
        }.items():
            np.testing.assert_array_equal(tifffile.imread(folder / file), pixels)
            assert read_image(folder / file).pixel_size == results.pixel_size
    with (folder / "regions.csv").open(newline="", encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == sum(row.labels.max() for row in results.rows)
    model = DefectModel.load(results.model_path)
    assert model.config == results.model.config
    assert model.config.minutes == 2


def test_summary_is_plain_values_that_agree_with_the_results(results: DemoResults) -> None:
    summary = json.loads(json.dumps(results.summary))
    assert summary == results.summary
    assert set(summary) == {
        "defects", "defects_found", "false_regions", "iou", "pixel_auroc", "aupro", "threshold",
        "seconds", "folder", "overview",
    }  # fmt: skip
    assert summary["defects"] >= 3
    assert summary["threshold"] == results.model.auto_threshold
    assert 0 < summary["seconds"] < 120


def test_text_says_what_was_found_and_where_it_is(results: DemoResults) -> None:
    summary = results.summary
    assert f"{summary['defects_found']} of {summary['defects']} defects" in results.text
    assert f"{summary['pixel_auroc']:.3f}" in results.text
    assert summary["folder"] in results.text
    assert summary["overview"] in results.text


def test_overview_is_a_readable_picture(results: DemoResults) -> None:
    with Image.open(results.summary["overview"]) as picture:
        assert picture.format == "PNG"
        assert 1000 <= picture.width <= 3000
        assert 600 <= picture.height <= 3000
        assert np.asarray(picture.convert("L")).std() > 20


def test_other_commands_go_on_from_the_folder_of_the_demo_with_its_scores(
    results: DemoResults, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    arguments = [results.model_path, folder / "defective", folder / "truth"]
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["images"] == 3
    for name in ("defects", "defects_found", "iou", "pixel_auroc", "aupro", "threshold"):
        assert scores[name] == pytest.approx(results.summary[name], abs=1e-6)
    false_regions = sum(image["false_regions"] for image in scores["per_image"])
    assert false_regions == results.summary["false_regions"]
    assert len(find_images([folder / "good"])) == len(GOOD_SEEDS)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_without_a_display_napari_is_not_opened_and_a_sentence_says_so(
    results: DemoResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert show_results(results) == "There is no display, so napari was not opened."


def test_without_napari_a_sentence_says_how_to_install_it(
    results: DemoResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setitem(sys.modules, "napari_ssim_defects.plugin.hooks.demo_viewer", None)
    sentence = show_results(results)
    assert "pip install" in sentence
    assert "\n" not in sentence


@pytest.fixture
def prepared(results: DemoResults, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Let the command run a demo that is done already; what it was asked for."""
    asked: list[tuple[Any, ...]] = []

    def run(*arguments: Any) -> DemoResults:
        asked.append(arguments)
        return results

    monkeypatch.setattr(demo, "run_demo", run)
    return asked


def test_command_prints_the_text(
    results: DemoResults,
    prepared: list[tuple[Any, ...]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["demo", "--out", str(tmp_path), "--minutes", "0.5", "--no-gui"]) == 0
    assert prepared == [(tmp_path, 0.5)]
    out, err = capsys.readouterr()
    assert out == results.text + "\n"
    assert err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_command_prints_json_and_says_that_there_is_no_display(
    results: DemoResults,
    prepared: list[tuple[Any, ...]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(["demo", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == results.summary
    assert err == "There is no display, so napari was not opened.\n"


def test_folder_that_cannot_be_made_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="a folder needs"):
        run_demo(tmp_path / "file", minutes=60)
