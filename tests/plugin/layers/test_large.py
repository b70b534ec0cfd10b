"""Layers that are larger than memory: heatmaps that grow, and labels on disk."""

from __future__ import annotations

import csv
import gc

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_ssim_defects.core.images import tiles
from napari_ssim_defects.core.model.thresholds import FalsePositiveRateThreshold
from napari_ssim_defects.core.segmentation.segment import segment
from napari_ssim_defects.io.files import pyramid
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.scale import file_detection

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    """Every image counts as too large for memory, and small ones have many blocks."""
    monkeypatch.setattr(tiles, "SIDE", 64)
    monkeypatch.setattr(file_detection, "_LARGEST_IN_MEMORY", 0)
    for name, value in (("LARGE_SIDE", 200), ("_SMALLEST_SIDE", 64)):
        monkeypatch.setattr(pyramid, name, value)


@pytest.fixture
def model(grey_model):
    return grey_model


@pytest.fixture
def plane(material):
    image = material(3, (203, 310))
    image[55:72, 180:260] = 255
    return image


def on_disk(image, folder):
    array = zarr.create_array(folder / "image.zarr", data=image, chunks=(64,) * image.ndim)
    return da.from_zarr(array)


def scratch_folders(folder):
    return list((folder / "data" / "scratch").glob("*"))


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
def test_the_heatmap_has_the_values_that_it_has_in_memory(
    viewer, detected, plane, model, tmp_path, kind
):
    image = plane if kind == "numpy" else on_disk(plane, tmp_path)
    if kind == "zarr":
        image = zarr.open(tmp_path / "image.zarr")
    layer = viewer.add_image(image, scale=(0.5, 0.25), units="um", translate=(3, 4), name="scan")
    (heatmap,) = detected(layer)
    assert heatmap.multiscale
    np.testing.assert_array_equal(heatmap.data[0][:], model.residual(plane, device="cpu"))
    assert [level.shape for level in heatmap.data] == [(203, 310), (101, 155), (50, 77), (25, 38)]
    assert tuple(heatmap.scale) == (0.5, 0.25)
    assert tuple(heatmap.translate) == (3, 4)
    assert heatmap.units == layer.units
    assert tuple(heatmap.contrast_limits) == pytest.approx(model.contrast_limits)
    assert heatmap.contrast_limits_range[1] >= heatmap.data[0][:].max()


def test_what_is_in_sight_comes_first_and_is_shown_before_the_rest(
    viewer, controller, state, plane, model, qtbot, wait_idle
):
    camera = getattr(viewer, "scene", viewer).camera
    layer = viewer.add_image(plane)
    camera.center = (0, 190, 300)
    state.model, state.detection_layers = model, (layer,)
    controller.detection.start()
    qtbot.waitUntil(lambda: state.heatmap is not None, timeout=30_000)
    store = state.heatmap.metadata["napari-ssim-defects"]["large"].store
    qtbot.waitUntil(lambda: store.highest > 0, timeout=30_000)
    assert np.isfinite(store.sample[-1, -1])
    wait_idle()
    assert store.left == 0
    assert state.histogram is not None
    assert state.histogram[0].sum() == np.count_nonzero(
        store.sample <= state.heatmap.contrast_limits_range[1]
    )


def test_a_stopped_heatmap_is_not_labelled_and_goes_on(
    viewer, controller, state, plane, model, qtbot, wait_idle
):
    layer = viewer.add_image(plane)
    state.model, state.detection_layers = model, (layer,)
    controller.detection.start()
    qtbot.waitUntil(lambda: state.heatmap is not None, timeout=30_000)
    heatmap = state.heatmap
    controller.stop()
    store = heatmap.metadata["napari-ssim-defects"]["large"].store
    if store.left:
        controller.labelling.start()
        assert state.status_is_error
        assert "press Detect to continue it" in state.status
    controller.detection.start()
    wait_idle()
    assert state.heatmap is heatmap
    np.testing.assert_array_equal(heatmap.data[0][:], model.residual(plane, device="cpu"))


def test_the_threshold_is_followed_where_one_looks(viewer, detected, plane, state):
    (heatmap,) = detected(viewer.add_image(plane))
    residual = heatmap.data[0][:]
    preview = viewer.layers["plane threshold"]
    for quantile in (0.9, 0.99):
        state.threshold = float(np.quantile(residual, quantile))
        part = slice(40, 90), slice(150, 280)
        np.testing.assert_array_equal(preview.data[0][part], residual[part] > state.threshold)
        for level, smaller in zip(preview.data, heatmap.data, strict=True):
            np.testing.assert_array_equal(np.asarray(level), smaller[:] > state.threshold)
    assert state.summary is None
    assert state.fraction_above == pytest.approx(np.mean(residual > state.threshold))
    low = float(np.quantile(residual, 0.5))
    state.segmentation = state.segmentation.replace(review_threshold=low)
    expected = (residual > low).astype(int) * 2
    expected[residual > state.threshold] = 1
    np.testing.assert_array_equal(preview.data[0][:], expected)


