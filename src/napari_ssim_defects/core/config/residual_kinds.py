"""Kinds of residuals, as frozen, serialisable models."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from ..common.frozen_model import FrozenModel, Shown

__all__ = [
    "RESIDUAL_NAMES",
    "DiscriminatorResidual",
    "EnsembleMember",
    "EnsembleResidual",
    "FeaturesResidual",
    "LocalKind",
    "LocalResidual",
    "ReconstructionProbabilityResidual",
    "ReconstructionResidual",
    "ResidualConfig",
    "ResidualKind",
    "SSIMConfig",
    "SSIMResidual",
    "SimpleResidual",
    "SquaredErrorResidual",
    "TextureResidual",
    "parts",
]


def _rising(levels: tuple[float, ...]) -> tuple[float, ...]:
    if any(lower > upper for lower, upper in itertools.pairwise(levels)):
        raise ValueError("levels must not fall")
    return levels


Levels = Annotated[tuple[float, ...], Field(max_length=1000), AfterValidator(_rising)]
"""Rising residuals, which fewer and fewer good pixels exceed; see `score_levels`."""


Smoothing = Annotated[float, Field(ge=0, le=100)]
"""Standard deviation of the Gaussian that a map is smoothed with, in pixels; 0 = none."""


class SSIMConfig(FrozenModel, use_attribute_docstrings=True):
    """Window and constants of the structural similarity index (paper section 3.2)."""

    window: Literal["uniform", "gaussian"] = "uniform"
    """``"uniform"`` (the paper's, by its table 1) or ``"gaussian"`` (Wang et al. 2004)."""

    window_size: Annotated[int, Field(ge=3, le=255), Shown("SSIM window", "px", step=2)] = 11
    """Side K of the window, odd: how large a neighbourhood is compared (the paper: 11)."""

    sigma: Annotated[float, Field(ge=0.01, le=10_000)] = 1.5
    """Standard deviation of the Gaussian window, in pixels; a uniform window ignores it."""

    constants: Literal["standard", "paper"] = "standard"
    """``"standard"``: c1 = (0.01 L)^2, c2 = (0.03 L)^2 with L the data range, as in every
    library. ``"paper"``: c1 = 0.01 and c2 = 0.03, as the paper literally prints them."""

    @field_validator("window_size")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"the SSIM window size must be odd, not {value}")
        return value


class SSIMResidual(FrozenModel):
    """Residual 1 - SSIM, averaged over channels and windows; 0 = identical, at most 2.

    Attributes
    ----------
    ssim
        One or more windows; their residual maps are averaged.
    smoothing
        Standard deviation of the Gaussian that the map is smoothed with, in pixels; 0 = none.
    """

    kind: Literal["ssim"] = "ssim"
    ssim: Annotated[tuple[SSIMConfig, ...], Field(min_length=1)] = (SSIMConfig(),)
    smoothing: Smoothing = 0.0


class SquaredErrorResidual(FrozenModel):
    """Residual (x - x')^2 of normalised intensities, averaged over channels; 0 = identical."""

    kind: Literal["squared_error"] = "squared_error"
    smoothing: Smoothing = 0.0


class ReconstructionProbabilityResidual(FrozenModel):
    """How improbable a pixel is under what a variational autoencoder decodes; 0 = certain.

    Mean and variance of a pixel over decoded latent samples give a Gaussian; the residual is its
    negative log likelihood, less the constant that makes it 0 where the pixel equals the mean and
    the samples agree (An and Cho 2015; paper section 4.2).

    Attributes
    ----------
    samples
        Number N of latent samples that are decoded; the paper takes 6.
    noise
        Standard deviation of normalised intensities that is expected even where all samples
        agree; keeps the likelihood finite.
    smoothing
        Standard deviation of the Gaussian that the map is smoothed with, in pixels; 0 = none.
    """

    kind: Literal["reconstruction_probability"] = "reconstruction_probability"
    samples: Annotated[int, Field(ge=2, le=1000)] = 6
    noise: Annotated[float, Field(gt=0, le=10)] = 0.05
    smoothing: Smoothing = 0.0


