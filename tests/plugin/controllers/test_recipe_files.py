"""What is copied from the panel, or saved as a recipe, gives the files that the panel exports."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from napari.layers._source import layer_source
from PIL import Image

from napari_ssim_defects.cli import main
from napari_ssim_defects.core.config import OutputConfig, SegmentationConfig
from napari_ssim_defects.core.model.defect_model import DefectModel
from napari_ssim_defects.io.artifacts.recipe import read_recipe, write_recipe
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.io.writers.ome_tiff import write_ome_tiff

pytestmark = pytest.mark.slow

EVERYTHING = ("residual", "labels", "mask", "table", "overlay")


@pytest.fixture
def opened(viewer, images, tmp_path):
    """Open an image as a file whose name needs quotes in a shell; returns its layer."""

    def add(name="it's bad.png", seed=1, **spatial):
        path, pixels = tmp_path / "in" / name, images.spoilt(seed)
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".png":
            Image.fromarray(pixels).save(path)
        else:
            write_ome_tiff(path, pixels, pixel_size=(0.5, 0.25), unit="um")
        with layer_source(path=str(path)):  # as if napari had opened it
            return viewer.add_image(pixels, name=path.stem, **spatial)

    return add


@pytest.fixture
def ready(controller, state, detected, tmp_path, wait_idle):
    """Detect layers with a saved model, at a threshold with regions; everything is exported."""

    def run(*layers):
        heatmaps = detected(*layers)
        controller.save_model(tmp_path / "model")
        wait_idle()
        state.threshold = float(np.quantile(heatmaps[0].data, 0.9))
        state.outputs = state.outputs.replace(kinds=EVERYTHING)
        state.export_folder = tmp_path / "panel"
        return heatmaps

    return run


@pytest.fixture
def copy(controller, wait_idle):
    def run(language):
        texts = []
        controller.export.copy(language, texts.append)
        wait_idle()
        return texts[0] if texts else None

    return run


def table_without_model(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [{**row, "model": "", "model_created": ""} for row in rows]


def assert_same_files(folder: Path, other: Path, *, same_model: bool = True) -> None:
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in other.glob("[!.]*"))  # a command notes its steps
    assert (folder / "regions.csv").read_text().count("\n") > 1
    for name in names:
        if name.endswith(".tif"):  # which hold the time
            first, second = read_image(folder / name), read_image(other / name)
            np.testing.assert_array_equal(first.data, second.data)
            assert first.data.dtype == second.data.dtype
            assert first.spatial == second.spatial
        elif name.endswith(".csv") and not same_model:
            assert table_without_model(folder / name) == table_without_model(other / name)
        else:
            assert (folder / name).read_bytes() == (other / name).read_bytes()


def repeat(language: str, text: str, folder: Path) -> None:
    """Run a copied recipe into another folder than the panel's."""
    text = text.replace(str(folder.with_name("panel")), str(folder))
    if language == "command":
        assert main(shlex.split(text)[1:]) == 0
    else:
        exec(compile(text, "copied", "exec"), {})


@pytest.mark.parametrize("language", ["command", "script"])
@pytest.mark.parametrize("tiff", ["ome", "imagej"])
def test_what_is_copied_writes_the_files_of_the_panel(
    language, tiff, controller, state, opened, ready, copy, tmp_path, wait_idle, capsys
):
    ready(opened(), opened("weave.png", 2))
    state.segmentation = state.segmentation.replace(
        opening=2, closing=3, max_area=7680, review_threshold=state.threshold * 0.95
    )
    state.outputs = state.outputs.replace(format=tiff)
    controller.export.start()
    wait_idle()
    text = copy(language)
    assert state.status.startswith("Copied the ")
    repeat(language, text, tmp_path / "again")
    assert_same_files(tmp_path / "panel", tmp_path / "again")


