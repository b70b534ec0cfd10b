"""How rare a residual is on good images: the common unit of residuals that differ otherwise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .residual_kinds import (
    RarityResidual,
    ReconstructionResidual,
    ResidualConfig,
)

__all__ = ["combined_rarity", "fit_rarity", "rarity", "rarity_levels", "trusted"]

_STEP = 0.25  # of rarity between two levels
_MEASURED = 4.0  # up to this rarity, levels are quantiles; beyond they are extrapolated
_TAIL = 2.0  # rarity from which on the tail is taken for exponential
_HIGHEST = 10.0
_LEAST_WEIGHT = 0.01
_FEWEST = 30  # pixels beyond a level that is still taken from the data


def rarity_levels(good: npt.NDArray[np.float32]) -> tuple[float, ...]:
    """Measure how the residual of good pixels is distributed.

    Parameters
    ----------
    good
        Residuals of defect-free pixels, of any shape; at least one.

    Returns
    -------
    tuple of float
        Residuals that one in 10^r good pixels exceeds, for r = 0, 0.25, ..., 10; not falling.
        Where the pixels are too few for a quantile, the tail is taken for exponential, with the
        mean excess over its start as the estimate of its scale (the shape-less case of the
        generalised Pareto distribution; Pickands 1975).

    References
    ----------
    Pickands: Statistical inference using extreme order statistics, Annals of Statistics 3, 1975.
    """
    values = np.sort(good, axis=None).astype(np.float64)
    wanted = np.arange(0, _HIGHEST + _STEP / 2, _STEP)
    measurable = min(_MEASURED, max(0.0, math.log10(len(values) / _FEWEST)))
    measured = wanted[wanted <= measurable]
    levels = np.quantile(values, 1 - 10.0**-measured)
    start = np.quantile(values, 1 - 10.0 ** -min(_TAIL, measured[-1]))
    excess = values[values > start] - start
    per_decade = math.log(10) * (float(excess.mean()) if excess.size else 0.0)
    # A residual that never varies has no tail: the least difference above it is rare.
    per_decade = max(per_decade, 1e-6 * max(1.0, abs(levels[-1])))
    beyond = levels[-1] + per_decade * (wanted[len(measured) :] - measured[-1])
    return tuple(float(level) for level in np.concatenate([levels, beyond]))


def rarity(residual: npt.NDArray[np.float32], levels: Sequence[float]) -> npt.NDArray[np.float32]:
    """Return minus log10 of the fraction of good pixels that exceed each residual.

    Parameters
    ----------
    residual
        float32 of any shape.
    levels
        What `rarity_levels` measured.

    Returns
    -------
    numpy.ndarray
        float32 of the same shape, in [0, 10]: 3 = one good pixel in a thousand exceeds it.

    Examples
    --------
    >>> good = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    >>> float(rarity(np.float32([2.326]), rarity_levels(good)).round(1)[0])  # the 99 % quantile
    2.0
    """
    # Where levels repeat, the rarest counts, as pixels must exceed a level.
    steps, last = np.unique(np.asarray(levels)[::-1], return_index=True)
    scale = (len(levels) - 1 - last) * _STEP
    return np.asarray(np.interp(residual, steps, scale), dtype=np.float32)


def combined_rarity(
    maps: Sequence[npt.NDArray[np.float32]], config: RarityResidual
) -> npt.NDArray[np.float32]:
    """Judge residual maps of one plane together.

    Parameters
    ----------
    maps
        One residual map per view of ``config``, float32 of shape (H, W).
    config
        A rarity that was measured on good images.

    Returns
    -------
    numpy.ndarray
        float32 of shape (H, W), in [0, 10].
    """
    rarities = [rarity(found, view.levels) for found, view in zip(maps, config.views, strict=True)]
    return rarity(_mean(rarities, config), config.levels)


def fit_rarity(
    config: RarityResidual, maps: Sequence[Sequence[npt.NDArray[np.float32]]]
) -> RarityResidual:
    """Measure what is rare on good images.

    Parameters
    ----------
    config
        Says which residuals the rarity is made of.
    maps
        For each of these views, the residual maps of the good images, float32 of shape (H, W);
        pixels that are NaN in all views do not count.

    Returns
    -------
    RarityResidual
        The same views with their levels.
    """
    views, rarities = [], []
    for view, good in zip(config.views, maps, strict=True):
        values = np.concatenate([found[np.isfinite(found)] for found in good])
        levels = rarity_levels(values)
        views.append(view.replace(levels=levels))
        rarities.append(rarity(values, levels))
    return config.replace(views=tuple(views), levels=rarity_levels(_mean(rarities, config)))


def trusted(config: ResidualConfig, learned: float) -> ResidualConfig:
    """Let a reconstruction count in a rarity by how much of the material it redraws.

    What a network has not learned to redraw is no defect, however rare the difference is.

    Parameters
    ----------
    config
        Any residual; all but a rarity stay as they are.
    learned
        Part of the loss of a flat reconstruction that is gone (see `Validation.learned`).

    Examples
    --------
    >>> from napari_ssim_defects.core.config import RarityView, SSIMResidual
    >>> view = RarityView(residual=SSIMResidual())
    >>> trusted(RarityResidual(views=(view,)), learned=0.4).views[0].weight
    0.4
    """
    if config.kind != "rarity":
        return config
    weight = min(1.0, max(_LEAST_WEIGHT, learned))
    return config.replace(
        views=tuple(
            view.replace(weight=weight)
            if isinstance(view.residual, ReconstructionResidual)
            else view
            for view in config.views
        )
    )


def _mean(
    rarities: Sequence[npt.NDArray[np.float32]], config: RarityResidual
) -> npt.NDArray[np.float32]:
    weights = [view.weight for view in config.views]
    return np.asarray(np.average(rarities, axis=0, weights=weights), dtype=np.float32)
