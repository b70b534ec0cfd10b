"""A region of interest in the panel, and what it says about images on its own."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from napari_builtins.io import napari_get_reader
from PIL import Image

from napari_ssim_defects.core.model import defect_model
from napari_ssim_defects.io.artifacts.recipe import read_recipe
from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.plugin.layers.provenance import inspected_area


def barred(image, rows=12):
    """An image with a data bar below: white text on black."""
    bar = np.zeros((rows, image.shape[1]), np.uint8)
    bar[3:9, 4:60:3] = 255
    return np.vstack([image, bar])


def rectangle(viewer, bottom, right, **options):
    corners = [[-0.5, -0.5], [-0.5, right - 0.5], [bottom - 0.5, right - 0.5], [bottom - 0.5, -0.5]]
    return viewer.add_shapes([np.array(corners)], shape_type="polygon", name="part", **options)


@pytest.fixture
def inspected(controller, state, viewer, images, model, wait_idle):
    """A heatmap of a spoilt image with a data bar, of which only the image is inspected."""
    image = viewer.add_image(barred(images.spoilt(6)), name="bad")
    state.inspected_layer = rectangle(viewer, 96, 80)
    state.model, state.detection_layers = model, (image,)
    controller.detection.start()
    wait_idle()
    assert not state.status_is_error, state.status
    return state.heatmap


def test_residual_ends_where_the_region_does(inspected, model, images, state):
    assert inspected.data.shape == (108, 80)
    assert not inspected.data[96:].any()
    alone = model.residual(images.spoilt(6), device="cpu")
    np.testing.assert_array_equal(inspected.data[:96], alone)
    assert inspected_area(inspected).box.bottom == 96
    counts, _ = state.histogram
    assert counts.sum() <= 96 * 80
    assert state.detection_notices == ()


def test_nothing_outside_the_region_becomes_a_label_or_counts(
    inspected, controller, state, viewer, wait_idle
):
    state.threshold = -1.0
    controller.labelling.start()
    wait_idle()
    assert (state.labels_layer.data[:96] > 0).mean() > 0.99
    assert not state.labels_layer.data[96:].any()
    truth = np.zeros((108, 80), np.int32)
    truth[30:50, 20:40] = truth[96:] = 1
    state.truth_layer = viewer.add_labels(truth)
    state.threshold = 0.05
    controller.evaluation.start()
    wait_idle()
    assert state.evaluation.rows[0][1].endswith("of 1")


def test_good_pixels_are_measured_inside_the_region(inspected, controller, state, wait_idle):
    from napari_ssim_defects.core.model.thresholds import FalsePositiveRateThreshold

    state.good_layer = inspected
    controller.proposals.propose(FalsePositiveRateThreshold(rate=0.5))
    wait_idle()
    assert state.threshold == pytest.approx(np.median(inspected.data[:96]), rel=0.02)


def test_region_may_be_labels_in_another_unit_of_pixels(
    controller, state, viewer, images, model, wait_idle
):
    image = viewer.add_image(images.spoilt(6), scale=(2, 2))
    labels = np.zeros((24, 20), np.int32)
    labels[:12] = 1
    state.inspected_layer = viewer.add_labels(labels, scale=(8, 8), translate=(3, 3))
    state.model, state.detection_layers = model, (image,)
    controller.detection.start()
    wait_idle()
    assert state.heatmap.data[:47].any()
    assert not state.heatmap.data[49:].any()


def test_removed_region_is_no_region_and_one_beside_the_image_is_refused(
    controller, state, viewer, images, model, wait_idle
):
    state.inspected_layer = rectangle(viewer, 10, 10, translate=(500, 500))
    state.model = model
    state.detection_layers = (viewer.add_image(images.spoilt(6)),)
    controller.detection.start()
    assert state.status_is_error
    assert "mark the inspected part" in state.status
    viewer.layers.remove(state.inspected_layer)
    assert state.inspected_layer is None


def test_recipe_has_the_region(inspected, controller, state, tmp_path, wait_idle):
    path = tmp_path / "bad.png"
    Image.fromarray(np.asarray(state.detection_layers[0].data)).save(path)
    state.detection_layers[0]._source = state.detection_layers[0].source.model_copy(
        update={"path": str(path)}
    )
    controller.save_model(tmp_path / "model.safetensors")
    wait_idle()
    controller.recipes.save(tmp_path / "job.toml")
    wait_idle()
    assert not state.status_is_error, state.status
    recipe = read_recipe(tmp_path / "job.toml")
    assert str(recipe.detection.roi) == "0:96,0:80"


def test_a_foreign_image_is_told_where_one_detects(
    controller, state, viewer, images, model, wait_idle, monkeypatch
):
    monkeypatch.setattr(defect_model, "looks_foreign", lambda *_: True)
    state.model = model
    state.detection_layers = (viewer.add_image(images.texture(0), name="part"),)
    controller.detection.start()
    wait_idle()
    (notice,) = state.detection_notices
    assert notice.startswith("'part' looks unlike all of the training images")


def test_data_bar_and_odd_intensities_are_told_where_one_detects(
    controller, state, viewer, images, model, wait_idle
):
    bars = [viewer.add_image(barred(images.texture(i, (192, 80)))) for i in range(2)]
    deep = viewer.add_image(images.texture(4).astype(np.uint16) * 257, name="deep")
    state.model, state.detection_layers = model, tuple(bars)
    controller.detection.start()
    wait_idle()
    (notice,) = state.detection_notices
    assert "a data bar along the bottom, 12 rows high" in notice
    assert "choose it as Region" in notice
    state.detection_layers = (deep,)
    controller.detection.start()
    wait_idle()
    (notice,) = state.detection_notices
    assert notice.startswith("Intensities of 'deep' (")
    assert not state.status_is_error


def test_data_bar_and_odd_intensities_are_told_where_one_trains(
    controller, state, viewer, images, wait_idle
):
    scales = map(np.uint16, (1, 1, 1, 257))
    layers = [
        viewer.add_image(barred(images.texture(seed, (192, 80))) * scale)
        for seed, scale in enumerate(scales)
    ]
    state.training_layers = tuple(layers)
    controller.training.start()
    wait_idle()
    texts = " ".join(state.training_notices)
    assert "a data bar along the bottom" in texts
    assert "far outside those of the other images" in texts
    state.training_layers = tuple(layers[:3])
    state.region_layer = rectangle(viewer, 192, 80)
    controller.training.start()
    wait_idle()
    assert "data bar" not in " ".join(state.training_notices)


def test_training_layers_of_two_bit_depths_are_refused_by_name(
    controller, state, viewer, images, wait_idle
):
    layers = [viewer.add_image(images.texture(seed), name=f"good {seed}") for seed in range(3)]
    layers.append(viewer.add_image(images.texture(4) * np.uint16(257), name="deep"))
    state.training_layers = tuple(layers)
    controller.training.start()
    wait_idle()
    assert state.status_is_error
    assert "Intensities of 'deep' (" in state.status
    assert state.model is None


def test_folder_takes_a_region_and_proposes_one(
    controller, state, images, model, tmp_path, wait_idle
):
    parts = tmp_path / "parts"
    parts.mkdir()
    for i in range(2):
        Image.fromarray(barred(images.spoilt(i, (192, 80)))).save(parts / f"{i}.png")
    Image.fromarray(images.texture(4, (204, 80)).astype(np.uint16) * 257).save(parts / "9.png")
    state.model = model
    controller.batch.choose([parts])
    state.batch.roi = "bottom:x"
    controller.batch.start()
    assert "not a region" in state.status
    state.batch.roi = "bottom:12"
    controller.batch.start()
    wait_idle()
    (notice,) = state.batch.summary.notices
    assert "9.png' (" in notice
    results = state.batch.folder
    assert not read_image(results / "0.labels.ome.tif").data[192:].any()
    assert not read_image(results / "0.residual.ome.tif").data[192:].any()
    (parts / "9.png").unlink()
    state.batch.roi = ""
    controller.batch.start()
    wait_idle()
    (notice,) = state.batch.summary.notices
    assert "write bottom:12 as Region" in notice


def opened(viewer, path):
    """The layer that napari's own reader makes of a file."""
    ((data, *_),) = napari_get_reader(str(path))(str(path))
    layer = viewer.add_image(data, name=path.stem)
    source = {"path": str(path), "reader_plugin": "napari"}
    layer._source = layer.source.model_copy(update=source)
    return layer


