"""Saving a layer as .ome.tif and opening it again keeps where its pixels lie."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels

from napari_ssim_defects.io.images.image_file import read_image
from napari_ssim_defects.plugin.hooks.image_files import read_results, write_image, write_labels
from napari_ssim_defects.plugin.layers.spatial import file_metadata

STACK = np.random.default_rng(0).integers(0, 4095, (6, 40, 50)).astype(np.uint16)
UM = ("um", "um")


def saved(layer, path):
    data, meta, kind = layer.as_layer_data_tuple()
    (write_labels if kind == "labels" else write_image)(str(path), data, meta)
    return read_image(path)


@pytest.mark.parametrize(
    ("layer", "axes", "scale", "units"),
    [
        (Image(STACK, scale=(0.5, 0.1, 0.2), units=("s", *UM), axis_labels="tyx"), "TYX",
         (0.5, 0.1, 0.2), ("s", "µm", "µm")),
        (Image(STACK, scale=(30, 0.1, 0.2), units=("s", *UM)), "TYX", (30, 0.1, 0.2),
         ("s", "µm", "µm")),
        (Image(STACK, scale=(2, 0.1, 0.2), units=("um", *UM)), "ZYX", (2, 0.1, 0.2),
         ("µm", "µm", "µm")),
        (Image(STACK, scale=(1, 0.1, 0.2), units=("pixel", *UM), axis_labels="cyx"), "CYX",
         (1, 0.1, 0.2), (None, "µm", "µm")),
        (Image(np.stack([STACK] * 2), scale=(1, 2, 0.1, 0.2), units=("pixel", "um", *UM),
               axis_labels="czyx"), "CZYX", (1, 2, 0.1, 0.2), (None, "µm", "µm", "µm")),
        (Image(STACK[0], scale=(-0.1, 0.2), units=UM), "YX", (0.1, 0.2), ("µm", "µm")),
        (Image(STACK[0], scale=(0.1, 0.2), units=UM, rotate=30, translate=(5, 7)), "YX",
         (0.1, 0.2), ("µm", "µm")),
        (Image(STACK[0], scale=(0.1, 0.2), units=UM, affine=np.diag([2.0, 3.0, 1.0])), "YX",
         (0.2, 0.6), ("µm", "µm")),
        (Labels(STACK[0].astype(int), scale=(0.1, 0.2), units=UM), "YX", (0.1, 0.2), ("µm", "µm")),
        (Image([STACK[0], STACK[0][::2, ::2]], multiscale=True, scale=(0.1, 0.2), units=UM), "YX",
         (0.1, 0.2), ("µm", "µm")),
    ],
    ids=["time", "seconds", "depth", "channels", "channels and depth", "flipped", "rotated",
         "affine", "labels", "pyramid"],
)  # fmt: skip
def test_saved_layer_keeps_axes_sizes_and_units(layer, axes, scale, units, tmp_path):
    name = "a.labels.ome.tif" if isinstance(layer, Labels) else "a.ome.tif"
    file = saved(layer, tmp_path / name)
    first = layer.data[0] if layer.multiscale else layer.data
    np.testing.assert_array_equal(file.data, first)
    assert file.spatial.axes == axes
    np.testing.assert_allclose(file.spatial.scale, scale, rtol=1e-6)
    assert file.spatial.units == units
    # Export writes the same.
    assert file_metadata(layer).axes == axes
    assert file_metadata(layer).units == units
    with tifffile.TiffFile(tmp_path / name) as tif:
        assert 'PhysicalSizeZUnit="s"' not in tif.ome_metadata
    ((data, properties, kind),) = read_results(str(tmp_path / name))
    again = (Labels if kind == "labels" else Image)(data, **properties)
    assert kind == ("labels" if isinstance(layer, Labels) else "image")
    assert "".join(again.axis_labels).upper() == axes
    np.testing.assert_allclose(again.scale, scale, rtol=1e-6)
    kept = saved(again, tmp_path / f"again {name}").spatial
    assert (kept.axes, kept.units) == (axes, units)


def test_saved_colour_opens_again(tmp_path):
    colour = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    layer = Image(colour, rgb=True, scale=(0.1, 0.2), units=UM)
    file = saved(layer, tmp_path / "a.ome.tif")
    assert file.spatial.axes == "YXS"
    ((data, properties, _),) = read_results(str(tmp_path / "a.ome.tif"))
    again = Image(data, **properties)
    assert again.rgb
    np.testing.assert_array_equal(again.data, colour)
    np.testing.assert_allclose(again.scale, (0.1, 0.2))
