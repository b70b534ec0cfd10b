"""The copied command and the copied program give the files that the panel exports."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from napari.layers._source import layer_source
from PIL import Image

from napari_ssim_defects.cli import main
from napari_ssim_defects.io.images import read_image
from napari_ssim_defects.io.tiff import write_ome_tiff

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


def assert_same_files(folder: Path, other: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in other.glob("[!.]*"))  # a command notes its steps
    assert (folder / "regions.csv").read_text().count("\n") > 1
    for name in names:
        if name.endswith(".tif"):  # which hold the time
            first, second = read_image(folder / name), read_image(other / name)
            np.testing.assert_array_equal(first.data, second.data)
            assert first.data.dtype == second.data.dtype
            assert first.spatial == second.spatial
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
    state.outputs = state.outputs.replace(tiff=tiff)
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
