from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from napari_ssim_defects.core.common.errors import InputError
from napari_ssim_defects.core.networks.autoencoder import Autoencoder, TransposedConv2d, initialise

# Kernel, stride, output channels: the paper's table 1 for 128 x 128 grey images.
ENCODER = [
    (4, 2, 32), (4, 2, 32), (3, 1, 32), (4, 2, 64), (3, 1, 64), (4, 2, 128), (3, 1, 64),
    (3, 1, 32), (8, 1, 500),
]  # fmt: skip
DECODER = [
    (8, 1, 32), (3, 1, 64), (3, 1, 128), (4, 2, 64), (3, 1, 64), (4, 2, 32), (3, 1, 32),
    (4, 2, 32), (4, 2, 1),
]  # fmt: skip


def convolutions(network):
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def table(network):
    return [(m.kernel_size[0], m.stride[0], m.out_channels) for m in convolutions(network)]


def parameters(rows, channels):
    """Weights and biases of a chain of convolutions, from its table alone."""
    inputs = [channels, *(outputs for _, _, outputs in rows)]
    return sum(k * k * i * o + o for (k, _, o), i in zip(rows, inputs, strict=False))


@pytest.fixture(scope="module")
def paper_network():
    return Autoencoder(128, 1, 500)


def test_layers_are_those_of_the_paper(paper_network):
    assert table(paper_network.encoder) == ENCODER
    assert table(paper_network.decoder) == DECODER


def test_transposed_convolutions_are_the_enlarging_ones(paper_network):
    assert {type(m) for m in convolutions(paper_network.encoder)} == {nn.Conv2d}
    for module in convolutions(paper_network.decoder):
        enlarges = module.stride[0] == 2 or module.kernel_size[0] == 8
        assert isinstance(module, nn.ConvTranspose2d) == enlarges


def test_every_layer_but_the_last_of_either_half_has_leaky_relu(paper_network):
    for half in (paper_network.encoder, paper_network.decoder):
        kinds = [type(module) for module in half]
        assert kinds[:-1:2] == [type(m) for m in convolutions(half)[:-1]]
        assert set(kinds[1::2]) == {nn.LeakyReLU}
        assert issubclass(kinds[-1], nn.Conv2d | nn.ConvTranspose2d)
        assert {m.negative_slope for m in half if isinstance(m, nn.LeakyReLU)} == {0.2}


def test_number_of_parameters_is_that_of_the_table(paper_network):
    expected = parameters(ENCODER, 1) + parameters(DECODER, 500)
    assert sum(p.numel() for p in paper_network.parameters()) == expected


def test_batch_normalisation_replaces_the_biases():
    plain, normalised = Autoencoder(32, 2, 7), Autoencoder(32, 2, 7, batch_norm=True)
    outputs = [m.out_channels for half in (plain.encoder, plain.decoder)
               for m in convolutions(half)[:-1]]  # fmt: skip
    count = [sum(p.numel() for p in network.parameters()) for network in (plain, normalised)]
    assert count[1] - count[0] == sum(outputs)  # scale and shift instead of one bias
    assert sum(isinstance(m, nn.BatchNorm2d) for m in normalised.modules()) == len(outputs)
    assert table(plain) == table(normalised)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(
    ("patch_size", "channels"), [(16, 1), (32, 2), (48, 3), (64, 4), (128, 5), (256, 1)]
)
def test_reconstruction_has_the_shape_of_its_patch(patch_size, channels, batch_norm):
    network = Autoencoder(patch_size, channels, 6, batch_norm)
    patches = torch.rand(2, channels, patch_size, patch_size)
    assert network.encoder(patches).shape == (2, 6, 1, 1)
    assert network(patches).shape == patches.shape


@pytest.mark.parametrize("patch_size", [0, -16, 8, 15, 100, 129])
def test_other_patch_sizes_are_refused(patch_size):
    with pytest.raises(InputError, match="multiple of 16"):
        Autoencoder(patch_size)


def test_weights_make_the_same_network_again():
    network, twin = (Autoencoder(32, 3, 9, batch_norm=True).eval() for _ in range(2))
    patches = torch.rand(1, 3, 32, 32)
    assert not torch.equal(twin(patches), network(patches))
    twin.load_state_dict(network.state_dict())
    assert torch.equal(twin(patches), network(patches))


def weights(seed, **settings):
    network = Autoencoder(**settings)
    initialise(network, seed)
    return network.state_dict()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_same_seed_gives_the_same_weights(batch_norm):
    settings = {"patch_size": 32, "latent_dimension": 8, "batch_norm": batch_norm}
    first, second, other = weights(3, **settings), weights(3, **settings), weights(4, **settings)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_initialisation_does_not_depend_on_the_global_generator():
    torch.manual_seed(1)
    first = weights(0, patch_size=16)
    torch.manual_seed(2)
    second = weights(0, patch_size=16)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("patch_size", "batch_norm"), [(64, False), (128, False), (16, True), (32, True), (128, True)]
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_signals_neither_vanish_nor_explode_on_their_way(patch_size, batch_norm, seed):
    network = Autoencoder(patch_size, 1, 100, batch_norm)
    initialise(network, seed)
    signal = torch.randn(8, 1, patch_size, patch_size, generator=torch.Generator().manual_seed(0))
    spreads = []
    with torch.no_grad():
        for layer in itertools.chain(network.encoder, network.decoder):
            signal = layer(signal)
            if isinstance(layer, nn.LeakyReLU):
                spreads.append(signal.square().mean().sqrt().item())
    assert min(spreads) > 0.3
    assert max(spreads) < 3


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_network_begins_near_the_middle_of_the_intensities(batch_norm):
    network = Autoencoder(64, 3, 50, batch_norm)
    initialise(network, 0)
    patches = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = network(patches)
    assert (outputs - 0.5).square().mean().sqrt() < 0.25


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (8, 1, 0)])
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolutions_and_their_gradients_are_those_of_pytorch(
    kernel, stride, padding, bias
):
    torch.manual_seed(0)
    options = {"stride": stride, "padding": padding, "bias": bias}
    plain = nn.ConvTranspose2d(5, 3, kernel, **options).double()
    ours = TransposedConv2d(5, 3, kernel, **options).double()
    ours.load_state_dict(plain.state_dict())
    maps = torch.rand(2, 5, 6, 7, dtype=torch.double, requires_grad=True)
    results = []
    for layer in (plain, ours):
        outputs = layer(maps)
        wanted = (maps, *layer.parameters())
        results.append((outputs, *torch.autograd.grad(outputs.square().sum(), wanted)))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_bias_in_autocast_keeps_the_fast_format():
    layer = TransposedConv2d(4, 2, 4, 2, padding=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.ones(1, 4, 5, 5)).dtype == torch.bfloat16
