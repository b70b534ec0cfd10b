"""Fixed patches that a training is validated on."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit

from ..common.score_table import area_below_roc
from ..config import TrainingConfig
from ..config.residual_kinds import LocalResidual, SimpleResidual, parts
from ..detection.predictions import PlanePredictions, local_predictions, needed_predictions
from ..detection.reconstruction import reconstructor
from ..detection.residual import residual_map, residual_maps
from ..images.tiles import Box
from ..model.trial import PaintedSquare, painted_squares
from ..networks.autoencoder import Autoencoder
from ..networks.precision import autocast
from ..patches.corruption import corrupt
from ..patches.patch_source import split_patches
from .losses import Criterion, training_loss
from .messages import TrainingPreview
from .schedule import LEARNED_SKILL

__all__ = ["Validation"]

_RECONSTRUCTED = 16  # patches: enough to measure the reconstruction skill
_PREVIEW_PATCHES = 4
_CORRUPTED = 192  # patches on which the skill of ensemble members is measured
_TRIED = 2  # squares whose scores are shown, painted and as they are
_EVERY = 2  # pixels in each direction: neighbours hardly differ


@dataclass
class Validation:
    """Validates a network on fixed patches.

    Attributes
    ----------
    config
        The config.
    criterion
        The loss.
    patches
        Of shape (N, C, S, S), on the network's device; S as in `Criterion`.
    held_out
        Whether these patches are kept out of the training, so that their loss can select the
        best weights; otherwise the last weights are used.
    at_once
        Largest number of patches in a batch.
    """

    config: TrainingConfig
    criterion: Criterion
    patches: torch.Tensor
    held_out: bool
    at_once: int = field(init=False)

    def __post_init__(self) -> None:
        self.at_once = len(self.patches)
        self._shown = split_patches(self.patches, self.config.patch_size)[:_RECONSTRUCTED]
        # It is 0 for patches that are flat themselves.
        flat = self._loss_of(self._shown.mean(dim=(2, 3), keepdim=True))
        self._flat_loss = max(flat, 1e-12)

    def loss(self, network: Autoencoder) -> float | None:
        """Return the loss; None if they are not held out, or if it is not finite."""
        if not self.held_out:
            return None
        network.eval()
        self.criterion.generator.manual_seed(self.config.seed)
        total = 0.0
        with torch.no_grad():
            for patches in self._portions(self.patches):
                corruption = None
                if network.discriminator is not None:
                    corruption = self.criterion.corrupt(patches)
                total += len(patches) * float(self.criterion(network, patches, corruption))
        loss = total / len(self.patches)
        return loss if math.isfinite(loss) else None

    def reconstruct(self, network: Autoencoder) -> torch.Tensor:
        """Return the outputs that the residual of the first patches needs, float32 (n, R, P, P)."""
        network.eval()
        outputs = reconstructor(network, self.config)
        with torch.no_grad(), autocast(self.patches.device):
            return torch.cat([outputs(part).float() for part in self._portions(self._shown)])

    def reconstruction_skill(self, outputs: torch.Tensor) -> float:
        """Return the part of a flat reconstruction's loss that is gone, at most 1."""
        skill = 1 - self._loss_of(outputs) / self._flat_loss
        return skill if math.isfinite(skill) else -1.0

    def skills(
        self, network: Autoencoder
    ) -> Generator[float, None, tuple[dict[SimpleResidual, float], list[PaintedSquare]]]:
        """Measure how well each local member of an ensemble separates corruptions from good pixels.

        Returns
        -------
        skills
            Areas under the ROC curve, in [0, 1]; 0.5: not at all. Empty for other residuals.
        squares
            What they were measured on; none for other residuals.
        """
        members = [
            member for member in parts(self.config.residual) if isinstance(member, LocalResidual)
        ]
        if self.config.residual.kind != "rarity" or not members:
            return {}, []
        kinds = needed_predictions(members)[1]
        found: dict[SimpleResidual, list[npt.NDArray[np.float32]]] = {
            member: [] for member in members
        }
        squares = []
        for square in painted_squares(
            network, self.patches, kinds, _CORRUPTED, self.patches.device
        ):
            squares.append(square)
            predictions = PlanePredictions(None, square.local)
            for member, residuals in found.items():
                residual = residual_maps(square.pixels, predictions, member)[0]
                residuals.append(residual[::_EVERY, ::_EVERY])
            yield min(1.0, len(squares) / _CORRUPTED)
        truth = np.stack([square.mask[::_EVERY, ::_EVERY] for square in squares]).ravel()
        if truth.all() or not truth.any():
            return dict.fromkeys(members, 0.5), squares
        every = {member: np.stack(residuals).ravel() for member, residuals in found.items()}
        skills = {
            member: area_below_roc(each[truth], each[~truth]) for member, each in every.items()
        }
        return skills, squares

    def warnings(self, skill: float) -> tuple[str, ...]:
        """Return warnings about a network of this `reconstruction_skill`."""
        # In an ensemble, members without skill do not count.
        if skill >= LEARNED_SKILL or self.config.residual.kind == "rarity":
            return ()
        return (
            "The training did not learn the material: the reconstruction is hardly better than "
            "flat grey. Do not rely on its residuals; train longer, or with patches that are large "
            "enough to show how the texture repeats.",
        )

    def preview(self, network: Autoencoder, outputs: torch.Tensor) -> TrainingPreview:
        """Return a preview of the first patches, their ``outputs``, and a small trial."""
        tensors = self._shown[:_PREVIEW_PATCHES], outputs[:_PREVIEW_PATCHES]
        inputs, reconstructions = (tensor.cpu().numpy() for tensor in tensors)
        residuals = [
            residual_map(x, y, self.config.reconstruction_residual)
            for x, y in zip(inputs, reconstructions, strict=True)
        ]
        channels = inputs.shape[1]  # a variance may follow the reconstruction
        return TrainingPreview(
            inputs, reconstructions[:, :channels], np.stack(residuals), *self._tried(network)
        )

    def _tried(
        self, network: Autoencoder
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | tuple[None, None]:
        """Return good squares and painted ones, and how probable the discriminator finds
        defects.
        """
        if network.discriminator is None:
            return None, None
        network.eval()
        device = self.patches.device
        good = self.patches[:_TRIED]
        generator = torch.Generator(device).manual_seed(self.config.seed + 2)
        squares = torch.cat([good, painted_for_sure(good, generator)]).cpu().numpy()
        odds = [
            local_predictions(network, ["discriminator"], s, Box(0, 0, *s.shape[1:]), device)[0]
            for s in squares
        ]
        return squares, expit(np.stack(odds))  # log-odds to probabilities

    def _loss_of(self, outputs: torch.Tensor) -> float:
        outputs = outputs[:, : self._shown.shape[1]].expand_as(self._shown)
        return float(training_loss(self._shown, outputs, self.config))

    def _portions(self, patches: torch.Tensor) -> Iterator[torch.Tensor]:
        for part in patches.split(self.at_once):
            yield part.contiguous(memory_format=torch.channels_last)


def painted_for_sure(patches: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Paint a corruption on each patch; `corrupt` leaves some as they are."""
    painted, mask = corrupt(patches, generator)
    for _ in range(20):
        left = ~mask.flatten(1).any(dim=1)
        if not left.any():
            break
        again, where = corrupt(patches, generator)
        painted[left], mask[left] = again[left], where[left]
    return painted
