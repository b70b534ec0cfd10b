"""The paper's convolutional autoencoder, for any patch size and number of channels."""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as functional
from torch import nn

from ..common.errors import InputError
from ..config import TrainingConfig
from .backbone import Backbone
from .discriminator import Discriminator
from .features import FeatureModel
from .texture import TextureModel

__all__ = ["Autoencoder", "initialise"]

_SLOPE = 0.2  # of every LeakyReLU
_GREY = 0.5  # the middle of normalised intensities
_QUIET = 0.1  # part of the usual spread of the last layer's weights at the beginning


class Autoencoder(nn.Module):
    """Encoder and decoder of the paper's figure 3, generalised (design of its table 1).

    Four convolutions of stride 2 take a patch of side P to P/16; one valid convolution of
    kernel P/16 makes the latent vector. For P = 128 this is exactly the paper's network:
    kernel/stride/channels 4/2/32, 4/2/32, 3/1/32, 4/2/64, 3/1/64, 4/2/128, 3/1/64, 3/1/32,
    8/1/d, and the same in reverse.

    Parameters
    ----------
    patch_size
        Side P of the patches, in pixels; a multiple of 16.
    channels
        Number of image channels C.
    latent_dimension
        Length d of the latent vector.
    batch_norm
        Whether each convolution but the last of encoder and decoder is batch-normalised; the
        paper's are not.
    variational
        Whether the encoder gives mean and logarithm of the variance of a Gaussian over latent
        vectors, 2d numbers, instead of one latent vector.
    discriminator
        Whether the attribute ``discriminator`` is a `Discriminator`, or None. Its input are the
        feature maps of a `Backbone`, the attribute ``backbone``.
    features
        Whether the attribute ``features`` is a `FeatureModel`, which needs the backbone, too; or
        None.
    texture
        Whether the attribute ``texture`` is a `TextureModel`, or None.
    """

    def __init__(
        self,
        patch_size: int = 128,
        channels: int = 1,
        latent_dimension: int = 500,
        batch_norm: bool = False,
        variational: bool = False,
        discriminator: bool = False,
        features: bool = False,
        texture: bool = False,
    ) -> None:
        super().__init__()
        if patch_size < 16 or patch_size % 16:
            raise InputError(f"The patch size must be a multiple of 16, not {patch_size}.")
        core = patch_size // 16
        down = [  # channels in, channels out, kernel, stride
            (channels, 32, 4, 2), (32, 32, 4, 2), (32, 32, 3, 1), (32, 64, 4, 2),
            (64, 64, 3, 1), (64, 128, 4, 2), (128, 64, 3, 1), (64, 32, 3, 1),
        ]  # fmt: skip
        encoder: list[nn.Module] = []
        for inputs, outputs, kernel, stride in down:
            encoder += [
                nn.Conv2d(inputs, outputs, kernel, stride, padding=1, bias=not batch_norm),
                *_activation(outputs, batch_norm),
            ]
        self.latent_dimension = latent_dimension
        self.variational = variational
        outputs = latent_dimension * (2 if variational else 1)
        self.encoder = nn.Sequential(*encoder, nn.Conv2d(32, outputs, core))
        decoder: list[nn.Module] = [
            TransposedConv2d(latent_dimension, 32, core, bias=not batch_norm),
            *_activation(32, batch_norm),
        ]
        for outputs, inputs, kernel, stride in reversed(down[1:]):
            layer = TransposedConv2d if stride == 2 else nn.Conv2d
            decoder += [
                layer(inputs, outputs, kernel, stride, padding=1, bias=not batch_norm),
                *_activation(outputs, batch_norm),
            ]
        # With a near-zero output layer the KL term collapses the latent code.
        last = TransposedConv2d if variational else OutputConv2d
        self.decoder = nn.Sequential(*decoder, last(32, channels, 4, 2, padding=1))
        self.backbone = Backbone() if discriminator or features else None
        self.discriminator = Discriminator() if discriminator else None
        self.features = FeatureModel() if features else None
        self.texture = TextureModel(channels) if texture else None

    @classmethod
    def from_config(cls, config: TrainingConfig, channels: int) -> Self:
        """Return the network of a config for images of so many channels."""
        return cls(
            config.patch_size,
            channels,
            config.latent_dimension,
            config.batch_norm,
            config.system == "vae",
            config.discriminator,
            config.features,
            config.texture,
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Reconstruct patches of shape (N, C, P, P); if variational, from the latent mean."""
        return torch.as_tensor(self.decoder(self.encode(patches)[0]))

    def encode(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the latent vector (N, d, 1, 1) and, if variational, its log-variance."""
        code = self.encoder(patches)
        if not self.variational:
            return code, None
        mean, log_variance = code.chunk(2, dim=1)
        # Beyond these values, exp, float16 and gradients overflow.
        return mean, log_variance.clamp(-20, 10)


class TransposedConv2d(nn.ConvTranspose2d):
    """PyTorch's transposed convolution, with its bias added by itself.

    On processors, the gradient of a built-in bias takes as long as everything else together.
    """

    def forward(self, maps: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """Return the transposed convolution of maps (N, C, H, W)."""
        assert not isinstance(self.padding, str)  # a transposed convolution has numbers only
        outputs = functional.conv_transpose2d(maps, self.weight, None, self.stride, self.padding)
        if self.bias is None:
            return outputs
        return outputs + self.bias.to(outputs.dtype).view(-1, 1, 1)


class OutputConv2d(TransposedConv2d):
    """Last layer of the decoder, initialised with small weights."""


def initialise(network: nn.Module, seed: int) -> None:
    """Kaiming initialisation with the LeakyReLU gain, the same on every device.

    PyTorch's default makes the SSIM autoencoder collapse to flat grey and stay there. The last
    layer starts near the middle of the intensities, with a tenth of the usual weights. Otherwise
    the first outputs are noise as strong as the images, which takes most of a plateau to unlearn.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            # Fan-in of a transposed convolution counts the taps that reach one output pixel.
            taps = module.kernel_size[0] * module.kernel_size[1]
            if isinstance(module, nn.ConvTranspose2d) and module.padding != (0, 0):
                taps //= module.stride[0] * module.stride[1]
            elif isinstance(module, nn.ConvTranspose2d):
                taps = 1  # the latent vector has one pixel, so one tap reaches each output
            fan_in = module.in_channels * taps
            std, level = (2 / (1 + _SLOPE**2) / fan_in) ** 0.5, 0.0
            if isinstance(module, OutputConv2d):
                std, level = _QUIET * std, _GREY
            with torch.no_grad():
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * std)
                if module.bias is not None:
                    module.bias.fill_(level)


def _activation(channels: int, batch_norm: bool) -> list[nn.Module]:
    norm: list[nn.Module] = [nn.BatchNorm2d(channels)] if batch_norm else []
    return [*norm, nn.LeakyReLU(_SLOPE, inplace=True)]
