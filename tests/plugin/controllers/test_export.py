"""Files that the panel writes."""

from __future__ import annotations

import csv
import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_ssim_defects.core.segmentation.segment import segment
from napari_ssim_defects.io.images.image_file import read_image


@pytest.fixture
def export(controller, state, tmp_path, wait_idle):
    def run(*kinds, **choices):
        if kinds:
            state.outputs = state.outputs.replace(kinds=kinds)
        state.outputs = state.outputs.replace(**choices)
        controller.export.start(tmp_path / "results")
        wait_idle()
        return sorted(path.name for path in (tmp_path / "results").glob("*"))

    return run


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_residual_labels_and_table_are_written(
    controller, state, viewer, images, detected, export, tmp_path, wait_idle
):
    (heatmap,) = detected(
        viewer.add_image(images.spoilt(1), name="a/b", scale=(0.5, 0.25), units="um")
    )
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    controller.save_model(tmp_path / "fibres")  # after it was used
    wait_idle()
    assert export() == ["a_b.labels.ome.tif", "a_b.residual.ome.tif", "regions.csv"]
    folder = tmp_path / "results"
    np.testing.assert_array_equal(tifffile.imread(folder / "a_b.residual.ome.tif"), heatmap.data)
    expected = segment(heatmap.data, state.threshold, **state.segmentation.model_dump())
    np.testing.assert_array_equal(tifffile.imread(folder / "a_b.labels.ome.tif"), expected)
    table = rows(folder / "regions.csv")
    assert len(table) == expected.max()
    assert {row["image"] for row in table} == {"a/b"}
    created = state.model.provenance["created"]
    made = {("fibres", created, str(state.threshold))}
    assert {(row["model"], row["model_created"], row["threshold"]) for row in table} == made
    assert float(table[0]["area"]) == pytest.approx(0.125 * int(table[0]["area_px"]))
    assert table[0]["area_unit"] == "µm²"
    for name in ("residual", "labels"):
        with tifffile.TiffFile(folder / f"a_b.{name}.ome.tif") as file:
            assert 'PhysicalSizeY="0.5"' in file.ome_metadata
            assert 'PhysicalSizeX="0.25"' in file.ome_metadata
    assert state.status.startswith("Wrote 3 files")


def test_created_labels_are_what_is_written(
    controller, state, viewer, images, detected, export, tmp_path, wait_idle
):
    (heatmap,) = detected(viewer.add_image(images.spoilt(1), name="image"))
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    controller.labelling.start()
    wait_idle()
    layer = viewer.layers["image defects"]
    layer.data[layer.data == 1] = 0  # a person erased a region
    state.threshold = 0.0
    export()
    written = tifffile.imread(tmp_path / "results" / "image.labels.ome.tif")
    np.testing.assert_array_equal(written, layer.data)
    table = rows(tmp_path / "results" / "regions.csv")
    assert [int(row["label"]) for row in table] == sorted(set(np.unique(layer.data)) - {0})


def test_labels_of_an_older_heatmap_are_not_written(
    controller, state, viewer, images, detected, export, tmp_path, wait_idle
):
    image = viewer.add_image(images.spoilt(1), name="image")
    (heatmap,) = detected(image)
    state.threshold = float(np.quantile(heatmap.data, 0.5))
    controller.labelling.start()
    wait_idle()
    state.threshold = float(np.quantile(heatmap.data, 0.95))
    detected(image)
    export()
    written = tifffile.imread(tmp_path / "results" / "image.labels.ome.tif")
    expected = segment(heatmap.data, state.threshold, **state.segmentation.model_dump())
    np.testing.assert_array_equal(written, expected)


def test_only_what_is_ticked_is_written(viewer, images, detected, export, state):
    detected(viewer.add_image(images.texture(1), name="image"))
    assert export("table") == ["regions.csv"]
    assert state.status.startswith("Wrote 1 file ")


def test_nothing_ticked_is_refused(viewer, images, detected, export, state):
    detected(viewer.add_image(images.texture(1), name="image"))
    assert export(kinds=()) == []
    assert "No output is chosen" in state.status


def test_equal_names_get_files_of_their_own(state, viewer, images, detected, export):
    first = viewer.add_image(images.texture(1), name="image")
    second = viewer.add_image(images.texture(2), name="IMAGE")
    detected(first, second)
    assert export("residual") == [
        "IMAGE-2.residual.ome.tif",
        "image.residual.ome.tif",
    ]


def test_no_heatmap_is_told(controller, state, tmp_path):
    controller.export.start(tmp_path)
    assert "Choose at least one heatmap" in state.status


def test_stacks_are_written_whole(state, viewer, images, detected, export, tmp_path):
    (heatmap,) = detected(viewer.add_image(images.spoilt(1, (2, 64, 64)), name="stack"))
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    export()
    assert tifffile.imread(tmp_path / "results" / "stack.residual.ome.tif").shape == (2, 64, 64)
    planes = {row["plane"] for row in rows(tmp_path / "results" / "regions.csv")}
    assert planes == {"0", "1"}


