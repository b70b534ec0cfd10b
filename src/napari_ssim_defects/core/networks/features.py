"""Distance of pretrained features from those of good material."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as functional
from torch import nn

from .backbone import BACKBONE_CHANNELS, BACKBONE_STRIDES, MIRRORED, mirrored

if TYPE_CHECKING:
    from ..patches.areas import TrainingArea
    from .backbone import Backbone

__all__ = ["FeatureModel", "fit_features"]

_MAPS = (2, 3)  # of the backbone: neither edges nor objects
_STRIDE = BACKBONE_STRIDES[_MAPS[0]]
_FEATURES = sum(BACKBONE_CHANNELS[number] for number in _MAPS)
_POOL = 3  # places of each map that are averaged
_NOISE = 1e-4  # least variance of a feature, for images of a single colour
_SHRINKAGE = 0.01  # added to the correlation of each feature with itself
_TILE = 1024  # pixels along a side of a part that is processed at once
_RINGS = 8  # of places along the border of an image, which are farther from good ones than others
_QUANTILE = 0.9  # of the distances in each ring, by which it is compared with those inside
_RING_PIECES = 8  # that are looked at for that


class FeatureModel(nn.Module):
    """The Mahalanobis distance of pretrained features from those of good material.

    One Gaussian describes all places of the good images. It includes the correlations of features,
    so a place that is too regular is as distant as one that is too rough. It is fitted in closed
    form, in seconds.

    References
    ----------
    Rippel, Mertens, Merhof: Modeling the distribution of normal data in pre-trained deep features
    for anomaly detection, ICPR 2020. Defard et al.: PaDiM, ICPR 2021.
    """

    # Shape (F), (F, F) and (R).
    mean: torch.Tensor
    whitening: torch.Tensor
    rings: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(_FEATURES))
        self.register_buffer("whitening", torch.eye(_FEATURES))
        self.register_buffer("rings", torch.zeros(_RINGS))

    def forward(self, maps: Sequence[torch.Tensor], height: int, width: int) -> torch.Tensor:
        """Return how far each pixel of an image is from good material.

        Parameters
        ----------
        maps
            Output of a `Backbone` for the `mirrored` image.
        height, width
            Size of the image.

        Returns
        -------
        torch.Tensor
            float32 of shape (N, 1, height, width): log(1 + squared distance), less the excess of
            good material at the border, where the mirrored padding adds some distance.
        """
        distance = self.distance(_described(maps)[:, :, *_places(height, width)])
        distance = distance - self.rings[_ring(distance.shape[2], distance.shape[3])]
        fine = functional.interpolate(distance, scale_factor=_STRIDE, mode="bilinear")
        return fine[:, :, :height, :width]

    def distance(self, features: torch.Tensor) -> torch.Tensor:
        """Return the distance (N, 1, H, W) of the features (N, F, H, W) of places, as it is."""
        centred = features.flatten(2) - self.mean[:, None]
        squares = (self.whitening @ centred).square().sum(1)
        return squares.log1p().view(len(features), 1, *features.shape[2:])

    def fit(self, count: int, sums: torch.Tensor, products: torch.Tensor) -> None:
        """Fit the Gaussian to sums (F) and sums of products (F, F) of features, in float64."""
        mean = sums / count
        covariance = products / count - torch.outer(mean, mean)
        covariance += _NOISE * torch.eye(len(mean), dtype=torch.float64)
        # Features that always rise and fall together would be whitened by a huge factor. Adding to
        # the correlation limits it by the same factor for all of them, whatever their scales.
        spread = covariance.diagonal().sqrt()
        correlation = covariance / torch.outer(spread, spread)
        correlation += _SHRINKAGE * torch.eye(len(mean), dtype=torch.float64)
        whitening = torch.linalg.inv(torch.linalg.cholesky(correlation)) / spread
        self.mean.copy_(mean)
        self.whitening.copy_(whitening)


def fit_features(
    model: FeatureModel, backbone: Backbone, areas: Sequence[TrainingArea]
) -> Iterator[float]:
    """Fit a feature model to good material.

    Parameters
    ----------
    model
        The model to fit; on the CPU.
    backbone
        Pretrained, on the CPU.
    areas
        Normalised defect-free areas. If no place consists of good pixels only, all places count.

    Yields
    ------
    float
        Fraction of the work that is done, in (0, 1].
    """
    along_borders: list[tuple[TrainingArea, torch.Tensor]] = []
    for everywhere in (False, True):
        count = 0
        sums = torch.zeros(_FEATURES, dtype=torch.float64)
        products = torch.zeros(_FEATURES, _FEATURES, dtype=torch.float64)
        for done, area in enumerate(areas, start=1):
            for piece in _pieces(area):
                described = _described(backbone(torch.as_tensor(mirrored(piece.pixels))[None]))
                described = described[:, :, *_places(*piece.pixels.shape[1:])]
                if len(along_borders) < _RING_PIECES and not everywhere:
                    along_borders.append((piece, described))
                features = described[0][:, _good_places(piece, everywhere)].T.double()
                count += len(features)
                sums += features.sum(0)
                products += features.T @ features
            yield done / len(areas)
        if count:
            break
    model.fit(count, sums, products)
    _fit_rings(model, along_borders)


def _fit_rings(model: FeatureModel, pieces: Sequence[tuple[TrainingArea, torch.Tensor]]) -> None:
    """Measure the excess distance of places along a border, in pieces and their features."""
    found: list[list[torch.Tensor]] = [[] for _ in range(_RINGS)]
    for piece, features in pieces:
        distance, ring = model.distance(features)[0, 0], _ring(*features.shape[2:])
        good = _good_places(piece)
        for number, distances in enumerate(found):
            distances.append(distance[(ring == number) & good])
    inside = torch.cat(found[-1])
    if len(inside):
        usual = inside.quantile(_QUANTILE)
        for number in range(_RINGS - 1):
            along = torch.cat(found[number])
            if len(along):
                model.rings[number] = (along.quantile(_QUANTILE) - usual).clamp_min(0)


def _pieces(area: TrainingArea) -> Iterator[TrainingArea]:
    """Cut an area into parts that are described at once."""
    height, width = area.pixels.shape[1:]
    for top in range(0, height, _TILE):
        rows = area.cut(0, top, min(top + _TILE, height))
        for left in range(0, width, _TILE):
            yield rows.cut(1, left, min(left + _TILE, width))


def _good_places(area: TrainingArea, everywhere: bool = False) -> torch.Tensor:
    """Whether all pixels of each place are good, bool of shape (H / 8, W / 8)."""
    height, width = area.pixels.shape[1:]
    if area.allowed is None or everywhere:
        return torch.ones(_shape(height, width), dtype=torch.bool)
    bad = torch.as_tensor(~area.allowed, dtype=torch.float32)[None, None]
    return functional.max_pool2d(bad, _STRIDE, ceil_mode=True)[0, 0] == 0


def _shape(height: int, width: int) -> tuple[int, int]:
    """Number of places below each other and side by side in an image."""
    return -(-height // _STRIDE), -(-width // _STRIDE)


def _places(height: int, width: int) -> tuple[slice, slice]:
    """Where the places of an image lie in the maps of its mirrored copy."""
    first = MIRRORED // _STRIDE
    rows, columns = _shape(height, width)
    return slice(first, first + rows), slice(first, first + columns)


def _ring(rows: int, columns: int) -> torch.Tensor:
    """Number of places between each place (H, W) and the next border, or that of the last ring."""
    down, right = torch.arange(rows), torch.arange(columns)
    row = torch.minimum(down, down.flip(0))[:, None]
    return torch.minimum(row, torch.minimum(right, right.flip(0))).clamp_max(_RINGS - 1)


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