@pytest.mark.parametrize("kind", ["appended", "preview"])
def test_layer_that_shows_a_part_of_its_file_is_told(
    controller, state, viewer, images, model, tmp_path, wait_idle, kind
):
    path = tmp_path / "parts.tif"
    if kind == "appended":
        for i in range(3):
            tifffile.imwrite(path, images.spoilt(i), append=path.exists())
        sentence = (
            "'parts' (96 x 80 pixels) is only a part of 'parts.tif', which holds 3 images of 96 x"
        )
    else:
        with tifffile.TiffWriter(path) as writer:
            writer.write(images.spoilt(0)[::2, ::2], subfiletype=1, metadata=None)
            writer.write(images.spoilt(0), metadata=None)
        sentence = (
            "'parts' (48 x 40 pixels) is only a part of 'parts.tif', which holds an image of 96 x"
        )
    state.model = model
    state.training_layers = state.detection_layers = (opened(viewer, path),)
    controller.detection.start()
    wait_idle()
    assert any(text.startswith(sentence) for text in state.detection_notices)
    assert any("choose the file in Folder" in text for text in state.detection_notices)
    controller.training.start()
    wait_idle()
    assert any(text.startswith(sentence) for text in state.training_notices)
    assert not any("Folder" in text for text in state.training_notices)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("turned.tif", "is not upright: 'turned.tif'"),
        ("turned.jpg", "is not upright: 'turned.jpg'"),
        ("negative.tif", "is a negative: in 'negative.tif'"),
        ("palette.tif", "shows palette indices instead of colours: 'palette.tif'"),
        ("channels.tif", "has the channels of 'channels.tif' as planes; choose one by Split"),
        ("colours.tif", "has the channels of 'colours.tif' as planes; choose one by Split"),
    ],
)
def test_layer_that_is_not_what_its_file_shows_is_told(
    controller, state, viewer, images, model, tmp_path, wait_idle, kind, what
):
    path = tmp_path / kind
    grey = images.spoilt(0)
    stacked = np.stack([grey, grey, grey])
    if kind == "negative.tif":
        tifffile.imwrite(path, 255 - grey, photometric="miniswhite")
    elif kind == "palette.tif":
        palette = np.arange(768, dtype=np.uint16).reshape(3, 256)
        tifffile.imwrite(path, grey, photometric="palette", colormap=palette)
    elif kind == "channels.tif":
        tifffile.imwrite(path, stacked[:2], imagej=True, metadata={"axes": "CYX"})
    elif kind == "colours.tif":
        tifffile.imwrite(path, stacked, photometric="rgb", planarconfig="separate")
    else:
        exif = Image.Exif()
        exif[274] = 6
        options = {"tiffinfo": {274: 6}} if kind.endswith("tif") else {"exif": exif}
        Image.fromarray(grey).save(path, **options)
    state.model, state.detection_layers = model, (opened(viewer, path),)
    controller.detection.start()
    wait_idle()
    assert any(what in text for text in state.detection_notices)


