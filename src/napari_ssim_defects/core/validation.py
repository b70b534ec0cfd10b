"""Fixed patches that a training is judged by between its steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from .config import TrainingConfig
from .course import LEARNED
from .device import autocast
from .losses import Objective, corruption_weights, discrimination_loss, training_loss
from .networks import Autoencoder
from .patches import tiles
from .progress import TrainingPreview
from .reconstruction import reconstructor
from .residual import residual_map

__all__ = ["Validation"]

_RECONSTRUCTED = 16  # patches: enough to tell a picture from flat grey
_PREVIEW_PATCHES = 4


@dataclass
class Validation:
    """Patches, and what a network makes of them.

    Attributes
    ----------
    config
        The recipe.
    objective
        The loss.
    patches
        Of shape (N, C, S, S), on the network's device; S as in `Objective`.
    held_out
        Whether these patches are kept out of the training, so that they can choose the best
        weights; else the last weights count.
    at_once
        Most patches that the network sees at once.
    """

    config: TrainingConfig
    objective: Objective
    patches: torch.Tensor
    held_out: bool
    at_once: int = field(init=False)

    def __post_init__(self) -> None:
        self.at_once = len(self.patches)
        self._shown = tiles(self.patches, self.config.patch_size)[:_RECONSTRUCTED]
        # Of patches that are flat themselves it is 0, and nothing is to be learned.
        flat = self._loss_of(self._shown.mean(dim=(2, 3), keepdim=True))
        self._flat_loss = max(flat, 1e-12)

    def loss(self, network: Autoencoder) -> float | None:
        """Return the loss; None if they are not held out, or if it is not finite."""
        if not self.held_out:
            return None
        network.eval()
        self.objective.generator.manual_seed(self.config.seed)
        total = 0.0
        with torch.no_grad():
            for patches in self._portions(self.patches):
                total += len(patches) * float(self.objective(network, patches))
        loss = total / len(self.patches)
        return loss if math.isfinite(loss) else None

    def reconstruct(self, network: Autoencoder) -> torch.Tensor:
        """Return what the residual needs to know of the first patches, float32 (n, R, P, P)."""
        network.eval()
        outputs = reconstructor(network, self.config)
        with torch.no_grad(), autocast(self.patches.device):
            return torch.cat([outputs(part).float() for part in self._portions(self._shown)])

    def learned(self, outputs: torch.Tensor) -> float:
        """Return the part of a flat reconstruction's loss that is gone, at most 1.

        Parameters
        ----------
        outputs
            From `reconstruct`.
        """
        learned = 1 - self._loss_of(outputs) / self._flat_loss
        return learned if math.isfinite(learned) else -1.0

    def told(self, network: Autoencoder) -> float:
        """Return the part of a blind guess's cross-entropy that the discriminator is spared.

        At most 1; 0 or less where it tells what was corrupted no better than the (weighted)
        fraction that was, or where there is no discriminator.
        """
        if network.discriminator is None:
            return 0.0
        network.eval()
        self.objective.generator.manual_seed(self.config.seed)
        entropy = corrupted = good = 0.0
        with torch.no_grad():
            for patches in self._portions(self.patches):
                painted = self.objective.painted(patches)
                part = len(patches) / len(self.patches)
                entropy += part * float(discrimination_loss(network, painted))
                weights = corruption_weights(painted.mask)
                corrupted += part * float((weights * painted.mask).mean())
                good += part * float((weights * (1 - painted.mask)).mean())
        if not corrupted or not good:
            return 0.0
        whole = corrupted + good
        blind = -corrupted * math.log(corrupted / whole) - good * math.log(good / whole)
        told = 1 - entropy / blind
        return told if math.isfinite(told) else 0.0

    def warnings(self, learned: float) -> tuple[str, ...]:
        """Return what whoever uses a network that `learned` so much should know."""
        if learned >= LEARNED:
            return ()
        if self.config.residual.kind == "rarity":
            return (
                "The autoencoder did not learn the material in this time, so that defects are "
                "told by the discriminator and the texture only; train longer to have all three.",
            )
        return (
            "The training did not learn the material: what the network redraws is hardly better "
            "than flat grey. Do not rely on its residuals; train longer, or with patches that "
            "show the texture's repeat.",
        )

    def preview(self, outputs: torch.Tensor) -> TrainingPreview:
        """Show the first patches and their ``outputs`` (see `reconstruct`)."""
        tensors = self._shown[:_PREVIEW_PATCHES], outputs[:_PREVIEW_PATCHES]
        inputs, reconstructions = (tensor.cpu().numpy() for tensor in tensors)
        residuals = [
            residual_map(x, y, self.config.reconstruction_residual)
            for x, y in zip(inputs, reconstructions, strict=True)
        ]
        channels = inputs.shape[1]  # a variance may follow the reconstruction
        return TrainingPreview(inputs, reconstructions[:, :channels], np.stack(residuals))

    def _loss_of(self, outputs: torch.Tensor) -> float:
        outputs = outputs[:, : self._shown.shape[1]].expand_as(self._shown)
        return float(training_loss(self._shown, outputs, self.config))

    def _portions(self, patches: torch.Tensor) -> Iterator[torch.Tensor]:
        for part in patches.split(self.at_once):
            yield part.contiguous(memory_format=torch.channels_last)
