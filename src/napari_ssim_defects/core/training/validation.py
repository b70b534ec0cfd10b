"""Fixed patches that a training is judged by between its steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from ..common.score_table import area_below_roc
from ..config import TrainingConfig
from ..config.residual_kinds import LocalResidual, SimpleResidual, parts
from ..detection.predictions import PlanePredictions, local_predictions, needed_predictions
from ..detection.reconstruction import reconstructor
from ..detection.residual import residual_map, residual_maps
from ..images.tiles import Box
from ..networks.autoencoder import Autoencoder
from ..networks.precision import autocast
from ..patches.corruption import corrupt
from ..patches.sampler import tiles
from .losses import Objective, training_loss
from .messages import TrainingPreview
from .schedule import LEARNED

__all__ = ["Validation"]

_RECONSTRUCTED = 16  # patches: enough to tell a picture from flat grey
_PREVIEW_PATCHES = 4
_PAINTED = 48  # patches with corruptions that views are judged by
_EVERY = 2  # of their pixels in each direction counts: neighbours say the same


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

    def skills(self, network: Autoencoder) -> dict[SimpleResidual, float]:
        """Return how well each local view of a rarity tells painted corruptions from good pixels.

        Returns
        -------
        dict
            Areas under the ROC curve, in [0, 1]; 0.5: it tells nothing. Empty for other residuals.
        """
        views = [view for view in parts(self.config.residual) if isinstance(view, LocalResidual)]
        if self.config.residual.kind != "rarity" or not views:
            return {}
        network.eval()
        device = self.patches.device
        kinds = needed_predictions(views)[1]
        generator = torch.Generator(device).manual_seed(self.config.seed)
        found: dict[SimpleResidual, list[npt.NDArray[np.float32]]] = {view: [] for view in views}
        masks = []
        for _ in range(-(-_PAINTED // len(self.patches))):
            corrupted, mask = corrupt(self.patches, generator)
            masks.append(mask[:, 0, ::_EVERY, ::_EVERY].cpu().numpy() > 0)
            for patch in corrupted.cpu().numpy():
                whole = Box(0, 0, *patch.shape[1:])
                local = local_predictions(network, kinds, patch, whole, device)
                predictions = PlanePredictions(None, dict(zip(kinds, local, strict=True)))
                for view, residuals in found.items():
                    residual = residual_maps(patch, predictions, view)[0]
                    residuals.append(residual[::_EVERY, ::_EVERY])
        truth = np.concatenate(masks).ravel()
        if truth.all() or not truth.any():
            return dict.fromkeys(views, 0.5)
        every = {view: np.stack(residuals).ravel() for view, residuals in found.items()}
        return {view: area_below_roc(each[truth], each[~truth]) for view, each in every.items()}

    def warnings(self, learned: float) -> tuple[str, ...]:
        """Return what whoever uses a network that `learned` so much should know."""
        # In a rarity, what has not learned its task does not count.
        if learned >= LEARNED or self.config.residual.kind == "rarity":
            return ()
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
