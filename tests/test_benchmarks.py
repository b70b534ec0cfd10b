"""Benchmarks train each model once, go on where they stopped, and say what could not be run."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from napari_ssim_defects import TrainingConfig, samples
from napari_ssim_defects.core.config import (
    EnsembleMember,
    EnsembleResidual,
    SSIMResidual,
    TextureResidual,
    presets,
)
from napari_ssim_defects.io.artifacts import pretrained_weights as alexnet_weights
from napari_ssim_defects.io.images.datasets import find_dataset

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

Run = Callable[..., str]


def test_all_of_them_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    for script in BENCHMARKS.glob("*.py"):
        runpy.run_path(str(script), run_name="imported")


def _make_dataset(root: Path, material: Callable[..., Any]) -> Path:
    for name in ("train_good", "test", "mask"):
        (root / name).mkdir(parents=True)
    Image.fromarray(material(1, (80, 80))).save(root / "train_good" / "1.png")
    Image.fromarray(material(2, (80, 80), spoilt=True)).save(root / "test" / "2.png")
    mask = np.zeros((80, 80), np.uint8)
    mask[20:40, 30:50] = 255
    Image.fromarray(mask).save(root / "mask" / "2.png")
    return root


@pytest.fixture
def dataset(material: Callable[..., Any], tmp_path: Path) -> Path:
    return _make_dataset(tmp_path / "weave", material)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Run:
    """Run a benchmark as from a terminal and return what it printed."""
    monkeypatch.syspath_prepend(BENCHMARKS)

    def script(name: str, *arguments: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
        printed = capsys.readouterr()
        assert ended.value.code == status, printed.err
        return str(printed.err if status else printed.out)

    return script


def _times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_systems_and_sweeps_are_trained_once_and_fmae_never_without_weights(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    def unreachable(url: str, timeout: float) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(alexnet_weights, "urlopen", unreachable)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    command = [
        "paper.py", str(dataset), "--preset", "quick", "--epochs", "1", "--patches", "16",
        "--out", str(tmp_path / "out"), "--systems", "ssim", "l2", "fmae", "--sweep", "patch",
    ]  # fmt: skip
    first = json.loads(run(*command, "--json"))
    assert [row["system"] for row in first["runs"]] == [
        "ssim",
        "l2",
        "fmae",
        "ssim",
        "ssim",
        "ssim",
    ]
    assert "could not be downloaded" in first["runs"][2]["not_run"]
    assert first["runs"][3]["change"] == {"patch_size": 32}
    assert "128 x 128" in first["runs"][5]["not_run"]
    # The sweep's 64 px is the preset itself, and 128 px do not fit the images.
    files = _times(tmp_path / "out" / "weave")
    assert len(files) == 2 * 3
    assert "| l2 |" in run(*command)
    assert files == _times(tmp_path / "out" / "weave")


@pytest.mark.parametrize("preset", ["quick", "best", "paper"])
def test_the_papers_ssim_has_nothing_beyond_the_paper(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    config_of = runpy.run_path(str(BENCHMARKS / "paper.py"))["_config"]
    config = config_of(preset, "ssim", {"ssim": {"window_size": 7}})
    assert not config.discriminator
    assert not config.texture
    assert config.residual.kind == "ssim"
    assert [(w.window_size, w.constants) for w in config.residual.ssim] == [(7, "standard")]
    assert config.residual.smoothing == 0
    assert config.batch_size == (128 if preset == "paper" else TrainingConfig().batch_size)
    assert config_of(preset, "ssim", {"batch_size": 3}).batch_size == 3


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preset ``quick``, trained in no time; the paper's does not fit the images."""
    tiny = {"patch_size": 16, "latent_dimension": 8, "patches": 16, "epochs": 1}
    monkeypatch.setitem(presets.PRESETS, "quick", tiny)


