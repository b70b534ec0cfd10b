"""Every value that a training and a detection depend on, as frozen, serialisable models."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import InputError

__all__ = [
    "PRESETS",
    "AugmentationConfig",
    "ResidualConfig",
    "SSIMConfig",
    "SSIMResidual",
    "SegmentationConfig",
    "SquaredErrorResidual",
    "System",
    "TrainingConfig",
]

System = Literal["ssim", "l2"]


class _Values(BaseModel):
    """A frozen set of values that refuses unknown names and impossible numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(describe(error)) from None

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some values changed; unlike ``model_copy`` it validates them."""
        return type(self)(**{**dict(self), **changes})


def describe(error: ValidationError) -> str:
    """Turn the first problem that pydantic found into one sentence."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "configuration"
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"Setting '{name}' is not valid: {reason[:1].lower()}{reason[1:]}."


class SSIMConfig(_Values):
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


class SSIMResidual(_Values):
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


class SquaredErrorResidual(_Values):
    """Residual (x - x')^2 of normalised intensities, averaged over channels; 0 = identical.

    Attributes
    ----------
    smoothing
        Standard deviation of the Gaussian that the map is smoothed with, in pixels; 0 = none.
    """

    kind: Literal["squared_error"] = "squared_error"
    smoothing: Annotated[float, Field(ge=0, le=100)] = 0.0


ResidualConfig = Annotated[SSIMResidual | SquaredErrorResidual, Field(discriminator="kind")]


class AugmentationConfig(_Values):
    """How a training patch may differ from the image that it was cut from.

    Attributes
    ----------
    flips, quarter_turns
        Whether patches are mirrored, and turned by multiples of 90 degrees, at random. Right
        for isotropic textures, wrong for a weave whose warp differs from its weft.
    rotation
        Largest rotation either way, in degrees.
    scale
        Largest change of scale either way, as a fraction (0.05 = 95 % to 105 %).
    brightness, contrast
        Largest change either way, as a fraction of the normalised intensity range.
    """

    flips: bool = False
    quarter_turns: bool = False
    rotation: Annotated[float, Field(ge=0, le=45)] = 0.0
    scale: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0


class SegmentationConfig(_Values):
    """Post-processing of a thresholded residual (paper section 4.2), in the order it is done.

    Attributes
    ----------
    opening
        Diameter of the circular structuring element of the opening, which removes what is
        thinner, in pixels; below 2 = none.
    closing
        Diameter of that of the closing, which bridges narrower gaps, in pixels; below 2 = none.
    fill_holes
        Whether background enclosed by a region becomes part of it.
    connectivity
        8: pixels that share a corner belong to one region; 4: only those that share an edge.
    min_area, max_area
        Regions of fewer, or of more, pixels are dropped; None = no upper limit.
    clear_border
        Whether regions that touch the border of the image are dropped.
    convex_hull
        Whether each region is replaced by its convex hull; hulls that touch become one region.
    review_threshold
        A second, lower threshold; what lies between the two is to be reviewed by a person.
        None = no second threshold.
    hysteresis
        Whether a region above the second threshold that touches a defect is part of it; if not,
        what lies between the thresholds is to be reviewed wherever it is.
    """

    opening: Annotated[int, Field(ge=0, le=255)] = 4
    closing: Annotated[int, Field(ge=0, le=255)] = 0
    fill_holes: bool = True
    connectivity: Literal[4, 8] = 8
    min_area: Annotated[int, Field(ge=0)] = 20
    max_area: Annotated[int, Field(ge=1)] | None = None
    clear_border: bool = False
    convex_hull: bool = True
    review_threshold: float | None = None
    hysteresis: bool = True


