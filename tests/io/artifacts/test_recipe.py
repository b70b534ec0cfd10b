"""Recipes come back from files as they were; nothing else is ever taken for one."""

from __future__ import annotations

import errno
import math
import os
import shlex
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_ssim_defects.cli.arguments import argument_parser
from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.config import OutputConfig, SegmentationConfig, TrainingConfig
from napari_ssim_defects.core.config.presets import PRESETS
from napari_ssim_defects.core.config.region import BoxRegion, MarginsRegion, MaskRegion
from napari_ssim_defects.core.model.thresholds import (
    FalsePositiveRateThreshold,
    FixedThreshold,
    LargestRegionThreshold,
    QuantileThreshold,
)
from napari_ssim_defects.io.artifacts import recipe as recipe_file
from napari_ssim_defects.io.artifacts.recipe import (
    RECIPE_VERSION,
    DetectionRecipe,
    Recipe,
    TrainingRecipe,
    detection_line,
    detection_program,
    read_recipe,
    write_recipe,
)
from napari_ssim_defects.io.images.image_file import find_images

HEAD = 'schema = "napari-ssim-defects recipe"\nversion = 1\n'
DETECTION = '[detection]\nimages = ["parts"]\nfolder = "out"\n'

_finite = st.floats(allow_nan=False, allow_infinity=False)
_fractions = st.floats(0, 1)
_thresholds = st.one_of(
    st.none(),
    st.builds(FixedThreshold, value=_finite),
    st.builds(FalsePositiveRateThreshold, rate=_fractions),
    st.builds(QuantileThreshold, quantile=_fractions),
    st.builds(LargestRegionThreshold, area=st.integers(1, 10**6)),
)
# Names that any file system takes, but for what is no text.
_names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='/\\:~*?[<>|"'))
_paths = _names.map(lambda name: Path("/data", f"a {name}"))
_regions = st.one_of(
    st.none(),
    st.builds(MarginsRegion, top=st.integers(0, 99), right=st.integers(0, 10**9)),
    st.just(BoxRegion(rows=(0, 960), columns=(2, 1280))),
    st.builds(MaskRegion, path=_paths),
)
_trainings = st.builds(
    TrainingRecipe,
    images=st.lists(_paths, min_size=1),
    masks=st.none() | _paths,
    config=st.builds(
        TrainingConfig.preset,
        st.sampled_from(sorted(PRESETS)),
        system=st.sampled_from(["ssim", "l2", "vae", "fmae"]),
        minutes=st.none() | st.floats(1e-9, 1e7),
        seed=st.integers(0, 2**63 - 1),
        weight_decay=st.floats(0, 1),
    ),
    auto_threshold=_thresholds,
    roi=_regions,
    device=st.none() | st.just("cpu"),
)
_detections = st.builds(
    DetectionRecipe,
    images=st.lists(_paths, min_size=1),
    folder=_paths,
    threshold=_thresholds,
    residual=st.sampled_from([None, "ssim", "rarity"]),
    stride=st.none() | st.integers(1, 100),
    roi=_regions,
    segmentation=st.builds(
        SegmentationConfig,
        opening=st.integers(0, 255),
        max_area=st.none() | st.integers(1, 10**9),
        review_threshold=st.none() | _finite,
        hysteresis=st.booleans(),
    ),
    outputs=st.builds(OutputConfig, kinds=st.sampled_from([("mask",), ("residual", "overlay")])),
    pixel_size=st.none() | st.tuples(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9)),
    unit=st.sampled_from(["um", "µm", "pixel"]),
    cluster=st.none() | st.just("tcp://host:8786"),
)


@settings(deadline=None)  # timings never fail a test
@given(model=_paths, training=st.none() | _trainings, detection=_detections)
def test_a_recipe_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    model: Path,
    training: TrainingRecipe | None,
    detection: DetectionRecipe,
) -> None:
    recipe = Recipe(model=model, training=training, detection=detection)
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    write_recipe(recipe, path)
    if os.name == "posix":  # elsewhere /data is on the drive of the recipe
        assert read_recipe(path) == recipe


def _recipe(folder: Path) -> Recipe:
    return Recipe(
        model=folder / "models" / "grün [2].safetensors",
        training=TrainingRecipe(images=[folder / "good parts"], config={"epochs": 3}),
        detection=DetectionRecipe(
            images=[folder / "in*", folder / "a[1].png"],
            folder=folder / "o",
            roi=str(folder / "roi.png"),
        ),
    )