def test_presets_are_compared_by_several_residuals_of_one_training_and_go_on(
    tmp_path: Path, material: Callable[..., Any], run: Run, tiny_preset: None
) -> None:
    for name in ("weave", "felt"):
        _make_dataset(tmp_path / "sets" / name, material)
    (tmp_path / "sets" / "notes").mkdir()
    out = tmp_path / "out"
    command = [
        "quality.py", str(tmp_path / "sets"), "--presets", "quick", "paper",
        "--residuals", "own", "ssim", "squared_error", "texture", "--seeds", "0", "1",
        "--out", str(out),
    ]  # fmt: skip
    result = json.loads(run(*command, "--json"))
    runs, means = result["runs"], result["means"]
    quick = [row for row in runs if row["method"] == "quick"]
    assert len(quick) == 2 * 2 * 2  # data sets, seeds, residuals
    assert {row["residual"] for row in quick} == {"ssim", "squared_error"}
    assert all("128 x 128" in row["not_run"] for row in runs if row["method"] == "paper")
    assert len(list(out.glob("*/*.safetensors"))) == 2 * 2

    def aurocs(rows: list[dict[str, Any]], dataset: str) -> list[float]:
        return [
            row["pixel_auroc"]
            for row in rows
            if (row["dataset"], row["method"], row["residual"])
            == (dataset, "quick", "squared_error")
        ]

    assert len(aurocs(runs, "felt")) == 2
    assert aurocs(means, "felt") == pytest.approx([np.mean(aurocs(runs, "felt"))])
    both = aurocs(means, "felt") + aurocs(means, "weave")
    assert aurocs(means, "mean") == pytest.approx([np.mean(both)])

    before = {folder: _times(out / folder) for folder in ("weave", "felt")}
    lines = run(*command).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert any(line.startswith("| mean | quick | ssim |") for line in lines)
    assert any(line.startswith("| felt | paper | ssim | not run: ") for line in lines)
    assert before == {folder: _times(out / folder) for folder in ("weave", "felt")}


