"""What an image may be compared with its reconstruction by, as frozen, serialisable models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from .values import Values

__all__ = [
    "ReconstructionProbabilityResidual",
    "ResidualConfig",
    "ResidualKind",
    "SSIMConfig",
    "SSIMResidual",
    "SquaredErrorResidual",
]


class SSIMConfig(Values):
    """Window and constants of the structural similarity index (paper section 3.2).

    Attributes
    ----------
    window
        ``"uniform"`` (the paper's, by its table 1) or ``"gaussian"`` (Wang et al. 2004).
    window_size
        Side K of the window, in pixels; odd, at least 3.
    sigma
        Standard deviation of the Gaussian window, in pixels; a uniform window ignores it.
    constants
        ``"standard"``: c1 = (0.01 L)^2, c2 = (0.03 L)^2 with L the data range, as in every
        library. ``"paper"``: c1 = 0.01 and c2 = 0.03, as the paper literally prints them.
    """

    window: Literal["uniform", "gaussian"] = "uniform"
    window_size: Annotated[int, Field(ge=3, le=255)] = 11
    sigma: Annotated[float, Field(gt=0)] = 1.5
    constants: Literal["standard", "paper"] = "standard"

    @field_validator("window_size")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"the SSIM window size must be odd, not {value}")
        return value


class SSIMResidual(Values):
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
    smoothing: Annotated[float, Field(ge=0, le=100)] = 0.0


class SquaredErrorResidual(Values):
    """Residual (x - x')^2 of normalised intensities, averaged over channels; 0 = identical.

    Attributes
    ----------
    smoothing
        Standard deviation of the Gaussian that the map is smoothed with, in pixels; 0 = none.
    """

    kind: Literal["squared_error"] = "squared_error"
    smoothing: Annotated[float, Field(ge=0, le=100)] = 0.0


class ReconstructionProbabilityResidual(Values):
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
    smoothing: Annotated[float, Field(ge=0, le=100)] = 0.0


ResidualConfig = Annotated[
    SSIMResidual | SquaredErrorResidual | ReconstructionProbabilityResidual,
    Field(discriminator="kind"),
]

ResidualKind = Literal["ssim", "squared_error", "reconstruction_probability"]