def test_layer_that_shows_all_of_its_file_is_not_told(
    controller, state, viewer, images, model, tmp_path, wait_idle
):
    paths = [tmp_path / "stack.tif", tmp_path / "one.tif", tmp_path / "one.png"]
    planes = [images.spoilt(0), images.spoilt(1)]
    tifffile.imwrite(paths[0], np.stack(planes), photometric="minisblack")
    tifffile.imwrite(paths[1], planes[0])
    Image.fromarray(planes[0]).save(paths[2])
    state.model = model
    for path in paths:
        state.detection_layers = (opened(viewer, path),)
        controller.detection.start()
        wait_idle()
        assert state.detection_notices == ()


def test_outlines_of_all_images_follow_when_they_are_inspected_again(
    controller, state, viewer, images, model, wait_idle, qtbot
):
    layers = tuple(viewer.add_image(barred(images.spoilt(i)), name=f"{i}") for i in range(2))
    state.model, state.detection_layers = model, layers
    for region in (None, rectangle(viewer, 96, 80)):
        state.inspected_layer = region
        controller.detection.start()
        wait_idle()
        state.threshold = 0.01 if region is None else 0.02
        qtbot.waitUntil(lambda: state.summary is not None and state.summary.complete)
        for layer in layers:
            state.heatmap = viewer.layers[f"{layer.name} residual"]
            qtbot.waitUntil(lambda: state.summary is not None and state.summary.complete)
            outlined = viewer.layers[f"{layer.name} threshold"].data
            assert outlined[:96].any()
            assert outlined[96:].any() == (region is None)
