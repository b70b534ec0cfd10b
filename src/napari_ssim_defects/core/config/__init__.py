"""Every setting, as frozen, serialisable models."""

from __future__ import annotations

from .settings import (
    AugmentationConfig,
    DiscriminatorResidual,
    FeaturesResidual,
    OutputConfig,
    OutputKind,
    RarityResidual,
    RarityView,
    ReconstructionProbabilityResidual,
    ReconstructionResidual,
    ResidualConfig,
    ResidualKind,
    SegmentationConfig,
    SquaredErrorResidual,
    SSIMConfig,
    SSIMResidual,
    System,
    TextureResidual,
    TiffFormat,
    TrainingConfig,
    describe,
)

__all__ = [
    "AugmentationConfig",
    "DiscriminatorResidual",
    "FeaturesResidual",
    "OutputConfig",
    "OutputKind",
    "RarityResidual",
    "RarityView",
    "ReconstructionProbabilityResidual",
    "ReconstructionResidual",
    "ResidualConfig",
    "ResidualKind",
    "SSIMConfig",
    "SSIMResidual",
    "SegmentationConfig",
    "SquaredErrorResidual",
    "System",
    "TextureResidual",
    "TiffFormat",
    "TrainingConfig",
    "describe",
]