def test_a_recipe_moves_with_its_folder(tmp_path: Path) -> None:
    first, second = tmp_path / "job [a] é", tmp_path / "else"
    first.mkdir()
    for name in ("in1.png", "a[1].png"):
        (first / name).touch()
    write_recipe(_recipe(first), first / "recipe.toml")
    text = (first / "recipe.toml").read_text("utf-8")
    assert str(tmp_path) not in text
    assert 'images = [\n    "good parts",\n]' in text
    detection = read_recipe(first / "recipe.toml").detection
    assert detection is not None
    # Brackets of a folder are no pattern, nor those of a file that is there.
    assert find_images(detection.images) == [first / "in1.png", first / "a[1].png"]
    shutil.move(first, second)
    moved = read_recipe(second / "recipe.toml")
    assert moved == _recipe(second)


def test_where_a_command_is_run_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recipe(_recipe(tmp_path), tmp_path / "recipe.toml")
    monkeypatch.chdir(tmp_path)
    assert read_recipe("recipe.toml") == _recipe(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="another variable there")
def test_the_home_folder_may_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = tmp_path / "recipe.toml"
    path.write_text(
        f'{HEAD}model = "~/m"\n[detection]\nimages = ["~nobody"]\nfolder = "out"\n', "utf-8"
    )
    recipe = read_recipe(path)
    assert recipe.model == tmp_path / "home" / "m"
    assert recipe.detection is not None
    assert recipe.detection.images == (tmp_path / "~nobody",)
    write_recipe(recipe, path)
    assert read_recipe(path) == recipe


def test_a_person_writes_what_differs_from_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(
        f"\ufeff{HEAD}".encode()
        + b'model = "m"\r\n[training]\r\nimages = ["good"]\r\nauto_threshold = "region:20"\r\n'
        b'preset = "best"\r\nconfig = {epochs = 7, residual = {kind = "ssim"}}\r\n'
        b'[detection]\r\nimages = ["parts"]\r\nfolder = "out"\r\nthreshold = 3\r\n'
        b'segmentation = {opening = 0}\r\noutputs = {kinds = ["table", "mask"]}\r\n'
    )
    recipe = read_recipe(path)
    training, detection = recipe.training, recipe.detection
    assert training is not None
    assert training.config == TrainingConfig.preset(
        "best", epochs=7, minutes=None, residual={"kind": "ssim"}
    )
    assert training.auto_threshold == LargestRegionThreshold(area=20)
    assert detection is not None
    assert detection.threshold == FixedThreshold(value=3.0)
    assert detection.segmentation == SegmentationConfig(opening=0)
    assert detection.outputs.kinds == ("mask", "table")


def test_every_setting_is_written(tmp_path: Path) -> None:
    write_recipe(_recipe(tmp_path), tmp_path / "recipe.toml")
    table = tomllib.loads((tmp_path / "recipe.toml").read_text("utf-8"))
    assert table["version"] == RECIPE_VERSION
    training = TrainingConfig.preset("quick", epochs=3).model_dump(mode="json", exclude_none=True)
    assert table["training"]["config"] == training
    settings = SegmentationConfig().model_dump(mode="json", exclude_none=True)
    assert table["detection"]["segmentation"] == settings


def _refusal(path: Path) -> str:
    """Return the one sentence that says what is wrong with a file, and what to do."""
    with pytest.raises(InputError, match=r"^[^\n]+; [^\n]+\.$") as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("model = ", "not valid TOML: Invalid value (at end of document)"),
        ("a" * 5_000_000, "too large for a recipe"),
        ("[" * 100_000, "not valid TOML"),
        ("x = " + "[" * 100_000, "damaged or not a recipe"),
        ("x = " + "1" * 5_000, "damaged or not a recipe"),
        ('model = "m"', "is not a recipe"),
        ('schema = "other"\nversion = 1', "is not a recipe"),
        (HEAD.replace("1", "true"), "is not a recipe"),
        (HEAD.replace("1", "0"), "is not a recipe"),
        (HEAD.replace("1", "2"), "newer version of napari-ssim-defects (recipe 2, this one reads"),
        (HEAD + 'model = "m"', "neither a [training] nor a [detection]"),
        (HEAD + DETECTION, "the setting 'model' is missing"),
        (HEAD + "model = 3\n" + DETECTION, "the setting 'model' is not valid"),
        (HEAD + "model = 2026-01-01\n" + DETECTION, "the setting 'model' is not valid"),
        (HEAD + 'model = "m"\nmodels = 1\n' + DETECTION, "the setting 'models' is not known"),
        (HEAD + 'model = "m"\ndetection = 1', "the setting 'detection' is not valid"),
        (
            HEAD + 'model = "a\\u0000b"\n' + DETECTION,
            "'model' is not valid: the path contains a null",
        ),
    ],
)
def test_what_is_no_recipe_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a recipe.toml"
    path.write_text(text, "utf-8")
    assert said in _refusal(path)


