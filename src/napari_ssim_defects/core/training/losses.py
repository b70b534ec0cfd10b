"""The loss that each system minimises (paper section 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from ..config import TrainingConfig
from ..networks.autoencoder import Autoencoder
from ..networks.precision import autocast
from ..patches.corruption import corrupt, vary
from ..patches.patch_source import split_patches
from ..ssim import ssim_loss

__all__ = [
    "CorruptedBatch",
    "Criterion",
    "corruption_weights",
    "discrimination_loss",
    "training_loss",
]

_COMMON_SHARE = 0.05  # of a patch: corruptions that are smaller weigh more
_LARGEST_WEIGHT = 5.0


def training_loss(
    patches: torch.Tensor, reconstructions: torch.Tensor, config: TrainingConfig
) -> torch.Tensor:
    """Distance of patches (N, C, P, P) and their reconstructions that the system minimises.

    System ``ssim``: mean of 1 - SSIM (equation 5). All others: mean squared error (equation 2,
    divided by the number of pixels).
    """
    reconstructions = reconstructions.float()
    if config.system == "ssim":
        return ssim_loss(patches, reconstructions, config.ssim)
    return functional.mse_loss(reconstructions, patches)


@dataclass(frozen=True, slots=True, eq=False)
class CorruptedBatch:
    """Good patches, and the same patches with corruptions.

    Attributes
    ----------
    varied
        Patches as other images of the material may show them, float32 of shape (N, C, S, S).
    corrupted
        The same, part of them corrupted.
    mask
        float32 of shape (N, 1, S, S): 1 where they are corrupted, else 0.
    """

    varied: torch.Tensor
    corrupted: torch.Tensor
    mask: torch.Tensor


def discrimination_loss(network: Autoencoder, corruption: CorruptedBatch) -> torch.Tensor:
    """Weighted cross-entropy of the discriminator's output and the corruption masks, in nats."""
    assert network.backbone is not None
    assert network.discriminator is not None
    maps = network.backbone(corruption.corrupted)
    with autocast(corruption.mask.device):
        odds = network.discriminator(maps)
    return functional.binary_cross_entropy_with_logits(
        odds.float(), corruption.mask, weight=corruption_weights(corruption.mask)
    )


def corruption_weights(mask: torch.Tensor) -> torch.Tensor:
    """Return the weight of each pixel of corruption masks (N, 1, S, S): 1 to 5, good pixels 1.

    A thin scratch has few pixels. Without weights, missing it would hardly change the loss.
    """
    area = mask.mean(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    return 1 + mask * ((_COMMON_SHARE / area).sqrt().clamp(1, _LARGEST_WEIGHT) - 1)


@dataclass(frozen=True)
class Criterion:
    """The whole loss of a network on patches, with the terms that some systems add.

    System ``vae`` adds the Kullback-Leibler divergence of the latent distribution from the unit
    Gaussian, divided by the number of pixels as the squared error is; in training mode it decodes
    a random latent sample (Kingma and Welling 2014). System ``fmae`` adds the mean squared
    distance of features (equation 3). A discriminator adds the cross-entropy of what it finds in
    patches that were corrupted at random.

    Attributes
    ----------
    config
        The config.
    generator
        Where random latent samples and corruptions come from, on the network's device.
    features
        Maps patches (N, C, P, P) to features (N, F, h, w); needed by system ``fmae`` only.
    """

    config: TrainingConfig
    generator: torch.Generator
    features: Callable[[torch.Tensor], torch.Tensor] | None = None

    @property
    def needs_corruption(self) -> bool:
        """Whether a training step needs corrupted patches."""
        return self.config.discriminator or self.config.restoration

    def __call__(
        self,
        network: Autoencoder,
        patches: torch.Tensor,
        corruption: CorruptedBatch | None = None,
        *,
        untrained: bool = False,
        train_autoencoder: bool = True,
    ) -> torch.Tensor:
        """Return the loss as a float32 tensor without dimensions.

        Parameters
        ----------
        network
            The network.
        patches
            Shape (N, C, S, S). S is the autoencoder's patch size P or, with a discriminator, a
            multiple of it: the autoencoder learns from tiles of side P, the discriminator from the
            whole.
        corruption
            From `corrupt`, to restore the patches and to train the discriminator by; None: neither.
        untrained
            Whether the autoencoder has not learned anything yet.
        train_autoencoder
            Whether the autoencoder is trained; if not, the loss is the cross-entropy of the
            discriminator alone.
        """
        losses = []
        if train_autoencoder:
            target = inputs = patches
            if corruption is not None and self.config.restoration and network.training:
                target = corruption.varied
                inputs = corruption.varied if untrained else corruption.corrupted
            losses.append(self._reconstruction_loss(network, target, inputs, untrained))
        if corruption is not None and network.discriminator is not None:
            losses.append(discrimination_loss(network, corruption))
        return torch.stack(losses).sum()

    def corrupt(self, patches: torch.Tensor) -> CorruptedBatch:
        """Vary patches (N, C, S, S) and corrupt part of them, at random."""
        varied = vary(patches, self.generator)
        return CorruptedBatch(varied, *corrupt(varied, self.generator))

    def _reconstruction_loss(
        self, network: Autoencoder, target: torch.Tensor, inputs: torch.Tensor, untrained: bool
    ) -> torch.Tensor:
        """Return the autoencoder's loss for its inputs and what they are to become."""
        config = self.config
        if network.discriminator is not None:
            target, inputs = (split_patches(each, config.patch_size) for each in (target, inputs))
        with autocast(inputs.device):
            latent, log_variance = network.encode(inputs)
            if log_variance is not None and network.training:
                noise = torch.randn(
                    latent.shape, generator=self.generator, device=latent.device, dtype=torch.float
                )
                outputs = network.decoder(latent + noise * torch.exp(0.5 * log_variance))
            else:
                outputs = network.decoder(latent)
        loss = training_loss(target, outputs, config)
        if untrained and config.system == "ssim" and config.squared_error_weight:
            error = functional.mse_loss(outputs.float(), target)
            loss = loss + config.squared_error_weight * error
        if log_variance is not None:
            divergence = _divergence(latent.float(), log_variance.float())
            loss = loss + config.kl_weight * divergence / target[0].numel()
        if self.features is not None:
            with autocast(inputs.device):
                found, expected = self.features(outputs.float()), self.features(target)
            distance = functional.mse_loss(found.float(), expected.float())
            loss = loss + config.feature_weight * distance
        return loss


def _divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence from the unit Gaussian, in nats; mean over the batch."""
    terms = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * terms.sum() / len(mean)
