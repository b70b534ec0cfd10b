"""Anomaly score: how rare a residual is on good images, the common unit of an ensemble."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..config.residual_kinds import EnsembleResidual, ResidualConfig, SimpleResidual

__all__ = [
    "anomaly_score",
    "ensemble_score",
    "fit_ensemble",
    "foreign_notice",
    "looks_foreign",
    "offsets",
    "score_levels",
    "weighted_by_skill",
]

_STEP = 0.25  # of the score between two levels
_MEASURED = 4.0  # up to this score, levels are quantiles; beyond they are extrapolated
_TAIL = 2.0  # score from which the tail is modelled as exponential
_HIGHEST = 30.0
_LEAST_WEIGHT = 0.01
# Skills at which a member starts to count, and counts in full: areas under the ROC curve of
# corruptions, which is the very task of a discriminator, and the reconstruction skill.
_SKILLS = {"discriminator": (0.8, 0.92), "features": (0.5, 0.6), "texture": (0.58, 0.61)}
_RECONSTRUCTION_SKILLS = (0.5, 1.0)
_LOWEST = 0.1  # part of the pixels that is good in any image
_USUAL = -math.log10(1 - _LOWEST)  # score that they stay below
_LARGEST_OFFSET = 2.0  # of an excess that is subtracted: another material stays rare
_FOREIGN_EXCESS = 4.0  # of the features; good images of the same material have at most 3.4
_MOST = 10.0  # largest score of a member: beyond, its tail is a guess
_SHIFT = 0.3  # the score of every second good pixel: below it, differences mean nothing
_SAMPLE = 50_000  # pixels of a quantile
_FEWEST = 30  # pixels beyond a level that is still taken from the data


def score_levels(good: npt.NDArray[np.float32]) -> tuple[float, ...]:
    """Measure the distribution of the residual on good pixels.

    Parameters
    ----------
    good
        Residuals of defect-free pixels, of any shape; at least one.

    Returns
    -------
    tuple of float
        Residuals that one in 10^r good pixels exceeds, for r = 0, 0.25, ..., 30; not falling.
        Where there are too few pixels for a quantile, the tail is modelled as exponential. Its
        scale is the mean excess over its start: a generalised Pareto distribution with shape 0
        (Pickands 1975).

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
    # A constant residual has no tail: the smallest difference above it is rare.
    per_decade = max(per_decade, 1e-6 * max(1.0, abs(levels[-1])))
    beyond = levels[-1] + per_decade * (wanted[len(measured) :] - measured[-1])
    return tuple(float(level) for level in np.concatenate([levels, beyond]))