ReconstructionResidual = SSIMResidual | SquaredErrorResidual | ReconstructionProbabilityResidual
"""Residuals that compare an image with its reconstruction."""


class DiscriminatorResidual(FrozenModel):
    """How sure the discriminator is that a pixel is not good material; 0 = good.

    Minus the natural logarithm of the probability that it gives to "good".
    """

    kind: Literal["discriminator"] = "discriminator"
    smoothing: Smoothing = 0.0


class TextureResidual(FrozenModel):
    """How improbable the neighbourhood of a pixel is in the texture; 0 = most probable.

    Minus the log-likelihood that the `TextureModel` gives, in nats, above its least.
    """

    kind: Literal["texture"] = "texture"
    smoothing: Smoothing = 0.0


class FeaturesResidual(FrozenModel):
    """How far the pretrained features of a pixel are from those of good material; 0 = nearest.

    log(1 + squared Mahalanobis distance) of the `FeatureModel`.
    """

    kind: Literal["features"] = "features"
    smoothing: Smoothing = 0.0


class EnsembleMember(FrozenModel):
    """A member of an ensemble.

    Attributes
    ----------
    residual
        The residual.
    weight
        Its share of the mean. At the end of a training it is set by the skill of the member (see
        `weighted_by_skill`).
    levels
        Distribution on good images (see `score_levels`); empty before the calibration.
    """

    residual: Annotated[
        SSIMResidual
        | SquaredErrorResidual
        | DiscriminatorResidual
        | FeaturesResidual
        | TextureResidual,
        Field(discriminator="kind"),
    ]
    weight: Annotated[float, Field(gt=0, le=1)] = 1.0
    levels: Levels = ()


class EnsembleResidual(FrozenModel):
    """How rare a pixel is on good images, judged by several residuals together.

    Each residual becomes minus log10 of the fraction of good pixels that exceed it, minus the
    excess of the whole image (see `offsets`). Their weighted geometric mean is put on the same
    scale again. So 3 means that one good pixel in a thousand exceeds it.

    Attributes
    ----------
    members
        The residuals.
    levels
        Distribution of the combined score on good images; empty before the calibration.
    """

    kind: Literal["rarity"] = "rarity"
    members: Annotated[tuple[EnsembleMember, ...], Field(min_length=1, alias="views")]
    levels: Levels = ()

    @property
    def is_measured(self) -> bool:
        """Whether it has been calibrated."""
        return all((self.levels, *(member.levels for member in self.members)))


ResidualConfig = Annotated[
    ReconstructionResidual
    | DiscriminatorResidual
    | FeaturesResidual
    | TextureResidual
    | EnsembleResidual,
    Field(discriminator="kind"),
]


LocalKind = Literal["discriminator", "features", "texture"]
"""Kinds of `LocalResidual`; a network has a part of the same name for each."""

LocalResidual = DiscriminatorResidual | FeaturesResidual | TextureResidual
"""Residuals of a pixel and its surroundings, without a reconstruction."""

SimpleResidual = ReconstructionResidual | LocalResidual
"""Residuals that are not combined from others."""


def parts(residual: ResidualConfig) -> tuple[SimpleResidual, ...]:
    """Return the residuals that an ensemble combines, or the one residual itself."""
    if residual.kind == "rarity":
        return tuple(member.residual for member in residual.members)
    return (residual,)


RESIDUAL_NAMES: dict[str, str] = {
    "ssim": "structure (SSIM)",
    "squared_error": "squared error",
    "reconstruction_probability": "reconstruction probability",
    "discriminator": "discriminator",
    "texture": "texture",
    "features": "features",
}
"""What people are told that a model judges by."""

ResidualKind = Literal[
    "ssim",
    "squared_error",
    "reconstruction_probability",
    "discriminator",
    "features",
    "texture",
    "rarity",
]