@pytest.mark.parametrize(
    ("name", "spatial", "said"),
    [
        ("weave.png", {"scale": (0.5, 0.25), "units": ("mm", "mm")}, "--pixel-size 0.5,0.25"),
        ("weave.ome.tif", {}, "--unit pixel"),  # napari's reader loses the scale of the file
        ("weave.ome.tif", {"scale": (0.5, 0.25), "units": ("um", "um")}, None),
    ],
)
def test_the_scale_is_that_of_the_layer(
    name, spatial, said, controller, opened, ready, copy, tmp_path, wait_idle, capsys
):
    ready(opened(name, **spatial))
    controller.export.start()
    wait_idle()
    text = copy("command")
    assert said in text if said else "--pixel-size" not in text
    repeat("command", text, tmp_path / "again")
    assert_same_files(tmp_path / "panel", tmp_path / "again")


def test_committed_labels_are_repeated_as_they_were_made(
    controller, state, opened, ready, copy, tmp_path, wait_idle, capsys
):
    ready(opened())
    controller.labelling.start()
    wait_idle()
    state.threshold *= 1.5
    controller.export.start()
    wait_idle()
    repeat("command", copy("command"), tmp_path / "again")
    assert_same_files(tmp_path / "panel", tmp_path / "again")


def test_what_cannot_be_repeated_is_said_in_one_sentence(
    controller, state, viewer, images, opened, ready, detected, copy, tmp_path, wait_idle, model
):
    layer = opened()
    detected(layer)
    assert copy("command") is None
    assert state.status.startswith("Save the model first")

    ready(layer)
    assert copy("command") is not None
    controller.labelling.start()
    wait_idle()
    labels = viewer.layers[-1]
    labels.data[:3] = 99
    assert copy("command") is None
    assert "painted by hand" in state.status
    state.outputs = state.outputs.replace(kinds=("residual",))
    assert copy("command") is not None

    layer.data = images.texture(5)
    assert copy("command") is None
    assert "differs from its file" in state.status
    viewer.layers.remove(layer)
    assert copy("command") is None
    assert "open its file" in state.status

    (other,) = ready(viewer.add_image(images.spoilt(1), name="drawn"))
    state.export_layers = (other,)
    assert copy("script") is None
    assert "'drawn' has no file; save the layer" in state.status
    state.export_layers = ()
    assert copy("script") is None
    assert "Choose at least one heatmap" in state.status


def test_heatmaps_with_thresholds_of_their_own_are_copied_one_at_a_time(
    state, viewer, opened, ready, copy
):
    first, second = ready(opened(), opened("weave.png", 2))
    getattr(viewer, "canvas", viewer).grid.enabled = True  # both are in sight; 0.9, 0.7
    first.visible = second.visible = True
    state.shared_threshold = False
    state.heatmap = first
    state.threshold *= 1.1
    assert copy("command") is None
    assert "different thresholds" in state.status
    state.export_layers = (first,)
    assert copy("command") is not None


# Recipes


@pytest.fixture
def good(viewer, images, tmp_path):
    """Open an image without defects as a file; returns its layer."""

    def add(name="good é.png", seed=1, rgb=False, planes=0, **place):
        path = tmp_path / "good" / name
        path.parent.mkdir(exist_ok=True)
        pixels = images.texture(seed, (planes, 96, 80) if planes else (96, 80))
        if planes:
            write_ome_tiff(path, pixels, axes="TYX")
        else:
            pixels = np.stack([pixels, pixels[::-1], pixels], -1) if rgb else pixels
            Image.fromarray(pixels).save(path)
        with layer_source(path=str(path)):
            return viewer.add_image(pixels, name=path.stem, **place)

    return add


@pytest.fixture
def trained(controller, state, wait_idle):
    """Train in the panel on layers."""

    def train(*layers):
        state.training_layers = layers
        controller.training.start()
        wait_idle()

    return train


@pytest.fixture
def save(controller, state, wait_idle, tmp_path):
    """Save a recipe; returns it as it is read again."""

    def run(name="job/the recipe.toml"):
        controller.recipes.save(tmp_path / name)
        wait_idle()
        assert state.status.startswith("Saved the recipe of "), state.status
        return read_recipe(tmp_path / name)

    return run


