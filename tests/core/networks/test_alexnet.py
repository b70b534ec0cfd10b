from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.networks.alexnet import AlexNetFeatures

SHAPES = {
    "features.0.weight": (64, 3, 11, 11), "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5), "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3), "features.6.bias": (384,),
}  # fmt: skip


def weights_of(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def by_hand(weights, patches):
    """The published layers, written out."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x = (patches - mean) / std
    x = functional.conv2d(x, weights["features.0.weight"], weights["features.0.bias"], 4, 2).relu()
    x = functional.max_pool2d(x, 3, 2)
    x = functional.conv2d(x, weights["features.3.weight"], weights["features.3.bias"], 1, 2).relu()
    x = functional.max_pool2d(x, 3, 2)
    return functional.conv2d(
        x, weights["features.6.weight"], weights["features.6.bias"], 1, 1
    ).relu()


def test_parameters_have_torchvisions_names_and_shapes():
    state = AlexNetFeatures(weights_of()).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == SHAPES
    assert sum(tensor.numel() for tensor in state.values()) == 23296 + 307392 + 663936


@pytest.mark.parametrize("size", [64, 128])
def test_features_are_those_of_the_published_layers(size):
    patches = torch.rand(2, 3, size, size)
    weights = weights_of()
    torch.testing.assert_close(AlexNetFeatures(weights)(patches), by_hand(weights, patches))


def test_grey_patches_are_repeated_to_three_channels():
    patches = torch.rand(2, 1, 64, 64)
    features = AlexNetFeatures(weights_of())
    torch.testing.assert_close(features(patches), features(patches.expand(-1, 3, -1, -1)))


def test_each_of_other_channels_is_looked_at_as_a_grey_patch():
    patches = torch.rand(2, 4, 64, 64)
    features = AlexNetFeatures(weights_of())
    expected = torch.cat([features(patches[:, [channel]]) for channel in range(4)], dim=1)
    torch.testing.assert_close(features(patches), expected)


def test_small_patches_are_enlarged():
    patches = torch.rand(2, 1, 16, 16)
    features = AlexNetFeatures(weights_of())
    larger = functional.interpolate(patches, size=(64, 64), mode="bilinear")
    torch.testing.assert_close(features(patches), features(larger))


def test_weights_are_never_trained_but_gradients_pass():
    patches = torch.rand(1, 1, 64, 64, requires_grad=True)
    features = AlexNetFeatures(weights_of())
    features(patches).sum().backward()
    assert patches.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in features.parameters())


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.pop("features.6.bias"),
        lambda weights: weights.update({"features.0.weight": torch.zeros(64, 1, 11, 11)}),
        lambda weights: weights["features.3.bias"].fill_(float("nan")),
    ],
)
def test_other_weights_are_refused(change):
    weights = weights_of()
    change(weights)
    with pytest.raises(InputError, match="does not hold the weights of torchvision's AlexNet"):
        AlexNetFeatures(weights)