@pytest.mark.parametrize(
    ("section", "name", "value", "said"),
    [
        ("training", "images", [], "'training.images' is not valid"),
        ("training", "images", "good", "'training.images' is not valid"),
        ("training", "images", [1], "'training.images.0' is not valid"),
        ("training", "preset", "fast", "there is no preset 'fast'; choose one of"),
        ("training", "preset", 5, "there is no preset '5'; choose one of"),
        ("training", "config", [], "'training.config' is not valid"),
        ("training", "config", {"epoch": 1}, "'training.config.epoch' is not known"),
        ("training", "config", {"epochs": "1"}, "'training.config.epochs' is not valid"),
        ("training", "config", {"epochs": True}, "'training.config.epochs' is not valid"),
        ("training", "config", {"epochs": 0}, "'training.config.epochs' is not valid"),
        ("training", "config", {"minutes": math.inf}, "'training.config.minutes' is not valid"),
        ("training", "config", {"system": []}, "'training.config.system' is not valid"),
        ("training", "config", {"residual": {"kind": "no"}}, "'training.config.residual' is not"),
        ("training", "auto_threshold", "fpr:2", "'training.auto_threshold' is not valid"),
        ("detection", "threshold", "high", "'high' is not a threshold; give a number, regions:N"),
        ("detection", "threshold", True, "'detection.threshold' is not valid"),
        ("detection", "threshold", math.nan, "'detection.threshold' is not valid"),
        (
            "detection",
            "roi",
            "bottom:x",
            "'bottom:x' is not a region; give margins such as bottom:60",
        ),
        ("detection", "roi", 60, "'detection.roi' is not valid"),
        ("detection", "stride", 0, "'detection.stride' is not valid"),
        ("detection", "stride", 1.5, "'detection.stride' is not valid"),
        ("detection", "report", "yes", "'detection.report' is not valid"),
        ("detection", "pixel_size", [-1.0], "'detection.pixel_size.0' is not valid"),
        ("detection", "outputs", {"kinds": ["film"]}, "'detection.outputs.kinds.0' is not valid"),
        ("detection", "segmentation", {"opening": 4.5}, "'detection.segmentation.opening' is not"),
        ("detection", "speed", 1, "'detection.speed' is not known"),
    ],
)
def test_settings_that_cannot_be_are_named(
    section: str, name: str, value: Any, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.toml"
    write_recipe(_recipe(tmp_path), path)
    table = tomllib.loads(path.read_text("utf-8"))
    table[section][name] = value
    path.write_text(tomli_w.dumps(table), "utf-8")
    assert said in _refusal(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in _refusal(tmp_path)
    assert "There is no" in _refusal(tmp_path / "none.toml")
    (tmp_path / "picture.toml").write_bytes(b"\x89PNG\xff\xfe")
    assert "is not text in UTF-8" in _refusal(tmp_path / "picture.toml")


def test_a_recipe_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "recipe.toml"
    write_recipe(_recipe(tmp_path), path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)  # the disk is found to be full at last
        with pytest.raises(InputError, match="the disk is full"):
            write_recipe(_recipe(tmp_path / "other"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="not valid text"):
        write_recipe(_recipe(Path("/data/\udcff")), path)
    monkeypatch.setattr(recipe_file, "_LARGEST", 100)
    with pytest.raises(InputError, match="too many images"):
        write_recipe(_recipe(tmp_path), path)
    assert path.read_bytes() == before


def test_a_recipe_needs_something_to_do() -> None:
    with pytest.raises(InputError, match="neither"):
        Recipe(model="m")


@pytest.mark.skipif(os.name == "nt", reason="lines are quoted otherwise there")
@pytest.mark.parametrize("roi", ["bottom:60", "0:96,0:80", "/data/roi.png"])
def test_line_and_program_have_the_region_of_interest(roi: str) -> None:
    recipe = DetectionRecipe(images=[Path("/data/a.png")], folder=Path("/data/out"), roi=roi)
    line = detection_line(Path("/data/model.safetensors"), recipe)
    options = argument_parser().parse_args(shlex.split(line)[1:])
    assert options.roi == recipe.roi
    program = detection_program(Path("/data/model.safetensors"), recipe)
    assert f"roi={roi!r}" in program
    compile(program, "program", "exec")
