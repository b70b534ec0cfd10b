"""What a user of the painted textures may rely on."""

import socket

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.samples import painted_texture

NAMES = ("gravel", "brick", "grass")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_defects_change_only_labelled_pixels_of_the_texture(name, seed):
    sample = painted_texture(name, seed)
    texture = getattr(data, name)()
    assert np.array_equal(sample.good, texture[:, :256])
    changed = sample.image != texture[:, 256:]
    assert not changed[sample.labels == 0].any()
    assert changed[sample.labels > 0].mean() > 0.85


@pytest.mark.parametrize("seed", range(12))
def test_each_kind_occurs_once_as_one_piece(seed):
    sample = painted_texture("gravel", seed)
    assert sorted(sample.kinds) == ["blob", "paste", "scratch", "smudge"]
    assert np.unique(sample.labels).tolist() == [0, 1, 2, 3, 4]
    for label in range(1, 5):
        mask = sample.labels == label
        assert mask.sum() >= 60
        assert ndimage.label(mask, np.ones((3, 3)))[1] == 1


def test_arrays_have_the_documented_shapes_and_types():
    sample = painted_texture()
    assert sample.good.shape == sample.image.shape == sample.labels.shape == (512, 256)
    assert sample.good.dtype == sample.image.dtype == np.uint8
    assert sample.labels.dtype == np.int32


def test_nothing_is_downloaded(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a texture was downloaded")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in NAMES:
        painted_texture(name)


def test_same_seed_gives_same_sample_and_another_seed_another():
    assert np.array_equal(painted_texture(seed=1).image, painted_texture(seed=1).image)
    assert not np.array_equal(painted_texture(seed=1).image, painted_texture(seed=2).image)


@pytest.mark.parametrize(("name", "seed"), [("marble", 0), ("brick", -1)])
def test_bad_input_is_refused(name, seed):
    with pytest.raises(InputError):
        painted_texture(name, seed)
