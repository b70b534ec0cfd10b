"""How far the pretrained features of a place lie from those of good material."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional
from torch import nn

from .backbone import BACKBONE_CHANNELS, BACKBONE_STRIDES

if TYPE_CHECKING:
    from .backbone import Backbone
    from .patches import TrainingArea

__all__ = ["FeatureModel", "fit_features"]

_MAPS = (2, 3)  # of the backbone: neither edges nor objects
_STRIDE = BACKBONE_STRIDES[_MAPS[0]]
_FEATURES = sum(BACKBONE_CHANNELS[number] for number in _MAPS)
_POOL = 3  # places of each map that are averaged
_SHRINKAGE = 0.01  # added to the correlation of each feature with itself
_TILE = 1024  # pixels along a side of what is described at once
_PADDED = 32  # the coarsest map must not end within a place


class FeatureModel(nn.Module):
    """The Mahalanobis distance of pretrained features from those of good material.

    One Gaussian describes all places of the good images: it knows how features go together, so
    what is too regular is as far as what is too rough. It is learnt in closed form, in seconds.

    References
    ----------
    Rippel, Mertens, Merhof: Modeling the distribution of normal data in pre-trained deep features
    for anomaly detection, ICPR 2020. Defard et al.: PaDiM, ICPR 2021.
    """

    # Shape (F) and (F, F).
    mean: torch.Tensor
    whitening: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(_FEATURES))
        self.register_buffer("whitening", torch.eye(_FEATURES))

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return how far each pixel is from good material, from the maps of a `Backbone`.

        Returns
        -------
        torch.Tensor
            float32 of shape (N, 1, H, W): log(1 + squared distance).
        """
        features = _described(maps)
        count, _, height, width = features.shape
        centred = features.flatten(2) - self.mean[:, None]
        squares = (self.whitening @ centred).square().sum(1)
        distance = squares.log1p().view(count, 1, height, width)
        return functional.interpolate(distance, scale_factor=_STRIDE, mode="bilinear")

    def fit(self, count: int, sums: torch.Tensor, products: torch.Tensor) -> None:
        """Learn from the sums (F) and the sums of products (F, F) of features, in float64."""
        mean = sums / count
        covariance = products / count - torch.outer(mean, mean)
        spread = covariance.diagonal().clamp_min(1e-12).sqrt()
        correlation = covariance / torch.outer(spread, spread)
        correlation += _SHRINKAGE * torch.eye(len(mean), dtype=torch.float64)
        whitening = torch.linalg.inv(torch.linalg.cholesky(correlation)) / spread
        self.mean.copy_(mean)
        self.whitening.copy_(whitening)


def fit_features(
    model: FeatureModel, backbone: Backbone, areas: Sequence[TrainingArea]
) -> Iterator[float]:
    """Learn what features good material has.

    Parameters
    ----------
    model
        What is changed; on the CPU.
    backbone
        Pretrained, on the CPU.
    areas
        Normalised defect-free areas. Where no place of them lies in good pixels as a whole, all
        count.

    Yields
    ------
    float
        Fraction of the work that is done, in (0, 1].
    """
    for everywhere in (False, True):
        count = 0
        sums = torch.zeros(_FEATURES, dtype=torch.float64)
        products = torch.zeros(_FEATURES, _FEATURES, dtype=torch.float64)
        for done, area in enumerate(areas, start=1):
            for piece in _pieces(area):
                features = _good_features(backbone, piece, everywhere)
                count += len(features)
                sums += features.sum(0)
                products += features.T @ features
            yield done / len(areas)
        if count:
            break
    model.fit(count, sums, products)


def _pieces(area: TrainingArea) -> Iterator[TrainingArea]:
    """Cut an area into parts that are described at once."""
    height, width = area.pixels.shape[1:]
    for top in range(0, height, _TILE):
        rows = area.cut(0, top, min(top + _TILE, height))
        for left in range(0, width, _TILE):
            yield rows.cut(1, left, min(left + _TILE, width))


def _good_features(backbone: Backbone, area: TrainingArea, everywhere: bool) -> torch.Tensor:
    """Describe the places of an area whose pixels are all good, float64 of shape (N, F)."""
    height, width = area.pixels.shape[1:]
    # Beyond its border an area goes on as its mirror image: the padding of the network is nothing
    # that good material shows.
    sides = [(_PADDED, _PADDED + -side % _PADDED) for side in (height, width)]
    padded = np.pad(area.pixels, [(0, 0), *sides], mode="symmetric")
    features = _described(backbone(torch.as_tensor(padded)[None]))[0]
    allowed = np.ones((height, width), dtype=bool)
    if area.allowed is not None and not everywhere:
        allowed = area.allowed
    good = torch.as_tensor(np.pad(allowed, sides), dtype=torch.float32)[None, None]
    inside = functional.avg_pool2d(good, _STRIDE)[0, 0] == 1
    return features[:, inside].T.double()


def _described(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the features (N, F, H, W) of places, averaged over their neighbours."""
    pooled = [
        functional.avg_pool2d(maps[number], _POOL, 1, _POOL // 2, count_include_pad=False)
        for number in _MAPS
    ]
    size = pooled[0].shape[2:]
    same = [each if each.shape[2:] == size else functional.interpolate(
        each, size=size, mode="bilinear"
    ) for each in pooled]  # fmt: skip
    return torch.cat(same, dim=1)