def anomaly_score(
    residual: npt.NDArray[np.float32], levels: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Return minus log10 of the fraction of good pixels that exceed each residual.

    Parameters
    ----------
    residual
        float32 of any shape.
    levels
        From `score_levels`.

    Returns
    -------
    numpy.ndarray
        float32 of the same shape, in [0, 30]: 3 = one good pixel in a thousand exceeds it.

    Examples
    --------
    >>> good = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    >>> float(anomaly_score(np.float32([2.326]), score_levels(good)).round(1)[0])  # 99 % quantile
    2.0
    """
    # Of equal levels the rarest counts, because a pixel must exceed a level.
    steps, last = np.unique(np.asarray(levels)[::-1], return_index=True)
    scale = (len(levels) - 1 - last) * _STEP
    return np.asarray(np.interp(residual, steps, scale), dtype=np.float32)


def offsets(maps: Sequence[npt.NDArray[np.float32]], config: EnsembleResidual) -> tuple[float, ...]:
    """Return the excess score of a whole image, for each member.

    Images of the same material differ slightly as a whole: in light, focus, angle. Then good pixels
    too are rarer than those of the training images. One pixel in ten should have a score below
    0.046, because at least so many are good in any image. Up to 2 of the excess above that is
    subtracted from all pixels, so an image of another material stays rare.

    Parameters
    ----------
    maps
        One residual map per member of ``config``, float32 of any shape, of a representative
        part of the image; NaN does not count.
    config
        An ensemble whose members were measured on good images.

    Returns
    -------
    tuple of float
        Excess per member, in [0, 30].
    """
    found = []
    for residual, member in zip(maps, config.members, strict=True):
        values = residual[np.isfinite(residual)]
        offset = 0.0
        if values.size:
            lowest = np.quantile(values[:: max(1, values.size // _SAMPLE)], _LOWEST)
            offset = float(anomaly_score(np.full(1, lowest, np.float32), member.levels)[0]) - _USUAL
        found.append(max(0.0, offset))
    return tuple(found)


def looks_foreign(excess: Sequence[float], config: ResidualConfig) -> bool:
    """Whether an image as a whole is unlike the good images, to the pretrained features.

    Then nine in ten of its pixels are rarer than one good pixel in ten thousand. Of five data sets
    no image is, and nearly every image of another of these materials (benchmarks/EXPERIMENTS.md).

    Parameters
    ----------
    excess
        The `offsets` of the image.
    config
        The residual.
    """
    return config.kind == "rarity" and any(
        member.residual.kind == "features" and each >= _FOREIGN_EXCESS
        for member, each in zip(config.members, excess, strict=False)  # it may not be known yet
    )


def foreign_notice(name: str) -> str:
    """Say of an image that it looks foreign."""
    return (
        f"{name} looks unlike all of the training images: another material, or other light, focus "
        "or magnification; do not rely on its results."
    )


def ensemble_score(
    maps: Sequence[npt.NDArray[np.float32]],
    config: EnsembleResidual,
    excess: Sequence[float],
) -> npt.NDArray[np.float32]:
    """Combine the residual maps of one plane.

    Parameters
    ----------
    maps
        One residual map per member of ``config``, float32 of shape (H, W).
    config
        An ensemble that was calibrated on good images.
    excess
        From `offsets`.

    Returns
    -------
    numpy.ndarray
        float32 of shape (H, W), in [0, 30].
    """
    return anomaly_score(_together(maps, config, excess), config.levels)


def fit_ensemble(
    config: EnsembleResidual, maps: Sequence[Sequence[npt.NDArray[np.float32]]]
) -> EnsembleResidual:
    """Calibrate an ensemble on good images.

    Parameters
    ----------
    config
        Names the members.
    maps
        For each member, the residual maps of the good images, float32 of shape (H, W);
        pixels that are NaN in all members do not count.

    Returns
    -------
    EnsembleResidual
        The same members with their levels.
    """
    members = []
    for member, good in zip(config.members, maps, strict=True):
        values = np.concatenate([found[np.isfinite(found)] for found in good])
        members.append(member.replace(levels=score_levels(values)))
    config = config.replace(members=tuple(members))
    together = [
        _together(image, config, offsets(image, config)) for image in zip(*maps, strict=True)
    ]
    values = np.concatenate([found[np.isfinite(found)] for found in together])
    return config.replace(levels=score_levels(values))


def weighted_by_skill(
    config: ResidualConfig, reconstruction_skill: float, skills: Mapping[SimpleResidual, float]
) -> ResidualConfig:
    """Weight the members of an ensemble by their skill; those without skill are dropped.

    A part that an autoencoder has not learned to reconstruct is not a defect, however rare its
    residual. Of an irregular texture it learns to reconstruct only the smooth parts, which then
    always look good. So it counts if it reconstructs most of the texture. The others count if they
    separate corruptions from good pixels. A discriminator has to be better at that, because it was
    trained for it.

    Parameters
    ----------
    config
        Any residual; all but an ensemble stay as they are.
    reconstruction_skill
        Part of the loss of a flat reconstruction that is gone (see
        `Validation.reconstruction_skill`).
    skills
        What `Validation.skills` says of the other members.

    Examples
    --------
    >>> from napari_ssim_defects.core.config import EnsembleMember, SSIMResidual, TextureResidual
    >>> kinds = SSIMResidual(), TextureResidual()
    >>> ensemble = EnsembleResidual(members=[EnsembleMember(residual=kind) for kind in kinds])
    >>> skills = {TextureResidual(): 0.95}
    >>> both = weighted_by_skill(ensemble, 0.9, skills)
    >>> [member.weight for member in both.members]
    [0.8, 1.0]
    >>> weaker = weighted_by_skill(ensemble, 0.4, skills)
    >>> [member.residual.kind for member in weaker.members]
    ['texture']
    """
    if config.kind != "rarity":
        return config
    weights = []
    for member in config.members:
        least, full = _SKILLS.get(member.residual.kind, _RECONSTRUCTION_SKILLS)
        weight = (skills.get(member.residual, reconstruction_skill) - least) / (full - least)
        weights.append(round(min(1.0, weight), 4))
    if max(weights) <= 0:  # none has any skill: keep them all
        weights = [_LEAST_WEIGHT] * len(weights)
    return config.replace(
        members=tuple(
            member.replace(weight=weight)
            for member, weight in zip(config.members, weights, strict=True)
            if weight > 0
        )
    )


def _together(
    maps: Sequence[npt.NDArray[np.float32]],
    config: EnsembleResidual,
    excess: Sequence[float],
) -> npt.NDArray[np.float32]:
    """Return the weighted geometric mean of the scores, shifted by 0.3.

    Up to 2 of the excess of the whole image is subtracted from each first. One member alone cannot
    decide: a place that is rare in all members counts for more than one that is very rare in one.
    """
    total = np.zeros_like(maps[0])
    for found, member, offset in zip(maps, config.members, excess, strict=True):
        scores = anomaly_score(found, member.levels).clip(max=_MOST)
        rare = (scores - np.float32(min(offset, _LARGEST_OFFSET))).clip(min=0)
        total += np.float32(member.weight) * np.log(rare + np.float32(_SHIFT))
    mean = np.exp(total / np.float32(sum(member.weight for member in config.members)))
    return np.asarray((mean - np.float32(_SHIFT)).clip(min=0))
