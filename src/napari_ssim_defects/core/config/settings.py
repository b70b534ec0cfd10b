"""Every value that a training, a detection and its results depend on, as frozen models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from ..common.errors import InputError
from ..common.frozen_model import FrozenModel, Shown
from .presets import PRESETS, SSIM_ONLY
from .residual_kinds import (
    LocalKind,
    ReconstructionProbabilityResidual,
    ReconstructionResidual,
    ResidualConfig,
    SquaredErrorResidual,
    SSIMConfig,
    SSIMResidual,
    parts,
)

__all__ = [
    "AugmentationConfig",
    "FeatureNetwork",
    "ImageFormat",
    "OutputConfig",
    "OutputKind",
    "SegmentationConfig",
    "System",
    "TrainingConfig",
]

System = Literal["ssim", "l2", "vae", "fmae"]
"""What is trained: SSIM, squared error, a variational and a feature matching autoencoder."""

FeatureNetwork = Literal["alexnet", "efficientnet-lite0"]
"""Pretrained network whose first layers the feature matching autoencoder compares."""

OutputKind = Literal["residual", "labels", "mask", "table", "overlay"]
"""Residual map; numbered regions; where regions are; their table; picture with outlines."""

ImageFormat = Literal["ome", "imagej", "zarr"]
"""OME-TIFF, which holds everything; ImageJ's own TIFF, which holds less but opens in any
Fiji; and OME-Zarr, a folder of small files, for images that are viewed over a network."""


class AugmentationConfig(FrozenModel):
    """How a training patch may differ from the image that it was cut from.

    Attributes
    ----------
    flips, quarter_turns
        Whether patches are mirrored (left to right, top to bottom), and turned by multiples of 90
        degrees, at random. Right for isotropic textures, wrong for a weave whose warp differs from
        its weft. A network that is trained with them detects in all these orientations.
    symmetries
        Whether the texture model determines the two above when the training begins (see
        `find_symmetries`); their values are then ignored.
    rotation
        Largest rotation either way, in degrees.
    scale
        Largest change of scale either way, as a fraction (0.05 = 95 % to 105 %).
    brightness, contrast
        Largest change either way, as a fraction of the normalised intensity range.
    """

    flips: bool = False
    quarter_turns: bool = False
    symmetries: bool = False
    rotation: Annotated[float, Field(ge=0, le=45)] = 0.0
    scale: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0


class SegmentationConfig(FrozenModel, use_attribute_docstrings=True):
    """Post-processing of a thresholded residual (paper section 4.2), in the order it is done.

    Each field is an option of the command line and a field of the panel, too.
    """

    opening: Annotated[int, Field(ge=0, le=255), Shown(unit="px")] = 4
    """Diameter of the circular structuring element of the opening, which removes what is thinner
    (the paper: 4); below 2: none."""

    closing: Annotated[int, Field(ge=0, le=255), Shown(unit="px")] = 21
    """Diameter of the circular structuring element of the closing, which joins what lies closer
    together (the paper: none); below 2: none."""

    fill_holes: bool = True
    """Whether background enclosed by a region becomes part of it."""

    connectivity: Annotated[
        Literal[4, 8], Shown(texts={8: "8, by corners too", 4: "4, by edges only"})
    ] = 8
    """8: pixels that share a corner belong to one region; 4: only those that share an edge."""

    min_area: Annotated[int, Field(ge=0, le=10**15), Shown("Minimum area", "px")] = 20
    """Regions of fewer pixels are dropped."""

    max_area: (
        Annotated[
            int,
            Field(ge=1, le=10**15),
            Shown("Maximum area", "px", texts={None: "no limit"}),
        ]
        | None
    ) = None
    """Regions of more pixels are dropped."""

    clear_border: Annotated[bool, Shown("Drop at border")] = False
    """Whether regions that touch the border of the image are dropped: they are cut off."""

    convex_hull: Annotated[bool, Shown("Convex hulls")] = False
    """Whether each region is replaced by its convex hull, as in the paper; hulls that touch become
    one region. Without, outlines are nearer to the defects (benchmarks/EXPERIMENTS.md)."""

    review_threshold: Annotated[float, Shown("Review from")] | None = None
    """A second, lower threshold: what lies between the two is to be reviewed by a person."""

    hysteresis: Annotated[bool, Shown("Join defects")] = True
    """Whether a region above the second threshold that touches a defect is part of it; if not,
    what lies between the thresholds is to be reviewed wherever it is."""

    def usable_at(self, threshold: float) -> Self:
        """Drop a threshold for review that is not below the threshold for defects."""
        if self.review_threshold is None or self.review_threshold < threshold:
            return self
        return self.replace(review_threshold=None)


_MINUTES = Shown("Time limit", "min", texts={None: "no limit"})
_SYSTEMS = Shown(
    "Compare by",
    texts={
        "ssim": "structural similarity (SSIM)",
        "l2": "squared error (L2)",
        "vae": "variational autoencoder",
        "fmae": "feature matching (AlexNet)",
    },
)


class TrainingConfig(FrozenModel, use_attribute_docstrings=True):
    """The full config of a training; saved in the model, printed by ``info``."""

    name: str = "custom"
    """Name of the preset that the values came from; informative only."""

    system: Annotated[System, _SYSTEMS] = "ssim"
    """How an image is compared with what the model expects. ``ssim``: structural similarity, which
    sees structure, not only brightness. To compare with (paper section 4.2): ``l2``, squared error;
    ``vae``, variational, trained with squared error and the Kullback-Leibler divergence, scored by
    reconstruction probability; ``fmae``, trained with squared error and the distance of pretrained
    features, scored with squared error."""

    patch_size: Annotated[int, Field(ge=16, le=1024, multiple_of=16), Shown(unit="px")] = 128
    """Side of the square patches that the network sees at once; a multiple of 16. They should show
    the pattern of the material at least once (the paper: 128)."""

    latent_dimension: Annotated[int, Field(ge=1, le=65536)] = 500
    """How many numbers the network may describe a patch with. Too few blur the material, too many
    let defects through (the paper: 500)."""

    batch_norm: bool = True
    """Whether every convolution but the last of encoder and decoder is batch-normalised."""

    ssim: SSIMConfig = SSIMConfig()
    """Window and constants of the training loss of system ``ssim``."""

    squared_error_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of an additional mean squared error until something has been learned. SSIM is a
    product of luminance and structure, so without structure it hardly sees brightness."""

    restoration: bool = False
    """Whether the autoencoder learns to restore patches: they are varied like other images of the
    material (see `vary`) and, once something has been learned, corrupted (see `corrupt`). An
    autoencoder that is trained long on unchanged images learns to reconstruct anything, including
    defects."""

    discriminator: bool = False
    """Whether a second network learns to find corruptions in good patches of twice the side (see
    `Discriminator`)."""

    reconstruction_interval: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of steps per step of the autoencoder, once it has learned something; in the steps
    between, only the discriminator is trained, which is faster. Trained for long, the autoencoder
    learns to reconstruct defects while the discriminator still improves
    (benchmarks/EXPERIMENTS.md). Without a discriminator it is trained in every step."""

    features: bool = False
    """Whether pretrained features of good material are learnt too (see `FeatureModel`)."""

    texture: bool = False
    """Whether the local statistics of the texture are learnt too (see `TextureModel`)."""

    residual: ResidualConfig = SSIMResidual()
    """How an image is scored; by default with the loss that the system is trained with."""

    kl_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the Kullback-Leibler divergence beside the summed squared error (``vae``)."""

    feature_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight lambda of the feature distance beside the squared error (``fmae``)."""

    feature_network: FeatureNetwork = "alexnet"
    """Whose first layers ``fmae`` compares: ``alexnet`` (the paper), whose weights of 233 MB are
    fetched once or read from a file, or ``efficientnet-lite0``, whose weights are installed."""

    augmentation: AugmentationConfig = AugmentationConfig()
    """Random changes of the training patches."""

    batch_size: Annotated[int, Field(ge=1, le=65536)] = 16
    """Patches per optimiser step; with a discriminator, of twice the side."""

    patches: Annotated[int, Field(ge=1, le=10_000_000)] = 2000
    """Patches per epoch; with a discriminator, of twice the side."""

    fixed_patches: bool = False
    """Whether every epoch sees the same patches (the paper) or draws new ones."""

    epochs: Annotated[int, Field(ge=1, le=10_000_000), Shown("Length", "epochs")] = 10
    """Length of the training in epochs (the paper: 200)."""

    minutes: Annotated[float, Field(gt=0, le=10_000_000), _MINUTES] | None = None
    """Limit of the time of the training steps, without preparation and calibration. A training
    that it ends early, with the learning rate annealed, can be resumed."""

    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Adam's learning rate; with ``schedule="one_cycle"`` its peak."""

    schedule: Literal["constant", "one_cycle"] = "one_cycle"
    """``"constant"``, or ``"one_cycle"``: a linear rise, then a cosine fall to zero."""

    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    """Adam's L2 penalty."""

    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Fraction of the training area that is held out to choose the best weights."""

    intensity_percentiles: tuple[
        Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]
    ] = (1.0, 99.0)
    """Percentiles of the training images, in [0, 100], that are mapped to 0 and 1."""

    stride: Annotated[int, Field(ge=1), Shown(unit="px")] = 32
    """Distance between reconstructed patches on detection. Smaller is smoother and slower (the
    paper: 30)."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of initialisation, sampling and augmentation: the same seed repeats a training."""

    @model_validator(mode="before")
    @classmethod
    def _residual_of_system(cls, values: Any) -> Any:
        """Score by the loss of the system, unless another residual is given."""
        if isinstance(values, dict) and "residual" not in values:
            residual = _RESIDUALS.get(str(values.get("system")))
            return values if residual is None else {**values, "residual": residual}
        return values

    @model_validator(mode="after")
    def _has_what_the_residual_needs(self) -> Self:
        if self.residual.kind == "reconstruction_probability" and self.system != "vae":
            raise ValueError("only the system 'vae' has a reconstruction probability")
        if self.augmentation.symmetries and not self.texture:
            raise ValueError("symmetries are found by the texture model: they need texture=True")
        missing = self._missing(self.residual)
        if missing:
            raise ValueError(f"the residual {self.residual.kind} needs {missing}=True")
        return self

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
        return cls(**cls.preset_values(name, changes))

    @staticmethod
    def preset_values(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a preset with changes; only the name is validated."""
        if name not in PRESETS:
            raise InputError(f"There is no preset '{name}'; choose one of {', '.join(PRESETS)}.")
        values = dict(PRESETS[name])
        if changes.get("system", "ssim") != "ssim":
            for each in SSIM_ONLY:
                values.pop(each, None)
        return {"name": name, **values, **changes}

    def with_system(self, system: System) -> Self:
        """Return the config for another system, with the residual that the preset has for it."""
        named = self.preset(self.name, system=system) if self.name in PRESETS else None
        fresh = named or type(self)(system=system, ssim=self.ssim)
        return self.replace(system=system, **{name: getattr(fresh, name) for name in SSIM_ONLY})

    @property
    def residuals(self) -> tuple[ResidualConfig, ...]:
        """All residuals that make sense for the system, its own first, one of each kind.

        The others are as in its own, as the preset has them, or with the window of the loss.
        """
        preset: ResidualConfig | None = PRESETS.get(self.name, {}).get("residual")
        every: list[ResidualConfig] = [
            self.residual,
            *parts(self.residual),
            *((preset, *parts(preset)) if preset is not None else ()),
            SSIMResidual(ssim=(self.ssim,)),
            SquaredErrorResidual(),
        ]
        if self.system == "vae":
            every.append(ReconstructionProbabilityResidual())
        first: dict[str, ResidualConfig] = {}
        for residual in every:
            if not self._missing(residual):
                first.setdefault(residual.kind, residual)
        return tuple(first.values())

    @property
    def reconstruction_residual(self) -> ReconstructionResidual:
        """The first residual that needs nothing but a reconstruction."""
        return next(
            residual for residual in self.residuals if isinstance(residual, ReconstructionResidual)
        )

    def _missing(self, residual: ResidualConfig) -> str:
        """Name of a part that the residual needs and that is not trained, or nothing."""
        kinds = {part.kind for part in parts(residual)}
        needed = kinds.intersection(get_args(LocalKind))
        return next((name for name in sorted(needed) if not getattr(self, name)), "")


# Default residual of each system; the presets may have another one for SSIM.
_RESIDUALS: dict[str, ResidualConfig] = {
    "l2": SquaredErrorResidual(),
    "vae": ReconstructionProbabilityResidual(),
    "fmae": SquaredErrorResidual(),
}


class OutputConfig(FrozenModel, use_attribute_docstrings=True):
    """What is written about each image, and in which format.

    Examples
    --------
    >>> OutputConfig(kinds=("table", "mask")).kinds
    ('mask', 'table')
    """

    kinds: tuple[OutputKind, ...] = ("residual", "labels", "table")
    """What is written, each once, in the order of `OutputKind`."""

    format: Annotated[ImageFormat, Field(alias="tiff")] = "ome"
    """Format of residuals, labels and masks: OME-TIFF, ImageJ TIFF or OME-Zarr."""

    @field_validator("kinds")
    @classmethod
    def _in_order(cls, value: tuple[OutputKind, ...]) -> tuple[OutputKind, ...]:
        return tuple(kind for kind in get_args(OutputKind) if kind in value)
