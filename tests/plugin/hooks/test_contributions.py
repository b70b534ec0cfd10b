"""What napari finds in the manifest: widget, samples, writers, preferences."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels, Layer
from npe2 import PluginManifest

from napari_ssim_defects.core.config import OutputConfig
from napari_ssim_defects.io.files.spatial import SpatialMetadata
from napari_ssim_defects.io.writers.results import Result, ResultWriter

MANIFEST = files("napari_ssim_defects") / "napari.yaml"


@pytest.fixture
def manifest():
    return PluginManifest.from_file(str(MANIFEST))


def test_every_command_can_be_imported(manifest):
    manifest.validate_imports()


def test_the_panel_has_one_name_so_that_it_opens_once(manifest):
    (widget,) = manifest.contributions.widgets
    (command,) = [c for c in manifest.contributions.commands if c.id == widget.command]
    assert widget.display_name == command.title == "SSIM defects"


def test_writers_leave_plain_tiff_to_napari(manifest):
    for writer in manifest.contributions.writers:
        assert set(writer.filename_extensions) == {".ome.tif", ".ome.tiff"}


def test_the_reader_leaves_other_tiff_to_napari(manifest):
    (reader,) = manifest.contributions.readers
    assert {pattern.split(".")[1] for pattern in reader.filename_patterns} == {
        "residual", "labels", "mask",
    }  # fmt: skip


@pytest.mark.parametrize("tiff", ["ome", "imagej"])
def test_results_open_again_at_the_right_scale(make_napari_viewer, tmp_path, tiff):
    spatial = SpatialMetadata("TYX", (2.0, 0.5, 0.25), ("s", "µm", "µm"))
    labels = np.zeros((2, 20, 30), np.int32)
    labels[:, 5:9, 6:12] = 7
    result = Result("a.png", "a", spatial, labels / np.float32(9), labels, [])
    writer = ResultWriter(tmp_path, OutputConfig(kinds=("residual", "labels", "mask"), format=tiff))
    files = writer.write(result)
    viewer = make_napari_viewer()
    for kind, layer_type in (("residual", Image), ("labels", Labels), ("mask", Labels)):
        (layer,) = viewer.open(files[kind][0], plugin="napari-ssim-defects")
        assert type(layer) is layer_type
        assert layer.name == f"a.{kind}"
        assert layer.data.shape == labels.shape
        assert tuple(layer.scale) == (2, 0.5, 0.25)
        assert [str(unit) for unit in layer.units] == ["second", "micrometer", "micrometer"]
        assert layer.axis_labels == ("t", "y", "x")
    assert layer.data.max() == 255


@pytest.mark.slow
@pytest.mark.parametrize("sample", ["nanofibre_layers", "checkerboard_layers", "gravel_layers"])
def test_samples_are_good_and_defective_images_with_the_truth(sample):
    from napari_ssim_defects.plugin.hooks import sample_data

    layers = [Layer.create(*data) for data in getattr(sample_data, sample)()]
    images = [layer for layer in layers if isinstance(layer, Image)]
    good = [layer for layer in images if "good" in layer.name]
    defective = [layer for layer in images if layer not in good]
    truths = [layer for layer in layers if isinstance(layer, Labels)]
    assert good
    for image, truth in zip(defective, truths, strict=True):
        assert truth.data.any()
        assert truth.data.shape == image.data.shape
        assert tuple(truth.scale) == tuple(image.scale)


def test_an_image_layer_is_saved_with_scale_and_units(tmp_path):
    from napari_ssim_defects.plugin.hooks.image_files import write_image

    layer = Image(
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        scale=(2, 0.5, 0.25),
        units=("um", "um", "um"),
    )
    path = str(tmp_path / "image.ome.tif")
    data, meta, _ = layer.as_layer_data_tuple()
    assert write_image(path, data, meta) == [path]
    with tifffile.TiffFile(path) as file:
        np.testing.assert_array_equal(file.asarray(), layer.data)
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    sizes = [pixels[f"PhysicalSize{axis}"] for axis in "ZYX"]
    assert sizes == [2, 0.5, 0.25]
    assert pixels["PhysicalSizeXUnit"] == "µm"


@pytest.mark.parametrize("kind", ["rgb", "pyramid", "labels"])
def test_other_layers_are_saved_too(tmp_path, kind):
    from napari_ssim_defects.plugin.hooks.image_files import write_image, write_labels

    path = str(tmp_path / "layer.ome.tif")
    rng = np.random.default_rng(0)
    if kind == "rgb":
        layer = Image(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8), rgb=True)
        expected = layer.data
    elif kind == "pyramid":
        expected = rng.integers(0, 255, (64, 64), dtype=np.uint8)
        layer = Image([expected, expected[::2, ::2]], multiscale=True)
    else:
        layer = Labels(rng.integers(0, 5, (20, 30)))
        expected = layer.data
    data, meta, kind_name = layer.as_layer_data_tuple()
    (write_labels if kind_name == "labels" else write_image)(path, data, meta)
    np.testing.assert_array_equal(tifffile.imread(path), expected)


def test_preferences_show_up_in_napari(npe2pm, request):
    settings = pytest.importorskip("napari.settings")
    if not hasattr(settings, "get_plugin_settings"):
        pytest.skip("napari had no plugin preferences before 0.9")
    request.getfixturevalue("plugin_settings")
    from napari.settings import get_plugin_settings

    from napari_ssim_defects.plugin.state.preferences import preferences

    npe2pm.register(PluginManifest.from_file(str(MANIFEST)))
    settings = get_plugin_settings("napari-ssim-defects")
    assert settings.computing.device == "auto"
    settings.computing.device = "cpu"
    settings.computing.threads = 3
    settings.files.export_folder = "/somewhere"
    assert preferences().cluster is None
    settings.computing.cluster = " tcp://host:8786 "
    chosen = preferences()
    assert (chosen.device, chosen.threads, str(chosen.export_folder)) == ("cpu", 3, "/somewhere")
    assert chosen.cluster == "tcp://host:8786"
    with pytest.raises(ValueError, match="abacus"):
        settings.computing.device = "abacus"


@pytest.mark.slow
def test_opening_the_panel_imports_no_torch():
    """The viewer starts as fast with the plugin as without."""
    code = """
import json, sys
from npe2 import PluginManifest

from napari_ssim_defects.core.config import OutputConfig
from napari_ssim_defects.io.writers.results import Result, ResultWriter
from napari_ssim_defects.io.files.spatial import SpatialMetadata
manifest = PluginManifest.from_file(sys.argv[1])
manifest.validate_imports()
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari_ssim_defects.plugin.controllers.panel_controller import Controller
from napari_ssim_defects.plugin.views.sections.train import TrainView
from napari_ssim_defects.plugin.views.sections.detect import DetectView
from napari_ssim_defects.plugin.views.sections.segment import SegmentView
from napari_ssim_defects.plugin.views.sections.export import ExportView
from napari_ssim_defects.plugin.views.sections.batch import BatchView
controller = Controller(ViewerModel())
views = [view(controller) for view in
         (TrainView, DetectView, SegmentView, ExportView, BatchView)]
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules} & {"torch", "skimage"})))
controller.close()
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(MANIFEST)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "torch" not in json.loads(result.stdout.splitlines()[-1])
