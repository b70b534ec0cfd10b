"""The first three convolutions of AlexNet: features for the feature matching autoencoder."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

from ..common.errors import InputError
from ..common.progress import PreparationProgress

__all__ = ["AlexNetFeatures"]

# Of the intensities of ImageNet, by channel, in the range 0 to 1.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SMALLEST = 64  # pixels: the smallest size that survives the pooling layers


class AlexNetFeatures(nn.Module):
    """Features after the third convolution of an AlexNet that is not trained any further.

    The layers and the names of their parameters are those of torchvision's AlexNet (Krizhevsky
    2014): ``features.0``, ``features.3`` and ``features.6``.

    Parameters
    ----------
    weights
        The weights, by torchvision's names; those of other layers are ignored.

    Raises
    ------
    InputError
        If weights are missing, have another shape or are not finite.

    References
    ----------
    The paper's sections 3.1 (equation 3) and 4.2. Dosovitskiy and Brox: Generating images with
    perceptual similarity metrics based on deep networks, NIPS 2016.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        expected = self.state_dict()
        if any(
            name not in weights
            or weights[name].shape != tensor.shape
            or not bool(torch.isfinite(weights[name]).all())
            for name, tensor in expected.items()
        ):
            raise InputError(
                "The file does not hold the weights of torchvision's AlexNet (features.0, "
                "features.3 and features.6, weight and bias); choose another one."
            )
        self.load_state_dict({name: weights[name].float() for name in expected})
        self.requires_grad_(False).eval()

    @classmethod
    def pretrained(
        cls, path: str | os.PathLike[str] | None = None
    ) -> Generator[PreparationProgress, Any, AlexNetFeatures]:
        """Read the weights, or fetch them once from the PyTorch project into torch's cache.

        Parameters
        ----------
        path
            A safetensors file with torchvision's names, or torchvision's own file
            ``alexnet-owt-7be5be79.pth``; None: torch's cache, filled from the internet if need be.

        Yields
        ------
        PreparationProgress
            While the file is fetched.

        Returns
        -------
        AlexNetFeatures
            With weights trained on ImageNet; there are no random ones.

        Raises
        ------
        InputError
            If the file cannot be read or fetched, or is another one.
        """
        from ...io.artifacts.pretrained_weights import fetched_weights, read_weights

        return cls(read_weights(path) if path is not None else (yield from fetched_weights()))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Return features (N, 384 C', h, w) of normalised patches (N, C, P, P).

        Grey patches are repeated to three channels and RGB patches taken as they are, C' = 1; for
        any other number of channels, each is taken as a grey patch, C' = C. Patches
        below 64 pixels are enlarged to 64, as less would leave nothing after the pooling.
        """
        n, channels, height, width = patches.shape
        if channels != 3:
            patches = patches.reshape(n * channels, 1, height, width).expand(-1, 3, -1, -1)
        if min(height, width) < _SMALLEST:
            patches = functional.interpolate(
                patches, size=(_SMALLEST, _SMALLEST), mode="bilinear", align_corners=False
            )
        mean, std = (patches.new_tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
        found: torch.Tensor = self.features((patches - mean) / std)
        return found.reshape(n, -1, *found.shape[-2:])