def test_labels_are_those_of_memory_and_numbered_across_blocks(
    viewer, controller, state, detected, plane, model, wait_idle
):
    state.segmentation = state.segmentation.replace(opening=2, min_area=4)
    (heatmap,) = detected(viewer.add_image(plane, scale=(0.5, 0.5), units="um"))
    state.threshold = model.calibration.threshold(0.05)
    controller.labelling.start()
    wait_idle()
    labels = viewer.layers["plane defects"]
    expected = segment(heatmap.data[0][:], state.threshold, **state.segmentation.model_dump())
    np.testing.assert_array_equal(labels.data[0][:], expected)
    assert not labels.editable
    assert tuple(labels.scale) == (0.5, 0.5)
    assert len(state.regions) == expected.max() > 1
    areas = np.bincount(expected.ravel())[1:]
    np.testing.assert_array_equal(state.regions.columns["area_px"], areas)
    controller.regions.select(1)
    assert state.selected_region == (0, 2)

    state.threshold = model.calibration.threshold(0.2)
    controller.labelling.start()
    wait_idle()
    assert sum(layer.name == "plane defects" for layer in viewer.layers) == 1
    assert len(state.regions) != expected.max()


def test_stacks_show_the_plane_in_sight_first(
    viewer, controller, state, material, model, qtbot, wait_idle, tmp_path
):
    stack = material(3, (5, 90, 100), spoilt=True)
    layer = viewer.add_image(on_disk(stack, tmp_path), name="film", scale=(2, 1, 1))
    viewer.dims.set_current_step(0, 3)
    state.model, state.detection_layers = model, (layer,)
    controller.detection.start()
    qtbot.waitUntil(lambda: state.heatmap is not None, timeout=30_000)
    store = state.heatmap.metadata["napari-ssim-defects"]["large"].store
    qtbot.waitUntil(lambda: store.highest > 0, timeout=30_000)
    assert np.isfinite(store.sample[3]).any()
    wait_idle()
    heatmap = state.heatmap
    np.testing.assert_array_equal(heatmap.data[:], model.residual(stack, device="cpu"))
    assert tuple(heatmap.scale) == (2, 1, 1)
    state.threshold = model.calibration.threshold(0.05)
    controller.labelling.start()
    wait_idle()
    expected = segment(heatmap.data[:], state.threshold, **state.segmentation.model_dump())
    np.testing.assert_array_equal(viewer.layers["film defects"].data[:], expected)


def test_reconstructions_are_left_out_and_that_is_said(viewer, state, detected, plane):
    state.keep_reconstruction = True
    detected(viewer.add_image(plane))
    assert "left out" in state.status
    assert "plane reconstruction" not in viewer.layers


def test_a_part_that_cannot_be_used_does_not_stop_the_next_image(
    viewer, controller, state, plane, model, wait_idle
):
    bad = plane.astype(np.float32)
    bad[100, 100] = np.inf
    layers = viewer.add_image(bad, name="bad", contrast_limits=(0, 255)), viewer.add_image(plane)
    state.model, state.detection_layers = model, layers
    controller.detection.start()
    wait_idle()
    assert "'bad'" in state.status
    assert "plane residual" in viewer.layers


def test_disk_space_is_given_back_with_the_layers(
    viewer, controller, state, detected, plane, wait_idle, tmp_path, qtbot
):
    left = tmp_path / "data" / "scratch" / "99999999-dead"
    left.mkdir(parents=True)
    detected(viewer.add_image(plane))
    assert not left.exists()
    state.threshold = 0.5
    controller.labelling.start()
    wait_idle()
    assert len(scratch_folders(tmp_path)) == 2
    viewer.layers.clear()
    viewer.add_image(np.zeros((8, 8)))  # napari remembers the layer that was selected last

    def gone():
        gc.collect()
        assert not scratch_folders(tmp_path)

    qtbot.waitUntil(gone, timeout=5000)


@pytest.mark.parametrize("labelled", [False, True])
def test_files_are_those_of_an_image_in_memory(
    viewer, controller, state, detected, plane, model, wait_idle, tmp_path, labelled
):
    (heatmap,) = detected(viewer.add_image(plane, name="scan"))
    state.threshold = model.calibration.threshold(0.05)
    state.segmentation = state.segmentation.replace(opening=2)
    if labelled:
        controller.labelling.start()
        wait_idle()
    controller.export.start(tmp_path / "out")
    wait_idle()
    expected = segment(heatmap.data[0][:], state.threshold, **state.segmentation.model_dump())
    written = read_image(tmp_path / "out" / "scan.labels.ome.tif").data
    np.testing.assert_array_equal(written, expected)
    residual = read_image(tmp_path / "out" / "scan.residual.ome.tif").data
    np.testing.assert_array_equal(residual, heatmap.data[0][:])
    with (tmp_path / "out" / "regions.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["area_px"]) for row in rows] == np.bincount(expected.ravel())[1:].tolist()


def test_what_takes_all_pixels_at_once_is_refused_in_a_sentence(
    viewer, controller, state, detected, plane
):
    (heatmap,) = detected(viewer.add_image(plane))
    state.truth_layer = viewer.add_labels(np.ones(plane.shape, np.uint8))
    controller.evaluation.start()
    assert "larger than memory" in state.status
    state.good_layer = heatmap
    controller.proposals.propose(FalsePositiveRateThreshold())
    assert "larger than memory" in state.status