def test_experiments_go_on_wherever_the_images_were_moved(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    identity = runpy.run_path(str(BENCHMARKS / "experiments.py"))["identity"]
    before = identity(find_dataset(dataset), {"seed": 0})
    moved = dataset.rename(tmp_path / "elsewhere")
    assert identity(find_dataset(moved), {"seed": 0}) == before
    assert identity(find_dataset(moved), {"seed": 1}) != before
    Image.new("L", (90, 80), 7).save(moved / "train_good" / "1.png")
    assert identity(find_dataset(moved), {"seed": 0}) != before


def test_no_data_set_and_two_of_one_name_are_refused_in_a_sentence(
    dataset: Path, tmp_path: Path, run: Run
) -> None:
    error = run("quality.py", str(dataset / "mask"), "--out", str(tmp_path / "out"), status=2)
    assert "is not a known data set" in error
    error = run("quality.py", str(dataset), str(tmp_path), status=2)
    assert "Two data sets are called 'weave'" in error


def test_patchcore_says_which_packages_it_needs(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    out = ("--out", str(tmp_path / "out"))
    assert "pip install" in run("patchcore.py", str(dataset), *out, status=2)
    table = run("quality.py", str(dataset), "--presets", "--patchcore", *out)
    assert "| weave | patchcore |  | not run: PatchCore needs" in table


@pytest.fixture
def patchcore(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return runpy.run_path(str(BENCHMARKS / "patchcore.py"))


def test_a_coreset_is_spread_over_all_points(patchcore: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    centres = 100 * torch.randn(5, 30, generator=generator)
    # One cluster holds nearly all points: a random choice would miss the others.
    sizes = (1000, 2, 2, 2, 2)
    clusters = [centre + torch.randn(n, 30, generator=generator)
                for centre, n in zip(centres, sizes, strict=True)]  # fmt: skip
    chosen = patchcore["coreset"](torch.cat(clusters), 5, seed=0)
    assert sorted(torch.cdist(chosen, centres).argmin(1).tolist()) == [0, 1, 2, 3, 4]
    assert len(patchcore["coreset"](clusters[1], 5, seed=0)) == 2


def test_patchcore_finds_what_no_good_image_has_in_images_of_any_size(
    dataset: Path, patchcore: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    fine, coarse = (torch.nn.Conv2d(3, 8, side, stride=side) for side in (8, 16))

    def network(image: torch.Tensor) -> list[torch.Tensor]:
        return [fine(image), coarse(image)]

    scores = patchcore["evaluated"](find_dataset(dataset), network, seed=0)
    assert scores["pixel_auroc"] > 0.9
    assert 0 < scores["aupro"] <= 1
    plane = np.zeros((3, 83, 21), np.float32)
    with torch.inference_mode():
        memory = patchcore["neighbourhoods"](network, plane).flatten(0, 1)
        found = patchcore["anomaly_map"](network, memory, plane)
    assert found.shape == (83, 21)
    # Nothing is unlike what is remembered, least of all the border.
    assert found.max() < 1e-3


def test_the_benchmark_of_training_compares_and_names_its_limits(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for package in ("pytorch_msssim", "kornia", "torchmetrics"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(BENCHMARKS)
    command = ["training.py", "--quick", "--rounds", "1", "--json"]
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(str(BENCHMARKS / "training.py"), run_name="__main__")
    result = json.loads(capsys.readouterr().out)
    assert result["training"]["times_straightforward"] > 0
    assert result["training"]["limit_patches_per_second"] > 0
    for window in ("gaussian", "uniform"):
        assert result["ssim_loss"][window]["gradient_error"] < 1e-4
        assert result["ssim_loss"][window]["times_fastest_other"] > 0
    assert result["reconstruction"]["seconds"] > 0


def test_generated_fibres_are_compared_with_a_folder_of_real_ones(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(samples.nanofibres, shape=(160, 160))
    for name in ("train_good", "test", "mask"):
        (tmp_path / name).mkdir()
    bad = small(0, defects=True)
    Image.fromarray(small(0).image).save(tmp_path / "train_good" / "0.png")
    Image.fromarray(bad.image).save(tmp_path / "test" / "0.png")
    Image.fromarray((255 * (bad.labels > 0)).astype(np.uint8)).save(tmp_path / "mask" / "0.png")
    monkeypatch.setattr(samples, "nanofibres", lambda seed, shape=None, **kw: small(seed, **kw))
    result = json.loads(run("fibres.py", str(tmp_path), "--images", "1", "--json"))
    assert result["generated"] == pytest.approx(result["real"])
    table = run("fibres.py", str(tmp_path), "--images", "1").splitlines()
    assert len(table) == 2 + len(result["real"])
    assert "is not a known data set" in run("fibres.py", str(tmp_path / "mask"), status=2)


def test_the_benchmark_of_cards_counts_what_they_are_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"patch_size": 16, "latent_dimension": 8, "batch_size": 4, "stride": 16}
    monkeypatch.setattr(samples, "nanofibres", partial(samples.nanofibres, shape=(120, 160)))
    monkeypatch.setitem(presets.PRESETS, "quick", {**presets.PRESETS["quick"], **small})
    monkeypatch.setitem(presets.PRESETS, "paper", {**presets.PRESETS["paper"], **small})
    command = ["graphics_card.py", "--device", "cpu", "--rounds", "1", "--steps", "8"]
    result = json.loads(run(*command, "--minutes", "0.01", "--json"))
    asked, times = result["operations_per_step"], result["milliseconds_per_step"]
    assert 2 * asked["quick"] < asked["quick, each batch painted by itself"]
    assert times.keys() == asked.keys()
    assert min(times.values()) > 0
    assert result["detection"]["largest_difference"] == 0


def test_the_benchmark_of_scale_measures_each_part_in_a_process_of_its_own(
    run: Run, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    picture = tmp_path / "scale.png"
    result = json.loads(run("scale.py", "--quick", "--json", "--plot", str(picture)))
    assert [size["side"] for size in result["large"]["sizes"]] == [300, 600]
    for measured in (*result["large"]["sizes"], result["folder"]):
        assert measured["cpu_seconds"] > 0
        assert measured["peak_mb"] > 50
    assert result["folder"]["images"] == 6
    for name in ("two", "killed"):
        assert result["workers"][name]["done"] == 4
        assert result["workers"][name]["same_as_one"]
    assert picture.stat().st_size > 1000


def test_the_benchmark_of_collapse_counts_for_each_material(
    material: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Image.fromarray(material(1, (200, 200))).save(tmp_path / "good.png")
    command = ["collapse.py", str(tmp_path), "--seeds", "1", "--minutes", "0.002", "--json"]
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(str(BENCHMARKS / "collapse.py"), run_name="__main__")
    (result,) = json.loads(capsys.readouterr().out)["materials"]
    assert result["material"] == tmp_path.name
    assert result["collapsed"] in (0, 1)
    assert result["runs"][0]["steps"] > 0


def test_corrections_are_simulated_with_models_that_were_trained(
    dataset: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = run("corrections.py", str(dataset), "--models", str(tmp_path), status=2)
    assert "There is no model" in error
    tiny = {
        "patch_size": 16, "latent_dimension": 8, "patches": 16, "epochs": 1, "texture": True,
        "residual": EnsembleResidual(
            members=[EnsembleMember(residual=kind) for kind in (SSIMResidual(), TextureResidual())]
        ),
    }  # fmt: skip
    monkeypatch.setitem(presets.PRESETS, "quick", tiny)
    out = tmp_path / "out"
    run("quality.py", str(dataset), "--presets", "quick", "--out", str(out))
    command = [
        "corrections.py", str(dataset), "--models", str(out), "--cache", str(tmp_path / "maps"),
        "--marked", "0", "--folds", "2", "--weights",
    ]  # fmt: skip
    result = json.loads(run(*command, "--json"))
    (row,) = result["runs"]
    before, after = row["rules"]["none"], row["rules"]["kept"]
    assert before == after  # nothing was marked
    assert before["threshold"] == row["threshold"]
    assert row["froc"]["none"] == row["froc"]["weights"]
    assert "| weave | kept |" in run(*command)
