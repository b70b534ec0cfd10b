"""Files that the panel writes."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import tifffile

from napari_ssim_defects.core.segmentation import segment


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


def test_residual_labels_and_table_are_written(state, viewer, images, detected, export, tmp_path):
    (heatmap,) = detected(
        viewer.add_image(images.spoilt(1), name="a/b", scale=(0.5, 0.25), units="um")
    )
    state.threshold = float(np.quantile(heatmap.data, 0.9))
    assert export() == ["a_b.labels.ome.tif", "a_b.residual.ome.tif", "regions.csv"]
    folder = tmp_path / "results"
    np.testing.assert_array_equal(tifffile.imread(folder / "a_b.residual.ome.tif"), heatmap.data)
    expected = segment(heatmap.data, state.threshold, **state.segmentation.model_dump())
    np.testing.assert_array_equal(tifffile.imread(folder / "a_b.labels.ome.tif"), expected)
    table = rows(folder / "regions.csv")
    assert len(table) == expected.max()
    assert {row["image"] for row in table} == {"a/b"}
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
    assert "Nothing is chosen to be written" in state.status


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