def test_mask_and_overlay_show_all_regions(state, viewer, images, detected, export, tmp_path):
    (heatmap,) = detected(viewer.add_image(images.spoilt(1), name="image"))
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    assert export("labels", "mask", "overlay") == [
        "image.labels.ome.tif", "image.mask.ome.tif", "image.overlay.png",
    ]  # fmt: skip
    folder = tmp_path / "results"
    labels = tifffile.imread(folder / "image.labels.ome.tif")
    mask = tifffile.imread(folder / "image.mask.ome.tif")
    np.testing.assert_array_equal(mask, np.where(labels, 255, 0))
    picture = read_image(folder / "image.overlay.png").data
    assert picture.shape == (96, 80, 3)
    np.testing.assert_array_equal(picture[..., 0][labels > 0], images.spoilt(1)[labels > 0])


def test_each_plane_of_a_stack_gets_a_picture(viewer, images, detected, export):
    detected(viewer.add_image(images.spoilt(1, (2, 64, 64)), name="stack"))
    assert export("overlay") == ["stack.overlay-0.png", "stack.overlay-1.png"]


def test_files_that_are_there_stay_until_replacing_is_allowed(
    state, viewer, images, detected, export, tmp_path
):
    first = detected(viewer.add_image(images.texture(1), name="first"))
    names = export()
    before = (tmp_path / "results" / "regions.csv").read_bytes()
    state.export_layers = tuple(detected(viewer.add_image(images.spoilt(1), name="second")))
    state.threshold = 0.0
    assert export() == names
    assert "'regions.csv' is already in" in state.status
    assert (tmp_path / "results" / "regions.csv").read_bytes() == before
    state.replace_files = True
    assert len(export()) == 5
    assert (tmp_path / "results" / "regions.csv").read_bytes() != before
    state.replace_files, state.export_layers = False, tuple(first)
    export("residual", "labels")
    assert "'first.residual.ome.tif' and 1 more are already in" in state.status


def test_files_are_named_after_the_file_of_the_image(viewer, images, detected, export, tmp_path):
    from napari.layers._source import layer_source

    with layer_source(path=str(tmp_path / "weave.03.ome.tif")):  # as if napari had opened it
        layer = viewer.add_image(images.spoilt(1), name="weave.03.ome")
    detected(layer)
    assert export() == ["regions.csv", "weave.03.labels.ome.tif", "weave.03.residual.ome.tif"]


def test_the_verdict_of_committed_regions_is_kept(
    controller, state, viewer, images, detected, export, tmp_path, wait_idle
):
    (heatmap,) = detected(viewer.add_image(images.spoilt(1), name="image"))
    state.threshold = float(heatmap.data.max()) + 1
    state.segmentation = state.segmentation.replace(
        review_threshold=float(np.quantile(heatmap.data, 0.9))
    )
    controller.labelling.start()
    wait_idle()
    export("table", "overlay")
    verdicts = {row["verdict"] for row in rows(tmp_path / "results" / "regions.csv")}
    assert verdicts == {"review"}
    picture = read_image(tmp_path / "results" / "image.overlay.png").data
    assert (picture == (89, 242, 89)).all(axis=-1).any()
    assert not (picture == (26, 230, 255)).all(axis=-1).any()


@pytest.mark.parametrize(
    ("code", "sentence"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permission denied")]
)
def test_a_folder_that_takes_no_files_is_one_sentence(
    code, sentence, state, viewer, images, detected, export, monkeypatch
):
    detected(viewer.add_image(images.spoilt(1), name="image"))

    def refuse(self, *arguments, **options):
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "touch", refuse)
    assert export() == []
    assert state.status_is_error
    assert sentence in state.status
    assert state.status.count("\n") == 0


def test_more_regions_than_imagej_has_numbers_for_are_one_sentence(
    controller, state, viewer, images, detected, export, wait_idle
):
    (heatmap,) = detected(viewer.add_image(images.spoilt(1), name="image"))
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    controller.labelling.start()
    wait_idle()
    viewer.layers["image defects"].data[0, 0] = 70_000
    assert export(format="imagej") == []
    assert "65535" in state.status
    assert "choose OME-TIFF" in state.status
    assert len(export(format="ome")) == 3


def test_a_heatmap_that_lost_its_image_has_no_overlay_and_everything_else(
    state, viewer, images, detected, export
):
    lost, kept = (viewer.add_image(images.spoilt(n), name=f"part {n}") for n in (1, 2))
    detected(lost, kept)
    viewer.layers.remove(lost)
    assert export("residual", "overlay") == [
        "part 1.residual.ome.tif", "part 2.overlay.png", "part 2.residual.ome.tif",
    ]  # fmt: skip
    assert "No overlay of 'part 1': the image is no longer open." in state.status
    assert not state.status_is_error


def test_scale_and_position_of_a_turned_layer_are_measured_in_the_world(
    viewer, images, detected, export, tmp_path
):
    layer = viewer.add_image(
        images.spoilt(1), name="image", scale=(0.5, 0.25), units="um", rotate=30, translate=(0.1, 7)
    )
    detected(layer)
    export("residual")
    assert read_image(tmp_path / "results" / "image.residual.ome.tif").pixel_size == (0.5, 0.25)