def weights_of(model):
    return {name: tensor.numpy() for name, tensor in model.network.state_dict().items()}


@pytest.mark.parametrize("saved", [False, True])
def test_a_saved_recipe_does_the_whole_job_of_the_panel(
    saved, controller, state, good, opened, trained, detected, save, tmp_path, wait_idle, capsys
):
    trained(good(), good("weave.tif", 2))
    detected_with = state.model
    image = opened(scale=(0.5, 0.25), units=("mm", "mm"))
    state.detection_layers = (image,)
    state.stride = 8
    controller.detection.start()
    wait_idle()
    state.threshold = float(np.quantile(state.heatmap.data, 0.9))
    state.segmentation = state.segmentation.replace(opening=2, max_area=7680)
    state.outputs = state.outputs.replace(kinds=EVERYTHING)
    state.export_folder = tmp_path / "panel"
    if saved:
        controller.save_model(tmp_path / "model")
        wait_idle()
    controller.export.start()
    wait_idle()
    recipe = save()
    assert state.status.endswith(f"training and detection to '{tmp_path / 'job/the recipe.toml'}'.")
    assert recipe.training.config == state.config
    assert recipe.model == tmp_path / f"{'model' if saved else 'job/the recipe'}.safetensors"
    (tmp_path / "panel").rename(tmp_path / "exported")
    capsys.readouterr()  # napari says its notifications there
    assert main(["run", str(tmp_path / "job" / "the recipe.toml"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    # A model of the panel that was saved is that of the recipe.
    assert result["training"]["earlier"] is saved
    assert_same_files(tmp_path / "exported", tmp_path / "panel", same_model=saved)
    again = weights_of(DefectModel.load(recipe.model))
    for name, weights in weights_of(detected_with).items():
        np.testing.assert_array_equal(weights, again[name])


@pytest.mark.parametrize("kind", ["rgb", "stack"])
def test_a_region_becomes_masks_of_the_recipe(
    kind, controller, state, viewer, good, trained, save, tmp_path, wait_idle, capsys
):
    first = good("a.png", rgb=True) if kind == "rgb" else good("a.ome.tif", planes=3)
    second = good("b.png", 2, rgb=kind == "rgb")
    half = np.zeros((96, 80), np.uint8)
    half[:, :50] = 1
    state.region_layer = viewer.add_labels(half)
    trained(first, second)
    controller.save_model(tmp_path / "model")
    wait_idle()
    recipe = save()
    assert recipe.training.masks == tmp_path / "job" / "the recipe-masks"
    capsys.readouterr()  # napari says its notifications there
    assert main(["run", str(tmp_path / "job" / "the recipe.toml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["earlier"] is True
    state.region_layer = None
    assert save().training is not None  # of another model, which is not there yet


def test_a_recipe_sets_the_panel(
    controller, state, viewer, good, opened, trained, save, tmp_path, wait_idle
):
    layer, image = good(), opened()
    trained(layer)
    state.detection_layers = (image,)
    controller.save_model(tmp_path / "model")
    wait_idle()
    state.stride = 8
    state.segmentation = state.segmentation.replace(opening=7)
    state.outputs = state.outputs.replace(kinds=("mask",), format="imagej")
    state.export_folder = tmp_path / "out"
    recipe = save()
    detection = recipe.detection.replace(threshold="quantile:0.9", report=True, cluster="tcp://a:1")
    write_recipe(recipe.replace(detection=detection), tmp_path / "other.toml")

    state.config = state.config.replace(seed=7)
    state.training_layers = state.detection_layers = ()
    state.stride, state.model, state.model_path = None, None, None
    state.segmentation, state.outputs = SegmentationConfig(), OutputConfig()
    state.export_folder = tmp_path
    controller.recipes.open(tmp_path / "other.toml")
    wait_idle()
    assert state.config == recipe.training.config
    assert (state.training_layers, state.detection_layers) == ((layer,), (image,))
    assert (state.stride, state.segmentation.opening) == (8, 7)
    assert (state.outputs.kinds, state.outputs.format) == (("mask",), "imagej")
    assert state.export_folder == tmp_path / "out"
    assert state.model_path == tmp_path / "model.safetensors"
    assert state.threshold == state.model.calibration.threshold(0.1)
    assert "2 of 2 images are open and selected" in state.status
    controller.detection.start()
    wait_idle()
    assert state.threshold == state.auto_threshold == state.model.calibration.threshold(0.1)
    state.export_layers = ()
    assert save("again.toml").detection == detection  # nothing that the panel does not show is lost


def test_a_model_that_is_trained_by_an_opened_recipe_takes_its_threshold(
    controller, state, good, opened, trained, save, tmp_path, wait_idle
):
    layer = good()
    state.training_layers, state.detection_layers = (layer,), (opened(),)
    recipe = save()
    assert recipe.model == tmp_path / "job" / "the recipe.safetensors"
    write_recipe(
        recipe.replace(detection=recipe.detection.replace(threshold=0.3)), tmp_path / "r.toml"
    )
    controller.recipes.open(tmp_path / "r.toml")
    wait_idle()
    assert "no model yet" in state.status
    assert save("again.toml").detection.threshold.value == 0.3
    trained(layer)
    assert state.model.auto_threshold == 0.3
    controller.detection.start()
    wait_idle()
    assert state.threshold == 0.3


def test_what_no_recipe_can_repeat_is_said_in_one_sentence(
    controller, state, viewer, images, good, opened, trained, save, tmp_path, wait_idle
):
    def refusal():
        controller.recipes.save(tmp_path / "recipe")
        wait_idle()
        assert state.status_is_error
        assert not (tmp_path / "recipe.toml").exists()
        return state.status

    assert refusal().startswith("Choose images in Train or in Detect")
    state.detection_layers = (opened(),)
    assert refusal().startswith("There is no model to detect with")
    drawn = viewer.add_image(images.texture(3), name="drawn")
    state.training_layers = (drawn,)
    assert "'drawn' has no file; save the layer" in refusal()
    layer, other = good(), good("other.png", 2)
    trained(layer)
    state.training_layers = (other,)
    assert "save it first (Detect, Save …), or choose them again" in refusal()
    layer.data = images.texture(5)
    state.training_layers = (layer,)
    assert "differs from its file" in refusal()
    stack = good("channels.ome.tif", planes=3)
    write_ome_tiff(tmp_path / "good" / "channels.ome.tif", stack.data, axes="CYX")
    state.training_layers = (stack,)
    assert "has channels in its file" in refusal()
    state.training_layers = (other,)
    controller.save_model(tmp_path / "model")
    wait_idle()
    recipe = save("recipe.toml")
    assert state.status.endswith("the model was made by another one.")
    assert recipe.training is None
    assert recipe.model == tmp_path / "model.safetensors"


def test_a_bad_recipe_changes_nothing(controller, state, tmp_path, wait_idle):
    before = state.config, state.segmentation, state.outputs, state.export_folder, state.model
    path = tmp_path / "recipe.toml"
    path.write_text("schema = 1")
    for file in (path, tmp_path, tmp_path / "none.toml"):
        controller.recipes.open(file)
        wait_idle()
        assert state.status_is_error
        assert str(file) in state.status
    assert before == (
        state.config, state.segmentation, state.outputs, state.export_folder, state.model
    )  # fmt: skip


def test_regions_that_are_marked_good_cannot_be_left_out_by_a_command(
    controller, state, opened, ready, copy, tmp_path, wait_idle
):
    ready(opened())
    controller.labelling.start()
    wait_idle()
    threshold = state.threshold
    controller.corrections.mark([0], "good")
    state.threshold = threshold
    controller.save_model(tmp_path / "model")
    wait_idle()
    assert copy("command") is None
    assert "are marked good, which a recipe cannot exclude" in state.status
    controller.corrections.undo()
    controller.save_model(tmp_path / "model")
    wait_idle()
    assert copy("command") is not None