class TrainingConfig(_Values):
    """The full recipe of a training; saved in the model, printed by ``info``.

    Attributes
    ----------
    name
        Name of the preset that the values came from; informative only.
    system
        ``"ssim"``: trained and scored with structural similarity. ``"l2"``: with squared error.
    patch_size
        Side of the square patches, in pixels; a multiple of 16.
    latent_dimension
        Length d of the latent vector.
    batch_norm
        Whether every convolution but the last of encoder and decoder is batch-normalised.
    ssim
        Window and constants of the training loss of system ``ssim``.
    residual
        How an image is compared with its reconstruction; by default as the system is trained.
    augmentation
        Random changes of the training patches.
    batch_size
        Patches per optimiser step.
    patches
        Patches per epoch.
    fixed_patches
        Whether every epoch sees the same patches (the paper) or draws new ones.
    epochs
        Length of the training when ``minutes`` is None.
    minutes
        Wall-clock budget of the training; the learning rate is annealed over it.
    learning_rate
        Adam's learning rate; with ``schedule="one_cycle"`` its peak.
    schedule
        ``"constant"``, or ``"one_cycle"``: a linear rise, then a cosine fall to zero.
    weight_decay
        Adam's L2 penalty.
    validation
        Fraction of the training area that is held out to choose the best weights.
    intensity_percentiles
        Percentiles of the training images, in [0, 100], that are mapped to 0 and 1.
    stride
        Distance between reconstructed patches on detection, in pixels.
    seed
        Seed of initialisation, sampling and augmentation.
    """

    name: str = "custom"
    system: System = "ssim"
    patch_size: Annotated[int, Field(ge=16, le=1024, multiple_of=16)] = 128
    latent_dimension: Annotated[int, Field(ge=1, le=65536)] = 500
    batch_norm: bool = True
    ssim: SSIMConfig = SSIMConfig()
    residual: ResidualConfig = SSIMResidual()
    augmentation: AugmentationConfig = AugmentationConfig()
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 16
    patches: Annotated[int, Field(ge=1)] = 2000
    fixed_patches: bool = False
    epochs: Annotated[int, Field(ge=1)] = 10
    minutes: Annotated[float, Field(gt=0)] | None = None
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    schedule: Literal["constant", "one_cycle"] = "one_cycle"
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    intensity_percentiles: tuple[
        Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]
    ] = (1.0, 99.0)
    stride: Annotated[int, Field(ge=1)] = 32
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @model_validator(mode="before")
    @classmethod
    def _residual_of_system(cls, values: Any) -> Any:
        """Score by what is trained for, unless said otherwise."""
        if isinstance(values, dict) and values.get("system") == "l2" and "residual" not in values:
            return {**values, "residual": SquaredErrorResidual()}
        return values

    @field_validator("intensity_percentiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError("the lower intensity percentile must be below the upper one")
        return value

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Return the named preset, with some values changed.

        Parameters
        ----------
        name
            ``"paper"``, ``"quick"`` or ``"best"``.
        **changes
            Values that replace the preset's. A changed ``system`` brings its own residual along
            unless ``residual`` is given too.

        Raises
        ------
        InputError
            If there is no such preset, no such value, or a value is out of range.

        Examples
        --------
        >>> TrainingConfig.preset("paper").latent_dimension
        500
        >>> TrainingConfig.preset("quick", system="l2").residual.kind
        'squared_error'
        """
        if name not in PRESETS:
            raise InputError(f"There is no preset '{name}'; choose one of {', '.join(PRESETS)}.")
        values = dict(PRESETS[name])
        if changes.get("system") == "l2":
            values.pop("residual", None)  # the preset's is for SSIM
        return cls(**{"name": name, **values, **changes})


# Minutes instead of hours: small patches in small batches leave the plateau of the SSIM loss
# soonest (benchmarks/README.md).
_BRIEF: dict[str, Any] = {
    "patch_size": 64,
    "latent_dimension": 200,
    "learning_rate": 1e-3,
    "stride": 16,
    "residual": SSIMResidual(
        ssim=(
            SSIMConfig(window_size=11, constants="paper"),
            SSIMConfig(window_size=21, constants="paper"),
        ),
        smoothing=4.0,
    ),
}

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        **_BRIEF,
        "minutes": 2.0,
    },
    "best": {
        **_BRIEF,
        "latent_dimension": 256,
        "minutes": 10.0,
    },
    "paper": {
        "batch_norm": False,
        "batch_size": 128,
        "patches": 20_000,
        "fixed_patches": True,
        "epochs": 200,
        "learning_rate": 2e-4,
        "schedule": "constant",
        "validation": 0.0,
        "stride": 30,
    },
}
